"""Power, detectable differences and seeds needed, against published tables, another integral and simulations."""

import math

import numpy as np
import pytest
from scipy import integrate, stats

from quadrat.benchmark.analysis.block_design import BlockDesign
from quadrat.benchmark.analysis.power import POWER, detectable_difference, power, seeds_needed


def rejection_rate(effect: float, num: int, alpha: float) -> float:
    """Return P(|T| > critical) as an integral over the mean's normal distribution, the other way round than `power`."""
    df = num - 1
    critical, shift = stats.t.isf(alpha / 2, df), math.sqrt(num) * effect

    def integrand(z: float) -> float:  # |z + shift| > critical * sqrt(chi2 / df)
        return float(stats.norm.pdf(z) * stats.chi2.cdf(df * ((z + shift) / critical) ** 2, df))

    kink = [-shift] if abs(shift) < 9 else None
    return float(integrate.quad(integrand, -9, 9, points=kink, limit=500, epsabs=1e-10)[0])


@pytest.mark.parametrize(("effect", "pairs"), [(0.2, 199), (0.5, 34), (0.8, 15)])
def test_the_pairs_that_detect_an_effect_are_those_of_gpower(effect: float, pairs: int) -> None:
    """G*Power gives these numbers for a two-sided paired t-test at 5 % with 80 % power."""
    assert seeds_needed(1.0, effect, max_seeds=300) == pairs
    enough, too_few = detectable_difference(1.0, pairs), detectable_difference(1.0, pairs - 1)
    assert enough is not None and too_few is not None
    assert enough <= effect < too_few


@pytest.mark.parametrize(("num", "num_tests", "expected"), [(3, 7, 8.66), (3, 3, 5.67), (3, 15, 12.7), (4, 7, 4.17)])
def test_few_seeds_and_many_tests_have_the_values_of_an_independent_computation(
    num: int, num_tests: int, expected: float
) -> None:
    found = detectable_difference(1.0, num, num_tests=num_tests)
    assert found == pytest.approx(expected, rel=0.003)
    assert found is not None and rejection_rate(found, num, 0.05 / num_tests) == pytest.approx(POWER, abs=1e-6)


@pytest.mark.parametrize("num", [2, 3, 4, 5, 7, 10, 20, 35, 50])
@pytest.mark.parametrize("alpha", [1e-4, 1e-3, 0.01, 0.05, 0.2])
def test_what_is_returned_has_the_power_asked_for(num: int, alpha: float) -> None:
    found = detectable_difference(1.0, num, alpha=alpha)
    assert found is not None
    assert rejection_rate(found, num, alpha) == pytest.approx(POWER, abs=1e-5)


@pytest.mark.parametrize("num", [3, 5, 10])
@pytest.mark.parametrize("strategies", [2, 3, 8, 14])
def test_a_gain_of_that_size_is_claimed_in_four_layouts_of_five(num: int, strategies: int) -> None:
    """The test of the primary analysis itself, on layouts of strategies that vary equally."""
    num_tests = 2 * (strategies - 1)
    size = detectable_difference(1.0, num, num_tests=num_tests, num_strategies=strategies)
    assert size is not None
    noise = np.random.default_rng((num, strategies)).normal(0, math.sqrt(0.5), (4000, strategies, num))
    noise[:, 1] += size  # two values of variance 1/2 differ with a standard deviation of 1
    cells = [(strategy, block) for strategy in range(strategies) for block in range(num)]
    found = BlockDesign.of([k for k, _ in cells], [b for _, b in cells], [(1, 0)]).fit(noise.reshape(4000, -1))
    p_values = 2 * stats.t.sf(np.abs(found.gain_BC[:, 0] / found.claim_error_BC[:, 0]), found.claim_df_B)
    assert (p_values < 0.05 / num_tests).mean() == pytest.approx(POWER, abs=0.05)


@pytest.mark.parametrize(("std", "difference", "num_tests", "expected"), [(1, 5, 7, 4), (1, -5, 7, 4), (2, 10, 7, 4)])
def test_seeds_needed_for_large_differences(std: float, difference: float, num_tests: int, expected: int) -> None:
    assert seeds_needed(std, difference, num_tests=num_tests) == expected


@pytest.mark.parametrize("difference", [0.3, 0.7, 1.0, 2.0, 4.0, 8.0, 50.0, 1000.0])
@pytest.mark.parametrize("num_tests", [1, 7, 26])
def test_the_seeds_needed_are_enough_and_one_fewer_is_not(difference: float, num_tests: int) -> None:
    num = seeds_needed(1.0, difference, num_tests=num_tests, max_seeds=500)
    assert num is not None
    assert rejection_rate(difference, num, 0.05 / num_tests) >= POWER - 1e-6
    assert num == 2 or rejection_rate(difference, num - 1, 0.05 / num_tests) < POWER


def test_more_seeds_than_are_planned_for_are_no_number() -> None:
    assert seeds_needed(1.0, 0.01) is None
    assert seeds_needed(1.0, 0.0) is None
    assert seeds_needed(0.0, 0.0) is None
    assert seeds_needed(0.0, 0.1) == 2


def test_the_detectable_difference_scales_with_the_spread() -> None:
    five = detectable_difference(1.0, 5)
    assert five is not None
    assert detectable_difference(2.5, 5) == pytest.approx(2.5 * five)


@pytest.mark.parametrize(("num", "num_tests"), [(5, 1), (3, 7)])
def test_a_difference_of_that_size_is_detected_in_four_studies_of_five(num: int, num_tests: int) -> None:
    size = detectable_difference(1.0, num, num_tests=num_tests)
    assert size is not None
    studies = np.random.default_rng(0).normal(size, 1.0, (20_000, num))
    is_detected = stats.ttest_1samp(studies, 0, axis=1).pvalue < 0.05 / num_tests
    assert is_detected.mean() == pytest.approx(0.80, abs=0.01)


def test_power_at_no_difference_is_the_level() -> None:
    assert power(0.0, 1.0, 4) == pytest.approx(0.05)


def test_one_seed_detects_nothing_and_without_spread_any_difference_is_detected() -> None:
    assert detectable_difference(1.0, 1) is None
    assert detectable_difference(0.0, 3) == 0.0
