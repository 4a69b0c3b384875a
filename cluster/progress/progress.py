"""Progress of a run: the round and phase of each trial in flight, time per round, estimated time left. No output."""

import itertools
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from quadrat.benchmark.config.trial import FULL_SUPERVISION, TrialSpec
from quadrat.benchmark.results.records import Record
from quadrat.benchmark.trial.progress import Progress

__all__ = ["Row", "RunProgress"]


@dataclass(kw_only=True)
class Row:
    """A trial in flight.

    Attributes:
        spec: The trial.
        host: Machine it runs on, empty in the foreground.
        node: Ray's id of the node, empty in the foreground.
        pid: Process that runs it, 0 in the foreground.
        started_s: When it started, on the clock of `RunProgress`.
        num_done: Rounds that are recorded.
        latest: Its last progress event, None before the first.
        miou: mIoU of the last recorded round.
        round_started_s: When the current round started.
        is_trained: Whether the current round was trained by this trial rather than read from the store.
        fit_s: Seconds of the current round's fit, once it is over.
        phase_started_s: When the current phase started.
        reported_s: When the last progress event arrived.
    """

    spec: TrialSpec
    host: str
    node: str = ""
    pid: int = 0
    started_s: float
    num_done: int = 0
    latest: Progress | None = None
    miou: float | None = None
    round_started_s: float
    is_trained: bool = False
    fit_s: float = 0.0
    phase_started_s: float
    reported_s: float = 0.0


class _Trained(NamedTuple):
    """A round that was trained during this run: seconds in all, and of its fit."""

    round_s: float
    fit_s: float


_RECENT: Final = 3
"""Rounds that were trained last, at least, whose time counts; as many as there are trials in flight if more."""

_NUM_SAMPLED: Final = 64
"""Rounds, done or in progress, that a median is taken over at most: with a thousand in flight, more tell no more."""

_IN_PROGRESS: Final = 0.1
"""Share of a fit that must be done before its pace counts."""


class RunProgress:
    """Progress of a run.

    Time left is the number of rounds that still have to be trained times the time of one, over the trials in flight:
    rounds of a recipe cost the same number of steps, whatever their labels. The time of one is the median of those that
    were trained last and of those in progress, so that it follows a machine that becomes busy or idle.

    Args:
        trials: All trials of the run, including those that were complete before.
        complete: Ids of those that were complete before.
        clock: Monotonic seconds.

    Attributes:
        rows: Trials in flight, by trial id.
        activity: What the driver does while no trial is in flight, such as packing images.
        num_rounds_done: Rounds that are recorded, over all trials.
        num_fits: Rounds of this run whose model was trained for them.
        num_shared: New rounds of this run whose model was in the store, trained by another trial.
        waited_s: Seconds that trials have waited for a round 0 that another one trained.
    """

    def __init__(
        self, trials: Sequence[TrialSpec], complete: Iterable[str] = (), clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._complete = frozenset(complete)
        self._waiting = {spec.trial_id: spec for spec in trials if spec.trial_id not in self._complete}
        self._num_rounds_of = {spec.trial_id: spec.num_rounds for spec in trials}
        self._trained: list[_Trained] = []
        self.rows: dict[str, Row] = {}
        self.activity = ""
        self.waited_s = 0.0
        self.started_s = clock()
        self.num_trials = len(trials)
        self.num_complete = len(self._complete)
        self.num_failed = 0
        self.num_fits = 0
        self.num_shared = 0
        self.num_rounds = sum(self._num_rounds_of.values())
        self._done: dict[str, int] = {}
        self.num_rounds_done = 0
        for spec in trials:
            if spec.trial_id in self._complete:
                self._set_done(spec.trial_id, spec.num_rounds)
        self._num_rounds_waiting = sum(map(self._num_untrained, self._waiting.values()))

    @property
    def elapsed_s(self) -> float:
        """Seconds since the run started."""
        return self._clock() - self.started_s

    def row_elapsed_s(self, row: Row) -> float:
        """Return the seconds that a trial has been in flight."""
        return self._clock() - row.started_s

    def start(self, spec: TrialSpec, host: str = "", node: str = "", pid: int = 0) -> None:
        """Add a trial in flight."""
        now_s = self._clock()
        if self._waiting.pop(spec.trial_id, None) is not None:
            self._num_rounds_waiting -= self._num_untrained(spec)
        self.rows[spec.trial_id] = Row(
            spec=spec,
            host=host,
            node=node,
            pid=pid,
            started_s=now_s,
            round_started_s=now_s,
            phase_started_s=now_s,
        )

    def set_place(self, host: str, node: str, pid: int) -> None:
        """Set the machine and process of all trials in flight, where it is known only after they started."""
        for row in self.rows.values():
            row.host, row.node, row.pid = host, node, pid

    def update(self, progress: Progress) -> None:
        """Take the latest progress event of a trial."""
        row = self.rows[progress.trial_id]
        now_s = self._clock()
        if row.latest is not None and row.latest.phase == "wait":
            self.waited_s += now_s - row.reported_s
        row.reported_s = now_s
        if row.latest is None or row.latest.phase != progress.phase:
            if row.latest is not None and row.latest.phase == "fit":
                row.fit_s += now_s - row.phase_started_s
            row.phase_started_s = now_s
        row.is_trained |= progress.phase == "fit"
        row.latest = progress

    def record(self, record: Record, *, is_new: bool = True) -> None:
        """Count a round as done; it is not new when an earlier run recorded it and the trial only passes through it."""
        row = self.rows[record.trial_id]
        now_s = self._clock()
        self.num_fits += row.is_trained
        self.num_shared += is_new and not row.is_trained
        if row.is_trained:
            self._trained.append(_Trained(now_s - row.round_started_s, row.fit_s))
        row.num_done = record.round + 1
        row.miou = record.miou
        row.round_started_s, row.is_trained, row.fit_s = now_s, False, 0.0
        self._set_done(record.trial_id, max(self._done.get(record.trial_id, 0), row.num_done))

    def finish(self, trial_id: str) -> Row:
        """Count a trial as complete (an exhausted pool ends it early) and return its row."""
        self.num_complete += 1
        self._set_done(trial_id, self._num_rounds_of[trial_id])
        return self.rows.pop(trial_id)

    def fail(self, trial_id: str) -> None:
        """Count a trial as failed."""
        self.num_failed += 1
        self.rows.pop(trial_id)

    def requeue(self, trial_id: str) -> None:
        """Put a trial in flight back among those that wait."""
        spec = self._waiting[trial_id] = self.rows.pop(trial_id).spec
        self._num_rounds_waiting += self._num_untrained(spec)

    def _set_done(self, trial_id: str, num_rounds: int) -> None:
        self.num_rounds_done += num_rounds - self._done.get(trial_id, 0)
        self._done[trial_id] = num_rounds

    def _num_untrained(self, spec: TrialSpec) -> int:
        """Return the rounds that a trial which waits will train: a round 0 is shared by all strategies of a seed."""
        return spec.num_rounds - max(self._done.get(spec.trial_id, 0), int(spec.strategy != FULL_SUPERVISION))

    def round_s(self) -> float | None:
        """Return the seconds that a trained round takes now, None while there is nothing to estimate it from."""
        num_recent = min(max(_RECENT, len(self.rows)), _NUM_SAMPLED)
        recent = [one.round_s for one in self._trained[-num_recent:]]
        shares = [one.round_s / one.fit_s for one in self._trained[-_NUM_SAMPLED:] if one.fit_s]
        share = statistics.median(shares) if shares else 1.0
        rows = itertools.islice(self.rows.values(), _NUM_SAMPLED)
        in_progress = [found for row in rows if (found := self._extrapolated_s(row, share)) is not None]
        return statistics.median(recent + in_progress) if recent or in_progress else None

    def _extrapolated_s(self, row: Row, share: float) -> float | None:
        """Extrapolate the seconds of a round from the pace of its fit, of which the whole round is `share` times."""
        latest = row.latest
        if latest is None or latest.phase != "fit" or not latest.done or not latest.total:
            return None
        if self._trained and latest.done < _IN_PROGRESS * latest.total:
            return None
        return (self._clock() - row.phase_started_s) * latest.total / latest.done * share

    def row_left_s(self, row: Row) -> float | None:
        """Return the estimated seconds until a trial in flight is complete, None while there is no estimate."""
        return self.row_left_at(row, self.round_s())

    def row_left_at(self, row: Row, round_s: float | None) -> float | None:
        """Return what `row_left_s` does, for a caller that asks for many rows and has `round_s()` already."""
        if round_s is None:
            return None
        num_left = row.spec.num_rounds - row.num_done
        return max(0.0, num_left * round_s - (self._clock() - row.round_started_s)) if num_left else 0.0

    def left_s(self) -> float | None:
        """Return the estimated seconds until the run ends, None while there is no estimate."""
        round_s = self.round_s()
        if round_s is None or not self.rows:
            return None
        in_flight_s = [left_s for row in self.rows.values() if (left_s := self.row_left_at(row, round_s)) is not None]
        total_s = sum(in_flight_s) + self._num_rounds_waiting * round_s
        return max([total_s / len(self.rows), *in_flight_s])
