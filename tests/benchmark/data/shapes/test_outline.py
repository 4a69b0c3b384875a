"""Borders of regions: their area by the shoelace formula, their length by counting sides, drawn again by filling."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from quadrat.benchmark.data.shapes.outline import outline_path, outlines


@given(seed=st.integers(0, 2**32 - 1), height=st.integers(1, 9), width=st.integers(1, 9))
@settings(max_examples=60, deadline=None)
def test_lines_enclose_the_pixels_and_follow_every_side_once(seed: int, height: int, width: int) -> None:
    is_in = np.random.default_rng(seed).random((height, width)) < 0.6
    area = sides = 0
    filled = np.zeros((height, width), dtype=int)
    for line in outlines(is_in):
        for (x, y), (next_x, next_y) in zip(line, [*line[1:], line[0]], strict=True):
            assert (x == next_x) != (y == next_y)  # straight, and it turns at every corner
            area += x * next_y - next_x * y
            sides += abs(next_x - x) + abs(next_y - y)
            if x == next_x:  # each vertical side changes what lies to the right of it
                filled[min(y, next_y) : max(y, next_y), x:] += 1 if next_y < y else -1
    framed = np.pad(is_in, 1).astype(int)
    assert area == 2 * is_in.sum()
    assert sides == sum(np.abs(np.diff(framed, axis=axis)).sum() for axis in (0, 1))
    np.testing.assert_array_equal(filled, is_in)


def test_a_ring_has_two_lines_and_a_path_of_both() -> None:
    ring = np.ones((3, 3), dtype=bool)
    ring[1, 1] = False
    assert outline_path(ring, top=10, left=20) == "M20,10h3v3h-3zM21,11v1h1v-1z"
