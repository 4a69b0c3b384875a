"""The schedule: which trials wait, which are in flight, and which have failed too often. It knows no Ray."""

from collections import deque
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Final

from quadrat.benchmark.config.sharing import shared_round
from quadrat.benchmark.config.trial import TrialSpec

__all__ = ["MAX_LOSSES", "Schedule"]

MAX_LOSSES: Final = 3
"""How often in a row a trial may lose its worker without finishing a round in between.

A worker that a cluster takes away is not the trial's fault, so a trial that gets ahead is never given up; one that
kills its worker every time (out of memory, a crash in native code) has to be.
"""


@dataclass(kw_only=True)
class _Attempts:
    spec: TrialSpec
    raised: int = 0
    losses: int = 0


class Schedule:
    """Hands out trials in the order given, except that a trial which would only wait lets others pass.

    Args:
        trials: What is to run, what is best started first in front.
        retries: How often a trial that raised is tried again.
        max_losses: See `MAX_LOSSES`.
        shared: Shared rounds that are trained already, see `shared_round`.
    """

    def __init__(
        self,
        trials: Iterable[TrialSpec],
        *,
        retries: int,
        max_losses: int = MAX_LOSSES,
        shared: Iterable[Hashable] = (),
    ) -> None:
        self._attempts = {spec.trial_id: _Attempts(spec=spec) for spec in trials}
        self._waiting = deque(self._attempts)
        self._in_flight: set[str] = set()
        self._retries = retries
        self._max_losses = max_losses
        self._shared = set(shared)

    @property
    def num_waiting(self) -> int:
        """Trials that no worker has."""
        return len(self._waiting)

    @property
    def num_open(self) -> int:
        """Trials that are neither finished nor given up."""
        return len(self._waiting) + len(self._in_flight)

    def next(self) -> TrialSpec | None:
        """Return the next trial, which is in flight from now on, or None when none waits.

        Trials that share a round 0 which somebody is training at the moment come later. When nothing else is left
        they are handed out all the same: opening the data takes seconds too, and one that waits takes over should the
        other die.
        """
        if not self._waiting:
            return None
        in_training = {shared_round(self._attempts[trial_id].spec) for trial_id in self._in_flight}
        in_training -= {None, *self._shared}
        trial_id = next(
            (name for name in self._waiting if shared_round(self._attempts[name].spec) not in in_training),
            self._waiting[0],
        )
        self._waiting.remove(trial_id)
        self._in_flight.add(trial_id)
        return self._attempts[trial_id].spec

    def got_ahead(self, trial_id: str) -> None:
        """Note that the trial finished a round that it had not finished before: its losses count from 0 again."""
        self._attempts[trial_id].losses = 0
        self._shared.add(shared_round(self._attempts[trial_id].spec))

    def finished(self, trial_id: str) -> None:
        """Note that the trial is complete."""
        self._in_flight.remove(trial_id)

    def raised(self, trial_id: str, *, is_worth_retrying: bool) -> bool:
        """Take back a trial that raised, and return whether it will be tried again.

        It goes to the end of the queue: what was wrong (a full disk, a busy GPU) may have passed by then.
        """
        self._in_flight.remove(trial_id)
        attempts = self._attempts[trial_id]
        attempts.raised += 1
        if not is_worth_retrying or attempts.raised > self._retries:
            return False
        self._waiting.append(trial_id)
        return True

    def lost(self, trial_id: str) -> bool:
        """Take back a trial whose worker died, and return whether it will be tried again.

        It goes to the front: it has started, and what it needs from the store may still be in the page cache.
        """
        self._in_flight.remove(trial_id)
        attempts = self._attempts[trial_id]
        attempts.losses += 1
        if attempts.losses > self._max_losses:
            return False
        self._waiting.appendleft(trial_id)
        return True
