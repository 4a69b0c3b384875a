"""Costs to reach a target by hand, and their intervals against scipy's t-test at every cost of a fine grid."""

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from quadrat.benchmark.analysis.curves import Curve
from quadrat.benchmark.analysis.label_efficiency import (
    CostInterval,
    CostToTarget,
    LabelEfficiency,
    cost_interval,
    cost_to_target,
    label_efficiency,
)


def curves(*values: tuple[float, ...], costs: tuple[float, ...] = (1, 2, 4), label: str = "a") -> dict[int, Curve]:
    return {
        seed: Curve(label=label, seed=seed, rounds=tuple(range(len(row))), costs=costs[: len(row)], values=row)
        for seed, row in enumerate(values)
    }


def found_cost(*arguments: object, **options: object) -> CostToTarget:
    found = cost_to_target(*arguments, **options)  # type: ignore[arg-type]
    assert found is not None
    return found


def test_the_cost_to_a_share_of_full_supervision_is_the_one_worked_out_by_hand() -> None:
    # Mean curve 10, 20, 40; full supervision 60: half of it, 30, lies half-way between costs 2 and 4.
    found = found_cost(curves((8, 18, 38), (12, 22, 42)), {0: 58.0, 1: 62.0}, 0.5)
    assert (found.target, found.cost, found.num_reaching, found.interval) == (30.0, 3.0, 2, None)
    assert not found.is_at_most


def accepted(costs: npt.NDArray[np.float64], difference_SR: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Return where around the first crossing of the mean scipy's t-test does not reject zero at 5 %, on a fine grid.

    Outside the grid costs are accepted unless the curve is below the target at the first, above it at the last cost.
    """
    grid = np.linspace(costs[0], costs[-1], 20_001)
    at = np.array([np.interp(grid, costs, row) for row in difference_SR])
    test = stats.ttest_1samp(at, 0.0, axis=0)
    is_below, is_above = (test.pvalue <= 0.05) & (test.statistic < 0), (test.pvalue <= 0.05) & (test.statistic > 0)
    is_accepted = np.concatenate([[not is_below[0]], test.pvalue > 0.05, [not is_above[-1]]])
    cost = np.concatenate([[-np.inf], grid, [np.inf]])
    crossed = np.flatnonzero(at.mean(axis=0) >= 0)
    if not crossed.size:
        start = len(cost) - 1
    elif crossed[0] == 0 and is_above[0]:
        start = 0
    else:
        start = int(crossed[0]) + 1
        # The grid's point at the crossing may lie just outside a narrow piece.
        start = min((start - 1, start), key=lambda place: abs(at.mean(axis=0)[place - 1]))
    low = high = start
    while low > 0 and is_accepted[low - 1]:
        low -= 1
    while high < len(cost) - 1 and is_accepted[high + 1]:
        high += 1
    lowest = costs[-1] if low == len(cost) - 1 else cost[low]
    highest = costs[0] if high == 0 else cost[high]
    return float(lowest), float(highest)


def ends(found: CostInterval | None) -> tuple[float, float]:
    assert found is not None
    return -np.inf if found.low is None else found.low, np.inf if found.high is None else found.high


@pytest.mark.parametrize("num_seeds", [3, 5, 10])
@pytest.mark.parametrize("draw", range(40))
def test_an_interval_holds_the_costs_at_which_the_t_test_does_not_reject(num_seeds: int, draw: int) -> None:
    rng = np.random.default_rng((num_seeds, draw))
    costs = np.array([1.0, 2.0, 4.0, 8.0])
    rising = np.array([-6.0, -3.0, rng.normal(0, 3), rng.normal(3, 4)])
    difference = rising + rng.normal(0, rng.uniform(0.2, 3.0), (num_seeds, 4)) + rng.normal(0, 1, (num_seeds, 1))
    found = cost_interval(costs, difference, difference.mean(0))
    assert ends(found) == pytest.approx(accepted(costs, difference), abs=1e-3)


def test_of_pieces_apart_the_one_around_the_first_crossing_is_returned() -> None:
    # Up through the target, well above it, down to it and up again.
    difference = np.array([-5.0, 5.0, 5.0, 0.0, 5.0]) + np.array([[-0.2], [0.1], [0.1]])
    found = cost_interval(np.arange(5.0), difference, difference.mean(0))
    assert found.low is not None and 0.4 < found.low < 0.5
    assert found.high is not None and 0.5 < found.high < 0.6


def test_differences_without_spread_have_the_crossing_as_interval() -> None:
    difference = np.array([[-2.0, 2.0, 4.0]] * 3)
    assert cost_interval(np.array([1.0, 2.0, 4.0]), difference, difference[0]) == CostInterval(low=1.5, high=1.5)


def test_ends_are_open_where_the_data_set_no_bound() -> None:
    costs, small, large = np.array([1.0, 2.0]), np.array([[-0.1], [0.0], [0.1]]), np.array([[-9.0], [0.0], [9.0]])
    flat = np.zeros((3, 2))
    assert cost_interval(costs, flat - 5 + small, np.array([-5.0, -5.0])) == CostInterval(low=2.0, high=None)
    assert cost_interval(costs, flat + 5 + small, np.array([5.0, 5.0])) == CostInterval(low=None, high=1.0)
    assert cost_interval(costs, flat + large, np.zeros(2)) == CostInterval(low=None, high=None)


def test_the_interval_pairs_curve_and_full_supervision_by_seed() -> None:
    rows = ((10, 20, 40), (15, 25, 45), (8, 18.5, 37))
    full = {0: 60.0, 1: 71.0, 2: 56.0}  # half of it moves with the curves: the differences hardly vary
    found = found_cost(curves(*rows), full, 0.5)
    difference = np.array(rows) - 0.5 * np.array(list(full.values()))[:, None]
    assert ends(found.interval) == pytest.approx(accepted(np.array([1.0, 2.0, 4.0]), difference), abs=1e-3)


def test_fewer_than_three_seeds_of_full_supervision_give_no_interval() -> None:
    rows = ((10, 20, 40), (15, 25, 45), (8, 18, 38))
    assert found_cost(curves(*rows), {0: 60.0, 1: 70.0}, 0.5).interval is None
    assert found_cost(curves(*rows), {7: 60.0, 8: 70.0, 9: 65.0}, 0.5).interval is None


def test_a_curve_that_never_reaches_has_no_cost() -> None:
    found = found_cost(curves((10, 20, 25), (10, 20, 26)), {0: 60.0, 1: 60.0}, 0.5)
    assert (found.cost, found.interval, found.num_reaching) == (None, None, 0)


def test_a_curve_that_starts_above_costs_at_most_its_first_round() -> None:
    found = found_cost(curves((40, 50), (42, 52)), {0: 60.0, 1: 60.0}, 0.5)
    assert found.is_at_most and found.cost == 1.0


def test_one_seed_has_a_cost_and_no_interval() -> None:
    found = found_cost(curves((10, 20, 40)), {0: 60.0}, 0.5)
    assert (found.cost, found.interval) == (3.0, None)


def test_without_a_curve_or_full_supervision_there_is_no_cost() -> None:
    assert cost_to_target({}, {0: 60.0}, 0.95) is None
    assert cost_to_target(curves((10, 20)), {}, 0.95) is None
    assert label_efficiency(curves((10, 20)), {}) is None


def found_efficiency(ours: dict[int, Curve], random: dict[int, Curve]) -> LabelEfficiency:
    found = label_efficiency(ours, random)
    assert found is not None
    return found


def test_the_relative_cost_is_one_half_where_randoms_end_is_reached_at_half_its_cost() -> None:
    random = curves((10, 15, 20), (10, 15, 20), label="random")
    found = found_efficiency(curves((10, 20, 30), (10, 20, 30)), random)
    assert (found.label, found.baseline, found.target, found.relative_cost) == ("a", "random", 20.0, 0.5)
    assert found.interval is None


def test_the_interval_of_the_relative_cost_is_in_units_of_randoms_cost() -> None:
    random = curves((10, 15, 20), (11, 15, 21), (9, 16, 20), label="random")
    ours = curves((10, 19, 30), (10, 21.5, 31), (11, 20, 30))
    found = found_efficiency(ours, random)
    difference = np.array([ours[seed].values for seed in range(3)]) - np.array([[20.0], [21.0], [20.0]])
    expected = accepted(np.array([1.0, 2.0, 4.0]) / 4, difference)
    assert ends(found.interval) == pytest.approx(expected, abs=1e-3)


def test_random_against_itself_needs_all_of_its_labels() -> None:
    random = curves((10, 15, 20), (11, 15, 22), label="random")
    assert found_efficiency(random, random).relative_cost == 1.0


def test_a_strategy_that_never_matches_random_has_no_relative_cost() -> None:
    random = curves((10, 15, 20), (10, 15, 20), label="random")
    found = found_efficiency(curves((10, 14, 19), (10, 14, 19)), random)
    assert found.relative_cost is None


def test_only_shared_seeds_are_paired() -> None:
    ours = curves((10, 20, 30), (90, 90, 90))
    random = {0: curves((10, 15, 20), label="random")[0], 7: curves((99, 99, 99), label="random")[0]}
    assert found_efficiency(ours, random).num_seeds == 1
    assert found_efficiency(ours, random).relative_cost == 0.5


def test_a_target_that_the_mean_curve_falls_below_again_is_lost() -> None:
    falls, stays = curves((10, 30, 20)), curves((10, 30, 26))
    never = curves((10, 15, 20))
    lost = [found_cost(one, {0: 50.0}, 0.5).is_lost_again for one in (falls, stays, never)]  # the target is 25
    assert lost == [True, False, False]
    baseline = curves((10, 15, 22), label="random")  # ends at 22
    efficiency = [label_efficiency(one, baseline) for one in (falls, stays, never)]
    assert [found is not None and found.is_lost_again for found in efficiency] == [True, False, False]


def test_labels_that_cost_nothing_are_compared_with_nothing() -> None:
    free = curves((8, 18, 38), (12, 22, 42), (9, 21, 41), costs=(0, 0, 0))
    found = label_efficiency(free, free)
    assert found is not None and found.relative_cost is None and found.interval is None
