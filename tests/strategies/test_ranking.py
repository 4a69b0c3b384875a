"""The order of regions, against a sort."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from quadrat.strategies.ranking import SortKey, largest, share_of, top_k


@given(st.lists(st.integers(0, 4), max_size=30), st.data())
def test_largest_and_top_k_agree_with_a_sort(values: list[int], data: st.DataObject) -> None:
    array = np.array(values, np.float64)
    count = data.draw(st.integers(0, len(values)))
    expected = sorted(range(len(values)), key=lambda position: (-values[position], position))
    np.testing.assert_array_equal(largest(array, count), expected[:count])
    top = top_k(array, np.arange(len(values)), count)
    np.testing.assert_array_equal(top.regions, sorted(expected[:count]))
    for position in expected[:count]:
        assert SortKey(values[position], -position) > top.floor
    for position in expected[count:]:
        assert SortKey(values[position], -position) <= top.floor


def test_top_k_leaves_out_excluded_regions() -> None:
    values = np.array([-np.inf, 1.0, -np.inf, 2.0])
    for count in (2, 3, 9):
        np.testing.assert_array_equal(top_k(values, np.array([5, 6, 7, 8]), count).regions, [6, 8])


@given(st.integers(0, 5000), st.integers(0, 1000))
def test_a_share_is_that_of_the_decimal_number(budget: int, thousandths: int) -> None:
    assert share_of(budget, thousandths / 1000) == budget * thousandths // 1000
