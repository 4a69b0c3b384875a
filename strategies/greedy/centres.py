"""Distances between the centres of regions of any shape.

Centres that are whole numbers give the bits of ``cells``.

References:
    [Cai2021] L. Cai et al. "Exploring Spatial Diversity for Region-based Active Learning". IEEE TIP, 2021.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quadrat.strategies.greedy.spatial import DistanceBlock, Images, Norm, PairwiseDistance, length_of

__all__ = ["LinearDistance", "PiecewiseDistance", "largest_span"]


def largest_span(images: Images, row: NDArray[np.float64], col: NDArray[np.float64], norm: Norm) -> float:
    """Return the largest diagonal of the rectangle around the centres of an image.

    No two centres of one image are further apart, and on a whole grid two are as far.
    """
    return float(length_of(images.spans(row), images.spans(col), norm).max())


@dataclass(frozen=True, eq=False)
class CentreDistance(PairwiseDistance):
    """Distance that depends on the difference of two centres alone; 1 between images."""

    images: Images
    """The regions, image by image."""
    row: NDArray[np.float64]
    """(R,) row of each region's centre, in region sizes."""
    col: NDArray[np.float64]
    """(R,) column of each region's centre, in region sizes."""
    norm: Norm
    """Norm of the difference."""

    @abstractmethod
    def of_difference(self, down: NDArray[np.float64], across: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the distances of different regions by the differences of their centres, as a new array.

        The differences may be overwritten.
        """

    def between(self, region: int, members: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the distances of ``region`` to ``members``, which are regions of the same image."""
        distance = self.of_difference(self.row[members] - self.row[region], self.col[members] - self.col[region])
        distance[members == region] = 0.0
        return distance

    def from_each(
        self, sources: NDArray[np.int64], members: NDArray[np.int64], length: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Return the distances of each source to its members."""
        down = self.row[members] - np.repeat(self.row[sources], length)
        across = self.col[members] - np.repeat(self.col[sources], length)
        distance = self.of_difference(down, across)
        distance[members == np.repeat(sources, length)] = 0.0
        return distance

    def block(self, region_IS: NDArray[np.int64]) -> DistanceBlock:
        """Return the distances inside images of similar size."""
        return _CentreBlock(self, self.row[region_IS], self.col[region_IS])


class _CentreBlock(DistanceBlock):
    def __init__(self, distance: CentreDistance, row_IS: NDArray[np.float64], col_IS: NDArray[np.float64]) -> None:
        self._distance, self._row_IS, self._col_IS = distance, row_IS, col_IS

    def keep(self, is_kept: NDArray[np.bool_]) -> None:
        self._row_IS, self._col_IS = self._row_IS[is_kept], self._col_IS[is_kept]

    def distance_to(self, slot: NDArray[np.int64]) -> NDArray[np.float64]:
        image = np.arange(len(slot))
        distance = self._distance.of_difference(
            self._row_IS - self._row_IS[image, slot][:, None], self._col_IS - self._col_IS[image, slot][:, None]
        )
        distance[image, slot] = 0.0
        return distance


@dataclass(frozen=True, eq=False)
class PiecewiseDistance(CentreDistance):
    """0 for the region itself, ``near`` where centres are closer than the cut-off, else ``far`` [Cai2021, eq. 6].

    A metric when near <= far <= 2 near and far <= 1 [Cai2021, appendix A], for any centres: two different regions are
    never at 0, also where their centres are equal.
    """

    cutoff: float
    """d_c in region sizes."""
    near: float
    """d1 / d3."""
    far: float
    """d2 / d3."""

    def of_difference(self, down: NDArray[np.float64], across: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ``near`` or ``far``."""
        return np.where(is_shorter(down, across, self.cutoff, self.norm), self.near, self.far)


@dataclass(frozen=True, eq=False)
class LinearDistance(CentreDistance):
    """|i - j| divided by the largest distance inside any image of the pool [Cai2021, eq. 5].

    Regions of one centre are at 0. Otherwise a metric.
    """

    largest: float
    """``largest_span`` of the pool."""

    def of_difference(self, down: NDArray[np.float64], across: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the length of the difference over the largest."""
        return length_of(down, across, self.norm) / (self.largest or 1.0)


def is_shorter(down: NDArray[np.float64], across: NDArray[np.float64], limit: float, norm: Norm) -> NDArray[np.bool_]:
    """Return where ``length_of(down, across, norm) < limit``; overwrites both differences.

    Under norm 2 squares are compared with the smallest number whose square root reaches the limit. The square root is
    rounded correctly and so never falls: the result is that of the comparison of lengths for every pair.
    """
    if norm == 2:
        np.square(down, out=down)
        np.square(across, out=across)
        down += across
        return np.asarray(down < _smallest_square(limit))
    return np.asarray(length_of(down, across, norm) < limit)


def _smallest_square(length: float) -> float:
    """Return the smallest float of 0 or more whose square root is at least ``length``."""
    square = length * length
    while square > 0 and math.sqrt(square) >= length:
        square = math.nextafter(square, 0.0)
    while math.sqrt(square) < length:
        square = math.nextafter(square, math.inf)
    return square
