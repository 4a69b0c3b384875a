"""Costs to reach a target by hand, and their intervals against an enumeration of all draws."""

import itertools

import numpy as np
import pytest

from quadrat.benchmark.analysis.curves import Curve, first_crossing
from quadrat.benchmark.analysis.label_efficiency import (
    CostToTarget,
    LabelEfficiency,
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
    assert (found.target, found.cost, found.num_reaching, found.fraction_not_reached) == (30.0, 3.0, 2, 0.0)
    assert not found.is_at_most
    # Drawn twice the same seed: (29 - 18) / 20 and (31 - 22) / 20 of the way; mixed draws lie between.
    assert (found.low, found.high) == (pytest.approx(2.9), pytest.approx(3.1))


def test_intervals_equal_those_of_all_draws_that_there_are() -> None:
    rows = ((10, 20, 40), (12, 26, 44), (8, 15, 30))
    costs, values = np.array([(1.0, 2.0, 4.0)] * 3), np.array(rows, float)
    draws = np.array(list(itertools.product(range(3), repeat=3)))
    every = first_crossing(costs[draws].mean(1), values[draws].mean(1), np.full(27, 28.0))
    low, high = np.quantile(every, [0.025, 0.975], method="inverted_cdf")
    found = found_cost(curves(*rows), {9: 56.0}, 0.5)  # full supervision of another seed: taken as known
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))


def test_draws_that_never_reach_are_counted_and_open_the_interval() -> None:
    rows = ((10, 20, 40), (10, 15, 22), (10, 20, 41))
    found = found_cost(curves(*rows), {0: 60.0}, 0.5)
    # 30 is missed by a draw of the second seed alone (1 of 27), and by two of it with another (6 of 27; mean 28).
    assert found.fraction_not_reached == pytest.approx(7 / 27, abs=0.02)
    assert found.cost is not None and found.low is not None
    assert found.high is None
    assert (found.num_seeds, found.num_reaching) == (3, 2)


def test_a_curve_that_never_reaches_has_no_cost() -> None:
    found = found_cost(curves((10, 20, 25), (10, 20, 26)), {0: 60.0, 1: 60.0}, 0.5)
    assert (found.cost, found.low, found.high, found.num_reaching, found.fraction_not_reached) == (
        None,
        None,
        None,
        0,
        1.0,
    )


def test_a_curve_that_starts_above_costs_at_most_its_first_round() -> None:
    found = found_cost(curves((40, 50), (42, 52)), {0: 60.0, 1: 60.0}, 0.5)
    assert found.is_at_most and found.cost == 1.0


def test_one_seed_has_a_cost_and_no_interval() -> None:
    found = found_cost(curves((10, 20, 40)), {0: 60.0}, 0.5)
    assert (found.cost, found.low, found.high, found.fraction_not_reached) == (3.0, None, None, 0.0)


def test_without_a_curve_or_full_supervision_there_is_no_cost() -> None:
    assert cost_to_target({}, {0: 60.0}, 0.95) is None
    assert cost_to_target(curves((10, 20)), {}, 0.95) is None
    assert label_efficiency(curves((10, 20)), {}) is None


def test_intervals_are_the_same_in_every_call() -> None:
    rows = ((10, 20, 40), (12, 26, 44), (8, 15, 30))
    assert cost_to_target(curves(*rows), {0: 56.0}, 0.5) == cost_to_target(curves(*rows), {0: 56.0}, 0.5)


def found_efficiency(ours: dict[int, Curve], random: dict[int, Curve]) -> LabelEfficiency:
    found = label_efficiency(ours, random)
    assert found is not None
    return found


def test_the_relative_cost_is_one_half_where_randoms_end_is_reached_at_half_its_cost() -> None:
    random = curves((10, 15, 20), (10, 15, 20), label="random")
    found = found_efficiency(curves((10, 20, 30), (10, 20, 30)), random)
    assert (found.label, found.baseline, found.target, found.relative_cost) == ("a", "random", 20.0, 0.5)
    assert (found.low, found.high, found.fraction_not_reached) == (0.5, 0.5, 0.0)


def test_random_against_itself_needs_all_of_its_labels() -> None:
    random = curves((10, 15, 20), (11, 15, 22), label="random")
    assert found_efficiency(random, random).relative_cost == 1.0


def test_a_strategy_that_never_matches_random_has_no_relative_cost() -> None:
    random = curves((10, 15, 20), (10, 15, 20), label="random")
    found = found_efficiency(curves((10, 14, 19), (10, 14, 19)), random)
    assert (found.relative_cost, found.fraction_not_reached) == (None, 1.0)


def test_only_shared_seeds_are_paired() -> None:
    ours = curves((10, 20, 30), (90, 90, 90))
    random = {0: curves((10, 15, 20), label="random")[0], 7: curves((99, 99, 99), label="random")[0]}
    assert found_efficiency(ours, random).num_seeds == 1
    assert found_efficiency(ours, random).relative_cost == 0.5
