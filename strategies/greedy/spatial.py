"""Distances between region centres, normalised so that regions of different images are at most 1 apart.

Centres are those of the full grid cells, also where a cell is clipped at the border, so distances are exact in units of
the region size and depend on nothing but ``|row - row'|`` and ``|col - col'|``: a small table holds them all.

References:
    [Cai2021] L. Cai et al. "Exploring Spatial Diversity for Region-based Active Learning". IEEE TIP, 2021.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Images",
    "Norm",
    "SpatialDistance",
    "centre_distance",
    "largest_in_image",
    "linear_table",
    "piecewise_table",
]

Norm = Literal[1, 2, "inf"]


class Images(NamedTuple):
    """The regions of a pool, image by image."""

    order: NDArray[np.int64]
    """(R,) row numbers of the pool sorted by image, ascending inside an image."""
    first: NDArray[np.int64]
    """(I + 1,) the regions of the i-th image are ``order[first[i]:first[i + 1]]``."""
    of_region: NDArray[np.int64]
    """(R,) which of the I images a region lies in."""

    @classmethod
    def of(cls, image: NDArray[np.int32]) -> Images:
        """Group regions by their (R,) ``image`` index; indices may have gaps. O(R) when they are sorted already."""
        order = np.argsort(image, kind="stable")
        ordered = image[order]
        is_first = np.ones(len(image), np.bool_)
        is_first[1:] = ordered[1:] != ordered[:-1]
        of_region = np.empty(len(image), np.int64)
        of_region[order] = np.cumsum(is_first) - 1
        return cls(order=order, first=np.append(np.flatnonzero(is_first), len(image)), of_region=of_region)

    def members(self, index: int) -> NDArray[np.int64]:
        """Return the row numbers of the regions of the ``index``-th image, ascending."""
        return self.order[self.first[index] : self.first[index + 1]]


def centre_distance(num_rows: int, num_cols: int, norm: Norm) -> NDArray[np.float64]:
    """Return |i - j| by row and column difference, in region sizes.

    >>> centre_distance(2, 3, 1)
    array([[0., 1., 2.],
           [1., 2., 3.]])
    """
    row = np.arange(num_rows, dtype=np.float64)[:, None]
    col = np.arange(num_cols, dtype=np.float64)[None, :]
    if norm == 1:
        return row + col
    if norm == 2:
        return np.sqrt(row**2 + col**2)
    return np.maximum(row, col)


def piecewise_table(
    num_rows: int, num_cols: int, *, cutoff: float, norm: Norm, d2_d1: float, d3_d2: float
) -> NDArray[np.float64]:
    """Return the piece-wise distance inside an image by row and column difference, divided by d3 [Cai2021, eq. 6].

    0 for the region itself, d1 nearer than the cut-off, d2 from the cut-off on; d3 (here 1) is for other images. A
    metric when d1 <= d2 <= 2 d1 and d2 <= d3 [Cai2021, appendix A].

    Args:
        num_rows: Row differences 0 to ``num_rows - 1``.
        num_cols: Column differences 0 to ``num_cols - 1``.
        cutoff: d_c in region sizes.
        norm: Norm of the difference of centres.
        d2_d1: d2 / d1.
        d3_d2: d3 / d2.

    Returns:
        (num_rows, num_cols) table.

    >>> piecewise_table(1, 3, cutoff=1.5, norm=2, d2_d1=2.0, d3_d2=1.0)
    array([[0. , 0.5, 1. ]])
    """
    far = 1.0 / d3_d2
    table = np.where(centre_distance(num_rows, num_cols, norm) < cutoff, far / d2_d1, far)
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
    starts = images.first[:-1]
    spans = []
    for axis in (row, col):
        ordered = axis[images.order]
        spans.append(np.maximum.reduceat(ordered, starts) - np.minimum.reduceat(ordered, starts))
    num_rows, num_cols = int(spans[0].max()) + 1, int(spans[1].max()) + 1
    distance = centre_distance(num_rows, num_cols, norm)[spans[0], spans[1]]
    return num_rows, num_cols, float(distance.max())


class SpatialDistance(NamedTuple):
    """Distance between the regions of a pool: a table within an image, 1 between images."""

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

    def same_image(self, region: int) -> NDArray[np.int64]:
        """Return the row numbers of all regions of the image that contains ``region``, ascending."""
        return self.images.members(int(self.images.of_region[region]))

    def to_nearest(self, members: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return each region's distance to the nearest of ``members``, (R,) in [0, 1]; 1 where its image has none."""
        nearest = np.ones(len(self.row))
        self.update_nearest(nearest, members)
        return nearest

    def update_nearest(self, nearest: NDArray[np.float64], new: NDArray[np.int64]) -> NDArray[np.int64]:
        """Lower ``nearest`` in place to the distance to each of ``new``, and return the regions of their images.

        Handles the n-th new region of all images at once. O(sum over new regions of the number of regions in its
        image).

        Args:
            nearest: (R,) distances to the set before; changed in place.
            new: Row numbers of the regions that are added to the set.

        Returns:
            Row numbers of all regions whose distance may have changed, each once.
        """
        image = self.images.of_region[new]
        by_image = np.argsort(image, kind="stable")
        new, image = new[by_image], image[by_image]
        number = np.arange(len(image)) - np.searchsorted(image, image)  # 0, 1, ... for the new regions of an image
        num_cols, flat, changed = self.table.shape[1], self.table.ravel(), np.empty(0, np.int64)
        for step in range(int(number.max(initial=-1)) + 1):
            sources, among = new[number == step], image[number == step]
            begin = self.images.first[among]
            length = self.images.first[among + 1] - begin
            slot = np.repeat(begin - (np.cumsum(length) - length), length) + np.arange(length.sum())
            members = self.images.order[slot]
            index = np.abs(self.row[members] - np.repeat(self.row[sources], length)) * num_cols
            index += np.abs(self.col[members] - np.repeat(self.col[sources], length))
            nearest[members] = np.minimum(nearest[members], flat[index])
            if step == 0:
                changed = members
        return changed
