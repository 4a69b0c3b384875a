"""Images in pool and test set: by name, by list and by pixels; an error, a warning, or allowed and said."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.fake_trials import make_suite
from support.layouts import write_folder, write_voc

from quadrat.benchmark.config.suite import Suite, load_suite
from quadrat.benchmark.config.trial import DatasetSpec
from quadrat.benchmark.data import load_dataset, pack
from quadrat.benchmark.data.overlap import FEW, Split, equal_images, shared_items
from quadrat.benchmark.errors import DataError
from quadrat.benchmark.planning.extent import data_warnings
from quadrat.benchmark.reporting.summary import report_summary
from quadrat.benchmark.results.folder import read_suite_json
from quadrat.benchmark.results.trials import read_results
from quadrat.benchmark.trial.context import TrialContext
from quadrat.benchmark.trial.data import TrialData, list_splits

MANY = [f"{number:03d}" for number in range(40)]


def voc(root: Path, **splits: Any) -> DatasetSpec:
    return DatasetSpec(name="voc", root=root, **splits)


@pytest.mark.parametrize(
    ("pool", "test", "message"),
    [
        ("val", "val", "all 1 images of test 'val' are in pool 'val' too: 2007_000033"),
        ("trainval", "val", "all 1 images of test 'val' are in pool 'trainval' too: 2007_000033"),
        ("train", "trainval", "3 of the 4 images of test 'trainval' are in pool 'train' too: 2007_000032, 2007_000039"),
        ("trainval[*3*]", "val", "all 1 images of test 'val' are in pool"),
    ],
)
def test_splits_that_list_the_same_images_are_an_error_before_any_is_decoded(
    pool: str, test: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_voc(tmp_path)
    monkeypatch.setattr("quadrat.benchmark.trial.data.pack", lambda *_, **__: pytest.fail("packed"))
    with pytest.raises(DataError) as caught:
        TrialData.open(voc(tmp_path, pool=pool, test=test), tmp_path / "cache")
    assert message in str(caught.value)
    assert "set dataset.allow_overlap: true" in str(caught.value)


@pytest.mark.parametrize(
    ("pool", "test"), [("train", "val"), ("trainval[!2007_000033]", "val"), ("trainval[*39]", "trainval[!*39]")]
)
def test_disjoint_splits_and_parts_of_one_have_nothing_in_common(pool: str, test: str, tmp_path: Path) -> None:
    write_voc(tmp_path)
    data = TrialData.open(voc(tmp_path, pool=pool, test=test), tmp_path / "cache")
    assert not any("in pool" in warning for warning in data.warnings)
    assert not {*data.pool.ids} & {*data.test.ids}


def test_generated_images_are_the_same_by_their_id_in_one_split_alone() -> None:
    """Ids of `train` and `test` may be equal without being the same image."""
    scenes = load_dataset("scenes", num_train=3, num_test=3)
    train, test = (Split(name, scenes.items(name)) for name in ("train", "test"))
    assert shared_items(train, test) == []
    assert len(shared_items(train, train)) == 3
    part = Split("train[*1]", [item for item in train.items if item.id.endswith("1")])
    assert shared_items(train, part) == list(part.items)


def test_an_overlap_that_is_allowed_is_said(tmp_path: Path) -> None:
    write_voc(tmp_path)
    data = TrialData.open(voc(tmp_path, pool="trainval", test="val", allow_overlap=True), tmp_path / "cache")
    (warning,) = (warning for warning in data.warnings if "in pool" in warning)
    assert warning.endswith("too: 2007_000033. What is trained on would be reported on.")


def copies(root: Path, num: int) -> DatasetSpec:
    """Write 40 test images, `num` of which are pixel for pixel images of the pool under other names."""
    write_folder(root, splits={"train": [f"p{name}" for name in MANY], "test": MANY})
    for name in MANY[:num]:
        shutil.copy(root / "images" / "train" / f"p{name}.jpg", root / "images" / "test" / f"{name}.jpg")
    return DatasetSpec(name="folder", root=root)


def test_equal_pixels_under_other_names_are_found_by_digest(tmp_path: Path) -> None:
    spec = copies(tmp_path / "root", 2)
    dataset = load_dataset("folder", spec.root)
    pool, test = (
        Split(name, dataset.items(name), pack(dataset, name, tmp_path).statistics.digests) for name in ("train", "test")
    )
    assert [(one.id, other.id) for one, other in equal_images(pool, test)] == [("p000", "000"), ("p001", "001")]
    assert shared_items(pool, test) == []


def test_a_few_equal_images_are_a_warning_of_run_show_and_report(tmp_path: Path) -> None:
    """As in the standard split of MSRC-21, where two images are in train and in test."""
    assert 2 / 40 <= FEW < 3 / 40
    spec = copies(tmp_path / "root", 2)
    suite = make_suite(dataset=spec.model_dump(mode="json"))
    results = tmp_path / "results"
    TrialContext.open(suite, results).prepare_results()
    expected = (
        "2 of the 40 images of test 'test' are pixel for pixel in pool 'train': p000 and 000, p001 and 001. What is "
        "trained on would be reported on."
    )
    assert read_suite_json(results)["dataset"]["warnings"] == [expected]
    assert data_warnings(suite, results) == (expected,)
    assert report_summary(read_results(results)).caveats[0] == expected


def test_more_equal_images_are_an_error_unless_they_are_allowed(tmp_path: Path) -> None:
    spec = copies(tmp_path / "root", 3)
    with pytest.raises(DataError, match=r"3 of the 40 images of test 'test' are pixel for pixel in .*allow_overlap"):
        TrialData.open(spec, tmp_path / "cache")
    allowed = TrialData.open(spec.model_copy(update={"allow_overlap": True}), tmp_path / "cache")
    assert allowed.warnings[0].startswith("3 of the 40 images")


def study_on(root: Path, test: str) -> Suite:
    study = {"strategy": "entropy-spatial", "candidates": 2, "search_seeds": [9], "test": test}
    return make_suite(dataset={"name": "folder", "root": str(root)}, study=study)


def test_the_split_of_a_study_must_not_be_in_the_pool_either(tmp_path: Path) -> None:
    root = tmp_path / "root"
    write_folder(root, splits={"train": MANY[:4], "test": MANY[4:8], "val": MANY[8:10]})
    shutil.copy(root / "images" / "train" / "000.jpg", root / "images" / "val" / "008.jpg")
    with pytest.raises(DataError, match="1 of the 2 images of test 'val' are pixel for pixel in pool 'train'"):
        TrialContext.open(study_on(root, "val"), tmp_path / "results")


def test_allowing_an_overlap_is_no_other_trial_and_no_other_folder(tmp_path: Path) -> None:
    suite = make_suite(dataset={"name": "scenes", "params": {"num_train": 4, "num_test": 2}})
    allowed = suite.model_copy(update={"dataset": suite.dataset.model_copy(update={"allow_overlap": True})})
    assert [spec.trial_id for spec in suite.trials()] == [spec.trial_id for spec in allowed.trials()]
    TrialContext.open(suite, tmp_path).prepare_results()
    TrialContext.open(allowed, tmp_path).prepare_results()
    assert read_suite_json(tmp_path)["suite"]["dataset"]["allow_overlap"] is True


def test_show_says_an_overlap_of_lists_without_decoding(
    tmp_path: Path, write_suite: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_voc(tmp_path / "voc")
    dataset = {"name": "voc", "root": str(tmp_path / "voc"), "pool": "trainval", "test": "val"}
    monkeypatch.setattr("quadrat.benchmark.planning.extent.glance", lambda *_: pytest.fail("decoded"))
    (warning,) = data_warnings(load_suite(write_suite(dataset=dataset)), tmp_path / "results")
    assert warning.startswith("all 1 images of test 'val' are in pool 'trainval' too")


def test_the_shipped_suites_that_can_be_listed_have_no_overlap() -> None:
    for name in ("quickstart", "scenes-study"):
        assert list_splits(load_suite(name).dataset).overlap == ()
