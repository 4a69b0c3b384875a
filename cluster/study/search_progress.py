"""Progress of a search: how far its candidates are, and the time that is left. No output."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from quadrat.benchmark.trial.progress import Progress

__all__ = ["RoundKey", "SearchProgress"]

RoundKey = tuple[str, int]
"""A round of a trial: (trial id, round)."""

_FIT_SHARE: Final = 0.9
"""Share of a round that its fit takes, about: selection, evaluation and scoring are the rest."""

_KNOWN: Final = 0.1
"""Trained rounds, parts of them too, from which on their pace is known."""


@dataclass(kw_only=True)
class _Timed:
    """A candidate that has started.

    Attributes:
        rounds: The rounds of its trials in the order in which they run.
        started_s: When it started.
        ended_s: When it ended, None while it is in flight.
        began_s: When its first fit was seen: before that its worker may have loaded torch for long. None before.
        began_share: How much of that round was done then.
        trained: Rounds whose model is trained for it, or has been.
        current: The round that runs, None between two.
        share: How much of the current round is done, 0 to 1.
        num_begun: Rounds before the current one, or before the next.
    """

    rounds: Sequence[RoundKey]
    started_s: float
    ended_s: float | None = None
    began_s: float | None = None
    began_share: float = 0.0
    trained: set[RoundKey] = field(default_factory=set)
    current: RoundKey | None = None
    share: float = 0.0
    num_begun: int = 0

    @property
    def num_trained(self) -> float:
        """Rounds that were trained, the current one in part."""
        return len(self.trained - {self.current}) + (self.share if self.current in self.trained else 0.0)

    @property
    def num_left(self) -> float:
        """Rounds that are still to be trained, the current one in part.

        A round 0 counts from when it is trained: candidates share it.
        """
        ahead = sum(round_ > 0 for _, round_ in self.rounds[self.num_begun + (self.current is not None) :])
        is_trained = self.current is not None and (self.current in self.trained or self.current[1] > 0)
        return ahead + (1.0 - self.share if is_trained else 0.0)


class SearchProgress:
    """Progress of a search.

    A candidate that has not started counts as many rounds as those that ended in this run have trained on average, the
    pruned ones among them, and all of its rounds as long as none has ended. The time of a round is the mean over all
    that were trained in this run.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._candidates: dict[int, _Timed] = {}

    def start(self, number: int, rounds: Sequence[RoundKey]) -> None:
        """Note that a candidate is in flight.

        Args:
            number: The candidate.
            rounds: The rounds of its trials in the order in which they run.
        """
        self._candidates[number] = _Timed(rounds=rounds, started_s=self._clock())

    def update(self, number: int, progress: Progress) -> bool:
        """Take the latest progress of a trial of a candidate, and return whether it is of a round not yet recorded."""
        candidate, key = self._candidates[number], (progress.trial_id, progress.round)
        index = candidate.rounds.index(key)
        if index < candidate.num_begun:
            return False  # it arrived late, or the trial passes through what it has done before
        candidate.num_begun, candidate.current = index, key
        if progress.phase == "fit":
            candidate.trained.add(key)
            candidate.share = _FIT_SHARE * progress.done / progress.total if progress.total else 0.0
            if candidate.began_s is None:
                candidate.began_s, candidate.began_share = self._clock(), candidate.share
        else:
            candidate.share = _FIT_SHARE if key in candidate.trained else 0.0
        return True

    def record(self, number: int, keys: Sequence[RoundKey], trained: frozenset[RoundKey]) -> None:
        """Note that rounds of a candidate are done, and which of them were trained for it."""
        candidate = self._candidates[number]
        candidate.trained |= trained
        if trained and candidate.began_s is None:
            candidate.began_s = candidate.started_s
        candidate.num_begun = max([candidate.num_begun, *(candidate.rounds.index(key) + 1 for key in keys)])
        candidate.current, candidate.share = None, 0.0

    def end(self, number: int) -> None:
        """Note that a candidate has ended."""
        self._candidates[number].ended_s = self._clock()

    def elapsed_s(self, number: int) -> float:
        """Return the seconds that a candidate has been in flight."""
        candidate = self._candidates[number]
        return (self._clock() if candidate.ended_s is None else candidate.ended_s) - candidate.started_s

    def round_s(self) -> float | None:
        """Return the mean seconds of a trained round, None while there is nothing to estimate it from."""
        took_s = num = 0.0
        for candidate in self._candidates.values():
            if candidate.began_s is not None:
                took_s += (self._clock() if candidate.ended_s is None else candidate.ended_s) - candidate.began_s
                num += candidate.num_trained - candidate.began_share
        return took_s / num if num >= _KNOWN else None

    def candidate_left_s(self, number: int) -> float | None:
        """Return the estimated seconds until a candidate has run all its rounds, unless it is pruned before."""
        round_s = self.round_s()
        return None if round_s is None else self._candidates[number].num_left * round_s

    def left_s(self, num_open: int) -> float | None:
        """Return the estimated seconds until the search ends, None while there is no estimate.

        Args:
            num_open: Candidates that have not started.
        """
        in_flight = [candidate for candidate in self._candidates.values() if candidate.ended_s is None]
        round_s = self.round_s()
        if round_s is None or not in_flight:
            return None
        left = [candidate.num_left for candidate in in_flight]
        return round_s * max(*left, (sum(left) + num_open * self._num_expected()) / len(in_flight))

    def _num_expected(self) -> float:
        """Return how many rounds a candidate that has not started will train."""
        ended = [
            sum(round_ > 0 for _, round_ in candidate.trained)
            for candidate in self._candidates.values()
            if candidate.ended_s is not None and candidate.trained
        ]
        if ended:
            return sum(ended) / len(ended)
        newest = next(reversed(self._candidates.values()))
        return sum(round_ > 0 for _, round_ in newest.rounds)
