"""Random, entropy and entropy-random on a pool small enough to check by hand, and the order of ties."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quadrat.strategies import Pool, StrategyError, load
from quadrat.strategies.ranking import Place, best, largest


def pool(values: list[float], labelled: tuple[int, ...] = (), signal: str = "entropy") -> Pool:
    num_regions = len(values)
    return Pool(
        image=np.zeros(num_regions, int),
        row=np.zeros(num_regions, int),
        col=np.arange(num_regions),
        pixels=np.ones(num_regions, int),
        labelled=np.isin(np.arange(num_regions), labelled),
        signals={signal: np.array(values, np.float32)},
    )


def test_entropy_takes_the_largest_first_and_ties_by_row_number() -> None:
    selection = load("entropy").select(pool([0.5, 2.0, 1.0, 2.0, 3.0], (4,)), 3, np.random.default_rng(0))
    np.testing.assert_array_equal(selection.regions, [1, 3, 2])
    np.testing.assert_array_equal(selection.potential, [2.0, 2.0, 1.0])


@pytest.mark.parametrize("name", ["margin", "bvsb", "least-confidence", "mc-entropy", "bald", "vote-entropy"])
def test_a_ranking_takes_the_largest_of_its_own_signal(name: str) -> None:
    strategy, values = load(name), [0.5, 0.9, 0.1, 0.9]
    assert strategy.needs.signals == (name,) and strategy.params() == {}
    selection = strategy.select(pool(values, (1,), signal=name), 2, np.random.default_rng(0))
    np.testing.assert_array_equal(selection.regions, [3, 0])
    np.testing.assert_allclose(selection.potential, [0.9, 0.5])


@pytest.mark.parametrize(("budget", "num_ranked"), [(4, 2), (5, 3), (1, 1)])
def test_entropy_random_takes_the_larger_half_by_entropy(budget: int, num_ranked: int) -> None:
    values = [float(value) for value in range(20)]
    selection = load("entropy-random").select(pool(values), budget, np.random.default_rng(0))
    np.testing.assert_array_equal(selection.regions[:num_ranked], [19, 18, 17][:num_ranked])
    assert np.isnan(selection.potential[num_ranked:]).all() and len(selection) == budget


def test_entropy_random_draws_all_or_nothing_at_its_ends() -> None:
    everything = load("entropy-random", random_fraction=1.0).select(pool([1.0] * 6), 4, np.random.default_rng(0))
    nothing = load("entropy-random", random_fraction=0.0).select(pool([1.0] * 6), 4, np.random.default_rng(0))
    assert np.isnan(everything.potential).all()
    np.testing.assert_array_equal(nothing.regions, [0, 1, 2, 3])


def test_power_entropy_draws_in_proportion_to_the_power_of_the_score() -> None:
    rng, values, first = np.random.default_rng(0), [1.0, 2.0, 3.0, 0.0], np.zeros(4)
    for _ in range(2000):
        first[load("power-entropy", beta=2.0).select(pool(values), 1, rng).regions] += 1
    np.testing.assert_allclose(first / 2000, np.array([1.0, 4.0, 9.0, 0.0]) / 14.0, atol=0.05)


def test_power_entropy_is_score_plus_gumbel_noise() -> None:
    noise = np.random.default_rng(7).gumbel(size=3)
    expected = 3.0 * np.log([0.5, 1.0, 2.0]) + noise
    selection = load("power-entropy", beta=3.0).select(pool([0.5, 1.0, 2.0]), 3, np.random.default_rng(7))
    np.testing.assert_allclose(selection.potential, np.sort(expected)[::-1])


def test_power_entropy_of_a_negative_signal_is_refused() -> None:
    with pytest.raises(StrategyError, match="power-entropy: expected a signal of 0 or more, got 'entropy' = -1 in reg"):
        load("power-entropy").select(pool([0.5, -1.0]), 1, np.random.default_rng(0))


def test_random_is_uniform() -> None:
    strategy, rng, counts = load("random"), np.random.default_rng(0), np.zeros(10)
    for _ in range(2000):
        counts[strategy.select(pool([0.0] * 10, (3,)), 3, rng).regions] += 1
    assert counts[3] == 0
    assert abs(np.delete(counts, 3) - 2000 * 3 / 9).max() < 90  # four standard deviations


@pytest.mark.parametrize("fraction", [-0.1, 1.1, "half", None])
def test_a_fraction_outside_of_0_to_1_is_refused(fraction: object) -> None:
    with pytest.raises(StrategyError, match="entropy-random: random_fraction must be a number from 0 to 1, got"):
        load("entropy-random", random_fraction=fraction)


@given(st.lists(st.integers(0, 4), max_size=30), st.data())
def test_largest_and_best_agree_with_a_sort(values: list[int], data: st.DataObject) -> None:
    array = np.array(values, np.float64)
    count = data.draw(st.integers(0, len(values)))
    expected = sorted(range(len(values)), key=lambda position: (-values[position], position))
    np.testing.assert_array_equal(largest(array, count), expected[:count])
    top = best(array, np.arange(len(values)), count)
    np.testing.assert_array_equal(top.regions, sorted(expected[:count]))
    for position in expected[:count]:
        assert Place(values[position], -position) > top.floor
    for position in expected[count:]:
        assert Place(values[position], -position) <= top.floor


def test_best_leaves_out_what_does_not_take_part() -> None:
    values = np.array([-np.inf, 1.0, -np.inf, 2.0])
    for count in (2, 3, 9):
        np.testing.assert_array_equal(best(values, np.array([5, 6, 7, 8]), count).regions, [6, 8])
