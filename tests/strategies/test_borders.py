"""Borders of cells against brute force."""

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from quadrat.strategies.borders import Neighbourhood, borders_of_cells


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4), st.integers(0, 4)), unique=True, max_size=40))
def test_cells_of_one_image_share_a_border_where_they_have_an_edge_in_common(cells: list[tuple[int, int, int]]) -> None:
    image, row, col = np.array(cells, np.int32).reshape(-1, 3).T
    expected = {
        (i, j)
        for i, j in itertools.permutations(range(len(cells)), 2)
        if cells[i][0] == cells[j][0] and abs(cells[i][1] - cells[j][1]) + abs(cells[i][2] - cells[j][2]) == 1
    }
    found = borders_of_cells(image, row, col)
    assert {*map(tuple, found.tolist()), *map(tuple, found[:, ::-1].tolist())} == expected
    assert 2 * len(found) == len(expected)
    neighbours, position = Neighbourhood.of(found, len(cells)).of_each(np.arange(len(cells)))
    assert {*zip(position.tolist(), neighbours.tolist(), strict=True)} == expected and len(neighbours) == len(expected)
