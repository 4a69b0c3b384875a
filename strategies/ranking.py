"""The order in which regions are selected: largest value first, ties to the lowest row number; values in [0, 1]."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from quadrat.strategies.pool import Pool, Selection

__all__ = ["SortKey", "TopK", "largest", "min_max", "select_largest", "share_of"]


class SortKey(NamedTuple):
    """Sort key of a region; the region with the larger key is selected first."""

    value: float
    """The value that regions are ranked by."""
    minus_region: float
    """The row number, negated."""


class TopK(NamedTuple):
    """The k best of some regions, and an upper bound on the sort keys of the others."""

    regions: NDArray[np.int64]
    """Their row numbers, ascending."""
    floor: SortKey
    """No region that was left out has a larger key."""


def largest(values: NDArray[np.floating[Any]], count: int) -> NDArray[np.int64]:
    """Return the positions of the ``count`` largest values, largest first, ties to the lowest position.

    Args:
        values: (N,) numbers, none NaN.
        count: How many, from 0 to N.

    Returns:
        (count,) positions. O(N + count log count).

    >>> largest(np.array([0.5, 2.0, 2.0, 1.0]), 3)
    array([1, 2, 3])
    """
    positions = top_k(values, np.arange(len(values)), count, excluded=None).regions
    return positions[np.argsort(-values[positions], kind="stable")]


def share_of(budget: int, fraction: float) -> int:
    """Return a share of the budget, rounded down to whole regions; of the decimal number that was written.

    >>> share_of(90, 0.7), int(90 * 0.7)
    (63, 62)
    """
    return int(budget * Fraction(repr(float(fraction))))


def min_max(signal: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return ``signal`` scaled linearly to [0, 1] over the whole pool; zeros where all values are equal.

    >>> min_max(np.array([1.0, 3.0, 2.0], np.float32))
    array([0. , 1. , 0.5])
    """
    low, high = float(signal.min()), float(signal.max())
    if high == low:
        return np.zeros(len(signal))
    return (signal.astype(np.float64) - low) / (high - low)


def select_largest(pool: Pool, score: NDArray[np.floating[Any]], budget: int) -> Selection:
    """Return the ``budget`` candidates of largest (R,) ``score``; their potential is the score."""
    regions = pool.candidates[largest(score[pool.candidates], budget)]
    return Selection.of(regions, score[regions])


def top_k(
    values: NDArray[np.floating[Any]], regions: NDArray[np.int64], count: int, excluded: float | None = -np.inf
) -> TopK:
    """Return the ``count`` best of ``regions``, or all where there are fewer.

    Args:
        values: (N,) values to rank by, none NaN.
        regions: (N,) their row numbers, ascending.
        count: k.
        excluded: Value that marks regions to leave out; None: there are none.

    Returns:
        Regions and floor. O(N).
    """
    if count < len(values):
        last = np.partition(values, len(values) - count)[len(values) - count] if count else np.inf
        above, ties = np.flatnonzero(values > last), np.flatnonzero(values == last)
        if last != excluded:
            num_ties = count - len(above)
            positions = np.sort(np.concatenate([above, ties[:num_ties]]))
            first_out = -float(regions[ties[num_ties]]) if num_ties < len(ties) else -np.inf
            return TopK(regions[positions], SortKey(float(last), first_out))
        return TopK(regions[above], SortKey(-np.inf, -np.inf))
    if excluded is not None:
        regions = regions[values != excluded]
    return TopK(regions, SortKey(-np.inf, -np.inf))
