"""Work of suites and studies, counted by hand."""

from typing import Any

import pytest
from support.fake_trials import STUDY, make_suite

from quadrat.benchmark.config.sharing import SharedNeeds, count_fits
from quadrat.benchmark.config.suite import Suite, load_suite
from quadrat.benchmark.planning.extent import DataExtent
from quadrat.benchmark.planning.work import count_study_fits, count_work

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
    without, with_it = count_work(make_suite(), EXTENT), count_work(make_suite(full_supervision=True), EXTENT)
    assert with_it.num_fits == without.num_fits + 2
    assert with_it.scorings == without.scorings
    assert with_it.num_selected == without.num_selected + 2 * 10 * 3 * 4


def test_an_ensemble_is_five_fits_for_every_round_that_is_selected_from_and_one_evaluation() -> None:
    suite = make_suite(strategies=["ensemble-entropy"], seeds=[0])
    work = count_work(suite, EXTENT)
    assert (work.num_fits, work.num_evaluations) == (5 + 5 + 1, 3)
    assert work.num_iterations == work.longest_iterations == 11 * 3
    assert work.scorings == {SharedNeeds(signals=("ensemble-entropy",)): 2}
    assert next(iter(work.scorings)).num_models == 5


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


@pytest.mark.parametrize(
    "name", ["quickstart", pytest.param("cityscapes-paper", marks=pytest.mark.slow), "camvid-region-size"]
)
def test_fits_are_those_that_a_run_shares(name: str) -> None:
    suite = load_suite(name)
    assert count_work(suite, EXTENT).num_fits == count_fits(suite.trials()).shared


def suite_with_study(**changes: Any) -> Suite:
    """Return a suite with a study of four candidates, two search seeds and three rounds."""
    return make_suite(strategies=["random", "entropy-spatial"], study={**STUDY, **changes})


def test_a_study_trains_round_0_once_for_each_region_size_and_search_seed() -> None:
    fits = count_study_fits(suite_with_study(space={"region_size": [16, 8]}))
    assert fits.search == (2 * (2 + 4 * 2), 2 * 4 * 3)  # two seeds: two sizes, and two more rounds of four candidates
    # The suite's own trials: round 0 of two seeds, two more rounds of two strategies and two seeds. The best: two more
    # rounds on each seed, and round 0 should its size be 8.
    assert fits.report == ((2 + 2 * 2 * 2) + 2 * (2 + 1), 2 * 2 * 3 + 2 * 3)


def test_a_study_without_region_sizes_shares_round_0_among_all_candidates_of_a_seed() -> None:
    fits = count_study_fits(suite_with_study(best=2))
    assert fits.search == (2 * (1 + 4 * 2), 2 * 4 * 3)
    assert fits.report == ((2 + 2 * 2 * 2) + 2 * 2 * 2, 2 * 2 * 3 + 2 * 2 * 3)


def test_an_objective_that_needs_full_supervision_is_one_more_fit_a_search_seed() -> None:
    without = suite_with_study()
    study = {**without.model_dump()["study"], "objective": ["cost-95"]}
    with_it = make_suite(**{**without.model_dump(), "full_supervision": True, "study": study})
    assert count_study_fits(with_it).search.shared == count_study_fits(without).search.shared + 2
    assert count_study_fits(with_it).search.alone == count_study_fits(without).search.alone + 2 * 4
