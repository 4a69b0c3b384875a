"""Non-maximum suppression: the most uncertain regions that are not beside one another.

References:
    [Siddiqui2020] Y. Siddiqui, J. Valentin, M. Niessner. "ViewAL: Active Learning with Viewpoint Entropy for Semantic
        Segmentation". CVPR, 2020. Its window selection picks the best windows and drops those that overlap them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from quadrat.strategies.base import Space, Strategy, lazy_space
from quadrat.strategies.greedy.spatial import Images, Norm, centre_distance
from quadrat.strategies.pool import Needs, Pool, Selection
from quadrat.strategies.ranking import largest
from quadrat.strategies.validation import check_choice, check_number, check_signal

__all__ = ["NmsEntropy", "suppress"]


def suppress(order: NDArray[np.int64], pool: Pool, budget: int, *, radius: float, norm: Norm = 2) -> NDArray[np.int64]:
    """Return the first ``budget`` regions of ``order`` that are further than ``radius`` from those before them.

    When none is left before the budget is spent, suppression starts afresh among the regions that were dropped, in the
    same order, as often as it takes. O(passes * N), passes being 1 unless the budget is a large part of the pool.

    Args:
        order: (N,) row numbers, the most wanted first.
        pool: Where they lie.
        budget: How many to return, at most N.
        radius: In region sizes; a region of the same image no further than this from a pick is dropped.
        norm: Norm of the difference of two region centres.
    """
    reach = int(radius)
    quarter = centre_distance(reach + 1, reach + 1, norm) <= radius
    offset = np.abs(np.arange(-reach, reach + 1))
    window = quarter[offset[:, None], offset[None, :]]
    image, row, col = Images.of(pool.image).of_region, pool.row - pool.row.min(), pool.col - pool.col.min()
    shape = (int(image.max()) + 1, int(row.max()) + 1 + 2 * reach, int(col.max()) + 1 + 2 * reach)
    picks: list[int] = []
    while True:
        is_near = np.zeros(shape, np.bool_)  # with a margin of ``reach`` cells, so that no window sticks out
        dropped = []
        for region in order.tolist():
            at, top, left = image[region], row[region], col[region]
            if is_near[at, top + reach, left + reach]:
                dropped.append(region)
                continue
            picks.append(region)
            if len(picks) == budget:
                return np.array(picks, np.int64)
            is_near[at, top : top + 2 * reach + 1, left : left + 2 * reach + 1] |= window
        order = np.array(dropped, np.int64)


@dataclass(frozen=True, kw_only=True)
class NmsEntropy(Strategy):
    """Takes the regions of largest entropy that have no neighbour among those taken [Siddiqui2020].

    Only when the whole pool is picked or beside a pick are neighbours taken, again by entropy and apart from each
    other. What was labelled in earlier rounds suppresses nothing. The potential is the signal, so it rises where a
    pass ends.
    """

    name: ClassVar[str] = "nms-entropy"

    uncertainty: str = "entropy"
    """The signal to rank by; larger is picked first."""
    # The paper drops overlapping windows; ours never overlap, so the eight around a pick take their place.
    radius: float = 1.5
    """Regions no further than this from a pick, in region sizes, are dropped, 0 to 64."""
    norm: Norm = 2
    """Norm of the difference of two region centres: 1, 2 or "inf"."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_signal(self.name, "uncertainty", self.uncertainty)
        check_number(self.name, "radius", self.radius, low=0, high=64)
        check_choice(self.name, "norm", self.norm, (1, 2, "inf"))

    @lazy_space
    def space(cls) -> Space:
        """Search the radius and its norm."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution

        return {"radius": FloatDistribution(1.0, 5.0), "norm": CategoricalDistribution((1, 2, "inf"))}

    @property
    def needs(self) -> Needs:
        """Ask for the one signal."""
        return Needs(signals=(self.uncertainty,))

    def _select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        """Return ``budget`` regions by uncertainty and apart, ties to the lowest row number."""
        signal, candidates = pool.signals[self.uncertainty], pool.candidates
        order = candidates[largest(signal[candidates], len(candidates))]
        regions = suppress(order, pool, budget, radius=self.radius, norm=self.norm)
        return Selection.of(regions, signal[regions])
