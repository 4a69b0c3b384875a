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
from quadrat.strategies.greedy.cells import centre_distance
from quadrat.strategies.greedy.spatial import Images, Norm, length_of
from quadrat.strategies.pool import Needs, Pool, Selection
from quadrat.strategies.ranking import largest
from quadrat.strategies.validation import check_choice, check_number, check_signal

__all__ = ["NmsEntropy", "non_max_suppression"]


def non_max_suppression(
    order: NDArray[np.int64], pool: Pool, budget: int, *, radius: float, norm: Norm = 2
) -> NDArray[np.int64]:
    """Return the first ``budget`` regions of ``order`` that are further than ``radius`` from all selected before.

    If a pass ends below the budget, another pass follows over the suppressed regions, in the same order; one pass
    suffices unless the budget is a large part of the pool. O(passes * N) on a grid; regions of any shape take O(C) more
    for each that is selected, C regions of an image.

    Args:
        order: (N,) row numbers, best first.
        pool: Gives the image, row and column of each region.
        budget: Number of regions to return, at most N.
        radius: In region sizes; regions of the same image at most this far from a selected region are suppressed.
        norm: Norm of the difference of two region centres.
    """
    marks = _CellMarks(pool, radius, norm) if pool.has_cells else _CentreMarks(pool, radius, norm)
    selected: list[int] = []
    while True:
        marks.clear()
        suppressed = []
        for region in order.tolist():
            if marks.is_marked(region):
                suppressed.append(region)
                continue
            selected.append(region)
            if len(selected) == budget:
                return np.array(selected, np.int64)
            marks.mark_around(region)
        order = np.array(suppressed, np.int64)


class _CellMarks:
    """Which cells are suppressed, on the grids of all images, padded so that every window is inside."""

    def __init__(self, pool: Pool, radius: float, norm: Norm) -> None:
        margin = int(radius)
        quarter = centre_distance(margin + 1, margin + 1, norm) <= radius
        offset = np.abs(np.arange(-margin, margin + 1))
        self._window, self._margin = quarter[offset[:, None], offset[None, :]], margin
        self._image = Images.of(pool.image).of_region
        self._row, self._col = pool.row - pool.row.min(), pool.col - pool.col.min()
        shape = (
            int(self._image.max()) + 1,
            int(self._row.max()) + 1 + 2 * margin,
            int(self._col.max()) + 1 + 2 * margin,
        )
        self._is_marked = np.zeros(shape, np.bool_)

    def clear(self) -> None:
        self._is_marked[:] = False

    def is_marked(self, region: int) -> bool:
        margin = self._margin
        return bool(self._is_marked[self._image[region], self._row[region] + margin, self._col[region] + margin])

    def mark_around(self, region: int) -> None:
        top, left, size = self._row[region], self._col[region], 2 * self._margin + 1
        self._is_marked[self._image[region], top : top + size, left : left + size] |= self._window


class _CentreMarks:
    """Which regions of any shape are suppressed: each is compared with the selected ones of its image."""

    def __init__(self, pool: Pool, radius: float, norm: Norm) -> None:
        self._row, self._col, self._radius, self._norm = pool.row, pool.col, radius, norm
        self._images, self._is_marked = Images.of(pool.image), np.zeros(pool.num_regions, np.bool_)

    def clear(self) -> None:
        self._is_marked[:] = False

    def is_marked(self, region: int) -> bool:
        return bool(self._is_marked[region])

    def mark_around(self, region: int) -> None:
        members = self._images.members(int(self._images.of_region[region]))
        down, across = self._row[members] - self._row[region], self._col[members] - self._col[region]
        self._is_marked[members[length_of(down, across, self._norm) <= self._radius]] = True


@dataclass(frozen=True, kw_only=True)
class NmsEntropy(Strategy):
    """Selects the regions of largest entropy that are not neighbours of each other [Siddiqui2020].

    When every remaining region is a neighbour of a selected one, another pass selects among them by the same rule.
    Regions labelled in earlier rounds suppress nothing. The potential is the signal, so it rises where a pass begins.
    """

    name: ClassVar[str] = "nms-entropy"

    uncertainty: str = "entropy"
    """The signal to rank by; larger is selected first."""
    # The paper drops overlapping windows. Regions never overlap: the default drops the eight cells around instead, or
    # the regions whose centres are as near.
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
