"""The schedule of a run: which trials wait, which are in flight, and how often one is tried again. It knows no Ray."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from quadrat.benchmark.config.sharing import planned_round
from quadrat.benchmark.config.trial import TrialSpec

__all__ = ["MAX_WORKER_DEATHS", "Attempts", "Schedule"]

MAX_WORKER_DEATHS: Final = 3
"""Times in a row that the worker of a trial may die without a new round in between.

A worker that the cluster takes away is not the trial's fault, so a trial that advances is tried again without limit.
One that kills its worker every time (out of memory, a crash in native code) has failed.
"""


@dataclass(kw_only=True)
class Attempts:
    """What has gone wrong with a trial so far, and whether it is tried again.

    Attributes:
        retries: Times that a trial which raised is tried again.
        max_worker_deaths: See `MAX_WORKER_DEATHS`.
        num_raised: Times that it has raised.
        num_worker_deaths: Times that its worker has died since its last new round.
    """

    retries: int
    max_worker_deaths: int = MAX_WORKER_DEATHS
    num_raised: int = 0
    num_worker_deaths: int = 0

    def on_raised(self, *, is_retryable: bool) -> bool:
        """Count an error and return whether the trial is tried again."""
        self.num_raised += 1
        return is_retryable and self.num_raised <= self.retries

    def on_worker_died(self) -> bool:
        """Count the death of its worker and return whether the trial is tried again."""
        self.num_worker_deaths += 1
        return self.num_worker_deaths <= self.max_worker_deaths

    def on_new_round(self) -> None:
        """Reset the count of worker deaths."""
        self.num_worker_deaths = 0


class Schedule:
    """Hands out trials in the given order, except that a trial whose shared round 0 is in training is deferred.

    Args:
        trials: What is to run, the trial that should start first in front.
        retries: Times that a trial which raised is tried again.
        max_worker_deaths: See `MAX_WORKER_DEATHS`.
        shared: Rounds 0 that are trained already, as `planned_round` gives them.
    """

    def __init__(
        self,
        trials: Iterable[TrialSpec],
        *,
        retries: int,
        max_worker_deaths: int = MAX_WORKER_DEATHS,
        shared: Iterable[str] = (),
    ) -> None:
        self._specs = {spec.trial_id: spec for spec in trials}
        self._attempts = {
            trial_id: Attempts(retries=retries, max_worker_deaths=max_worker_deaths) for trial_id in self._specs
        }
        self._waiting = deque(self._specs)
        self._in_flight: set[str] = set()
        self._shared = set(shared)
        self._rounds_0: dict[str, str] = {}

    @property
    def num_open(self) -> int:
        """Trials that have neither finished nor failed."""
        return len(self._waiting) + len(self._in_flight)

    def next(self) -> TrialSpec | None:
        """Return the next trial, which is in flight from now on, or None when none waits.

        Trials whose shared round 0 is in training at the moment come later. When nothing else is left they are handed
        out all the same: opening the data takes seconds too, and one that waits takes over should the other die.
        """
        if not self._waiting:
            return None
        in_training = {self._round_0(trial_id) for trial_id in self._in_flight}
        in_training -= self._shared
        trial_id = next(
            (name for name in self._waiting if self._round_0(name) not in in_training),
            self._waiting[0],
        )
        self._waiting.remove(trial_id)
        self._in_flight.add(trial_id)
        return self._specs[trial_id]

    def on_new_round(self, trial_id: str) -> None:
        """Note that a trial has finished a round which no earlier attempt had finished."""
        self._attempts[trial_id].on_new_round()
        self._shared.add(self._round_0(trial_id))

    def on_finished(self, trial_id: str) -> None:
        """Note that a trial is complete."""
        self._in_flight.remove(trial_id)

    def on_raised(self, trial_id: str, *, is_retryable: bool) -> bool:
        """Take back a trial that raised and return whether it is tried again.

        It goes to the end of the queue: the cause (a full disk, a busy GPU) may have passed by then.
        """
        self._in_flight.remove(trial_id)
        is_retried = self._attempts[trial_id].on_raised(is_retryable=is_retryable)
        if is_retried:
            self._waiting.append(trial_id)
        return is_retried

    def on_worker_died(self, trial_id: str) -> bool:
        """Take back a trial whose worker died and return whether it is tried again.

        It goes to the front: it has started, and what it needs from the store may still be in the page cache.
        """
        self._in_flight.remove(trial_id)
        is_retried = self._attempts[trial_id].on_worker_died()
        if is_retried:
            self._waiting.appendleft(trial_id)
        return is_retried

    def _round_0(self, trial_id: str) -> str:
        """Return the identity of a trial's round 0, which is computed once: it serializes the whole spec."""
        if trial_id not in self._rounds_0:
            self._rounds_0[trial_id] = planned_round(self._specs[trial_id], 0)
        return self._rounds_0[trial_id]
