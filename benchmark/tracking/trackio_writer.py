"""Writes a results folder to Trackio's store on this machine: the only module that imports trackio, and late.

A project holds a run for each trial, grouped by strategy, and one for each candidate of a study. A point has an id made
of folder, trial and step, and Trackio takes an id once: so logging twice changes nothing.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from quadrat.benchmark.results.failures import read_failures
from quadrat.benchmark.results.folder import read_environment, read_suite_json
from quadrat.benchmark.results.records import Record, is_complete, read_records_so_far
from quadrat.benchmark.results.study_results import read_study
from quadrat.benchmark.tracking.client import State
from quadrat.benchmark.tracking.values import MIOU, SuiteFacts, metrics, params

__all__ = ["TrackioWriter", "log_to_trackio"]

_RUNNING: Final = "running"
"""Metric with the first objective of a candidate after each round."""

_GROUP: Final = "_Group"
_CREATED: Final = "_Created"
"""Keys of a run's configuration that Trackio's page reads."""


class _Point(NamedTuple):
    """Metrics of a run.

    Attributes:
        step: Number of labelled regions; of a candidate, rounds done.
        values: By name.
        at: Unix seconds; None for now.
    """

    step: int
    values: Mapping[str, float]
    at: float | None = None


def log_to_trackio(results_dir: Path, project: str, warn: Callable[[str], None] = print) -> int:
    """Log a results folder to a project of Trackio, and return the number of its trials that have run.

    Args:
        results_dir: The results folder.
        project: Trackio's project.
        warn: Called with a message when a run holds other values than the folder.

    Raises:
        ResultsError: When the folder holds no results.
        ValueError: When Trackio does not take the project's name.
        Exception: Whatever Trackio raises when its store cannot be used.
    """
    return TrackioWriter(Path(results_dir), project, warn).log_files()


class TrackioWriter:
    """Writes a results folder into one project.

    Args:
        results_dir: The results folder.
        project: Trackio's project, which several folders may share.
        warn: Called with a message when a run holds other values than the folder: a new run then gets them.
    """

    def __init__(self, results_dir: Path, project: str, warn: Callable[[str], None] = print) -> None:
        from trackio.sqlite_storage import SQLiteStorage

        SQLiteStorage.validate_project_name(project)
        self._store = SQLiteStorage
        self._project = project
        self._warn = warn
        self._results_dir = results_dir
        self._facts = SuiteFacts(read_suite_json(results_dir), read_environment(results_dir))
        self._records: dict[str, dict[int, Record]] = {}
        for record in self._facts.own(read_records_so_far(results_dir)):
            self._records.setdefault(record.trial_id, {})[record.round] = record
        self._states: dict[str, State] = {}
        self._there: dict[str, dict[int, Mapping[str, Any]]] = {}

    def log_files(self) -> int:
        """Log everything in the files, and return the number of trials that have run."""
        failed = {failure.trial_id for failure in read_failures(self._results_dir)} & self._facts.trials.keys()
        for trial_id, records in self._records.items():
            is_done = is_complete(list(records.values()), trial_id, self._facts.trials[trial_id]["num_rounds"])
            self._states[trial_id] = "done" if is_done else "failed" if trial_id in failed else "interrupted"
            self._log_trial(trial_id)
        self.log_candidates()
        return len(self._records.keys() | failed)

    def log_record(self, record: Record) -> None:
        """Log the metrics of a round."""
        self._records.setdefault(record.trial_id, {})[record.round] = record
        self._log_trial(record.trial_id)

    def log_state(self, trial_id: str, state: State) -> None:
        """Log the state of a trial; one without a round has no run yet."""
        self._states[trial_id] = state
        if trial_id in self._records:
            self._log_trial(trial_id)

    def log_candidates(self) -> None:
        """Log the candidates of the study, if there is one."""
        found = read_study(self._results_dir)
        if found is None:
            return
        for candidate in found.candidates:
            points = [_Point(step, {_RUNNING: value}) for step, value in enumerate(candidate.running, start=1)]
            if points and candidate.values:
                pairs = zip(found.study.objective, candidate.values, strict=False)
                points.append(_Point(len(points) + 1, {str(name): value for name, value in pairs}))
            config = {**candidate.params, "state": candidate.state, "kind": "candidate", _GROUP: "search"}
            self._log(f"candidate {candidate.number}", f"candidate {candidate.number}", points, config)

    def log_parents(self) -> None:
        """Log nothing: Trackio's page shows the runs of a group together."""

    def _log_trial(self, trial_id: str) -> None:
        """Log all rounds of a trial and its state; what is there is left alone."""
        trial = self._facts.trials[trial_id]
        points = [
            _Point(step, metrics(record, self._facts.classes), record.ended_at)
            for _, record in sorted(self._records[trial_id].items())
            for step in self._facts.steps(record)
        ]
        state = self._states.get(trial_id, "running")
        config = {**params(trial), "seed": trial["seed"], "state": state, "kind": "trial", _GROUP: trial["label"]}
        self._log(trial_id, self._facts.trial_name(trial), points, config)

    def _log(self, identity: str, name: str, points: Sequence[_Point], config: Mapping[str, Any]) -> None:
        """Log points to the run of this identity, or to a new one where it holds other values.

        Args:
            identity: Of the run, in this results folder.
            name: Of the run.
            points: What it is to hold.
            config: What its page says of it.
        """
        if not points:
            return
        run_id = self._run_without_others(f"{self._facts.results_id} {identity}", name, points)
        times = [datetime.now(UTC) if at is None else datetime.fromtimestamp(at, UTC) for _, _, at in points]
        facts = {"suite": self._facts.name, "results_id": self._facts.results_id, "commit": self._facts.commit}
        self._store.bulk_log(
            self._project,
            name,
            [dict(point.values) for point in points],
            steps=[point.step for point in points],
            timestamps=[time.isoformat() for time in times],
            config={**config, **facts, _CREATED: min(times).isoformat()},
            log_ids=[f"{run_id} {point.step}" for point in points],
            run_id=run_id,
        )
        self._there[run_id] |= {point.step: point.values for point in points}

    def _run_without_others(self, first: str, name: str, points: Sequence[_Point]) -> str:
        """Return the id of the first run without other values, as of a copy of the folder that went on by itself."""
        for number in itertools.count(1):
            run_id = first if number == 1 else f"{first} ({number})"
            if run_id not in self._there:
                found = self._store.get_logs(self._project, name, run_id=run_id)
                self._there[run_id] = {point["step"]: point for point in found}
            there = self._there[run_id]
            if number > 1 and not there:
                self._warn(
                    f"! Trackio's run {name} holds other values than {self._results_dir}: they are logged to a new run "
                    "of this name"
                )
            if all(_agrees(there[point.step], point.values) for point in points if point.step in there):
                return run_id
        raise AssertionError("unreachable: a run without points agrees")


def _agrees(there: Mapping[str, Any], values: Mapping[str, float]) -> bool:
    return all(there.get(name) == values.get(name) for name in (MIOU, _RUNNING))
