"""Clicks inside regions of any shape: the rectangle tool's on squares, and counted by hand on others."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from quadrat.benchmark.data import RegionGrid
from quadrat.benchmark.data.clicks import contour_vertices, count_clicks
from quadrat.benchmark.data.shapes.clicks import count_clicks_of_shapes

NO_VERTEX = np.empty((0, 2), dtype=np.int64)


@given(
    seed=st.integers(0, 2**32 - 1),
    height=st.integers(4, 23),
    width=st.integers(4, 23),
    size=st.integers(1, 4),
    block=st.integers(1, 5),
)
@settings(max_examples=40, deadline=None)
def test_squares_cost_what_the_rectangle_tool_counts(seed: int, height: int, width: int, size: int, block: int) -> None:
    generator = np.random.default_rng(seed)
    blocks = generator.choice([0, 1, 2, 255], size=(height // block + 1, width // block + 1))
    mask = np.kron(blocks, np.ones((block, block), dtype=int))[:height, :width].astype(np.uint8)
    vertices = np.concatenate([contour_vertices(mask), generator.integers(-2, 25, size=(20, 2))])
    region_HW = RegionGrid([(height, width)], size).window(0, 0, 0, height, width)
    expected = count_clicks(mask, size, vertices)
    np.testing.assert_array_equal(count_clicks_of_shapes(mask, region_HW, vertices), expected)


def test_a_border_that_meets_the_outline_costs_a_click_at_each_end() -> None:
    # An L of two labels: the border between them ends at the top of the L and at its concave corner.
    region = np.array([[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, -1, -1], [0, 0, -1, -1]])
    mask = np.array([[1, 1, 2, 2], [1, 1, 2, 2], [1, 1, 9, 9], [1, 1, 9, 9]], dtype=np.uint8)
    assert count_clicks_of_shapes(mask, region, NO_VERTEX).tolist() == [2 + 2]


def test_pieces_and_labels_outside_count_for_no_other_region() -> None:
    # Region 0 lies in two pieces of one label; region 1 between them holds the same label.
    region = np.array([[0, 0, 1, 1, 0, 0]] * 3)
    mask = np.full((3, 6), 4, dtype=np.uint8)
    assert count_clicks_of_shapes(mask, region, NO_VERTEX).tolist() == [2, 1]


def test_vertices_on_an_outline_cost_nothing() -> None:
    region = np.zeros((5, 5), dtype=np.int64)
    region[4, 4] = -1
    mask = np.zeros((5, 5), dtype=np.uint8)
    vertices = np.array([[2, 2], [3, 3], [3, 4], [4, 4], [0, 2]])  # (3, 3) has no side on the outline
    assert count_clicks_of_shapes(mask, region, vertices).tolist() == [1 + 2]
