"""The worker of a study: a Tune actor that runs the trials of one candidate after another, round by round."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ray import tune

from quadrat.benchmark.config.suite import StrategyEntry, Suite
from quadrat.benchmark.config.trial import TrialSpec
from quadrat.benchmark.errors import QuadratError
from quadrat.benchmark.results.candidates import Candidate, search_suite, search_trials, study_of
from quadrat.benchmark.results.records import Failure, Record
from quadrat.benchmark.trial.round import Progress
from quadrat.cluster.runner.actor import Place, here
from quadrat.cluster.runner.engine import OpenRunner, TrialRunner
from quadrat.cluster.runner.events import failure_of

__all__ = ["CANDIDATE", "TOLD", "CandidateActor", "CandidateEvent"]

TOLD: Final = "told"
"""Key of what an actor tells, in Tune's result."""

CANDIDATE: Final = "candidate"
"""Key of the candidate, in Tune's configuration."""


@dataclass(frozen=True, kw_only=True)
class CandidateEvent:
    """What a candidate's actor tells after each round.

    Attributes:
        number: The candidate.
        records: Of this round, one a seed, and of full supervision with the first one.
        num_rounds: Rounds done so far.
        trained: Keys of those records whose model this actor trained; the other rounds found theirs in the store.
        place: Where the actor runs.
        failure: Of the trial that failed so often that it was given up.
        is_done: Whether all rounds are done.
    """

    number: int
    records: tuple[Record, ...]
    num_rounds: int
    trained: frozenset[tuple[str, int]]
    place: Place
    failure: Failure | None = None
    is_done: bool = False


class CandidateActor(tune.Trainable):  # type: ignore[misc]
    """Runs the trials of one candidate after another: a step is one round of all its seeds."""

    def setup(self, config: dict[str, Any], suite: Suite, results_dir: Path, open_runner: OpenRunner) -> None:
        """Take the first candidate; what trials share is opened when it is first needed."""
        self._suite = suite
        self._results_dir = results_dir
        self._open_runner = open_runner
        self._runner: TrialRunner | None = None
        self._place = here()
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next candidate."""
        self._candidate: Candidate = new_config[CANDIDATE]
        trials, references = search_trials(self._suite, self._candidate)
        self._references = references
        self._attempts = [_Attempt(spec=spec) for spec in trials]
        self._num_rounds = 0
        self._trained: set[tuple[str, int]] = set()
        return True

    def step(self) -> dict[str, Any]:
        """Run one round of every seed."""
        records: list[Record] = []
        self._trained = set()
        try:
            if not self._num_rounds:
                for spec in self._references:
                    records += self._round(_Attempt(spec=spec))
            for attempt in self._attempts:
                if not attempt.is_done:
                    records += self._round(attempt)
        except _GivenUp as error:
            return {TOLD: self._tell(records, failure=error.failure), "done": True}
        self._num_rounds += 1
        is_done = all(attempt.is_done for attempt in self._attempts)
        return {TOLD: self._tell(records, is_done=is_done), "done": is_done}

    def _tell(self, records: list[Record], *, failure: Failure | None = None, is_done: bool = False) -> CandidateEvent:
        return CandidateEvent(
            number=self._candidate.number,
            records=tuple(records),
            num_rounds=self._num_rounds,
            trained=frozenset(self._trained),
            place=self._place,
            failure=failure,
            is_done=is_done,
        )

    def _round(self, attempt: "_Attempt") -> list[Record]:
        """Return the record of the trial's next round, trying again as often as the suite allows."""
        while True:
            try:
                if attempt.rounds is None:
                    attempt.rounds = self._get_runner()(attempt.spec, attempt.hear)
                    for _ in range(attempt.num_done):
                        next(attempt.rounds)
                record = next(attempt.rounds)
            except Exception as error:
                attempt.rounds = None
                attempt.num_raised += 1
                if isinstance(error, QuadratError) or attempt.num_raised > self._suite.resources.retries:
                    raise _GivenUp(failure_of(attempt.spec, error, num_rounds_done=attempt.num_done)) from error
            else:
                attempt.num_done += 1
                if attempt.is_trained:
                    self._trained.add(record.key)
                attempt.is_trained = False
                attempt.is_done = record.exhausted or attempt.num_done == attempt.spec.num_rounds
                return [record]

    def _get_runner(self) -> TrialRunner:
        if self._runner is None:
            # Round 0 is scored for what the study's strategy needs, not for all that the suite compares it to.
            study = study_of(self._suite)
            only = StrategyEntry(name=study.strategy, label=study.strategy, params=study.params)
            self._runner = self._open_runner(search_suite(self._suite, only), self._results_dir)
        return self._runner


@dataclass(kw_only=True)
class _Attempt:
    spec: TrialSpec
    rounds: Iterator[Record] | None = None
    num_done: int = 0
    num_raised: int = 0
    is_done: bool = False
    is_trained: bool = False  # whether the round under way has trained its model, in this attempt or an earlier one

    def hear(self, progress: Progress) -> None:
        """Note a fit; Tune takes one message a round, so nothing else of it is told."""
        self.is_trained |= progress.phase == "fit"


class _GivenUp(Exception):
    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.exception)
        self.failure = failure
