"""Names and values of what is logged to MLflow, without a store."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from support.fake_results import write_fake_results
from support.records import RECORD

from quadrat.benchmark.tracking.values import (
    SuiteFacts,
    class_name,
    experiment_note,
    metric_name,
    metrics,
    results_note,
)


def test_the_share_of_void_in_what_was_labelled_is_a_metric() -> None:
    found = metrics(replace(RECORD, labelled_px=2560, void_px=640), ["sky", "road"])
    assert found["cost/void_fraction"] == pytest.approx(0.25)
    assert set(found) >= {"miou", "pixel_accuracy", "class_iou/sky", "cost/clicks"} and "class_iou/road" not in found


NAMES = (
    "a/b",
    "a_b",
    "a%b",
    "a b",
    "_x2F_",
    "_x5F_x2F_",
    "__x2F__x",
    "x2F_",
    ".",
    "..",
    "a.",
    "Straße",
    "雪",
    "a:b",
    "_",
    "",
)


def test_class_names_are_kept_apart_in_metrics_and_can_be_read_back() -> None:
    """`a/b`, `a%b` and `a_b` were one metric, whose values were those of the class that came last."""
    found = {name: metric_name(name) for name in NAMES}
    assert len(set(found.values())) == len(NAMES)
    assert {name: class_name(metric) for name, metric in found.items()} == {name: name for name in NAMES}
    assert [metric_name(name) for name in ("sky", "traffic light", "sign_symbol")] == [
        "sky",
        "traffic light",
        "sign_symbol",
    ]


def test_mlflow_takes_the_name_of_every_class() -> None:
    validation = pytest.importorskip("mlflow.utils.validation")
    for name in NAMES[:-1]:
        validation._validate_metric_name(f"class_iou/{metric_name(name)}")


def test_labels_are_text_in_the_notes(tmp_path: Path) -> None:
    document = json.loads((write_fake_results(tmp_path, has_pool=False) / "suite.json").read_text())
    document["suite"]["description"] = "**bold** <img src=x>"
    for trial in document["trials"]:
        trial["spec"] = {"dataset": {"name": "scenes"}, "learner": {"encoder": "tiny", "weights": "none"}}
    document["trials"][1]["label"] = "a|b `c` <img src=x>"
    facts = SuiteFacts(document, {})
    note = results_note(facts, [replace(RECORD, trial_id=document["trials"][1]["trial_id"], label="as it was")])
    assert r"| a\|b \`c\` \<img src=x> |" in note
    assert experiment_note(facts).startswith(r"\*\*bold\*\* \<img src=x>")


def test_runs_have_the_colours_of_the_report(tmp_path: Path) -> None:
    document = json.loads((write_fake_results(tmp_path, has_pool=False) / "suite.json").read_text())
    for trial in document["trials"]:
        trial["spec"] = {"dataset": {"name": "scenes"}, "learner": {"encoder": "tiny", "weights": "none"}}
    facts = SuiteFacts(document, {})
    colours = {trial["label"]: facts.tags(trial, "trial")["mlflow.runColor"] for trial in facts.trials.values()}
    assert colours["random"] == "#757575" and colours["full-supervision"] == "#000000"
    assert len(set(colours.values())) == len(colours) == 9


def test_what_a_round_used_is_shown_on_the_tab_of_system_metrics() -> None:
    usage = {"wall_s": 20.0, "cpu_s": 30.0, "memory_bytes": 2e9, "gpu_memory_bytes": 5e8}
    found = metrics(replace(RECORD, usage=usage), ["sky", "road"])
    assert {name: value for name, value in found.items() if name.startswith("system/")} == {
        "system/cpu_cores": 1.5,
        "system/memory_peak_megabytes": 2000.0,
        "system/gpu_memory_peak_megabytes": 500.0,
    }
    assert not any(name.startswith("system/") for name in metrics(RECORD, ["sky", "road"]))
