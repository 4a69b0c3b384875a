"""What so many seeds can tell, against published tables and a simulation."""

import numpy as np
import pytest
from scipy import stats

from quadrat.benchmark.analysis.power import seeds_needed, smallest_difference


@pytest.mark.parametrize(("effect", "pairs"), [(0.2, 199), (0.5, 34), (0.8, 15)])
def test_pairs_needed_are_those_of_cohens_small_medium_and_large_effects(effect: float, pairs: int) -> None:
    """The numbers that G*Power gives for a two-sided paired t-test at 5 % with 80 % power."""
    assert seeds_needed(1.0, effect) == pairs


def test_the_smallest_difference_scales_with_the_spread_and_shrinks_with_seeds() -> None:
    three, five = smallest_difference(1.0, 3), smallest_difference(1.0, 5)
    assert three is not None and five is not None and three > five
    assert smallest_difference(2.5, 5) == pytest.approx(2.5 * five)
    assert (smallest_difference(1.0, 5, num_tests=7) or 0) > five


def test_a_difference_of_that_size_is_told_in_four_studies_of_five() -> None:
    size = smallest_difference(1.0, 5)
    assert size is not None
    studies = np.random.default_rng(0).normal(size, 1.0, (4000, 5))
    told = stats.ttest_1samp(studies, 0, axis=1).pvalue < 0.05
    assert told.mean() == pytest.approx(0.80, abs=0.03)


def test_fewer_than_two_seeds_tell_nothing_and_no_spread_tells_everything() -> None:
    assert smallest_difference(1.0, 1) is None
    assert smallest_difference(0.0, 3) == 0.0
    assert seeds_needed(0.0, 1.0) == 2
    assert seeds_needed(0.001, 1.0) == 2


def test_no_number_of_seeds_tells_zero() -> None:
    with pytest.raises(ValueError, match="expected a difference that is not 0"):
        seeds_needed(1.0, 0.0)
