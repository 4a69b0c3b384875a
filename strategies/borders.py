"""Which regions share a border: the pairs of a grid, and the neighbours of every region.

Axes: R regions, E pairs.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Neighbourhood", "borders_of_cells", "positions_in_rows"]


def borders_of_cells(image: NDArray[Any], row: NDArray[Any], col: NDArray[Any]) -> NDArray[np.int64]:
    """Return the pairs of cells of one image that have an edge in common, (E, 2), each pair once.

    Args:
        image: (R,) image of each cell.
        row: (R,) whole numbers of 0 or more.
        col: (R,) whole numbers of 0 or more.

    Returns:
        Row numbers. O(R log R).

    >>> borders_of_cells(np.array([0, 0, 0, 1]), np.array([0, 0, 1, 0]), np.array([0, 1, 1, 0])).tolist()
    [[0, 1], [1, 2]]
    """
    # A column and a row more than there are: the cell after the last of a row is no cell.
    num_rows, num_cols = int(row.max(initial=0)) + 2, int(col.max(initial=0)) + 2
    cell = (image.astype(np.int64) * num_rows + row) * num_cols + col
    order = np.argsort(cell, kind="stable")
    ordered = cell[order]
    pairs = []
    for step in (1, num_cols):
        at = np.searchsorted(ordered, cell + step)
        found = np.flatnonzero(ordered[np.minimum(at, len(ordered) - 1)] == cell + step)
        pairs.append(np.column_stack([found, order[at[found]]]))
    return np.concatenate(pairs)


class Neighbourhood(NamedTuple):
    """The regions that share a border with each region, as compressed sparse rows."""

    first: NDArray[np.int64]
    """(R + 1,) the neighbours of region i are ``neighbour[first[i]:first[i + 1]]``."""
    neighbour: NDArray[np.int64]
    """(2 E,) row numbers."""

    @classmethod
    def of(cls, borders: NDArray[np.int64], num_regions: int) -> Neighbourhood:
        """Return the neighbours by region of (E, 2) pairs, each of which counts in both directions."""
        source = borders.T.ravel()
        order = np.argsort(source, kind="stable")
        first = np.zeros(num_regions + 1, np.int64)
        np.cumsum(np.bincount(source, minlength=num_regions), out=first[1:])
        return cls(first=first, neighbour=borders[:, ::-1].T.ravel()[order])

    def of_each(self, regions: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the neighbours of several regions, and the position in ``regions`` that each is a neighbour of."""
        begin = self.first[regions]
        length = self.first[regions + 1] - begin
        return self.neighbour[positions_in_rows(begin, length)], np.repeat(np.arange(len(regions)), length)


def positions_in_rows(begin: NDArray[np.int64], length: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the positions of some compressed sparse rows, one row after the other, (sum of length,).

    >>> positions_in_rows(np.array([5, 0]), np.array([2, 3]))
    array([5, 6, 0, 1, 2])
    """
    positions: NDArray[np.int64] = np.repeat(begin - (np.cumsum(length) - length), length) + np.arange(length.sum())
    return positions
