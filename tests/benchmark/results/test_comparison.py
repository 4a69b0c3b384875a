"""Comparison of two results folders."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from support.fake_results import write_fake_results
from support.records import RECORD

from quadrat.benchmark.errors import ResultsError
from quadrat.benchmark.results.comparison import differences, suite_differences
from quadrat.benchmark.results.records import append_record
from quadrat.benchmark.storage.atomic import write_json


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    first, second = tmp_path / "first", tmp_path / "second"
    append_record(first, RECORD)
    return first, second


def test_records_that_differ_in_seconds_alone_are_equal(folders: tuple[Path, Path]) -> None:
    first, second = folders
    append_record(second, replace(RECORD, seconds={"fit": 99.0}))
    assert differences(first, second) == []


def test_a_difference_in_the_last_bit_is_reported_with_both_values(folders: tuple[Path, Path]) -> None:
    first, second = folders
    append_record(second, replace(RECORD, miou=0.3))
    assert differences(first, second) == ["random seed 0 round 0: miou is 0.30000000000000004 and 0.3"]


def test_records_that_only_one_folder_has_are_reported(folders: tuple[Path, Path]) -> None:
    first, second = folders
    append_record(second, replace(RECORD, round=1))
    assert differences(first, second) == [
        f"random seed 0 round 0: only in {first}",
        f"random seed 0 round 1: only in {second}",
    ]


def test_a_trial_that_only_one_folder_has_is_one_line(folders: tuple[Path, Path]) -> None:
    first, second = folders
    append_record(second, RECORD)
    for round_ in range(3):
        append_record(first, replace(RECORD, trial_id="alone", seed=7, round=round_))
    assert differences(first, second) == [f"random seed 7: only in {first}"]


def test_only_common_trials_are_compared_on_request(folders: tuple[Path, Path]) -> None:
    first, second = folders
    for folder, label in ((first, "here"), (second, "there")):
        append_record(folder, replace(RECORD, trial_id=f"{label}-alone", label=label))
    append_record(second, replace(RECORD, loss=9.0))
    assert differences(first, second, only_common=True) == ["random seed 0 round 0: loss is 1.25 and 9.0"]
    assert len(differences(first, second)) == 3


def test_settings_of_two_suites_that_differ_are_reported_with_both_values(tmp_path: Path) -> None:
    for name, learner in (("first", {"lr": 0.1, "compile": "default"}), ("second", {"lr": 0.2})):
        (tmp_path / name).mkdir()
        path = write_fake_results(tmp_path / name, strategies=("random",), seeds=(0,)) / "suite.json"
        document = json.loads(path.read_text())
        document["suite"] |= {"name": name, "description": f"the {name}", "learner": learner}
        document["suite"]["dataset"]["root"] = name
        write_json(path, document)
    assert suite_differences(tmp_path / "first", tmp_path / "second") == [
        "learner.lr is 0.1 and 0.2",
        "learner.compile is default and not set",
    ]


def test_folders_without_a_common_trial_have_nothing_to_compare(folders: tuple[Path, Path]) -> None:
    first, second = folders
    append_record(second, replace(RECORD, trial_id="another"))
    with pytest.raises(ResultsError, match="expected trials that both folders hold, got none"):
        differences(first, second, only_common=True)


def test_a_folder_without_records_is_an_error(folders: tuple[Path, Path]) -> None:
    first, second = folders
    with pytest.raises(ResultsError, match="expected records"):
        differences(first, second)
