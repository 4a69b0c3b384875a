"""Greedy for coverage of the feature space: select the region that adds most to it, repeat.

Coverage is the mean over points of the largest similarity to a member of S: a monotone submodular function, of which
greedy reaches at least 1 - 1/e of the optimum [Nemhauser1978]. What a region adds only falls, so what it added in an
earlier step is an upper bound [Minoux1978]: only regions at the top of a queue are computed again.

Features are scaled to length 1 and rounded to multiples of 2^-11. Products of two such vectors and all their partial
sums are multiples of 2^-22 below 2^24 of them, which float32 holds exactly, so a matrix product gives the same bits in
any order of additions: neither threads nor the sizes below change a bit.

References:
    [Minoux1978] M. Minoux. "Accelerated greedy algorithms for maximizing submodular set functions". Optimization
        Techniques, LNCIS 7, 1978.
    [Nemhauser1978] G. Nemhauser, L. Wolsey, M. Fisher. "An analysis of approximations for maximizing submodular set
        functions". Mathematical Programming 14, 1978.

Axes: R regions, D features, N candidates, P points, S labelled and selected.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from quadrat.strategies.features import squared_distance
from quadrat.strategies.pool import Selection

__all__ = ["Similarity", "UnitPoints", "maximise_coverage", "unit_features"]

Similarity = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Squared distances to similarities from 0 to 1, element by element; larger distances never give larger ones."""

_STEP = np.float32(2.0**-11)
# Speed only: numbers in a matrix of distances, and candidates that are computed again at a time.
_BLOCK, _BATCH = 1 << 22, 16


def unit_features(features_ND: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the features scaled to length 1, rounded to multiples of 2^-11; zeros stay zeros.

    >>> unit_features(np.array([[3.0, 4.0]], np.float32)).round(3).tolist()
    [[0.6000000238418579, 0.800000011920929]]
    """
    length_N = np.sqrt(squared_distance(features_ND, np.zeros(1)))
    scale_N = 1.0 / (np.where(length_N > 0, length_N, 1.0) * float(_STEP))
    return np.rint(features_ND * scale_N[:, None]).astype(np.float32) * _STEP


class UnitPoints:
    """Points in feature space that distances are computed to."""

    def __init__(self, features_RD: NDArray[np.float32], points: NDArray[np.int64]) -> None:
        """Take the regions ``points`` of ``features_RD``, (R, D); may be a memory map."""
        self._features_RD = features_RD
        self._factor_DP = np.ascontiguousarray(unit_features(features_RD[points]).T)
        self._own_P = np.einsum("dp,dp->p", self._factor_DP, self._factor_DP)

    def squared_distance(self, regions: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the squared distances of regions to all points, (N, P), from 0 to about 4."""
        unit_ND = unit_features(self._features_RD[regions])
        squared_NP = unit_ND @ self._factor_DP
        squared_NP *= np.float32(-2.0)
        squared_NP += self._own_P
        squared_NP += np.einsum("nd,nd->n", unit_ND, unit_ND)[:, None]
        return squared_NP

    def blocks(self, regions: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """Return ``regions`` in parts whose distances to all points are handled at a time."""
        size = max(1, _BLOCK // len(self._own_P))
        return [regions[start : start + size] for start in range(0, len(regions), size)]


def maximise_coverage(
    features_RD: NDArray[np.float32],
    candidates: NDArray[np.int64],
    points: NDArray[np.int64],
    labelled: NDArray[np.int64],
    budget: int,
    similarity: Similarity,
) -> Selection:
    """Return the greedy selection for coverage of the points, which ends where no candidate adds to it.

    Args:
        features_RD: Features; may be a memory map, of which blocks are read.
        candidates: (N,) row numbers to select from; ties go to the first of them.
        points: (P,) row numbers over which coverage is averaged, at least one.
        labelled: Row numbers of the members of S at the start.
        budget: Most regions to select, at most N.
        similarity: Similarity of a region and a point by their squared distance.

    Returns:
        The regions, with what each added to the coverage. O((N + L + B) P D), B the candidates computed again; memory
        O(N + P D).
    """
    covered_P = np.zeros(len(points), np.float32)
    targets = UnitPoints(features_RD, points)
    for some in targets.blocks(labelled):
        np.maximum(covered_P, similarity(targets.squared_distance(some)).max(axis=0), out=covered_P)

    def added(regions: NDArray[np.int64]) -> list[float]:
        gain_NP = similarity(targets.squared_distance(regions))
        gain_NP -= covered_P
        np.maximum(gain_NP, np.float32(0.0), out=gain_NP)
        gains: list[float] = np.add.reduce(gain_NP, axis=1).tolist()
        return gains

    bounds = [gain for some in targets.blocks(candidates) for gain in added(some)]
    queue = [(-bound, position, 0) for position, bound in enumerate(bounds)]
    heapq.heapify(queue)
    regions: list[int] = []
    potentials: list[float] = []
    while len(regions) < budget:
        step = len(regions)
        while queue[0][2] != step:
            stale: list[int] = []
            while queue and queue[0][2] != step and len(stale) < _BATCH:
                stale.append(heapq.heappop(queue)[1])
            for position, gain in zip(stale, added(candidates[stale]), strict=True):
                heapq.heappush(queue, (-gain, position, step))
        minus_gain, position, _ = heapq.heappop(queue)
        if minus_gain == 0:
            break
        regions.append(int(candidates[position]))
        potentials.append(-minus_gain / len(points))
        reached_P = similarity(targets.squared_distance(candidates[[position]]))[0]
        np.maximum(covered_P, reached_P, out=covered_P)
    return Selection.of(np.array(regions, np.int64), np.array(potentials, np.float64))
