"""The recorder of a run: the only writer of records and failures, which it passes on to loggers and the display."""

from collections.abc import Callable, MutableMapping
from pathlib import Path

from quadrat.benchmark.config.trial import TrialSpec
from quadrat.benchmark.errors import ResultsError
from quadrat.benchmark.results.failures import Failure, record_failure
from quadrat.benchmark.results.records import Record, append_record, differing_fields
from quadrat.benchmark.tracking.logger import Loggers
from quadrat.benchmark.trial.progress import Progress
from quadrat.cluster.progress.display import Display
from quadrat.cluster.progress.progress import RunProgress

__all__ = ["ContradictionError", "Recorder"]


class ContradictionError(ResultsError):
    """A round that records.jsonl holds was run again with other numbers."""


class Recorder:
    """Writes the records and failures of all trials, and keeps progress, display and loggers in step with them.

    Args:
        results_dir: The results folder; its lock is held.
        records: Those that it holds already, by trial and round; new ones are added. Recorders of one folder share it.
        progress: Progress of the run.
        display: Shows `progress`.
        loggers: Log records and states to MLflow and others.
        publish: Called with the name of each file that was written, before its content counts as done.
    """

    def __init__(
        self,
        results_dir: Path,
        records: MutableMapping[tuple[str, int], Record],
        *,
        progress: RunProgress,
        display: Display,
        loggers: Loggers,
        publish: Callable[[str], None] = lambda name: None,
    ) -> None:
        self._results_dir = results_dir
        self._records = records
        self._progress = progress
        self._display = display
        self._loggers = loggers
        self._publish = publish

    def start(self, spec: TrialSpec, host: str = "", node: str = "", pid: int = 0) -> None:
        """Note that a trial is in flight, and on which machine."""
        self._progress.start(spec, host, node, pid)
        self._loggers.state(spec.trial_id, "running")

    def update(self, progress: Progress) -> None:
        """Take a progress event of a trial, and print its note."""
        if progress.note:
            self._display.print(f"! {progress.label}  seed {progress.seed}: {progress.note}")
        self._progress.update(progress)

    def record(self, record: Record) -> bool:
        """Write a record and return whether it is new; a trial that continues yields its earlier rounds again.

        Raises:
            ResultsError: When the disk is full.
            ContradictionError: When the round is recorded with other numbers.
        """
        before = self._records.get(record.key)
        if before is not None and differing_fields(before, record):
            raise ContradictionError(_explain_difference(self._results_dir, before, record))
        if before is None:
            append_record(self._results_dir, record)
            self._publish("records.jsonl")
            self._records[record.key] = record
            self._loggers.record(record)
        self._progress.record(record, is_new=before is None)
        if before is None:
            self._display.round_done(record)
            if record.exhausted:
                self._display.print(
                    f"! {record.label}  seed {record.seed}: the pool is exhausted, all {record.regions} regions are "
                    f"labelled before the budget is spent; the trial ends with round {record.round}"
                )
        return before is None

    def finish(self, spec: TrialSpec) -> None:
        """Note that a trial is complete."""
        self._display.trial_done(self._progress.finish(spec.trial_id))
        self._loggers.state(spec.trial_id, "done")

    def requeue(self, spec: TrialSpec, reason: str) -> None:
        """Note that a trial will be tried again."""
        self._progress.requeue(spec.trial_id)
        self._display.print(f"! {_name(spec)} will be tried again: {reason}")

    def fail(self, spec: TrialSpec, failure: Failure) -> None:
        """Record that a trial has failed."""
        record_failure(self._results_dir, failure)
        self._publish("failures.jsonl")
        self._progress.fail(spec.trial_id)
        where = f" on {failure.host} (node {failure.node})" if failure.host else ""
        self._display.print(f"✗ {_name(spec)} failed in round {failure.round}{where}: {failure.exception}")
        self._loggers.state(spec.trial_id, "failed")

    def interrupt(self) -> None:
        """Note that the trials in flight are stopped unfinished."""
        for trial_id in self._progress.rows:
            self._loggers.state(trial_id, "interrupted")


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
