"""Logging to MLflow: complete, idempotent, and never in the way of a run."""

import itertools
import json
import re
import shutil
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.fake_trials import make_record, make_suite, write_suite_json
from support.waiting import await_

from quadrat.benchmark.data import RegionGrid, pack
from quadrat.benchmark.data.loaders.scenes import Scenes
from quadrat.benchmark.errors import ResultsError
from quadrat.benchmark.results.failures import Failure, record_failure
from quadrat.benchmark.results.records import append_record
from quadrat.benchmark.results.selections import selection_path, write_selection
from quadrat.benchmark.tracking import addresses
from quadrat.benchmark.tracking import logger as logger_module
from quadrat.benchmark.tracking.addresses import artifact_root, default_uri, runs_page
from quadrat.benchmark.tracking.client import Experiment, experiment_id
from quadrat.benchmark.tracking.logger import MlflowLogger
from quadrat.benchmark.tracking.writer import log_artifacts, log_results
from quadrat.strategies import Selection

SUITE = make_suite(strategies=["random", {"name": "entropy", "label": "H"}], description="a suite that nobody trained")
TRIALS = SUITE.trials()


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An sqlite store whose tables are there: making them takes seconds, copying the file does not."""
    from quadrat.benchmark.tracking.client import _client

    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    _client(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def folder(tmp_path: Path, empty_store: Path) -> Path:
    """A results folder in which all trials but the last are complete, and the last has failed after round 0."""
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    write_suite_json(SUITE, tmp_path)
    for spec in TRIALS[:-1]:
        for round_ in range(spec.num_rounds):
            append_record(tmp_path, make_record(spec, round_))
    last = TRIALS[-1]
    append_record(tmp_path, make_record(last, 0))
    record_failure(
        tmp_path,
        Failure(trial_id=last.trial_id, label=last.label, seed=last.seed, round=1, exception="E", traceback="T"),
    )
    return tmp_path


def runs(folder: Path) -> dict[str, Any]:
    """Return the runs of the folder's store by name; fails when two have the same name."""
    from mlflow import MlflowClient

    client = MlflowClient(default_uri(folder))
    experiment = client.get_experiment_by_name("fake")
    found = client.search_runs([experiment.experiment_id]) if experiment else []
    names = [run.info.run_name for run in found]
    found = [run for run in found if run.data.tags["kind"] != "suite"]
    assert len(names) == len(set(names))
    return {run.info.run_name: run for run in found}


def curve(folder: Path, name: str, metric: str = "miou") -> list[tuple[int, float]]:
    from mlflow import MlflowClient

    history = MlflowClient(default_uri(folder)).get_metric_history(runs(folder)[name].info.run_id, metric)
    return [(point.step, round(point.value, 6)) for point in history]


def test_every_trial_is_a_run_under_the_run_of_its_label(folder: Path) -> None:
    assert log_results(folder) == 4
    found = runs(folder)
    assert sorted(found) == ["H", "H seed 0", "H seed 1", "random", "random seed 0", "random seed 1"]
    for name, run in found.items():
        parent = found[name.partition(" seed")[0]].info.run_id if " seed" in name else None
        assert run.data.tags.get("mlflow.parentRunId") == parent


def test_records_of_trials_that_the_suite_does_not_list_are_left_out(folder: Path) -> None:
    other = make_suite(strategies=["margin"]).trials()[0]
    append_record(folder, make_record(other, 0))
    record_failure(
        folder,
        Failure(trial_id=other.trial_id, label="margin", seed=0, round=1, exception="E", traceback="T"),
    )
    assert log_results(folder) == len(TRIALS)
    assert not any("margin" in name for name in runs(folder))


def test_the_step_of_a_metric_is_the_number_of_labelled_regions(folder: Path) -> None:
    log_results(folder)
    assert curve(folder, "random seed 1") == [(4, 0.21), (8, 0.31), (16, 0.41)]
    assert curve(folder, "random seed 1", "class_iou/road") == [(4, 0.21), (8, 0.31), (16, 0.41)]
    assert curve(folder, "random seed 1", "class_iou/sky") == []
    assert [step for step, _ in curve(folder, "random seed 1", "seconds/fit")] == [4, 8, 16]


def test_the_run_of_a_label_holds_the_mean_over_seeds(folder: Path) -> None:
    log_results(folder)
    assert curve(folder, "random") == [(4, 0.205), (8, 0.305), (16, 0.405)]
    assert curve(folder, "random", "num_seeds") == [(4, 2), (8, 2), (16, 2)]
    # The second seed of H failed after round 0 and will not come: later means are those of the first.
    assert curve(folder, "H", "num_seeds") == [(4, 2), (8, 1), (16, 1)]
    assert [step for step, _ in curve(folder, "H", "miou_std")] == [4]  # one seed has none


def test_runs_have_the_times_of_their_records_also_when_they_are_logged_later(
    tmp_path: Path, empty_store: Path
) -> None:
    """Round r of seed s of "random" ends 100 r + 10 s seconds after a moment of 2001, having taken 60 s."""
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    write_suite_json(SUITE, tmp_path)
    for spec in TRIALS[:2]:
        for round_ in range(spec.num_rounds):
            times = {"seconds": {"fit": 50.0, "score": 10.0}, "ended_at": 1e9 + 100 * round_ + 10 * spec.seed}
            append_record(tmp_path, make_record(spec, round_, **times))
    for round_ in range(TRIALS[2].num_rounds):  # as an earlier version wrote them
        append_record(tmp_path, make_record(TRIALS[2], round_))
    before_ms = time.time() * 1000
    log_results(tmp_path)
    found = runs(tmp_path)
    span = {name: ((run.info.start_time / 1000 - 1e9), (run.info.end_time / 1000 - 1e9)) for name, run in found.items()}
    assert span["random seed 0"] == (-60, 200)
    assert span["random seed 1"] == (-50, 210)
    assert span["random"] == (-60, 210)
    assert found["H seed 0"].info.start_time >= before_ms
    from mlflow import MlflowClient

    client = MlflowClient(default_uri(tmp_path))
    times_of = {
        name: [point.timestamp / 1000 - 1e9 for point in client.get_metric_history(found[name].info.run_id, "miou")]
        for name in ("random seed 1", "random")
    }
    assert {name: sorted(set(times)) for name, times in times_of.items()} == {
        "random seed 1": [10, 110, 210],
        "random": [10, 110, 210],  # a mean is there with its last seed
    }


def test_the_page_of_a_server_is_that_of_the_suites_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"fake": "7"}
    monkeypatch.setattr(addresses, "experiment_id", lambda uri, name: known.get(name))
    charts = "workflowType=machine_learning&compareRunsMode=CHART"
    assert runs_page("http://me:secret@host:5000/", "fake") == f"http://host:5000/#/experiments/7/runs?{charts}"
    assert runs_page("https://host", "none") == "https://host/"
    assert runs_page("sqlite:////tmp/mlflow.db", "fake") is None


def test_tags_and_status_give_the_state_of_a_trial(folder: Path) -> None:
    log_results(folder)
    found = runs(folder)
    state = {name: (run.data.tags["state"], run.info.status) for name, run in found.items()}
    assert state == {
        "random": ("done", "FINISHED"),
        "random seed 0": ("done", "FINISHED"),
        "random seed 1": ("done", "FINISHED"),
        "H": ("failed", "FAILED"),
        "H seed 0": ("done", "FINISHED"),
        "H seed 1": ("failed", "FAILED"),
    }
    tags = found["H seed 1"].data.tags
    assert {name: tags[name] for name in ("trial_id", "strategy", "label", "seed", "commit")} == {
        "trial_id": TRIALS[-1].trial_id,
        "strategy": "entropy",
        "label": "H",
        "seed": "1",
        "commit": "c0ffee",
    }


def test_parameters_stand_under_their_own_names(folder: Path) -> None:
    log_results(folder)
    params = runs(folder)["H seed 0"].data.params
    assert params["uncertainty"] == "entropy" and params["seed"] == "0"
    assert (params["region_size"], params["learner.encoder"], params["dataset.name"]) == ("16", "test_resnet", "scenes")


def test_logging_twice_changes_nothing(folder: Path) -> None:
    log_results(folder)
    before = {name: (run.info.run_id, run.info.end_time) for name, run in runs(folder).items()}
    log_results(folder)
    assert {name: (run.info.run_id, run.info.end_time) for name, run in runs(folder).items()} == before
    assert len(curve(folder, "random seed 0")) == len(curve(folder, "random")) == 3


def owned(store: Path, experiment: str = "fake", results_id: str | None = None) -> dict[str, list[Any]]:
    """Return the runs of an experiment by name, those of one results folder only if its id is given."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{store}")
    query = "" if results_id is None else f"tags.results_id = '{results_id}'"
    found: dict[str, list[Any]] = {}
    for run in client.search_runs([client.get_experiment_by_name(experiment).experiment_id], query):
        found.setdefault(run.info.run_name, []).append(run)
    return found


def _make_folder(folder: Path, results_id: str | None, miou: float) -> Path:
    write_suite_json(SUITE, folder)
    document = json.loads((folder / "suite.json").read_text())
    del document["id"]
    document |= {} if results_id is None else {"id": results_id}
    (folder / "suite.json").write_text(json.dumps(document))
    for round_ in range(3):
        append_record(folder, make_record(TRIALS[0], round_, miou=miou + 0.1 * round_))
    return folder


def test_two_folders_of_one_suite_keep_their_own_values_on_one_server(tmp_path: Path, empty_store: Path) -> None:
    store = tmp_path / "shared.db"
    shutil.copy(empty_store, store)
    for name, results_id, miou in (("one", "1" * 16, 0.25), ("two", "2" * 16, 0.5)):
        folder = _make_folder(tmp_path / name, results_id, miou)
        for _ in range(2):  # tracked again, it finds its own
            log_results(folder, f"sqlite:///{store}", pytest.fail)
        (run,) = owned(store, results_id=results_id)["random seed 0"]
        assert run.data.metrics["miou"] == pytest.approx(miou + 0.2)
        (mean,) = owned(store, results_id=results_id)["random"]
        assert mean.data.metrics["miou"] == pytest.approx(miou + 0.2)
        assert run.data.tags["mlflow.parentRunId"] == mean.info.run_id
    assert len(owned(store)["random seed 0"]) == 2


def test_folders_made_before_there_was_an_id_are_told_apart_by_commit(tmp_path: Path, empty_store: Path) -> None:
    store = tmp_path / "shared.db"
    shutil.copy(empty_store, store)
    for name, commit in (("one", "c0ffee"), ("two", "decade")):
        folder = _make_folder(tmp_path / name, None, 0.25)
        (folder / "environment.json").write_text(json.dumps({"commit": commit}))
        log_results(folder, f"sqlite:///{store}", pytest.fail)
        log_results(folder, f"sqlite:///{store}", pytest.fail)
    assert len(owned(store)["random seed 0"]) == 2


def test_values_that_differ_are_said_and_logged_to_a_new_run(folder: Path) -> None:
    log_results(folder)
    text = (folder / "records.jsonl").read_text().splitlines(keepends=True)
    kept = [line for line in text if json.loads(line)["trial_id"] != TRIALS[0].trial_id]
    (folder / "records.jsonl").write_text("".join(kept))
    for round_ in range(3):  # deleted, and made again by other software
        append_record(folder, make_record(TRIALS[0], round_, miou=0.6 + 0.1 * round_))
    warnings: list[str] = []
    log_results(folder, warn=warnings.append)
    (warning,) = warnings
    document = json.loads((folder / "suite.json").read_text())
    (run,) = owned(folder / "mlflow.db", results_id=document["id"])["random seed 0"]
    assert run.data.metrics["miou"] == pytest.approx(0.8)
    assert run.info.run_id in warning and "random seed 0 holds other values" in warning
    (old,) = (one for one in owned(folder / "mlflow.db")["random seed 0"] if one.info.run_id != run.info.run_id)
    assert old.data.tags["results_id"] == f"{document['id']} (superseded)" and old.info.run_id in warning
    assert owned(folder / "mlflow.db", results_id=document["id"])["random"][0].data.metrics["miou"] == pytest.approx(
        (0.8 + 0.41) / 2
    )
    log_results(folder, warn=pytest.fail)


def test_an_experiment_of_another_name_holds_the_folders_of_several_suites(tmp_path: Path, empty_store: Path) -> None:
    store = tmp_path / "shared.db"
    shutil.copy(empty_store, store)
    folder = _make_folder(tmp_path / "one", "1" * 16, 0.25)
    log_results(folder, f"sqlite:///{store}", pytest.fail, "everything")
    assert set(owned(store, "everything")) == {"fake (report)", "random", "random seed 0"}
    assert experiment_id(f"sqlite:///{store}", "fake") is None


def test_a_failed_trial_that_succeeds_later_is_logged_as_done(folder: Path) -> None:
    log_results(folder)
    for round_ in (1, 2):
        append_record(folder, make_record(TRIALS[-1], round_))
    (folder / "failures.jsonl").unlink()
    log_results(folder)
    assert runs(folder)["H seed 1"].info.status == "FINISHED"
    assert runs(folder)["H"].data.tags["state"] == "done"
    assert runs(folder)["H"].data.metrics["num_seeds"] == 2


def test_a_run_is_logged_as_it_goes(tmp_path: Path, empty_store: Path) -> None:
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    write_suite_json(SUITE, tmp_path)
    live = MlflowLogger(tmp_path, None, pytest.fail)
    live.start()
    for spec in TRIALS[:2]:
        live.state(spec.trial_id, "running")
        for round_ in range(2):
            append_record(tmp_path, make_record(spec, round_))
            live.record(make_record(spec, round_))
    live.state(TRIALS[0].trial_id, "interrupted")
    assert live.finish()
    assert curve(tmp_path, "random seed 0") == [(4, 0.2), (8, 0.3)]
    assert curve(tmp_path, "random") == [(4, 0.205), (8, 0.305)]
    assert runs(tmp_path)["random seed 0"].info.status == "KILLED"
    assert summary(tmp_path).data.tags["state"] == "running"  # one of its trials is
    assert runs(tmp_path)["random seed 1"].info.status == "RUNNING"
    assert experiment_id(default_uri(tmp_path), "fake") is not None


def test_what_an_earlier_run_left_is_logged_by_the_next(folder: Path) -> None:
    live = MlflowLogger(folder, None, pytest.fail)
    live.start()
    assert live.finish()
    assert len(runs(folder)) == 6


def test_a_server_that_does_not_answer_is_one_warning_and_slows_nothing(folder: Path) -> None:
    warnings: list[str] = []
    live = MlflowLogger(folder, "http://me:secret@127.0.0.1:9", warnings.append)
    live.start()
    start = time.monotonic()
    for round_ in range(3):
        live.record(make_record(TRIALS[0], round_))
    assert time.monotonic() - start < 0.1
    assert not live.finish()
    (warning,) = warnings
    assert "http://127.0.0.1:9 does not accept the records" in warning
    assert f"quadrat track {folder}" in warning
    assert "secret" not in warning


def test_a_server_that_comes_back_gets_everything(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    is_up = threading.Event()
    warnings: list[str] = []
    writer = logger_module.ResultsWriter

    def open_writer(*arguments: Any) -> Any:
        if not is_up.is_set():
            raise ConnectionError("refused")
        return writer(*arguments)

    monkeypatch.setattr(logger_module, "ResultsWriter", open_writer)
    monkeypatch.setattr(logger_module, "_RETRY_S", 0.05)
    live = MlflowLogger(folder, None, warnings.append)
    live.start()
    await_(lambda: bool(warnings))
    is_up.set()
    assert live.finish()
    assert len(runs(folder)) == 6
    assert len(warnings) == 1


def summary(folder: Path) -> Any:
    """Return the run of the whole suite; fails when there is not just one."""
    from mlflow import MlflowClient

    client = MlflowClient(default_uri(folder))
    experiment = client.get_experiment_by_name("fake")
    (run,) = client.search_runs([experiment.experiment_id], filter_string="tags.kind = 'suite'")
    return run


def artifacts(folder: Path, run: Any, path: str | None = None) -> list[str]:
    from mlflow import MlflowClient

    return sorted(file.path for file in MlflowClient(default_uri(folder)).list_artifacts(run.info.run_id, path))


def test_the_suites_run_holds_report_files_and_state(folder: Path) -> None:
    (folder / "report").mkdir()
    (folder / "report" / "index.html").write_text("<p>first</p>")
    log_results(folder)
    run = summary(folder)
    assert run.info.run_name == "fake (report)"
    assert (run.data.tags["state"], run.info.status) == ("failed", "FAILED")
    assert "| random | 20.5 (0.7) | 30.5 (0.7) | 40.5 (0.7) |" in run.data.tags["mlflow.note.content"]
    files = ["environment.json", "failures.jsonl", "records.jsonl", "report", "suite.json"]
    assert artifacts(folder, run) == files
    (folder / "report" / "index.html").write_text("<p>second</p>")
    log_artifacts(folder)
    assert artifacts(folder, summary(folder)) == files
    path = Path(run.info.artifact_uri.removeprefix("file://")) / "report" / "index.html"
    assert path.read_text() == "<p>second</p>"


def test_artifacts_logged_to_a_new_store_come_with_all_runs(folder: Path) -> None:
    log_artifacts(folder)
    assert len(runs(folder)) == 6
    assert summary(folder).data.tags["state"] == "failed"


def test_nothing_is_uploaded_again_that_has_not_changed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log_results(folder)
    monkeypatch.setattr(Experiment, "upload", lambda *_: pytest.fail("uploaded again"))
    log_results(folder)


def test_runs_know_their_data_sets_and_trials_their_model(folder: Path) -> None:
    from mlflow import MlflowClient

    log_results(folder)
    log_results(folder)
    run = runs(folder)["random seed 0"]
    linked = [(one.tags[0].value, one.dataset.name, one.dataset.digest) for one in run.inputs.dataset_inputs]
    assert sorted(linked) == [("test", "scenes test", "0" * 36), ("train", "scenes train", "0" * 36)]
    model = MlflowClient(default_uri(folder)).get_logged_model(run.data.tags["model_id"])
    assert model.source_run_id == run.info.run_id
    assert model.params["learner.encoder"] == "test_resnet"
    assert {metric.key: (metric.step, round(metric.value, 6)) for metric in model.metrics} == {
        "miou": (16, 0.4),
        "pixel_accuracy": (16, 0.9),
    }
    assert [(one.model_id, one.step) for one in run.outputs.model_outputs] == [(model.model_id, 16)]
    assert len(curve(folder, "random seed 0")) == 3  # the model's mIoU is no fourth point
    assert "model_id" not in runs(folder)["H seed 1"].data.tags  # it has failed


def test_full_supervision_is_a_line_over_all_budgets(tmp_path: Path, empty_store: Path) -> None:
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    suite = make_suite(full_supervision=True)
    write_suite_json(suite, tmp_path)
    for spec in suite.trials()[:2]:
        budgets = spec.model_copy(update={"budgets": (100,)})
        append_record(tmp_path, make_record(budgets, 0, trial_id=spec.trial_id))
    log_results(tmp_path)
    assert curve(tmp_path, "full-supervision") == [(4, 0.205), (8, 0.205), (16, 0.205)]
    assert curve(tmp_path, "full-supervision", "cost/labelled_px") == []


def test_region_sizes_share_an_axis(tmp_path: Path, empty_store: Path) -> None:
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    suite = make_suite(region_size=[16, 8], strategies=["random"], seeds=[0])
    write_suite_json(suite, tmp_path)
    for spec in suite.trials():
        append_record(tmp_path, make_record(spec, 0))
    log_results(tmp_path)
    assert curve(tmp_path, "random r16") == curve(tmp_path, "random r8") == [(4, 0.2)]
    assert curve(tmp_path, "random r8", "cost/regions") == [(4, 16.0)]


@pytest.fixture
def pictured(tmp_path: Path, empty_store: Path) -> Path:
    """A results folder of one trial whose rounds have selections and a packed pool to draw them on."""
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    dataset = Scenes(num_train=6, num_test=2, height=48, width=64)
    pool = pack(dataset, "train", tmp_path / "cache")
    suite = make_suite(strategies=["random"], seeds=[0])
    write_suite_json(suite, tmp_path)
    document = json.loads((tmp_path / "suite.json").read_text())
    document["dataset"]["pool"] |= {"path": str(pool.path), "fingerprint": pool.fingerprint}
    (tmp_path / "suite.json").write_text(json.dumps(document))
    grid, (spec,) = RegionGrid(pool.sizes, 16), suite.trials()
    for round_ in range(3):
        selection = Selection(regions=np.arange(4 * round_, 4 * round_ + 4), potential=np.ones(4))
        write_selection(selection_path(tmp_path, spec.trial_id, round_), selection, grid)
        append_record(tmp_path, make_record(spec, round_))
    return tmp_path


_PICTURES = [
    f"images/selections~seed 0+step+{step}{end}" for step in (4, 8, 16) for end in (".png", "+compressed.webp")
]


def pictures(folder: Path) -> list[str]:
    """Return the pictures of the strategy's run without time and random part of their names."""
    names = artifacts(folder, runs(folder)["random"], "images")
    return sorted(re.sub(r"\+timestamp\+\d+\+[0-9a-f-]{36}", "", name) for name in names)


def test_the_run_of_a_strategy_has_one_picture_of_its_selection_per_round(pictured: Path) -> None:
    lines = (pictured / "records.jsonl").read_text().splitlines(keepends=True)
    (pictured / "records.jsonl").write_text(lines[0])
    log_results(pictured)
    (pictured / "records.jsonl").write_text("".join(lines))
    log_results(pictured)
    log_results(pictured)
    assert pictures(pictured) == sorted(_PICTURES)


class _Killed(BaseException):
    """Stands for SIGKILL: nothing in the code under test catches it, and nothing is tidied."""


def _kill_after(monkeypatch: pytest.MonkeyPatch, method: str, count: int) -> None:
    """End `log_results` right after the call number `count` of a method of MLflow's client."""
    from mlflow import MlflowClient

    original, calls = getattr(MlflowClient, method), itertools.count(1)

    def call(*arguments: Any, **options: Any) -> Any:
        result = original(*arguments, **options)
        if next(calls) == count:
            raise _Killed
        return result

    monkeypatch.setattr(MlflowClient, method, call)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "count"),
    [
        ("create_experiment", 1),
        ("create_run", 2),
        ("log_batch", 2),  # the parameters of the strategy's run
        ("log_batch", 3),  # the parameters of the trial's run
        ("log_inputs", 2),
        ("create_logged_model", 1),
        ("finalize_logged_model", 1),
        ("log_artifact", 1),  # the first picture's first file
        ("log_artifact", 2),  # its second file
        ("log_image", 1),
        ("log_artifact", 6),
    ],
)
def test_a_kill_while_it_is_logged_leaves_nothing_half_done(
    pictured: Path, monkeypatch: pytest.MonkeyPatch, method: str, count: int
) -> None:
    from mlflow import MlflowClient

    with monkeypatch.context() as patch:
        _kill_after(patch, method, count)
        with pytest.raises(_Killed):
            log_results(pictured)
    log_results(pictured)
    found = runs(pictured)
    assert sorted(found) == ["random", "random seed 0"]
    for run in (*found.values(), summary(pictured)):
        assert len(run.inputs.dataset_inputs) == 2
        assert run.data.params != {}
        assert "mlflow.note.content" in run.data.tags or run.info.run_name == "random seed 0"
    assert curve(pictured, "random seed 0") == curve(pictured, "random") == [(4, 0.2), (8, 0.3), (16, 0.4)]
    assert pictures(pictured) == sorted(_PICTURES)
    client = MlflowClient(default_uri(pictured))
    models = client.search_logged_models([client.get_experiment_by_name("fake").experiment_id])
    assert [(str(model.status), model.source_run_id) for model in models] == [
        ("READY", found["random seed 0"].info.run_id)
    ]


def test_a_store_that_cannot_be_opened_is_put_aside_and_made_again(folder: Path) -> None:
    with sqlite3.connect(folder / "mlflow.db") as connection:  # as killed between two steps of its creation
        connection.execute("DROP TABLE alembic_version")
    before = (folder / "mlflow.db").read_bytes()
    warnings: list[str] = []
    assert log_results(folder, warn=warnings.append) == 4
    assert len(runs(folder)) == 6
    (warning,) = warnings
    assert "is damaged: its tables are half made. It is now mlflow.db.damaged-1" in warning
    assert (folder / "mlflow.db.damaged-1").read_bytes() == before
    log_results(folder, warn=pytest.fail)


def test_a_file_that_a_killed_upload_left_is_removed(folder: Path) -> None:
    from mlflow.store.artifact import local_artifact_repo

    if not hasattr(local_artifact_repo, "_TEMP_ARTIFACT_PREFIX"):
        pytest.skip("this MLflow writes artifacts in place")
    log_results(folder, warn=pytest.fail)
    there = {path for path in (folder / "mlartifacts").rglob("*") if path.is_file()}
    stray = next(iter(there)).with_name(f"{local_artifact_repo._TEMP_ARTIFACT_PREFIX}0a1b")
    stray.write_bytes(b"half a pic")
    log_results(folder, warn=pytest.fail)
    assert {path for path in (folder / "mlartifacts").rglob("*") if path.is_file()} == there


def test_a_database_of_ones_own_is_never_put_aside(folder: Path) -> None:
    (folder / "own.db").write_bytes(b"something else" * 1000)
    with pytest.raises(Exception, match="not a database"):
        log_results(folder, f"sqlite:///{folder / 'own.db'}")
    assert (folder / "own.db").read_bytes() == b"something else" * 1000


def test_a_folder_without_results_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match=r"expected a results folder with suite\.json.*quadrat run"):
        log_results(tmp_path)


def test_class_names_become_metric_names_that_mlflow_takes(folder: Path) -> None:
    document = json.loads((folder / "suite.json").read_text())
    document["dataset"]["classes"] = ["road (paved)", "sky"]
    (folder / "suite.json").write_text(json.dumps(document))
    log_results(folder)
    assert "class_iou/road _x28_paved_x29_" in runs(folder)["random seed 0"].data.metrics


def test_the_store_of_a_folder_with_percent_and_question_mark_lies_in_it(empty_store: Path, tmp_path: Path) -> None:
    folder = tmp_path / "50%20off?x=1"
    folder.mkdir()
    shutil.copy(empty_store, folder / "mlflow.db")
    Experiment(default_uri(folder), "here", owner="x", note="", artifact_root=folder / "mlruns")
    assert b"here" in (folder / "mlflow.db").read_bytes()


def test_artifacts_of_a_database_of_ones_own_lie_beside_it_and_not_in_the_working_directory(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    away, working = tmp_path_factory.mktemp("away"), tmp_path_factory.mktemp("working")
    shutil.copy(folder / "mlflow.db", away / "runs.db")
    monkeypatch.chdir(working)
    log_results(folder, f"sqlite:///{away / 'runs.db'}")
    assert list(working.iterdir()) == []
    assert list((away / "mlartifacts").rglob("records.jsonl")) != []


@pytest.mark.parametrize(
    ("uri", "root"),
    [
        ("sqlite:////data/a%20b/runs.db", Path("/data/a b/mlartifacts")),
        ("postgresql+psycopg2://me@host/db", Path("/results/mlartifacts")),
        ("mysql://host/db", Path("/results/mlartifacts")),
        ("http://host:5000", None),
        ("databricks", None),
        ("file:///data/mlruns", None),
        ("./mlruns", None),
    ],
)
def test_only_a_database_has_no_place_of_its_own_for_artifacts(uri: str, root: Path | None) -> None:
    assert artifact_root(uri, Path("/results")) == root
