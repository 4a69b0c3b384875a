"""The board: where every trial is, how fast rounds go, and how long the rest will take. It draws nothing."""

import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from quadrat.benchmark.config.sharing import shared_round
from quadrat.benchmark.config.trial import FULL_SUPERVISION, TrialSpec
from quadrat.benchmark.results.records import Record
from quadrat.benchmark.trial.round import Progress

__all__ = ["Row", "RunProgress", "num_fits"]


@dataclass(kw_only=True)
class Row:
    """A trial in flight.

    Attributes:
        spec: The trial.
        host: Machine it runs on, empty in the foreground.
        node: Ray's id of the node, empty in the foreground.
        pid: Process that runs it, 0 in the foreground.
        started_s: When it started, on the board's clock.
        num_done: Rounds whose records are there.
        progress: The last that it told.
        miou: mIoU of the last finished round.
        round_started_s: When the round at work started.
        is_working: Whether this round has trained here, rather than being read from the store.
        phase_started_s: When the phase at work started.
        told_s: When it last told where it is.
    """

    spec: TrialSpec
    host: str
    node: str = ""
    pid: int = 0
    started_s: float
    num_done: int = 0
    progress: Progress | None = None
    miou: float | None = None
    round_started_s: float
    is_working: bool = False
    phase_started_s: float
    told_s: float = 0.0


class RunProgress:
    """Progress of a run.

    Time left is the number of rounds that still have to be trained times the median time of those that were trained
    during this run, over the trials in flight: rounds of a recipe cost the same number of steps, whatever their labels.

    Args:
        trials: All trials of the run, those that were complete before too.
        complete: Ids of the latter.
        clock: Seconds that only grow.

    Attributes:
        rows: Trials in flight, by trial id.
        activity: What is done as long as no trial is in flight.
        num_fits: Rounds of this run whose model was trained here.
        num_shared: New rounds of this run whose model was in the store: shared with another trial.
        waited_s: Seconds that trials have waited for a round 0 that another one trained.
    """

    def __init__(
        self, trials: Sequence[TrialSpec], complete: Iterable[str] = (), clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._complete = frozenset(complete)
        self._waiting = {spec.trial_id: spec for spec in trials if spec.trial_id not in self._complete}
        self._num_rounds_of = {spec.trial_id: spec.num_rounds for spec in trials}
        self._round_s: list[float] = []
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
        self._done = {spec.trial_id: spec.num_rounds for spec in trials if spec.trial_id in self._complete}

    @property
    def num_rounds_done(self) -> int:
        """Rounds whose records are there, all trials together."""
        return sum(self._done.values())

    @property
    def elapsed_s(self) -> float:
        """Seconds since the run began."""
        return self._clock() - self.started_s

    def row_elapsed_s(self, row: Row) -> float:
        """Return for how long a trial has been in flight."""
        return self._clock() - row.started_s

    def start(self, spec: TrialSpec, host: str = "", node: str = "", pid: int = 0) -> None:
        """Note that a trial is in flight."""
        now_s = self._clock()
        self._waiting.pop(spec.trial_id, None)
        self.rows[spec.trial_id] = Row(
            spec=spec,
            host=host,
            node=node,
            pid=pid,
            started_s=now_s,
            round_started_s=now_s,
            phase_started_s=now_s,
        )

    def move(self, host: str, node: str, pid: int) -> None:
        """Note where all trials in flight run, when that is known later than that they are."""
        for row in self.rows.values():
            row.host, row.node, row.pid = host, node, pid

    def progress(self, progress: Progress) -> None:
        """Note where a trial is."""
        row = self.rows[progress.trial_id]
        now_s = self._clock()
        if row.progress is not None and row.progress.phase == "wait":
            self.waited_s += now_s - row.told_s
        row.told_s = now_s
        if row.progress is None or row.progress.phase != progress.phase:
            row.phase_started_s = now_s
        row.is_working |= progress.phase == "fit"
        row.progress = progress

    def record(self, record: Record, *, is_new: bool = True) -> None:
        """Note that a round is done; it is not new when its record was there before and the trial only goes on."""
        row = self.rows[record.trial_id]
        now_s = self._clock()
        self.num_fits += row.is_working
        self.num_shared += is_new and not row.is_working
        if row.is_working:
            self._round_s.append(now_s - row.round_started_s)
        row.num_done = record.round + 1
        row.miou = record.miou
        row.round_started_s, row.is_working = now_s, False
        self._done[record.trial_id] = max(self._done.get(record.trial_id, 0), row.num_done)

    def finish(self, trial_id: str) -> Row:
        """Note that a trial is complete (an exhausted pool ends it early), and return what its row was."""
        self.num_complete += 1
        self._done[trial_id] = self._num_rounds_of[trial_id]
        return self.rows.pop(trial_id)

    def give_up(self, trial_id: str) -> None:
        """Note that a trial has failed for good."""
        self.num_failed += 1
        self.rows.pop(trial_id)

    def put_back(self, trial_id: str) -> None:
        """Note that a trial waits again."""
        self._waiting[trial_id] = self.rows.pop(trial_id).spec

    def round_s(self) -> float | None:
        """Return the seconds that a trained round takes, None as long as nothing is known about it."""
        if self._round_s:
            return statistics.median(self._round_s)
        guesses = [guess for row in self.rows.values() if (guess := self._guess_s(row)) is not None]
        return statistics.median(guesses) if guesses else None

    def _guess_s(self, row: Row) -> float | None:
        """Guess a round from a fit under way, as if the fit were all of it."""
        progress = row.progress
        if progress is None or progress.phase != "fit" or not progress.done or not progress.total:
            return None
        now_s = self._clock()
        left_s = (now_s - row.phase_started_s) * (progress.total - progress.done) / progress.done
        return now_s - row.round_started_s + left_s

    def row_left_s(self, row: Row) -> float | None:
        """Return the seconds a trial in flight will still take, None as long as nothing is known about it."""
        round_s = self.round_s()
        if round_s is None:
            return None
        num_left = row.spec.num_rounds - row.num_done
        return max(0.0, num_left * round_s - (self._clock() - row.round_started_s)) if num_left else 0.0

    def left_s(self) -> float | None:
        """Return the seconds until the run ends, None as long as nothing is known about it."""
        round_s = self.round_s()
        if round_s is None or not self.rows:
            return None
        in_flight_s = [left_s for row in self.rows.values() if (left_s := self.row_left_s(row)) is not None]
        # Whoever waits while others run finds round 0 done: it is shared by all strategies of a seed.
        num_waiting = sum(
            spec.num_rounds - max(self._done.get(spec.trial_id, 0), int(spec.strategy != FULL_SUPERVISION))
            for spec in self._waiting.values()
        )
        total_s = sum(in_flight_s) + num_waiting * round_s
        return max([total_s / len(self.rows), *in_flight_s])


def num_fits(trials: Sequence[TrialSpec]) -> tuple[int, int]:
    """Return how many models a set of trials trains, (with sharing, without).

    Round 0 depends on (data set, region size, recipe, seed, first budget) and on no strategy, so it is trained once for
    all trials that agree on these; trials that are equal but for their label share everything.
    """
    distinct = list({spec.trial_id: spec for spec in trials}.values())
    prefixes = {key for spec in distinct if (key := shared_round(spec)) is not None}
    later = sum(spec.num_rounds - 1 for spec in distinct)
    references = sum(spec.strategy == FULL_SUPERVISION for spec in distinct)
    return len(prefixes) + later + references, sum(spec.num_rounds for spec in trials)
