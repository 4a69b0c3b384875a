"""Exact distances to a growing set, computed for those regions only whose distance can matter.

A distance to part of the set is a bound from above on the distance to all of it. Each region remembers how much of the
set it has been compared with, and catches up when asked to.

Axes: R regions, D features, S members of the set, N and M any rows; E = D + 1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from quadrat.strategies.features import centre, product_error, squared_distance
from quadrat.strategies.greedy.cells import bound_by_cells
from quadrat.strategies.greedy.objective import unlabelled_scale
from quadrat.strategies.ranking import best

__all__ = ["Nearest", "Points", "squares_to_labelled"]

# Speed only: members of the set that are compared at a time, numbers in the pairs of regions whose exact distance is
# computed at a time, regions that catch up together in the search for the largest distance, and numbers in those that
# do when all of them catch up.
_CHUNK, _PAIRS, _GROUP, _ALL = 1 << 10, 1 << 21, 1 << 10, 1 << 21


class Points(NamedTuple):
    """Some regions, ready to be multiplied with members of the set."""

    factor_NE: NDArray[np.float32]
    """(x - mean, 1): times (-2 (s - mean), |s - mean|^2) it is |x - s|^2 - |x - mean|^2."""
    length_N: NDArray[np.float64]
    """|x - mean|."""


class Nearest:
    """Squared distance of every region to the nearest member of a set that starts as the labelled regions.

    Before anything is in the set the distance is ``unlabelled_scale``, which no two regions exceed.
    """

    squared_R: NDArray[np.float64]
    """Bounds from above; exact for a region that has caught up."""

    def __init__(
        self,
        features_RD: NDArray[np.float32],
        labelled: NDArray[np.int64],
        budget: int,
        squared_R: NDArray[np.float64] | None = None,
    ) -> None:
        """Start with the labelled regions as the set.

        Args:
            features_RD: Features of all regions.
            labelled: Row numbers of the labelled regions.
            budget: How many regions can be added to the set.
            squared_R: What ``squares_to_labelled`` returned, if it was called; None: they are found where they matter.
        """
        num_regions, self._num_features = features_RD.shape
        self._features_RD, self._mean_D = features_RD, centre(features_RD)
        members = _distinct(features_RD, labelled)
        self._member_S = np.empty(len(members) + budget, np.int64)
        self._factor_SE = np.empty((len(members) + budget, self._num_features + 1), np.float32)
        self._size, self._longest = 0, 0.0
        self._compared_R = np.zeros(num_regions, np.int64)
        if len(labelled) == 0:
            self.squared_R = np.full(num_regions, unlabelled_scale(features_RD) ** 2)
            return
        self._append(members, self.points(members))
        if squared_R is not None:
            self.squared_R = squared_R.copy()
            self._compared_R[:] = self._size
            return
        self.squared_R = bound_by_cells(features_RD, features_RD[members], self._mean_D)
        self.squared_R[labelled] = 0.0

    def points(self, regions: NDArray[np.int64]) -> Points:
        """Return regions ready for products."""
        factor_NE = np.empty((len(regions), self._num_features + 1), np.float32)
        np.subtract(self._features_RD[regions], self._mean_D, out=factor_NE[:, :-1])
        factor_NE[:, -1] = 1.0
        return Points(factor_NE, np.sqrt(np.einsum("nd,nd->n", factor_NE[:, :-1], factor_NE[:, :-1], dtype=np.float64)))

    def error(self, length_N: NDArray[np.float64], also: float = 0.0) -> NDArray[np.float64]:
        """Return how far a squared distance to a member of the set, by a product, can be from the true one.

        Args:
            length_N: |x - mean| of the regions.
            also: |s - mean| of the longest member that is yet to come.
        """
        return product_error(self._num_features, length_N, max(self._longest, also))

    def add(self, region: int, point: Points) -> NDArray[np.float32]:
        """Put a region into the set and return its (E,) factor; regions that saw it must be told by ``caught_up``.

        Args:
            region: Its row number.
            point: The same region, as one row of ``points``.
        """
        self._append(np.array([region]), point)
        factor_E: NDArray[np.float32] = self._factor_SE[self._size - 1]
        return factor_E

    def caught_up(self, regions: NDArray[np.int64], squared_N: NDArray[np.float64]) -> None:
        """Take note that these regions have been compared with all of the set, and what came out."""
        self.squared_R[regions] = squared_N
        self._compared_R[regions] = self._size

    def catch_up(self, regions: NDArray[np.int64], matters: Callable[[NDArray[np.int64]], NDArray[np.bool_]]) -> None:
        """Make ``squared_R`` exact for the regions that matter.

        Args:
            regions: Row numbers, ascending.
            matters: Says by its bound so far which regions are still of interest; the others are left behind.
        """
        regions = regions[(self._compared_R[regions] < self._size) & matters(regions)]
        if len(regions) == 0:
            return
        points = self.points(regions)
        for begin in range(int(self._compared_R[regions].min()), self._size, _CHUNK):
            end = min(begin + _CHUNK, self._size)
            now = np.flatnonzero((self._compared_R[regions] < end) & matters(regions))
            if len(now):
                self._compare(regions[now], Points(points.factor_NE[now], points.length_N[now]), begin, end)
                self._compared_R[regions[now]] = end

    def catch_up_all(self, regions: NDArray[np.int64]) -> None:
        """Make ``squared_R`` exact for all of these regions, block by block.

        Args:
            regions: Row numbers, ascending.
        """
        size = max(1, _ALL // self._num_features)
        for start in range(0, len(regions), size):
            self.catch_up(regions[start : start + size], lambda some: np.ones(len(some), np.bool_))

    def largest(self) -> float:
        """Return the largest distance of any region to the set, exactly."""
        everything = np.arange(len(self.squared_R))
        while True:
            group = best(self.squared_R, everything, _GROUP)
            self.catch_up(group.regions, lambda regions: self.squared_R[regions] >= group.floor.value)  # noqa: B023
            largest = float(self.squared_R[group.regions].max())
            if largest >= group.floor.value:
                return float(np.sqrt(largest))

    def _append(self, regions: NDArray[np.int64], points: Points) -> None:
        new = slice(self._size, self._size + len(regions))
        self._member_S[new] = regions
        np.multiply(points.factor_NE, np.float32(-2.0), out=self._factor_SE[new])
        self._factor_SE[new, -1] = points.length_N**2
        self._size += len(regions)
        self._longest = max(self._longest, float(points.length_N.max()))

    def _compare(self, regions: NDArray[np.int64], points: Points, begin: int, end: int) -> None:
        """Lower ``squared_R`` of regions by the members ``begin`` to ``end`` of the set.

        The product finds all members that can be the nearest within its error; ``squared_distance`` decides.
        """
        product_NM = points.factor_NE @ self._factor_SE[begin:end].T
        lowest_N, own_N = product_NM.min(axis=1), points.length_N**2
        error_N, current_N = self.error(points.length_N), self.squared_R[regions]
        closer = np.flatnonzero(lowest_N + own_N - error_N < current_N)
        limit_N = np.minimum(lowest_N + 2 * error_N, current_N - own_N + error_N)[closer]
        pair, member = np.nonzero(product_NM[closer] <= at_least(limit_N)[:, None])
        size = max(1, _PAIRS // self._num_features)
        for start in range(0, len(pair), size):
            rows = closer[pair[start : start + size]]
            others = self._member_S[begin + member[start : start + size]]
            squared = squared_distance(self._features_RD[regions[rows]], self._features_RD[others])
            np.minimum.at(current_N, rows, squared)
        self.squared_R[regions] = current_N


def squares_to_labelled(features_RD: NDArray[np.float32], labelled: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return every region's squared distance to the nearest labelled one, (R,): the search that greedy need not finish.

    Args:
        features_RD: Features of all regions; may be a memory map.
        labelled: At least one row number.

    Returns:
        The bits of ``squared_distance``. O(R L D).
    """
    nearest = Nearest(features_RD, labelled, 0)
    nearest.catch_up_all(np.arange(len(features_RD)))
    return nearest.squared_R


def at_least(values: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return ``values`` as float32, rounded up."""
    return np.nextafter(values.astype(np.float32), np.float32(np.inf))


def _distinct(features_RD: NDArray[np.float32], regions: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return ``regions`` without those whose features another has too: they change no distance."""
    if len(regions) == 0:
        return regions
    rows = np.ascontiguousarray(features_RD[regions])
    _, first = np.unique(rows.view(np.dtype((np.void, rows.shape[1] * rows.itemsize))).ravel(), return_index=True)
    return regions[np.sort(first)]
