"""Writes a results folder to MLflow, for browsing; the files of the folder stay authoritative.

A suite is an experiment. One parent run per strategy label holds the mean curves over seeds and pictures of what was
selected; below it is one run per trial. One more run, of the suite, holds the report. Everything is looked up before it
is written, so logging twice changes nothing.
"""

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

from quadrat.benchmark.config.trial import FULL_SUPERVISION
from quadrat.benchmark.data import open_packed
from quadrat.benchmark.data.shapes import packed_maps
from quadrat.benchmark.errors import DataError
from quadrat.benchmark.results.failures import read_failures
from quadrat.benchmark.results.folder import read_environment, read_suite_json
from quadrat.benchmark.results.records import Record, is_complete, read_records_so_far
from quadrat.benchmark.tracking.addresses import artifact_root, default_uri
from quadrat.benchmark.tracking.client import Experiment, Run, State
from quadrat.benchmark.tracking.database import prepare_store
from quadrat.benchmark.tracking.pictures import draw_selections
from quadrat.benchmark.tracking.study import log_candidates
from quadrat.benchmark.tracking.values import (
    MIOU,
    PIXEL_ACCURACY,
    SuiteFacts,
    experiment_note,
    mean_metrics,
    metrics,
    params,
    results_note,
    strategy_note,
    summary_name,
)

__all__ = ["ResultsWriter", "log_artifacts", "log_results"]

_FILES: Final = ("suite.json", "environment.json", "records.jsonl", "failures.jsonl")
"""Artifacts of the suite's run, beside the report."""


def log_results(
    results_dir: Path, uri: str | None = None, warn: Callable[[str], None] = print, experiment: str | None = None
) -> int:
    """Log a results folder, the report included, and return the number of its trials that have run.

    Args:
        results_dir: The results folder.
        uri: An MLflow tracking URI, by default `default_uri(results_dir)`.
        warn: Called with a message when a damaged store was put aside, or a run superseded.
        experiment: Name of the experiment, by default that of the suite.

    Raises:
        ResultsError: When the folder holds no results.
        Exception: Whatever MLflow raises when its store cannot be used.
    """
    writer = ResultsWriter(Path(results_dir), uri or default_uri(results_dir), warn, experiment)
    num_trials = writer.log_files()
    writer.log_parents()
    writer.log_artifacts()
    return num_trials


def log_artifacts(
    results_dir: Path, uri: str | None = None, warn: Callable[[str], None] = print, experiment: str | None = None
) -> None:
    """Log what exists once a run has ended: pictures of the selections, the report, the files.

    Args:
        results_dir: A results folder whose records are logged.
        uri: An MLflow tracking URI, by default `default_uri(results_dir)`.
        warn: Called with a message when a damaged store was put aside, or a run superseded.
        experiment: Name of the experiment, by default that of the suite.

    Raises:
        Exception: Whatever MLflow raises when its store cannot be used.
    """
    writer = ResultsWriter(Path(results_dir), uri or default_uri(results_dir), warn, experiment)
    if writer.is_empty:  # a run with nothing left to do logs nothing, and the store may be a new one
        writer.log_files()
        writer.log_parents()
    writer.log_artifacts()


class ResultsWriter:
    """Writes a results folder into one experiment, having looked up what it holds.

    Args:
        results_dir: The results folder.
        uri: An MLflow tracking URI.
        warn: Called with a message when a damaged store was put aside, or a run superseded.
        experiment: Name of the experiment, by default that of the suite.
    """

    def __init__(
        self, results_dir: Path, uri: str, warn: Callable[[str], None] = print, experiment: str | None = None
    ) -> None:
        self._results_dir = results_dir
        self._warn = warn
        self._facts = SuiteFacts(read_suite_json(results_dir), read_environment(results_dir))
        self._records: dict[tuple[str, int], Record] = {
            record.key: record for record in self._facts.own(read_records_so_far(results_dir))
        }
        self._last: dict[str, Record] = {}
        self._spans: dict[str, tuple[float, float]] = {}
        for record in self._records.values():
            self._note_last(record)
        self._states: dict[str, State] = {}
        if uri == default_uri(results_dir):
            prepare_store(results_dir, warn)
        root = artifact_root(uri, results_dir)
        self._experiment = Experiment(
            uri,
            experiment or self._facts.name,
            owner=self._facts.results_id,
            note=experiment_note(self._facts) if experiment in (None, self._facts.name) else None,
            artifact_root=root,
        )

    @property
    def _suite_id(self) -> str:
        return f"suite {self._facts.name}"

    @property
    def is_empty(self) -> bool:
        """Whether the store does not hold the suite yet."""
        return self._suite_id not in self._experiment.runs

    def log_files(self) -> int:
        """Log everything in the files, and return the number of trials that have run."""
        failed = {failure.trial_id for failure in read_failures(self._results_dir)} & self._facts.trials.keys()
        by_trial: dict[str, list[Record]] = {}
        for record in list(self._records.values()):
            by_trial.setdefault(record.trial_id, []).append(record)
        # MLflow lists the newest run first: created in this order, runs are listed in suite order, and the suite's own
        # run, which has no curves, last.
        self._suite_run()
        begun = {self._facts.group_of(self._facts.trials[trial_id]) for trial_id in by_trial}
        for id_, trial in reversed(self._facts.groups.items()):
            if id_ in begun:
                self._group_run(trial)
        for records in by_trial.values():
            for record in records:
                self.log_record(record)
        for trial_id, trial in self._facts.trials.items():
            records = by_trial.get(trial_id, [])
            if is_complete(records, trial_id, trial["num_rounds"]):
                self.log_state(trial_id, "done")
            elif trial_id in failed:
                self.log_state(trial_id, "failed")
            elif records:
                self.log_state(trial_id, "interrupted")
        self.log_candidates()
        return len(by_trial.keys() | failed)

    def log_candidates(self) -> None:
        """Log the candidates of the study, if there is one."""
        log_candidates(self._experiment, self._results_dir, self._facts)

    def log_record(self, record: Record) -> None:
        """Log the metrics of a round to its trial's run, and their mean to the parent once all seeds have the round."""
        self._records[record.key] = record
        self._note_last(record)
        run = self._trial_run(record.trial_id)
        if self._contradicts(run, record):
            self._supersede(record.trial_id)
        else:
            self._log_new(run, record, metrics(record, self._facts.classes))
        self._log_mean(self._facts.trials[record.trial_id], record.round, are_all_in=False)

    def _note_last(self, record: Record) -> None:
        if record.ended_at is not None:
            begin, end = record.ended_at - sum(record.seconds.values()), record.ended_at
            before = self._spans.get(record.trial_id, (begin, end))
            self._spans[record.trial_id] = min(begin, before[0]), max(end, before[1])
        last = self._last.get(record.trial_id)
        if last is None or last.round <= record.round:
            self._last[record.trial_id] = record

    def log_state(self, trial_id: str, state: State) -> None:
        """Log the state of a trial; one that is done has a model."""
        self._states[trial_id] = state
        run, trial = self._trial_run(trial_id), self._facts.trials[trial_id]
        if state == "done":
            about = params(trial)
            recipe = {key: value for key, value in about.items() if key.startswith(("learner.", "dataset."))}
            tags = {"label": trial["label"], "seed": str(trial["seed"]), "kept_weights": "none"}
            last = self._last[trial_id]
            self._experiment.add_model(
                run,
                self._facts.trial_name(trial),
                recipe,
                tags,
                step=self._facts.steps(last)[-1],
                metrics={MIOU: last.miou, PIXEL_ACCURACY: last.pixel_accuracy},
            )
        self._experiment.set_state(run, state, ended_at=self._span([trial_id])[1])

    def log_parents(self) -> None:
        """Update the parents: their states, and means over the seeds that exist when no more will come."""
        for trial in self._facts.groups.values():
            states = {self._states[member] for member in self._facts.members(trial) if member in self._states}
            if not states:
                continue
            if "running" not in states and "interrupted" not in states:
                for round_ in range(trial["num_rounds"]):
                    self._log_mean(trial, round_, are_all_in=True)
            _, ended_at = self._span(self._facts.members(trial))
            self._experiment.set_state(self._group_run(trial), _worst(states), ended_at=ended_at)
        self._set_suite_state()

    def log_artifacts(self) -> None:
        """Update the suite's run: note, files, report; and the pictures of the selections."""
        if not self._records:
            return
        self._log_pictures()
        run = self._suite_run()
        self._experiment.set_note(run, results_note(self._facts, self._records.values()))
        digest = self._digest()
        if run.tags.get("files_digest") != digest:
            for name in _FILES:
                if (self._results_dir / name).is_file():
                    self._experiment.upload(run, self._results_dir / name)
            if (self._results_dir / "report").is_dir():
                self._experiment.upload(run, self._results_dir / "report", "report")
            self._experiment.set_tag(run, "files_digest", digest)
        self._set_suite_state()

    def _set_suite_state(self) -> None:
        """Set the state of the suite's run to the worst of its strategies."""
        states = {self._experiment.runs[id_].state for id_ in self._facts.groups if id_ in self._experiment.runs}
        _, ended_at = self._span(self._facts.trials)
        worst = _worst({state for state in states if state is not None})
        self._experiment.set_state(self._suite_run(), worst, ended_at=ended_at)

    def _span(self, trial_ids: Iterable[str]) -> tuple[float | None, float | None]:
        """Return when the first round of trials began and the last one ended, Unix seconds, as the records say it.

        None where no record does: nothing is recorded yet, or an earlier version wrote it. A round began as long before
        its end as its phases took, also where it took a shared model from the store: that one was trained then.
        """
        recorded = [self._spans[trial_id] for trial_id in trial_ids if trial_id in self._spans]
        return (min(begin for begin, _ in recorded), max(end for _, end in recorded)) if recorded else (None, None)

    def _log_pictures(self) -> None:
        """Log a picture per round of what the first seed of each strategy selected, if the packed pool is available."""
        try:
            pool = open_packed(self._results_dir, self._facts.dataset["pool"])
            pool.images.check()
            maps = packed_maps(pool, self._facts.dataset["pool"])
        except DataError:  # a cache: results may be logged without it, or on another machine
            return
        for trial in self._facts.groups.values():
            if trial["strategy"] == FULL_SUPERVISION or self._facts.group_of(trial) not in self._experiment.runs:
                continue
            run, key = self._group_run(trial), f"selections/seed {trial['seed']}"
            shapes = maps.get(trial.get("map", ""))
            for picture in draw_selections(self._results_dir, trial["trial_id"], trial["num_rounds"], pool, shapes):
                record = self._records.get((trial["trial_id"], picture.round))
                if record is not None:
                    self._experiment.log_picture(run, picture.image, key, self._facts.steps(record)[0])

    def _digest(self) -> str:
        """Return a hash of what `log_artifacts` uploads, so that it is not uploaded again unchanged."""
        report = sorted(path for path in (self._results_dir / "report").rglob("*") if path.is_file())
        digest = hashlib.sha256()
        for path in [self._results_dir / name for name in _FILES] + report:
            if path.is_file():
                digest.update(str(path.relative_to(self._results_dir)).encode() + b"\0" + path.read_bytes())
        return digest.hexdigest()[:16]

    def _trial_run(self, trial_id: str) -> Run:
        trial = self._facts.trials[trial_id]
        if (found := self._experiment.runs.get(trial_id)) is not None and found.is_complete:
            return found
        tags = {
            **self._facts.tags(trial, "trial"),
            "trial_id": trial_id,
            "seed": str(trial["seed"]),
            "mlflow.parentRunId": self._group_run(trial).run_id,
        }
        about = {**params(trial), "seed": str(trial["seed"])}
        started_at, _ = self._span([trial_id])
        run = self._experiment.run(trial_id, self._facts.trial_name(trial), tags, about, started_at=started_at)
        self._link_datasets(run)
        return run

    def _group_run(self, trial: dict[str, Any]) -> Run:
        identity = self._facts.group_of(trial)
        if (found := self._experiment.runs.get(identity)) is not None and found.is_complete:
            return found
        tags = {**self._facts.tags(trial, "strategy"), "group_id": identity}
        started_at, _ = self._span(self._facts.members(trial))
        run = self._experiment.run(identity, trial["label"], tags, params(trial), started_at=started_at)
        self._experiment.set_note(run, strategy_note(self._facts, trial))  # before the data sets, which complete it
        self._link_datasets(run)
        return run

    def _suite_run(self) -> Run:
        first = next(iter(self._facts.trials.values()))
        about = params(first)
        shared = {key: value for key, value in about.items() if key.startswith(("learner.", "dataset."))}
        tags = {"kind": "suite", "suite_id": self._suite_id, **self._facts.source_tags()}
        started_at, _ = self._span(self._facts.trials)
        run = self._experiment.run(self._suite_id, summary_name(self._facts), tags, shared, started_at=started_at)
        self._link_datasets(run)
        return run

    def _link_datasets(self, run: Run) -> None:
        facts = self._facts
        self._experiment.link_datasets(run, facts.splits, facts.dataset_name, facts.dataset_source)

    def _log_new(self, run: Run, record: Record, values: dict[str, float]) -> None:
        for step in self._facts.steps(record):
            if step not in self._experiment.points(run, MIOU):
                self._experiment.log(run, step, values, at=record.ended_at)

    def _contradicts(self, run: Run, record: Record) -> bool:
        """Return whether a run holds another mIoU of the round: of a folder's copy, or of lines that were deleted."""
        points = self._experiment.points(run, MIOU)
        return any(points.get(step, record.miou) != record.miou for step in self._facts.steps(record))

    def _supersede(self, trial_id: str) -> None:
        """Log what is recorded of a trial to a new run, since MLflow cannot delete the points of the old one."""
        old, new = self._experiment.supersede(trial_id), self._trial_run(trial_id)
        self._warn(
            f"! MLflow's run {old.run_id} of {self._facts.trial_name(self._facts.trials[trial_id])} holds other values "
            f"than {self._results_dir}: they are logged to a new run, {new.run_id}, and the old one is marked"
        )
        for (other, _), record in sorted(self._records.items()):
            if other == trial_id:
                self._log_new(new, record, metrics(record, self._facts.classes))

    def _log_mean(self, trial: dict[str, Any], round_: int, *, are_all_in: bool) -> None:
        """Log the mean over seeds of one round to the parent.

        A mean over some of the seeds is logged only when no more will come, since MLflow cannot delete a point. When a
        failed trial succeeds later, the new mean is a second point at the same step; the newer one counts.
        """
        members = self._facts.members(trial)
        records = [self._records[member, round_] for member in members if (member, round_) in self._records]
        if not records or (len(records) < len(members) and not are_all_in):
            return
        means = mean_metrics(records, self._facts.classes)
        run = self._group_run(trial)
        for step in self._facts.steps(records[0]):
            if self._experiment.points(run, MIOU).get(step) != means[MIOU]:
                ends = [record.ended_at for record in records if record.ended_at is not None]
                self._experiment.log(run, step, means, at=max(ends) if len(ends) == len(records) else None)


def _worst(states: set[State]) -> State:
    order: tuple[State, ...] = ("running", "interrupted", "failed", "pruned", "done")
    return next((state for state in order if state in states), "interrupted")
