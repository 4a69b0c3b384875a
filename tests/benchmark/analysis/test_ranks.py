"""Ranks and Friedman's test: equal to scipy's, to the last bit, ties included."""

import math

import numpy as np
import pytest
from scipy import stats

from quadrat.benchmark.analysis.ranks import friedman_p, rank


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("num_values", [3, 1000])
def test_ranks_are_those_of_scipy(axis: int, num_values: int) -> None:
    values = np.random.default_rng(axis).integers(0, num_values, (7, 4, 5)) / 3  # of 3 values most are tied
    assert np.array_equal(rank(values, axis=axis), stats.rankdata(values, axis=axis))


@pytest.mark.parametrize("num_values", [2, 4, 1000])
@pytest.mark.parametrize(("num_treatments", "num_blocks"), [(3, 3), (3, 10), (8, 5), (20, 40)])
def test_friedmans_p_is_that_of_scipy(num_treatments: int, num_blocks: int, num_values: int) -> None:
    rng = np.random.default_rng(num_treatments + num_values)
    for _ in range(5):
        values = rng.integers(0, num_values, (num_treatments, num_blocks)) / 7
        expected = stats.friedmanchisquare(*values).pvalue
        assert 0 <= expected <= 1 and friedman_p(values) == expected


def test_treatments_that_are_tied_everywhere_have_no_p() -> None:
    assert math.isnan(friedman_p([[1.0, 2.0]] * 3))


def test_two_treatments_are_refused() -> None:
    with pytest.raises(ValueError, match="expected at least 3 treatments for Friedman's test, got 2"):
        friedman_p([[1.0, 2.0], [2.0, 1.0]])
