"""suite.json: what its readers refuse, and that a label never stands for the numbers of two strategies."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.fake_results import write_fake_results
from support.tiny_suite import TINY_SUITE

from quadrat.benchmark.config.suite import Suite
from quadrat.benchmark.errors import ResultsError
from quadrat.benchmark.results.folder import prepare_results, read_suite_json
from quadrat.benchmark.results.publish import publish
from quadrat.benchmark.results.records import append_record, read_records
from quadrat.benchmark.results.trials import read_results

FEW: dict[str, Any] = {
    "strategies": ("random", "entropy", "entropy-spatial"),
    "seeds": (0, 1),
    "budgets": (12, 24),
    "has_full_supervision": False,
}
SPLIT = {"fingerprint": "f" * 64, "path": "cache/packed/x", "num_images": 2, "num_px": 9, "num_regions": {"16": 96}}
DATASET = {"classes": ["road"], "colours": [[0, 0, 0]], "pool": SPLIT, "test": SPLIT}


def _edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    document = json.loads((folder / "suite.json").read_text())
    change(document)
    (folder / "suite.json").write_text(json.dumps(document))


def _swap(document: dict[str, Any], name: str) -> None:
    for one, other in zip(document["trials"][0:2], document["trials"][2:4], strict=True):
        one[name], other[name] = other[name], one[name]


@pytest.mark.parametrize(
    "change",
    [
        lambda document: document.clear() or document.update(name="not of quadrat"),
        lambda document: document.update(trials=None),
        lambda document: document["trials"][0].pop("label"),
        lambda document: document["trials"][0].update(label="\x1b[2Jgone"),
        lambda document: document["trials"][0].update(trial_id="../../up"),
        lambda document: document["trials"][0].update(num_rounds="3"),
        lambda document: document["dataset"].pop("classes"),
        lambda document: document["dataset"]["colours"].pop(),
        lambda document: document["dataset"].update(pool=[]),
        lambda document: document.update(schema="x"),
    ],
)
def test_a_suite_file_of_another_shape_is_refused_by_its_name(
    tmp_path: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    folder = write_fake_results(tmp_path, **FEW)
    _edit(folder, change)
    with pytest.raises(ResultsError, match=r"suite\.json: expected"):
        read_suite_json(folder)


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff\xfe", b"[" * 100_000])
@pytest.mark.parametrize("name", ["suite.json", "environment.json"])
def test_nothing_is_published_of_a_folder_with_a_damaged_file(tmp_path: Path, name: str, content: bytes) -> None:
    folder = write_fake_results(tmp_path / "results", **FEW)
    (folder / name).write_bytes(content)
    with pytest.raises(ResultsError, match="expected JSON, got a damaged file"):
        publish(folder, tmp_path / "published")
    assert not (tmp_path / "published").exists()


def test_failures_are_published_whatever_line_marks_are_in_them(tmp_path: Path) -> None:
    folder = write_fake_results(tmp_path / "results", **FEW, failed={("entropy", 0): "OSError: one\u2028two\x85three"})
    with (folder / "failures.jsonl").open("a") as file:
        file.write('{"trial_id": "a killed wri')
    publish(folder, tmp_path / "published")
    assert "one\u2028two\x85three" in (tmp_path / "published" / "failures.jsonl").read_text()


def test_a_suite_file_that_contradicts_the_records_is_refused(tmp_path: Path) -> None:
    folder = write_fake_results(tmp_path, **FEW)
    _edit(folder, lambda document: _swap(document, "strategy"))
    with pytest.raises(ResultsError, match=r"random seed 0 round 0 has strategy"):
        read_results(folder)


def test_other_classes_than_the_records_have_are_refused(tmp_path: Path) -> None:
    folder = write_fake_results(tmp_path, **FEW)
    _edit(folder, lambda document: document["dataset"]["classes"].pop() and document["dataset"]["colours"].pop())
    with pytest.raises(ResultsError, match=r"classes in records\.jsonl, got"):
        read_results(folder)


def test_records_have_the_labels_that_the_suite_gives_their_trials_today(tmp_path: Path) -> None:
    folder = write_fake_results(tmp_path, **FEW)
    before = read_results(folder)
    _edit(folder, lambda document: _swap(document, "label"))
    after = read_results(folder)
    assert {(record.trial_id, record.label) for record in after.records} == {
        (trial.trial_id, trial.label) for trial in after.trials if not trial.is_full_supervision
    }
    old, new = ({record.key: record.label for record in found.records} for found in (before, after))
    assert old.keys() == new.keys() and old != new


def test_two_trials_of_one_label_and_seed_are_refused(tmp_path: Path) -> None:
    folder = write_fake_results(tmp_path, **FEW)
    _edit(folder, lambda document: document["trials"].append({**document["trials"][0], "trial_id": "another"}))
    with pytest.raises(ResultsError, match="expected one trial of each label and seed, got several of 'random' seed 0"):
        read_results(folder)


def _suite(strategies: list[Any], seeds: list[int]) -> Suite:
    return Suite.model_validate({**TINY_SUITE, "strategies": strategies, "seeds": seeds})


def test_a_label_that_moves_to_other_parameters_is_refused_and_the_folder_stays(tmp_path: Path) -> None:
    prepare_results(tmp_path, _suite(["random", "entropy-spatial"], [0]), dataset=DATASET, environment={})
    before = (tmp_path / "suite.json").read_bytes()
    changed = _suite(["random", {"name": "entropy-spatial", "params": {"cutoff": 0.5}}], [0])
    match = r"got 'entropy-spatial' with .*0\.5.* in this suite and 'entropy-spatial' with .*1\.5"
    with pytest.raises(ResultsError, match=match):
        prepare_results(tmp_path, changed, dataset=DATASET, environment={})
    assert (tmp_path / "suite.json").read_bytes() == before


def test_a_strategy_that_has_got_another_label_has_it_in_all_its_trials(tmp_path: Path) -> None:
    prepare_results(tmp_path, _suite(["random", "entropy"], [0]), dataset=DATASET, environment={})
    renamed = [{"name": "random", "label": "entropy"}, {"name": "entropy", "label": "random"}]
    prepare_results(tmp_path, _suite(renamed, [1]), dataset=DATASET, environment={})
    trials = read_suite_json(tmp_path)["trials"]
    assert {(trial["strategy"], trial["label"]) for trial in trials} == {("random", "entropy"), ("entropy", "random")}
    assert len(trials) == 4


def test_trials_with_the_ids_of_an_earlier_version_are_not_taken_for_those_of_today(tmp_path: Path) -> None:
    prepare_results(tmp_path, _suite(["random", "entropy"], [0, 1]), dataset=DATASET, environment={})

    def age(document: dict[str, Any]) -> None:
        for trial in document["trials"]:
            trial["trial_id"] = f"old-{trial['trial_id']}"

    _edit(tmp_path, age)
    prepare_results(tmp_path, _suite(["margin"], [0]), dataset=DATASET, environment={})  # both seeds stay listed
    assert len(read_suite_json(tmp_path)["trials"]) == 5
    with pytest.raises(ResultsError, match="expected one strategy behind each label, got 'random'"):
        prepare_results(tmp_path, _suite(["random"], [2]), dataset=DATASET, environment={})


@pytest.mark.parametrize(
    ("name", "value"), [("miou", 5.0), ("miou", -0.1), ("clicks", 10**400), ("round", -1), ("regions", -3)]
)
def test_a_record_with_an_impossible_value_is_refused(tmp_path: Path, name: str, value: float) -> None:
    record = read_records(write_fake_results(tmp_path / "one", **FEW))[0]
    object.__setattr__(record, name, value)
    append_record(tmp_path / "two", record)
    with pytest.raises(ResultsError, match=rf"records\.jsonl:1: `{name}`"):
        read_records(tmp_path / "two")


def test_a_record_with_an_infinite_loss_is_refused(tmp_path: Path) -> None:
    folder = write_fake_results(tmp_path, **FEW)
    text = (folder / "records.jsonl").read_text().splitlines()[0]
    values = {key: value for key, value in json.loads(text).items() if key != "checksum"}
    (folder / "records.jsonl").write_text(
        json.dumps({**values, "loss": 7}).replace('"loss": 7', '"loss": 1e400') + "\n"
    )
    with pytest.raises(ResultsError, match=r"records\.jsonl:1: `loss`"):
        read_records(folder)
