"""Rankings by one signal, entropy-random and power-entropy, on pools small enough to check by hand."""

import numpy as np
import pytest
from support.pools import entropy_pool, line_pool

from quadrat.strategies import StrategyError, load


def test_entropy_selects_the_largest_first_and_ties_by_row_number() -> None:
    pool = entropy_pool([0.5, 2.0, 1.0, 2.0, 3.0], labelled=(4,))
    selection = load("entropy").select(pool, 3, np.random.default_rng(0))
    np.testing.assert_array_equal(selection.regions, [1, 3, 2])
    np.testing.assert_array_equal(selection.potential, [2.0, 2.0, 1.0])


@pytest.mark.parametrize(
    "name", ["margin", "bvsb", "least-confidence", "mc-entropy", "bald", "vote-entropy", "ensemble-entropy"]
)
def test_a_ranking_selects_the_largest_of_its_own_signal(name: str) -> None:
    strategy, pool = load(name), line_pool(4, labelled=(1,), signals={name: [0.5, 0.9, 0.1, 0.9]})
    assert strategy.needs.signals == (name,) and strategy.params() == {}
    selection = strategy.select(pool, 2, np.random.default_rng(0))
    np.testing.assert_array_equal(selection.regions, [3, 0])
    np.testing.assert_allclose(selection.potential, [0.9, 0.5])


@pytest.mark.parametrize(("budget", "num_ranked"), [(4, 2), (5, 3), (1, 1)])
def test_entropy_random_selects_the_larger_half_by_entropy(budget: int, num_ranked: int) -> None:
    pool = entropy_pool([float(value) for value in range(20)])
    selection = load("entropy-random").select(pool, budget, np.random.default_rng(0))
    np.testing.assert_array_equal(selection.regions[:num_ranked], [19, 18, 17][:num_ranked])
    assert np.isnan(selection.potential[num_ranked:]).all() and len(selection) == budget


def test_entropy_random_draws_all_or_none_at_the_limits_of_its_fraction() -> None:
    pool = entropy_pool([1.0] * 6)
    all_drawn = load("entropy-random", random_fraction=1.0).select(pool, 4, np.random.default_rng(0))
    none_drawn = load("entropy-random", random_fraction=0.0).select(pool, 4, np.random.default_rng(0))
    assert np.isnan(all_drawn.potential).all()
    np.testing.assert_array_equal(none_drawn.regions, [0, 1, 2, 3])


@pytest.mark.parametrize("fraction", [-0.1, 1.1, "half", None])
def test_a_fraction_outside_of_0_to_1_is_refused(fraction: object) -> None:
    with pytest.raises(StrategyError, match="entropy-random: random_fraction must be a number from 0 to 1, got"):
        load("entropy-random", random_fraction=fraction)


def test_power_entropy_draws_in_proportion_to_the_power_of_the_score() -> None:
    rng, pool, counts = np.random.default_rng(0), entropy_pool([1.0, 2.0, 3.0, 0.0]), np.zeros(4)
    strategy = load("power-entropy", beta=2.0)
    for _ in range(2000):
        counts[strategy.select(pool, 1, rng).regions] += 1
    np.testing.assert_allclose(counts / 2000, np.array([1.0, 4.0, 9.0, 0.0]) / 14.0, atol=0.05)


def test_power_entropy_is_score_plus_gumbel_noise() -> None:
    noise = np.random.default_rng(7).gumbel(size=3)
    expected = 3.0 * np.log([0.5, 1.0, 2.0]) + noise
    selection = load("power-entropy", beta=3.0).select(entropy_pool([0.5, 1.0, 2.0]), 3, np.random.default_rng(7))
    np.testing.assert_allclose(selection.potential, np.sort(expected)[::-1])


def test_power_entropy_of_a_negative_signal_is_refused() -> None:
    with pytest.raises(StrategyError, match="power-entropy: expected a signal of 0 or more, got 'entropy' = -1 in reg"):
        load("power-entropy").select(entropy_pool([0.5, -1.0]), 1, np.random.default_rng(0))
