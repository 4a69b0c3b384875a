"""Exact distances to a growing set, computed for those regions only whose distance can matter.

The distance to a part of the set is an upper bound on the distance to all of it. Each region keeps such a bound and
how much of the set it has been compared with, and is refreshed on demand. The first bounds on distances to the labelled
regions come from a search in k-means clusters, as in an inverted file index (IVF).

Axes: R regions, D features, S members of the set, N and M any rows, m members of one cluster, C clusters; E = D + 1.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from quadrat.strategies.features import (
    cluster_centres,
    mean_feature,
    nearest_bound,
    nearest_rows,
    product_error,
    squared_distance,
)
from quadrat.strategies.greedy.objective import diameter_bound
from quadrat.strategies.ranking import top_k

__all__ = [
    "NearestDistance",
    "Points",
    "bound_by_clusters",
    "one_blas_thread",
    "round_up",
    "squared_distance_to_labelled",
]

# Sizes that change speed and memory, never a result. Of the distances: members of the set compared at a time; numbers
# in the pairs of regions whose exact distance is computed at a time; regions refreshed at a time in the search for the
# largest distance; numbers in the regions refreshed at a time when all are.
_CHUNK, _PAIRS, _GROUP, _ALL = 1 << 10, 1 << 21, 1 << 10, 1 << 21
# Of the first bounds: clusters searched for each region; regions handled at a time; members up to which all are
# compared.
_PROBES, _BLOCK, _FEW = 2, 1 << 15, 1 << 10
# Packages that bring a BLAS of their own beside numpy's.
_WITH_BLAS = ("faiss", "scipy.linalg", "torch")


def one_blas_thread() -> AbstractContextManager[object]:
    """Return a context in which matrix products of numpy run on one thread; for loops over many small ones.

    There threads gain nothing, and beside other processes each product waits for a thread that has no core.
    """
    with_own = tuple(name for name in _WITH_BLAS if name in sys.modules)
    limits: AbstractContextManager[object] = _libraries(with_own).limit(limits=1, user_api="blas")
    return limits


@lru_cache(maxsize=8)
def _libraries(with_own: tuple[str, ...]) -> ThreadpoolController:
    """Return the loaded libraries whose threads can be limited; to find them takes milliseconds, so it is done once.

    Args:
        with_own: Packages that have been imported and bring a BLAS of their own.
    """
    return ThreadpoolController()


class Points(NamedTuple):
    """Regions in the form that a matrix product with members of the set needs."""

    factor_NE: NDArray[np.float32]
    """(x - mean, 1): times (-2 (s - mean), |s - mean|^2) it is |x - s|^2 - |x - mean|^2."""
    length_N: NDArray[np.float64]
    """|x - mean|."""


class NearestDistance:
    """Squared distance of every region to the nearest member of a set, at first the labelled regions.

    While the set is empty the distance is ``diameter_bound``, which no distance of two regions exceeds.
    """

    squared_R: NDArray[np.float64]
    """Upper bounds; exact for a refreshed region."""

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
            budget: Number of regions that can be added to the set.
            squared_R: Result of ``squared_distance_to_labelled`` where it is known; by default, distances are computed
                on demand.
        """
        num_regions, self._num_features = features_RD.shape
        self._features_RD, self._mean_D = features_RD, mean_feature(features_RD)
        members = _distinct(features_RD, labelled)
        self._member_S = np.empty(len(members) + budget, np.int64)
        self._factor_SE = np.empty((len(members) + budget, self._num_features + 1), np.float32)
        self._size, self._longest = 0, 0.0
        self._compared_R = np.zeros(num_regions, np.int64)
        if len(labelled) == 0:
            self.squared_R = np.full(num_regions, diameter_bound(features_RD) ** 2)
            return
        self._append(members, self.points(members))
        if squared_R is not None:
            self.squared_R = squared_R.copy()
            self._compared_R[:] = self._size
            return
        self.squared_R = bound_by_clusters(features_RD, features_RD[members], self._mean_D)
        self.squared_R[labelled] = 0.0

    def points(self, regions: NDArray[np.int64]) -> Points:
        """Return regions in the form for products."""
        factor_NE = np.empty((len(regions), self._num_features + 1), np.float32)
        np.subtract(self._features_RD[regions], self._mean_D, out=factor_NE[:, :-1])
        factor_NE[:, -1] = 1.0
        return Points(factor_NE, np.sqrt(np.einsum("nd,nd->n", factor_NE[:, :-1], factor_NE[:, :-1], dtype=np.float64)))

    def error(self, length_N: NDArray[np.float64], also: float = 0.0) -> NDArray[np.float64]:
        """Return an upper bound on the error of a squared distance to a member of the set computed by a product.

        Args:
            length_N: |x - mean| of the regions.
            also: Largest |s - mean| of members that are added later.
        """
        return product_error(self._num_features, length_N, max(self._longest, also))

    def add(self, region: int, point: Points) -> NDArray[np.float32]:
        """Add a region to the set and return its (E,) factor; the caller reports new distances by ``set_exact``.

        Args:
            region: Its row number.
            point: The same region, as one row of ``points``.
        """
        self._append(np.array([region]), point)
        factor_E: NDArray[np.float32] = self._factor_SE[self._size - 1]
        return factor_E

    def set_exact(self, regions: NDArray[np.int64], squared_N: NDArray[np.float64]) -> None:
        """Set the exact distances of regions that the caller has compared with the whole set."""
        self.squared_R[regions] = squared_N
        self._compared_R[regions] = self._size

    def refresh(
        self, regions: NDArray[np.int64], is_relevant: Callable[[NDArray[np.int64]], NDArray[np.bool_]]
    ) -> None:
        """Make ``squared_R`` exact for the relevant regions.

        Args:
            regions: Row numbers, ascending.
            is_relevant: Called with row numbers after each part of the set; regions for which it is False, by their
                bounds so far, are not refreshed further.
        """
        regions = regions[(self._compared_R[regions] < self._size) & is_relevant(regions)]
        if len(regions) == 0:
            return
        points = self.points(regions)
        for begin in range(int(self._compared_R[regions].min()), self._size, _CHUNK):
            end = min(begin + _CHUNK, self._size)
            now = np.flatnonzero((self._compared_R[regions] < end) & is_relevant(regions))
            if len(now):
                self._compare(regions[now], Points(points.factor_NE[now], points.length_N[now]), begin, end)
                self._compared_R[regions[now]] = end

    def refresh_all(self, regions: NDArray[np.int64]) -> None:
        """Make ``squared_R`` exact for all of these regions, block by block.

        Args:
            regions: Row numbers, ascending.
        """
        size = max(1, _ALL // self._num_features)
        for start in range(0, len(regions), size):
            self.refresh(regions[start : start + size], lambda some: np.ones(len(some), np.bool_))

    def largest(self) -> float:
        """Return the exact largest distance of any region to the set."""
        all_regions = np.arange(len(self.squared_R))
        while True:
            group = top_k(self.squared_R, all_regions, _GROUP)
            self.refresh(group.regions, lambda regions: self.squared_R[regions] >= group.floor.value)  # noqa: B023
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
        """Lower ``squared_R`` of regions to the distance to the members ``begin`` to ``end`` of the set.

        The product finds all members that can be the nearest within its error; ``squared_distance`` decides.
        """
        product_NM = points.factor_NE @ self._factor_SE[begin:end].T
        lowest_N, own_N = product_NM.min(axis=1), points.length_N**2
        error_N, current_N = self.error(points.length_N), self.squared_R[regions]
        closer = np.flatnonzero(lowest_N + own_N - error_N < current_N)
        limit_N = np.minimum(lowest_N + 2 * error_N, current_N - own_N + error_N)[closer]
        pair, member = np.nonzero(product_NM[closer] <= round_up(limit_N)[:, None])
        size = max(1, _PAIRS // self._num_features)
        for start in range(0, len(pair), size):
            rows = closer[pair[start : start + size]]
            others = self._member_S[begin + member[start : start + size]]
            squared = squared_distance(self._features_RD[regions[rows]], self._features_RD[others])
            np.minimum.at(current_N, rows, squared)
        self.squared_R[regions] = current_N


def squared_distance_to_labelled(features_RD: NDArray[np.float32], labelled: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return every region's squared distance to the nearest labelled region, (R,).

    The full search, of which lazy greedy does a part.

    Args:
        features_RD: Features of all regions; may be a memory map.
        labelled: At least one row number.

    Returns:
        The bits of ``squared_distance``. O(R L D).

    >>> squared_distance_to_labelled(np.array([[0.0], [1.0], [5.0]], np.float32), np.array([1]))
    array([ 1.,  0., 16.])
    """
    nearest = NearestDistance(features_RD, labelled, 0)
    nearest.refresh_all(np.arange(len(features_RD)))
    return nearest.squared_R


def bound_by_clusters(
    features_RD: NDArray[np.float32], members_MD: NDArray[np.float32], mean_D: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Return an upper bound on every region's squared distance to the nearest of ``members_MD``, (R,).

    K-means divides the members into about sqrt(M) clusters, and a region is compared with the members of its two
    nearest clusters: 2 sqrt(M) products in place of M, and most regions find their nearest member there. The float32
    rounding error is added, so the bound holds for any clusters. When there are few members, a region is compared
    with all of them.

    Args:
        features_RD: Features; may be a memory map, read once, block by block.
        members_MD: At least one member.
        mean_D: Subtracted from both before the products, to reduce rounding.

    Returns:
        (R,) bounds. O(R sqrt(M) D), memory O(R + M D).
    """
    if len(members_MD) <= _FEW:
        return nearest_bound(features_RD, members_MD, mean_D)
    shifted_MD = members_MD - mean_D
    centre_CD = cluster_centres(shifted_MD, round(len(members_MD) ** 0.5))
    own_M = np.einsum("md,md->m", shifted_MD, shifted_MD, dtype=np.float64)
    factor_ME = np.column_stack([-2.0 * shifted_MD, own_M.astype(np.float32)])
    members_of = _by_cluster(nearest_rows(shifted_MD, centre_CD, 1), len(centre_CD))
    is_used_C = np.array([len(members) > 0 for members in members_of])
    # Without empty clusters every region is compared with at least one member.
    centre_CD, cluster_factors = centre_CD[is_used_C], [factor_ME[members] for members in members_of if len(members)]
    longest = float(np.sqrt(own_M.max()))
    bound_R = np.empty(len(features_RD))
    for start in range(0, len(features_RD), _BLOCK):
        block = slice(start, start + _BLOCK)
        shifted_ND = features_RD[block] - mean_D
        own_N = np.einsum("nd,nd->n", shifted_ND, shifted_ND, dtype=np.float64)
        lowest_N = _lowest_products(shifted_ND, centre_CD, cluster_factors)
        bound_R[block] = np.maximum(lowest_N + own_N, 0.0)
        bound_R[block] += product_error(features_RD.shape[1], np.sqrt(own_N), longest)
    return bound_R


def _lowest_products(
    shifted_ND: NDArray[np.float32], centre_CD: NDArray[np.float32], cluster_factors: list[NDArray[np.float32]]
) -> NDArray[np.float32]:
    """Return the least |x - s|^2 - |x|^2 of each x over the members s of its nearest clusters, (N,)."""
    factor_NE = np.column_stack([shifted_ND, np.ones(len(shifted_ND), np.float32)])
    lowest_N = np.full(len(shifted_ND), np.inf, np.float32)
    nearest_NP = nearest_rows(shifted_ND, centre_CD, min(_PROBES, len(centre_CD)))
    for rows, factor_mE in zip(_by_cluster(nearest_NP, len(centre_CD)), cluster_factors, strict=True):
        if len(rows):
            # Members along the first axis: the minimum of each column is found by whole rows.
            lowest_N[rows] = np.minimum(lowest_N[rows], (factor_mE @ factor_NE[rows].T).min(axis=0))
    return lowest_N


def _by_cluster(cluster_NP: NDArray[np.int64], num_clusters: int) -> list[NDArray[np.int64]]:
    """Return, for every cluster, the rows that name it."""
    flat = cluster_NP.ravel()
    order = np.argsort(flat, kind="stable")
    return np.split(order // cluster_NP.shape[1], np.searchsorted(flat[order], np.arange(1, num_clusters)))


def round_up(values: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return ``values`` as float32, rounded up."""
    return np.nextafter(values.astype(np.float32), np.float32(np.inf))


def _distinct(features_RD: NDArray[np.float32], regions: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return ``regions`` without those whose features another has too: they change no distance."""
    if len(regions) == 0:
        return regions
    rows = np.ascontiguousarray(features_RD[regions])
    _, first = np.unique(rows.view(np.dtype((np.void, rows.shape[1] * rows.itemsize))).ravel(), return_index=True)
    return regions[np.sort(first)]
