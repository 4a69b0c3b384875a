"""What a suite computes, counted by hand; sizes of data that is not there."""

from pathlib import Path

import pytest
from support.fake_trials import make_suite

from quadrat.benchmark.config.sharing import SharedNeeds
from quadrat.benchmark.config.suite import Suite, load_suite
from quadrat.benchmark.errors import DataError
from quadrat.benchmark.planning.work import DataExtent, count_work, data_extent
from quadrat.cluster.progress.progress import num_fits

EXTENT = DataExtent(num_pool=10, num_test=4, height=48, width=64, num_classes=3, source="by hand")
ENTROPY = SharedNeeds(signals=("entropy",), features=False)
FEATURES = SharedNeeds(signals=(), features=True)
BOTH = SharedNeeds(signals=("entropy",), features=True)


def test_round_0_is_trained_and_scored_once_for_all_strategies_of_a_seed() -> None:
    # 2 seeds x (1 shared round + 3 strategies x 2 rounds); the last round of a trial is not scored.
    work = count_work(make_suite(strategies=["random", "entropy", "core-set"]), EXTENT)
    assert (work.num_trials, work.num_fits, work.num_evaluations) == (6, 14, 14)
    assert work.num_iterations == 14 * 3
    assert work.scorings == {BOTH: 2, ENTROPY: 2, FEATURES: 2}


def test_full_supervision_is_one_fit_and_no_scoring() -> None:
    plain, with_reference = count_work(make_suite(), EXTENT), count_work(make_suite(full_supervision=True), EXTENT)
    assert with_reference.num_fits == plain.num_fits + 2
    assert with_reference.scorings == plain.scorings
    assert with_reference.num_picks == plain.num_picks + 2 * 10 * 3 * 4


def test_nothing_is_scored_for_random() -> None:
    assert count_work(make_suite(strategies=["random"]), EXTENT).scorings == {}


def test_every_region_size_has_a_round_0_of_its_own() -> None:
    assert count_work(make_suite(strategies=["random"], seeds=[0], region_size=[16, 8]), EXTENT).num_fits == 6


def test_epochs_grow_with_the_labels_up_to_the_pool() -> None:
    learner = {"encoder": "test_resnet", "weights": "none", "epochs": 2, "batch_size": 2}
    work = count_work(make_suite(strategies=["random"], seeds=[0], learner=learner), EXTENT)
    assert work.is_upper_bound
    assert work.num_iterations == 4 + 8 + 10  # budgets 4, 8, 16 on 10 images
    assert work.longest_iterations == work.num_iterations


@pytest.mark.parametrize("name", ["quickstart", "cityscapes-paper", "camvid-region-size"])
def test_fits_are_those_that_a_run_shares(name: str) -> None:
    suite = load_suite(name)
    assert count_work(suite, EXTENT).num_fits == num_fits(suite.trials())[0]


def test_data_that_is_not_there_is_as_large_as_it_was_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("QUADRAT_DATA", raising=False)
    extent = data_extent(load_suite("cityscapes-paper"), tmp_path)
    assert (extent.num_pool, extent.num_test, extent.num_classes) == (2975, 500, 19)
    assert extent.num_regions(128) == 380_800
    assert extent.source.startswith("as published, since cityscapes is not at hand")


def test_data_of_unknown_size_is_an_error(tmp_path: Path) -> None:
    suite = load_suite("cityscapes-paper", ["dataset.name=folder", f"dataset.root={tmp_path}"])
    with pytest.raises(DataError):
        data_extent(suite, tmp_path)


def test_scenes_are_counted(tmp_path: Path) -> None:
    suite: Suite = load_suite("quickstart")
    extent = data_extent(suite, tmp_path)
    assert (extent.num_pool, extent.num_test) == (120, 48)
    assert extent.packed_bytes == 4 * 168 * extent.height * extent.width
