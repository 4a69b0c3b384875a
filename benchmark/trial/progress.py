"""Progress of a trial, for displays."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Self

from quadrat.benchmark.config.trial import TrialSpec

__all__ = ["OnProgress", "Phase", "Progress", "Reporter"]

Phase = Literal["select", "encode", "fit", "evaluate", "score", "wait"]


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a trial is.

    Attributes:
        trial_id: The trial.
        label: The name of its strategy in tables and figures.
        seed: Its seed.
        round: The round at work, counted from 0.
        num_rounds: Rounds in all.
        phase: What is computed; "encode" while a frozen encoder's features are computed, once; "wait" while another
            process computes what both need.
        done: Steps or images done in this phase.
        total: Steps or images of this phase, 0 where it has none.
        miou: mIoU of the last finished round.
        note: What the user should read, such as that a damaged artefact is computed again; "" nearly always.
    """

    trial_id: str
    label: str
    seed: int
    round: int
    num_rounds: int
    phase: Phase
    done: int
    total: int
    miou: float | None
    note: str = ""


OnProgress = Callable[[Progress], None]


class Reporter:
    """Reports the progress of one round.

    Args:
        spec: The trial.
        on_progress: Called with each report; None reports nothing.
        round_: The round at work, counted from 0.
        miou: mIoU of the round before.
    """

    def __init__(
        self, spec: TrialSpec, on_progress: OnProgress | None, round_: int = 0, miou: float | None = None
    ) -> None:
        self._spec = spec
        self._on_progress = on_progress
        self._round = round_
        self._miou = miou
        self._phase: Phase = "select"

    def next_round(self, miou: float) -> Self:
        """Return the reporter of the round after this one, which ended with `miou`."""
        return type(self)(self._spec, self._on_progress, self._round + 1, miou)

    def __call__(self, phase: Phase, done: int = 0, total: int = 0) -> None:
        """Report that `done` of `total` steps of a phase are done."""
        self._report(phase, done, total)

    def note(self, note: str) -> None:
        """Report what the user should read, in the phase that was reported last."""
        self._report(self._phase, note=note)

    def _report(self, phase: Phase, done: int = 0, total: int = 0, note: str = "") -> None:
        self._phase = phase
        if self._on_progress is None:
            return
        progress = Progress(
            trial_id=self._spec.trial_id,
            label=self._spec.label,
            seed=self._spec.seed,
            round=self._round,
            num_rounds=self._spec.num_rounds,
            phase=phase,
            done=done,
            total=total,
            miou=self._miou,
            note=note,
        )
        self._on_progress(progress)
