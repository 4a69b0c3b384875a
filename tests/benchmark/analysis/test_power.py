"""Detectable differences, against published tables and a simulation."""

import numpy as np
import pytest
from scipy import stats

from quadrat.benchmark.analysis.power import detectable_difference


@pytest.mark.parametrize(("effect", "pairs"), [(0.2, 199), (0.5, 34), (0.8, 15)])
def test_the_pairs_that_detect_an_effect_are_those_of_gpower(effect: float, pairs: int) -> None:
    """G*Power gives these numbers for a two-sided paired t-test at 5 % with 80 % power."""
    enough, too_few = detectable_difference(1.0, pairs), detectable_difference(1.0, pairs - 1)
    assert enough is not None and too_few is not None
    assert enough <= effect < too_few


def test_the_detectable_difference_scales_with_the_spread_and_shrinks_with_seeds() -> None:
    three, five = detectable_difference(1.0, 3), detectable_difference(1.0, 5)
    assert three is not None and five is not None and three > five
    assert detectable_difference(2.5, 5) == pytest.approx(2.5 * five)
    assert (detectable_difference(1.0, 5, num_tests=7) or 0) > five


def test_a_difference_of_that_size_is_significant_in_four_studies_of_five() -> None:
    size = detectable_difference(1.0, 5)
    assert size is not None
    studies = np.random.default_rng(0).normal(size, 1.0, (4000, 5))
    is_significant = stats.ttest_1samp(studies, 0, axis=1).pvalue < 0.05
    assert is_significant.mean() == pytest.approx(0.80, abs=0.03)


def test_one_seed_detects_nothing_and_without_spread_any_difference_is_detected() -> None:
    assert detectable_difference(1.0, 1) is None
    assert detectable_difference(0.0, 3) == 0.0
