"""Logging to Trackio: complete, idempotent, and other values are never dropped in silence.

Each test runs on a stand-in for Trackio's store, and on the real one where it is installed (extra `trackio`).
"""

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from support.fake_trials import make_record, make_suite, write_suite_json

from quadrat.benchmark.config.candidates import Candidate
from quadrat.benchmark.config.study import Study
from quadrat.benchmark.results.failures import Failure, record_failure
from quadrat.benchmark.results.records import append_record
from quadrat.benchmark.results.study_results import StudyResults, write_study
from quadrat.benchmark.tracking.logger import TRACKIO, Loggers, TrackioLogger
from quadrat.benchmark.tracking.trackio_writer import log_to_trackio

SUITE = make_suite()
TRIALS = SUITE.trials()
HAS_TRACKIO = importlib.util.find_spec("trackio") is not None


class StandIn:
    """What `trackio.sqlite_storage.SQLiteStorage` does of what is used of it: an id of a point is taken once."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], dict[str, Any]] = {}
        self.configs: dict[tuple[str, str], dict[str, Any]] = {}

    def validate_project_name(self, project: str) -> None:
        if project.startswith("registry-"):
            raise ValueError("reserved")

    def get_logs(self, project: str, run: str, *, run_id: str) -> list[dict[str, Any]]:
        return [{**row["metrics"], "step": row["step"]} for (_, _), row in self.rows.items() if row["run_id"] == run_id]

    def get_run_records(self, project: str) -> list[dict[str, Any]]:
        found = {(row["run_id"], row["run"]) for (where, _), row in self.rows.items() if where == project}
        return [{"id": id_, "name": name} for id_, name in found]

    def get_run_config(self, project: str, run: str, run_id: str) -> dict[str, Any]:
        return self.configs[project, run_id]

    def bulk_log(
        self,
        project: str,
        run: str,
        metrics_list: list[dict[str, Any]],
        *,
        steps: list[int],
        timestamps: list[str],
        config: dict[str, Any],
        log_ids: list[str],
        run_id: str,
    ) -> None:
        for metrics, step, at, id_ in zip(metrics_list, steps, timestamps, log_ids, strict=True):
            row = {"run": run, "run_id": run_id, "metrics": metrics, "step": step, "timestamp": at}
            self.rows.setdefault((project, id_), row)
        self.configs[project, run_id] = config


@pytest.fixture(scope="module")
def real_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Trackio's store in a folder of its own; the folder is read when it is imported."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRACKIO_DIR", str(tmp_path_factory.mktemp("trackio")))
        from trackio.sqlite_storage import SQLiteStorage

        yield SQLiteStorage


@pytest.fixture(
    params=["stand-in", pytest.param("trackio", marks=pytest.mark.skipif(not HAS_TRACKIO, reason="no trackio"))]
)
def store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    if request.param == "trackio":
        return request.getfixturevalue("real_store")
    module = ModuleType("trackio.sqlite_storage")
    found = module.SQLiteStorage = StandIn()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "trackio", ModuleType("trackio"))
    monkeypatch.setitem(sys.modules, "trackio.sqlite_storage", module)
    return found


@pytest.fixture
def project(request: pytest.FixtureRequest) -> str:
    return f"project-{abs(hash(request.node.nodeid))}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A results folder in which all trials but the last are complete, and the last has failed after round 0."""
    folder = tmp_path / "results"
    folder.mkdir()
    write_suite_json(SUITE, folder)
    for spec in TRIALS[:-1]:
        for round_ in range(spec.num_rounds):
            append_record(folder, make_record(spec, round_, ended_at=1e9 + round_))
    last = TRIALS[-1]
    append_record(folder, make_record(last, 0))
    failure = Failure(trial_id=last.trial_id, label=last.label, seed=last.seed, round=1, exception="E", traceback="T")
    record_failure(folder, failure)
    return folder


def runs(store: Any, project: str) -> dict[str, list[tuple[int, float | None]]]:
    """Return the mIoU of each run by step (of a candidate its objective); a name that is there twice is marked."""
    found: dict[str, list[tuple[int, float | None]]] = {}
    for run in sorted(store.get_run_records(project), key=lambda run: run["id"]):
        name = run["name"] if run["name"] not in found else f"{run['name']} again"
        points = store.get_logs(project, run["name"], run_id=run["id"])
        values = ((one["step"], one.get("miou", one.get("running"))) for one in points)
        found[name] = sorted((step, None if value is None else round(value, 6)) for step, value in values)
    return found


def config(store: Any, project: str, name: str) -> dict[str, Any]:
    (run,) = [run for run in store.get_run_records(project) if run["name"] == name]
    return dict(store.get_run_config(project, name, run_id=run["id"]))


def test_every_trial_is_a_run_whose_step_is_the_number_of_labelled_regions(
    store: Any, project: str, folder: Path
) -> None:
    assert log_to_trackio(folder, project) == 4
    found = runs(store, project)
    assert sorted(found) == ["entropy seed 0", "entropy seed 1", "random seed 0", "random seed 1"]
    assert found["random seed 1"] == ([(4, 0.21), (8, 0.31), (16, 0.41)])
    states = {name: config(store, project, name)["state"] for name in found}
    assert states == dict.fromkeys(found, "done") | {"entropy seed 1": "failed"}
    about = config(store, project, "random seed 1")
    assert (about["seed"], about["_Group"], about["suite"], about["learner.iterations"]) == (1, "random", "fake", "3")
    assert about["_Created"].startswith("2001-09-09T01:46:40")


def test_logging_twice_changes_nothing(store: Any, project: str, folder: Path) -> None:
    log_to_trackio(folder, project)
    before = runs(store, project)
    log_to_trackio(folder, project, pytest.fail)
    assert runs(store, project) == before


def test_other_values_get_a_run_of_their_own_and_are_said_once(store: Any, project: str, folder: Path) -> None:
    log_to_trackio(folder, project)
    lines = (folder / "records.jsonl").read_text().splitlines(keepends=True)
    (folder / "records.jsonl").write_text("".join(lines[3:]))
    for round_ in range(3):
        append_record(folder, make_record(TRIALS[0], round_, miou=0.9, iou=(0.9, None)))
    said: list[str] = []
    log_to_trackio(folder, project, said.append)
    log_to_trackio(folder, project, said.append)
    found = runs(store, project)
    assert found["random seed 0"] == ([(4, 0.2), (8, 0.3), (16, 0.4)])
    assert found["random seed 0 again"] == ([(4, 0.9), (8, 0.9), (16, 0.9)])
    assert len(found) == 5
    assert said == [
        f"! Trackio's run random seed 0 holds other values than {folder}: they are logged to a new run of this name"
    ]


def test_a_run_is_logged_as_it_goes(store: Any, project: str, tmp_path: Path) -> None:
    write_suite_json(SUITE, tmp_path)
    live = TrackioLogger(tmp_path, project, pytest.fail)
    live.start()
    loggers = Loggers([live])
    loggers.state(TRIALS[0].trial_id, "running")
    for round_ in range(2):
        append_record(tmp_path, make_record(TRIALS[0], round_))
        loggers.record(make_record(TRIALS[0], round_))
    loggers.state(TRIALS[0].trial_id, "interrupted")
    assert loggers.finish() == ()
    assert runs(store, project) == {"random seed 0": ([(4, 0.2), (8, 0.3)])}
    assert config(store, project, "random seed 0")["state"] == "interrupted"


def test_a_store_that_refuses_is_one_warning_with_the_way_on(store: Any, folder: Path) -> None:
    warnings: list[str] = []
    live = TrackioLogger(folder, "registry-a", warnings.append)
    live.start()
    assert Loggers([live]).finish(wait_s=5) == (TRACKIO,)
    (warning,) = warnings
    assert warning.startswith("! Trackio does not accept the records: ValueError")
    assert f"quadrat track {folder} --mlflow none --trackio registry-a" in warning


def test_candidates_are_runs_with_parameters_and_state(store: Any, project: str, tmp_path: Path) -> None:
    write_suite_json(SUITE, tmp_path)
    study = Study(strategy="entropy-spatial", candidates=4, search_seeds=(10, 11))
    first = Candidate(number=0, state="done", params={"cutoff": 1.5}, running=(0.2, 0.3), values=(0.4,))
    second = Candidate(number=1, state="pruned", params={"cutoff": 2.5}, running=(0.1,))
    found = StudyResults(study=study, space={}, directions=("maximize",), candidates=(first, second))
    write_study(tmp_path, found)
    log_to_trackio(tmp_path, project)
    log_to_trackio(tmp_path, project, pytest.fail)
    assert runs(store, project) == {"candidate 0": [(1, 0.2), (2, 0.3), (3, None)], "candidate 1": [(1, 0.1)]}
    about = config(store, project, "candidate 1")
    assert (about["state"], about["cutoff"], about["_Group"]) == ("pruned", 2.5, "search")
