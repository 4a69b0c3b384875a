"""The driver's journal: it alone writes records and failures, and tells mirror and display what it wrote."""

from collections.abc import Callable, Iterable
from pathlib import Path

from quadrat.benchmark.config.trial import TrialSpec
from quadrat.benchmark.errors import ResultsError
from quadrat.benchmark.results.records import Failure, Record, append_record, differing_fields, record_failure
from quadrat.benchmark.tracking.logger import MlflowLogger
from quadrat.benchmark.trial.round import Progress
from quadrat.cluster.progress.display import Display
from quadrat.cluster.progress.progress import RunProgress

__all__ = ["ContradictionError", "Recorder"]


class ContradictionError(ResultsError):
    """A round that is in records.jsonl came out with other numbers."""


class Recorder:
    """Where the events of all trials end up.

    Args:
        results_dir: The results folder; its lock is held.
        records: What it holds already.
        board: Shown by `display`.
        display: Shows it.
        mirror: Mirrors it, None to mirror nowhere.
        publish: Called with the name of a file that was written, before what is in it counts as done.
    """

    def __init__(
        self,
        results_dir: Path,
        records: Iterable[Record],
        *,
        board: RunProgress,
        display: Display,
        mirror: MlflowLogger | None,
        publish: Callable[[str], None] = lambda name: None,
    ) -> None:
        self._results_dir = results_dir
        self._records = {record.key: record for record in records}
        self._board = board
        self._display = display
        self._mirror = mirror
        self._publish = publish

    def start(self, spec: TrialSpec, host: str = "", node: str = "", pid: int = 0) -> None:
        """Note that a trial is in flight, and where."""
        self._board.start(spec, host, node, pid)
        if self._mirror is not None:
            self._mirror.state(spec.trial_id, "running")

    def progress(self, progress: Progress) -> None:
        """Note where a trial is."""
        self._board.progress(progress)

    def record(self, record: Record) -> bool:
        """Write a record and return whether it is new; a trial that goes on tells its earlier rounds again.

        Raises:
            ResultsError: When the disk is full.
            ContradictionError: When the round is there with other numbers.
        """
        before = self._records.get(record.key)
        if before is not None and differing_fields(before, record):
            raise ContradictionError(_explain_difference(self._results_dir, before, record))
        if before is None:
            append_record(self._results_dir, record)
            self._publish("records.jsonl")
            self._records[record.key] = record
            if self._mirror is not None:
                self._mirror.record(record)
        self._board.record(record, is_new=before is None)
        if before is None:
            self._display.round_done(record)
            if record.exhausted:
                self._display.say(
                    f"! {record.label}  seed {record.seed}: the pool is exhausted, all {record.regions} regions are "
                    f"labelled before the budget is spent; the trial ends with round {record.round + 1}"
                )
        return before is None

    def finish(self, spec: TrialSpec) -> None:
        """Note that a trial is complete."""
        self._display.trial_done(self._board.finish(spec.trial_id))
        if self._mirror is not None:
            self._mirror.state(spec.trial_id, "done")

    def put_back(self, spec: TrialSpec, reason: str) -> None:
        """Say that a trial will be tried again."""
        self._board.put_back(spec.trial_id)
        self._display.say(f"! {_name(spec)} will be tried again: {reason}")

    def give_up(self, spec: TrialSpec, failure: Failure) -> None:
        """Write down that a trial has failed."""
        record_failure(self._results_dir, failure)
        self._publish("failures.jsonl")
        self._board.give_up(spec.trial_id)
        self._display.say(f"✗ {_name(spec)} failed in round {failure.round + 1}: {failure.exception}")
        if self._mirror is not None:
            self._mirror.state(spec.trial_id, "failed")

    def leave(self) -> None:
        """Note that the trials in flight are left where they are."""
        if self._mirror is not None:
            for trial_id in self._board.rows:
                self._mirror.state(trial_id, "interrupted")


def _name(spec: TrialSpec) -> str:
    return f"{spec.label}  seed {spec.seed}"


def _explain_difference(results_dir: Path, before: Record, now: Record) -> str:
    names = differing_fields(before, now)
    old, new = getattr(before, names[0]), getattr(now, names[0])
    return (
        f"round {now.round} of {now.trial_id}: expected the record that {results_dir}/records.jsonl holds, got other "
        f"{', '.join(names)} ({names[0]}: {old!r:.60} before, {new!r:.60} now). Software, hardware "
        "or number of cores changed since: give another --results, or delete the trial's lines to replace them"
    )
