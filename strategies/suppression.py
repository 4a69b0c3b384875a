"""Non-maximum suppression (NMS): the most uncertain regions that are not neighbours of each other.

References:
    [Siddiqui2020] Y. Siddiqui, J. Valentin, M. Niessner. "ViewAL: Active Learning with Viewpoint Entropy for Semantic
        Segmentation". CVPR, 2020. It selects the best windows and drops those that overlap a selected one.
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

__all__ = ["NmsEntropy", "non_max_suppression"]


def non_max_suppression(
    order: NDArray[np.int64], pool: Pool, budget: int, *, radius: float, norm: Norm = 2
) -> NDArray[np.int64]:
    """Return the first ``budget`` regions of ``order`` that are further than ``radius`` from all selected before.

    If a pass ends below the budget, another pass follows over the suppressed regions, in the same order. O(passes * N);
    one pass suffices unless the budget is a large part of the pool.

    Args:
        order: (N,) row numbers, best first.
        pool: Gives the image, row and column of each region.
        budget: Number of regions to return, at most N.
        radius: In region sizes; regions of the same image at most this far from a selected region are suppressed.
        norm: Norm of the difference of two region centres.
    """
    margin = int(radius)
    quarter = centre_distance(margin + 1, margin + 1, norm) <= radius
    offset = np.abs(np.arange(-margin, margin + 1))
    window = quarter[offset[:, None], offset[None, :]]
    image, row, col = Images.of(pool.image).of_region, pool.row - pool.row.min(), pool.col - pool.col.min()
    shape = (int(image.max()) + 1, int(row.max()) + 1 + 2 * margin, int(col.max()) + 1 + 2 * margin)
    selected: list[int] = []
    while True:
        is_suppressed = np.zeros(shape, np.bool_)  # padded by ``margin`` cells, so that every window is inside
        suppressed = []
        for region in order.tolist():
            index, top, left = image[region], row[region], col[region]
            if is_suppressed[index, top + margin, left + margin]:
                suppressed.append(region)
                continue
            selected.append(region)
            if len(selected) == budget:
                return np.array(selected, np.int64)
            is_suppressed[index, top : top + 2 * margin + 1, left : left + 2 * margin + 1] |= window
        order = np.array(suppressed, np.int64)


@dataclass(frozen=True, kw_only=True)
class NmsEntropy(Strategy):
    """Selects the regions of largest entropy that are not neighbours of each other [Siddiqui2020].

    When every remaining region is a neighbour of a selected one, another pass selects among them by the same rule.
    Regions labelled in earlier rounds suppress nothing. The potential is the signal, so it rises where a pass begins.
    """

    name: ClassVar[str] = "nms-entropy"

    uncertainty: str = "entropy"
    """The signal to rank by; larger is selected first."""
    # The paper drops overlapping windows. Grid regions never overlap: the default drops the eight neighbours instead.
    radius: float = 1.5
    """Regions at most this far from a selected one, in region sizes, are suppressed, 0 to 64."""
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
        """Return ``budget`` regions after suppression, ties to the lowest row number."""
        signal, candidates = pool.signals[self.uncertainty], pool.candidates
        order = candidates[largest(signal[candidates], len(candidates))]
        regions = non_max_suppression(order, pool, budget, radius=self.radius, norm=self.norm)
        return Selection.of(regions, signal[regions])
