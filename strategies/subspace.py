"""Exact distances of many points to a growing set, with most pairs excluded in a few principal components.

For vectors x and s divided into their components in a subspace, x1 and s1, and what is left, x2 and s2,

    |x - s|^2 = |x|^2 + |s|^2 - 2 x1.s1 - 2 x2.s2 >= |x|^2 + |s|^2 - 2 x1.s1 - 2 |x2| |s2|        (Cauchy-Schwarz)

The bound is one product of vectors of P + 2 numbers. Where P principal components hold most of the variance, few pairs
have a bound below the distance that a point has already, and only these are compared in all D dimensions. The points
are divided into cells of a k-d tree in the components [Bentley1975]; members farther from a cell than all its points
are from the set are left out of the product. Rounding errors are bounded and allowed for: no nearer member is missed.

References:
    [Bentley1975] J. Bentley. "Multidimensional Binary Search Trees Used for Associative Searching". CACM 18, 1975.

Axes: R regions, N points, M new members, D dimensions, P components, E = P + 2 or D + 2 factors.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from quadrat.strategies.features import mean_feature, product_error, squared_distance
from quadrat.strategies.greedy.nearest import round_up

__all__ = ["SubspaceDistance"]

# All of these change speed and memory, never a distance. Numbers of components that are tried, and the largest D for
# which they are computed.
_LEVELS, _MAX_FEATURES = (16, 32), 1024
# Points of a cell, at most; points that the components are computed from; points that the share of pairs that pass is
# estimated from; pairs compared in all dimensions at a time.
_CELL, _SAMPLE, _PROBES, _PAIRS = 1 << 11, 1 << 12, 1 << 10, 1 << 12
# Time to compare a pair in all dimensions, in components of a product; measured on one thread.
_COMPARISON = 12000.0


class _Level(NamedTuple):
    """What a number of components needs for its products; the last level has all dimensions."""

    axes_DP: NDArray[np.float32] | None
    """None: all dimensions."""
    error: float
    """Bound on the error of the components beyond that of a product, as a share of (|x| + |s|)^2."""
    factor_NE: NDArray[np.float32] | None
    """Of the points; None: computed when needed."""


class SubspaceDistance:
    """Squared distances of points to the nearest member of a set that grows by a few hundred members at a time.

    Args:
        points_RD: Points; may be a memory map.
        rows: (N,) row numbers of the points whose distances are kept, at least one.
    """

    def __init__(self, points_RD: NDArray[np.float32], rows: NDArray[np.int64]) -> None:
        self._points_RD, self._mean_D = points_RD, mean_feature(points_RD)
        axes = self._axes(rows)
        self._order_N, self._starts = self._cells(rows, axes[-1] if axes else None)
        self._rows = rows[self._order_N]
        self._stops = [*self._starts[1:], len(rows)]
        self._squared_N, self._length_N = np.full(len(rows), np.inf), np.empty(len(rows))
        self._levels = [self._empty_level(axes_DP) for axes_DP in axes]
        for start, stop in zip(self._starts, self._stops, strict=True):
            shifted_ND = self._shifted(self._rows[start:stop])
            self._length_N[start:stop] = _lengths(shifted_ND)
            for level in self._levels:
                assert level.factor_NE is not None
                level.factor_NE[start:stop] = _factors(level, shifted_ND, self._length_N[start:stop])
        self._boxes = None if not axes else self._make_boxes()
        self._levels.append(_Level(None, 0.0, None))

    def squared(self) -> NDArray[np.float64]:
        """Return the distances to the set, (N,) in the order of the rows, the bits of ``squared_distance``."""
        squared_N = np.empty(len(self._rows))
        squared_N[self._order_N] = self._squared_N
        return squared_N

    def add(self, regions: NDArray[np.int64]) -> None:
        """Add members to the set. O(N M D) at worst, O(N M P) where few pairs pass.

        Args:
            regions: (M,) row numbers.
        """
        if np.isinf(self._squared_N[0]):
            self._compare_all(regions[0])
            regions = regions[1:]
        if len(regions) == 0:
            return
        level = self._best(regions)
        factor_ME, longest = self._of_members(level, regions)
        is_near_CM = self._near_cells(regions, longest)
        waiting: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
        num_waiting = 0
        for start, stop, is_near_M in zip(self._starts, self._stops, is_near_CM, strict=True):
            near = np.flatnonzero(is_near_M)
            if len(near) == 0:
                continue
            product_NM, limit_N = self._products(level, slice(start, stop), factor_ME[near], longest)
            passing = np.flatnonzero(product_NM <= limit_N[:, None])
            waiting.append((start + passing // len(near), regions[near[passing % len(near)]]))
            num_waiting += len(passing)
            if num_waiting >= _PAIRS:
                self._compare(*map(np.concatenate, zip(*waiting, strict=True)))
                waiting, num_waiting = [], 0
        if waiting:
            self._compare(*map(np.concatenate, zip(*waiting, strict=True)))

    def _axes(self, rows: NDArray[np.int64]) -> list[NDArray[np.float32]]:
        """Return principal axes of a sample of the points, (D, P) for each level."""
        num_features = self._points_RD.shape[1]
        sizes = [size for size in _LEVELS if 2 * size <= num_features <= _MAX_FEATURES]
        if not sizes:
            return []
        sample_ND = self._shifted(rows[:: max(1, len(rows) // _SAMPLE)]).astype(np.float64)
        vectors_DD = np.linalg.eigh(sample_ND.T @ sample_ND)[1][:, ::-1].astype(np.float32)
        return [np.ascontiguousarray(vectors_DD[:, :size]) for size in sizes]

    def _cells(
        self, rows: NDArray[np.int64], axes_DP: NDArray[np.float32] | None
    ) -> tuple[NDArray[np.int64], list[int]]:
        """Return the order of the points by cell, and where each cell starts; without axes, blocks in that order."""
        if axes_DP is None:
            return np.arange(len(rows)), list(range(0, len(rows), _CELL))
        component_NP = np.empty((len(rows), axes_DP.shape[1]), np.float32)
        for start in range(0, len(rows), _CELL):
            component_NP[start : start + _CELL] = self._shifted(rows[start : start + _CELL]) @ axes_DP
        cells, undivided = [], [np.arange(len(rows))]
        while undivided:
            cell = undivided.pop()
            if len(cell) <= _CELL:
                cells.append(cell)
                continue
            own_NP = component_NP[cell]
            half = len(cell) // 2
            order = np.argpartition(own_NP[:, int(own_NP.var(axis=0).argmax())], half)
            undivided += [cell[order[:half]], cell[order[half:]]]
        starts = np.cumsum([0, *(len(cell) for cell in cells[:-1])])
        return np.concatenate(cells), starts.tolist()

    def _empty_level(self, axes_DP: NDArray[np.float32]) -> _Level:
        num_features, num_axes = axes_DP.shape
        exact_DP = axes_DP.astype(np.float64)
        # From axes that are not quite orthonormal, and from the components' own rounding.
        skew = float(np.linalg.norm(exact_DP.T @ exact_DP - np.eye(num_axes)))
        rounding = float(product_error(num_features, np.ones(1), 0.0)[0])
        error = 2 * skew + 4 * num_axes**0.5 * rounding
        return _Level(axes_DP, error, np.empty((len(self._rows), num_axes + 2), np.float32))

    def _make_boxes(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the lowest and the highest components in each cell, (C, P)."""
        factor_NE = self._levels[-1].factor_NE
        assert factor_NE is not None
        component_NP = factor_NE[:, :-2]
        return np.minimum.reduceat(component_NP, self._starts), np.maximum.reduceat(component_NP, self._starts)

    def _near_cells(self, regions: NDArray[np.int64], longest: float) -> NDArray[np.bool_]:
        """Return which members can be nearer to a point of each cell than the set is so far, (C, M)."""
        if self._boxes is None:
            return np.ones((len(self._starts), len(regions)), np.bool_)
        level = self._levels[-2]
        shifted_MD = self._shifted(regions)
        component_MP = _factors(level, shifted_MD, _lengths(shifted_MD))[:, :-2]
        largest_C = np.maximum.reduceat(self._squared_N, self._starts)
        length_C = np.maximum.reduceat(self._length_N, self._starts)
        limit_C = largest_C + self._error(level, length_C, longest)
        is_near_CM = np.empty((len(self._starts), len(regions)), np.bool_)
        for cell, (low_P, high_P) in enumerate(zip(*self._boxes, strict=True)):
            gap_MP = np.maximum(low_P - component_MP, component_MP - high_P)
            np.maximum(gap_MP, 0.0, out=gap_MP)
            is_near_CM[cell] = np.einsum("mp,mp->m", gap_MP, gap_MP, dtype=np.float64) <= limit_C[cell]
        return is_near_CM

    def _compare_all(self, region: np.int64) -> None:
        member_D = np.asarray(self._points_RD[region])
        for start, stop in zip(self._starts, self._stops, strict=True):
            self._squared_N[start:stop] = squared_distance(self._points_RD[self._rows[start:stop]], member_D)

    def _compare(self, places: NDArray[np.int64], regions: NDArray[np.int64]) -> None:
        """Lower the distances of points to a member each: float32 excludes most, ``squared_distance`` decides."""
        num_features = self._points_RD.shape[1]
        relative = (num_features + 4) * 2.0**-23
        for start in range(0, len(places), _PAIRS):
            place, region = places[start : start + _PAIRS], regions[start : start + _PAIRS]
            point_ND, member_ND = self._points_RD[self._rows[place]], self._points_RD[region]
            difference_ND = point_ND - member_ND
            about_N = np.einsum("nd,nd->n", difference_ND, difference_ND).astype(np.float64)
            near = np.flatnonzero(about_N * (1 - relative) - num_features * 2.0**-125 <= self._squared_N[place])
            np.minimum.at(self._squared_N, place[near], squared_distance(point_ND[near], member_ND[near]))

    def _shifted(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        shifted_ND: NDArray[np.float32] = self._points_RD[rows] - self._mean_D
        return shifted_ND

    def _of_members(self, level: _Level, regions: NDArray[np.int64]) -> tuple[NDArray[np.float32], float]:
        """Return the factors of members, (M, E), and the largest of their lengths."""
        shifted_MD = self._shifted(regions)
        length_M = _lengths(shifted_MD)
        factor_ME = _factors(level, shifted_MD, length_M)
        factor_ME *= np.float32(-2.0)
        factor_ME[:, -1] = length_M**2
        return factor_ME, float(length_M.max())

    def _error(self, level: _Level, length_N: NDArray[np.float64], longest: float) -> NDArray[np.float64]:
        """Return an upper bound on the error of a bound computed by a product."""
        return product_error(self._points_RD.shape[1], length_N, longest) + level.error * (length_N + longest) ** 2

    def _products(
        self, level: _Level, places: slice, factor_ME: NDArray[np.float32], longest: float
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the bounds on |x - s|^2 - |x|^2, (N, M), and up to which one a member can be the nearest, (N,)."""
        length_N = self._length_N[places]
        if level.factor_NE is None:
            factor_NE = _factors(level, self._shifted(self._rows[places]), length_N)
        else:
            factor_NE = level.factor_NE[places]
        product_NM = factor_NE @ factor_ME.T
        error_N = self._error(level, length_N, longest)
        limit_N = self._squared_N[places] - length_N**2 + error_N
        if level.axes_DP is None:  # the products are the distances: a member is the nearest, or one of a few
            limit_N = np.minimum(limit_N, product_NM.min(axis=1) + 2 * error_N)
        return product_NM, round_up(limit_N)

    def _best(self, regions: NDArray[np.int64]) -> _Level:
        """Return the level that takes the least time, judged by a sample of the points."""
        if len(self._levels) == 1:
            return self._levels[0]
        places = slice(0, None, max(1, len(self._rows) // _PROBES))
        times = []
        for level in self._levels:
            factor_ME, longest = self._of_members(level, regions)
            product_NM, limit_N = self._products(level, places, factor_ME, longest)
            times.append(factor_ME.shape[1] + _COMPARISON * float(np.mean(product_NM <= limit_N[:, None])))
        return self._levels[int(np.argmin(times))]


def _lengths(shifted_ND: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.asarray(np.sqrt(np.einsum("nd,nd->n", shifted_ND, shifted_ND, dtype=np.float64)))


def _factors(level: _Level, shifted_ND: NDArray[np.float32], length_N: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return (N, E) factors: components, an upper bound on the length of what is left, and 1."""
    num = len(shifted_ND)
    if level.axes_DP is None:
        return np.concatenate([shifted_ND, np.zeros((num, 1), np.float32), np.ones((num, 1), np.float32)], axis=1)
    component_NP = shifted_ND @ level.axes_DP
    inside_N = np.einsum("np,np->n", component_NP, component_NP, dtype=np.float64)
    rest_N = np.sqrt(np.maximum(length_N**2 - inside_N, 0.0) + level.error * length_N**2)
    return np.concatenate([component_NP, round_up(rest_N)[:, None], np.ones((num, 1), np.float32)], axis=1)
