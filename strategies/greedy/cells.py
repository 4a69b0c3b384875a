"""Distances between the cells of a grid, from a table.

Centres are those of the full cells, also where a cell is clipped at the border, so distances are exact in units of the
region size and depend on nothing but ``|row - row'|`` and ``|col - col'|``: a small table holds them all.

References:
    [Cai2021] L. Cai et al. "Exploring Spatial Diversity for Region-based Active Learning". IEEE TIP, 2021.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quadrat.strategies.greedy.spatial import DistanceBlock, Images, Norm, PairwiseDistance, length_of

__all__ = ["CellDistance", "centre_distance", "largest_in_image", "linear_table", "piecewise_table"]


def centre_distance(num_rows: int, num_cols: int, norm: Norm) -> NDArray[np.float64]:
    """Return |i - j| by row and column difference, in region sizes.

    >>> centre_distance(2, 3, 1)
    array([[0., 1., 2.],
           [1., 2., 3.]])
    """
    row = np.arange(num_rows, dtype=np.float64)[:, None]
    col = np.arange(num_cols, dtype=np.float64)[None, :]
    return length_of(row, col, norm)


def piecewise_table(
    num_rows: int, num_cols: int, *, cutoff: float, norm: Norm, near: float, far: float
) -> NDArray[np.float64]:
    """Return the piece-wise distance inside an image by row and column difference [Cai2021, eq. 6].

    0 for the region itself, ``near`` below the cut-off, ``far`` from the cut-off on; between images it is 1. A metric
    when near <= far <= 2 near and far <= 1 [Cai2021, appendix A].

    Args:
        num_rows: Row differences 0 to ``num_rows - 1``.
        num_cols: Column differences 0 to ``num_cols - 1``.
        cutoff: d_c in region sizes.
        norm: Norm of the difference of centres.
        near: d1 / d3.
        far: d2 / d3.

    Returns:
        (num_rows, num_cols) table.

    >>> piecewise_table(1, 3, cutoff=1.5, norm=2, near=0.5, far=1.0)
    array([[0. , 0.5, 1. ]])
    """
    table = np.where(centre_distance(num_rows, num_cols, norm) < cutoff, near, far)
    table[0, 0] = 0.0
    return table


def linear_table(num_rows: int, num_cols: int, *, norm: Norm, largest: float) -> NDArray[np.float64]:
    """Return |i - j| divided by the largest distance inside any image of the pool [Cai2021, eq. 5].

    Regions of different images are at that largest distance, here 1.

    >>> linear_table(1, 3, norm=2, largest=2.0)
    array([[0. , 0.5, 1. ]])
    """
    return centre_distance(num_rows, num_cols, norm) / (largest or 1.0)


def largest_in_image(
    images: Images, row: NDArray[np.int32], col: NDArray[np.int32], norm: Norm
) -> tuple[int, int, float]:
    """Return the largest row difference, column difference and distance inside one image.

    The distance is that of opposite corners of the rectangle of cells which an image has in the pool: the largest
    between two regions wherever a pool holds whole grids.
    """
    down, across = images.spans(row), images.spans(col)
    num_rows, num_cols = int(down.max()) + 1, int(across.max()) + 1
    return num_rows, num_cols, float(centre_distance(num_rows, num_cols, norm)[down, across].max())


@dataclass(frozen=True, eq=False)
class CellDistance(PairwiseDistance):
    """Distance between the cells of grids: a table within an image, 1 between images."""

    table: NDArray[np.float64]
    """Distance within an image by row and column difference."""
    images: Images
    """The regions, image by image."""
    row: NDArray[np.int32]
    """(R,) row of each region's cell."""
    col: NDArray[np.int32]
    """(R,) column of each region's cell."""

    def between(self, region: int, members: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the distances of ``region`` to ``members``, which are regions of the same image."""
        down, across = np.abs(self.row[members] - self.row[region]), np.abs(self.col[members] - self.col[region])
        return np.asarray(self.table[down, across])

    def from_each(
        self, sources: NDArray[np.int64], members: NDArray[np.int64], length: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Return the distances of each source to its members."""
        index = np.abs(self.row[members] - np.repeat(self.row[sources], length)) * self.table.shape[1]
        index += np.abs(self.col[members] - np.repeat(self.col[sources], length))
        return np.asarray(self.table.ravel()[index])

    def block(self, region_IS: NDArray[np.int64]) -> DistanceBlock:
        """Return the distances inside images of similar size."""
        return _CellBlock(self.table, self.row[region_IS], self.col[region_IS])


class _CellBlock(DistanceBlock):
    def __init__(self, table: NDArray[np.float64], row_IS: NDArray[np.int32], col_IS: NDArray[np.int32]) -> None:
        self._table, self._num_cols, self._row_IS, self._col_IS = table.ravel(), table.shape[1], row_IS, col_IS

    def keep(self, is_kept: NDArray[np.bool_]) -> None:
        self._row_IS, self._col_IS = self._row_IS[is_kept], self._col_IS[is_kept]

    def distance_to(self, slot: NDArray[np.int64]) -> NDArray[np.float64]:
        image = np.arange(len(slot))
        index = np.abs(self._row_IS - self._row_IS[image, slot][:, None]) * self._num_cols
        index += np.abs(self._col_IS - self._col_IS[image, slot][:, None])
        return np.asarray(self._table[index])
