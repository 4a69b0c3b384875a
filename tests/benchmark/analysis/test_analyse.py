"""Analysis of a results folder: all numbers for finished trials, gaps for unfinished ones."""

from pathlib import Path

import pytest
from support.fake_results import write_fake_results

from quadrat.benchmark.analysis.analyse import Analysis, analyse, over_cost
from quadrat.benchmark.analysis.measures import ACCURACY, CLICKS, COSTS, REGIONS, Cost
from quadrat.benchmark.results.trials import read_results

STRATEGIES = ("random", "entropy", "entropy-spatial")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_fake_results(tmp_path_factory.mktemp("whole"), strategies=STRATEGIES, seeds=(0, 1, 2, 3, 4), noise=0.4)


@pytest.fixture(scope="module")
def whole(folder: Path) -> Analysis:
    return analyse(read_results(folder))


def test_every_strategy_has_every_number(whole: Analysis) -> None:
    assert whole.unfinished == ()
    assert list(whole.curves) == [area.label for area in whole.areas] == list(STRATEGIES)
    assert {(found.label, found.share) for found in whole.costs_to_target} == {
        (label, share) for label in STRATEGIES for share in (0.90, 0.95, 0.99)
    }
    assert [found.label for found in whole.label_efficiencies] == ["entropy", "entropy-spatial"]
    assert whole.full_supervision is not None and whole.full_supervision.num == 5
    assert whole.round == 3
    assert set(whole.to_random) == {"entropy", "entropy-spatial"}
    assert whole.pairwise is not None and len(whole.pairwise.pairs) == 3
    assert whole.penalty.rounds == (1, 2, 3) and whole.penalty.num_tests == 9
    assert whole.ranks is not None and whole.ranks.num_seeds == 5
    assert whole.primary.num_tests == 4 and [axis.cost.key for axis in whole.primary.axes] == [
        "labelled-fraction",
        "clicks",
    ]
    assert whole.cost_to_target("random", 0.95) is not None and whole.cost_to_target("random", 0.5) is None


@pytest.mark.parametrize("cost", COSTS, ids=lambda cost: cost.key)
def test_every_cost_can_be_the_axis(folder: Path, cost: Cost) -> None:
    found = analyse(read_results(folder), cost, ACCURACY)
    assert len(found.areas) == 3 and found.area_range is not None
    assert all(area.summary.num == 5 for area in found.areas)


def test_the_area_of_a_strategy_is_compared_to_randoms_seed_by_seed(whole: Analysis) -> None:
    by_label = {area.label: area for area in whole.areas}
    assert by_label["random"].comparison is None
    comparison = by_label["entropy-spatial"].comparison
    assert comparison is not None
    difference = by_label["entropy-spatial"].summary.mean - by_label["random"].summary.mean
    assert comparison.difference.summary.mean == pytest.approx(difference)


def test_a_higher_target_costs_more(whole: Analysis) -> None:
    for label in STRATEGIES:
        costs = [
            found.cost for share in (0.90, 0.95, 0.99) if (found := whole.cost_to_target(label, share)) is not None
        ]
        reached = [cost for cost in costs if cost is not None]
        assert reached == sorted(reached)
        assert costs[: len(reached)] == reached  # what is not reached comes last


def test_unfinished_trials_are_named_and_left_out_of_areas(tmp_path: Path) -> None:
    folder = write_fake_results(
        tmp_path,
        strategies=STRATEGIES,
        num_rounds={("entropy", 0): 2, ("entropy-spatial", 1): 0},
        failed={("entropy-spatial", 1): "RuntimeError: lost"},
    )
    found = analyse(read_results(folder))
    assert [(trial.label, trial.seed, trial.state) for trial in found.unfinished] == [
        ("entropy", 0, "partial"),
        ("entropy-spatial", 1, "failed"),
    ]
    assert {area.label: area.summary.num for area in found.areas} == {"random": 3, "entropy": 2, "entropy-spatial": 2}
    assert found.round == 3
    complete = analyse(read_results(write_fake_results(tmp_path / "whole", strategies=STRATEGIES)))
    assert found.area_range == pytest.approx(complete.area_range, rel=0.1)  # not cut at the stop of the partial trial


@pytest.mark.parametrize("cost", [REGIONS, CLICKS], ids=lambda cost: cost.key)
def test_the_primary_analysis_is_the_same_whatever_the_cost_of_the_rest(folder: Path, cost: Cost) -> None:
    results = read_results(folder)
    assert analyse(results, cost).primary == analyse(results).primary


def test_without_a_record_every_statistic_is_empty(tmp_path: Path) -> None:
    every = {(label, seed): 0 for label in ("random", "entropy", "full-supervision") for seed in (0, 1, 2)}
    found = analyse(read_results(write_fake_results(tmp_path, strategies=("random", "entropy"), num_rounds=every)))
    assert len(found.unfinished) == 9
    assert (found.areas, found.costs_to_target, found.label_efficiencies) == ((), (), ())
    assert (found.full_supervision, found.round, found.pairwise, found.ranks) == (None, None, None, None)


def test_without_random_and_full_supervision_the_rest_is_still_there(tmp_path: Path) -> None:
    folder = write_fake_results(tmp_path, strategies=("entropy", "core-set"), has_full_supervision=False)
    found = analyse(read_results(folder))
    assert (found.full_supervision, found.costs_to_target, found.label_efficiencies, dict(found.to_random)) == (
        None,
        (),
        (),
        {},
    )
    assert found.round == 3 and found.pairwise is not None and len(found.pairwise.pairs) == 1
    assert len(found.areas) == 2


def test_over_another_cost_all_is_as_if_it_had_been_computed_there(folder: Path) -> None:
    results = read_results(folder)
    found = analyse(results)
    for cost in COSTS:
        assert over_cost(found, results, cost) == analyse(results, cost)
