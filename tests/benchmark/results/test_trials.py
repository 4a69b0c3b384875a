"""Trials of a results folder: their state, and folders that are refused."""

import json
from pathlib import Path
from typing import Any

import pytest
from support.fake_results import write_fake_results

from quadrat.benchmark.errors import ResultsError
from quadrat.benchmark.results.trials import read_results

FEW: dict[str, Any] = {"strategies": ("random", "entropy", "entropy-spatial"), "budgets": (12, 24, 48)}


def test_a_failed_trial_that_was_finished_later_counts_as_done(tmp_path: Path) -> None:
    folder = write_fake_results(tmp_path, **FEW, seeds=(0,), failed={("entropy", 0): "OSError: gone"})
    assert {trial.state for trial in read_results(folder).trials} == {"done"}


def test_a_trial_that_exhausted_the_pool_is_done(tmp_path: Path) -> None:
    folder = write_fake_results(tmp_path, **FEW, seeds=(0,), num_rounds={("random", 0): 2})
    path = folder / "records.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        del line["checksum"]
        line["exhausted"] = line["label"] == "random" and line["round"] == 1
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    assert {trial.state for trial in read_results(folder).trials} == {"done"}


def test_records_of_trials_outside_the_suite_are_counted_and_left_out(tmp_path: Path) -> None:
    folder = write_fake_results(tmp_path, **FEW, seeds=(0,))
    path = folder / "suite.json"
    described = json.loads(path.read_text())
    described["trials"] = [trial for trial in described["trials"] if trial["label"] != "entropy"]
    path.write_text(json.dumps(described), encoding="utf-8")
    results = read_results(folder)
    assert results.num_foreign_records == 3
    assert "entropy" not in results.labels


def test_folder_that_holds_no_results_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match=r"expected a results folder with suite\.json.*quadrat run"):
        read_results(tmp_path)
    with pytest.raises(ResultsError, match="no such folder"):
        read_results(tmp_path / "nowhere")


def test_damaged_suite_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "suite.json").write_text("{", encoding="utf-8")
    with pytest.raises(ResultsError, match=r"suite\.json: expected JSON"):
        read_results(tmp_path)


def test_a_strategy_is_compared_to_random_of_the_same_region_size_and_label_type(tmp_path: Path) -> None:
    folder = write_fake_results(tmp_path, **FEW, seeds=(0,))
    path = folder / "suite.json"
    described = json.loads(path.read_text())
    others = [
        {**trial, "label": f"{trial['label']} dominant", "labels": "dominant", "trial_id": f"{trial['trial_id']}-d"}
        for trial in described["trials"]
        if trial["strategy"] in ("random", "entropy")
    ]
    alone = {**others[1], "label": "alone", "labels": "multi-class", "trial_id": "alone"}
    described["trials"] += [*others, alone]
    path.write_text(json.dumps(described), encoding="utf-8")
    results = read_results(folder)
    assert results.baselines == {
        "entropy": "random",
        "entropy-spatial": "random",
        "entropy dominant": "random dominant",
    }
    assert results.has_several_queries and not results.has_several_sizes
    assert str(results.queries["entropy"]) == "16 px" and str(results.queries["alone"]) == "16 px, multi-class"
