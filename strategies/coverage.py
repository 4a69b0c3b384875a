"""Strategies that cover the feature space, for small budgets: ProbCover and MaxHerding.

References:
    [Bae2024] W. Bae, J. Noh, D. Sutherland. "Generalized Coverage for More Robust Low-Budget Active Learning". ECCV,
        2024. Code of the authors: https://github.com/BorealisAI/uherding, deep-al/pycls/al/herding.py.
    [Yehuda2022] O. Yehuda, A. Dekel, G. Hacohen, D. Weinshall. "Active Learning Through a Covering Lens". NeurIPS,
        2022. Code of the authors: https://github.com/avihu111/TypiClust, deep-al/pycls/al/prob_cover.py.

Axes: R regions, D features, C classes, P points.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from quadrat.strategies.base import Space, Strategy, lazy_space
from quadrat.strategies.features import training_rows
from quadrat.strategies.greedy.coverage import Similarity, UnitPoints, maximise_coverage
from quadrat.strategies.pool import Needs, Pool, Selection
from quadrat.strategies.validation import check_count, check_number

__all__ = ["MaxHerding", "ProbCover", "purity_radius"]

# Regions whose distances to each other decide the radius of ProbCover, where a pool has at least twice as many.
_PURITY_POINTS = 4096


def purity_radius(
    features_RD: NDArray[np.float32], class_R: NDArray[np.int64], purity: float, rows: NDArray[np.int64]
) -> float:
    """Return the largest radius at which a share ``purity`` of balls holds regions of one class only [Yehuda2022].

    A ball of radius r around a region holds those nearer than r, so it is pure exactly if r is at most the distance to
    the nearest region of another class: the radius is a quantile of these distances. 2, which no distance of features
    of length 1 exceeds, where all regions may be impure or are of one class.

    Args:
        features_RD: Features; distances are those of features scaled to length 1.
        class_R: Class of each region.
        purity: Least share of pure balls, 0 to 1.
        rows: Row numbers of the regions that are compared with each other, at least one.

    >>> features = np.array([[1, 0], [1, 0], [0, 1], [0.6, 0.8]], np.float32)
    >>> round(purity_radius(features, np.array([0, 0, 1, 1]), 1.0, np.arange(4)), 3)
    0.894
    """
    points, nearest = UnitPoints(features_RD, rows), []
    for some in points.blocks(rows):
        is_same_class = class_R[some][:, None] == class_R[rows]
        nearest.append(np.where(is_same_class, np.float32(np.inf), points.squared_distance(some)).min(axis=1))
    num_impure = len(rows) - int(np.ceil(purity * len(rows)))
    squared = np.append(np.sort(np.concatenate(nearest)), np.inf)[num_impure]
    return min(float(np.sqrt(squared)), 2.0)


@dataclass(frozen=True, kw_only=True)
class _Coverage(Strategy):
    """Selects what adds most to the coverage of the pool; draws the rest where nothing adds to it."""

    max_points: int = 10_000
    """Regions over which coverage is averaged, or twice the budget where that is more; drawn where the pool has at
    least twice as many (our choice: the authors compare all samples, or a random part of them, with each other)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count(self.name, "max_points", self.max_points)

    @property
    def needs(self) -> Needs:
        """Ask for the features."""
        return Needs(features=True)

    def _cover(
        self, pool: Pool, budget: int, candidates: NDArray[np.int64], similarity: Similarity, rng: np.random.Generator
    ) -> Selection:
        assert pool.features is not None  # checked by select
        points = training_rows(pool.num_regions, max(self.max_points, 2 * budget), rng)
        labelled = np.flatnonzero(pool.labelled)
        found = maximise_coverage(pool.features, candidates, points, labelled, budget, similarity)
        if len(found) == budget:
            return found
        rest = rng.permutation(np.setdiff1d(pool.candidates, found.regions))[: budget - len(found)]
        return Selection.of(
            np.concatenate([found.regions, rest]), np.concatenate([found.potential, np.zeros(len(rest))])
        )


@dataclass(frozen=True, kw_only=True)
class ProbCover(_Coverage):
    """Selects the region whose ball in feature space holds the most regions that no ball holds yet [Yehuda2022].

    Balls of one radius around labelled and selected regions cover those nearer than the radius. Features are scaled to
    length 1, as in the authors' code. The potential is the share of the pool that is newly covered. Differences, and
    why:

    - The authors set the radius per data set, by the share of balls of one class where clusters of k-means stand for
      classes. Here predicted classes do, in every round, unless ``radius`` is given.
    - Features are those of the segmentation network after the last round; the paper's are self-supervised.
    - Ties go to a region that is drawn, theirs to the first of a list in random order. When all that can be covered is
      covered, the rest is drawn; their code fails.
    """

    name: ClassVar[str] = "prob-cover"

    radius: float | None = None
    """Radius of a ball, above 0 to 2; None: the largest at which a share ``purity`` of balls is of one class."""
    purity: float = 0.95
    """Least share of balls of one predicted class, 0 to 1; used without a ``radius`` only; the paper's is 0.95."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.radius is not None:
            check_number(self.name, "radius", self.radius, low=1e-3, high=2)
        check_number(self.name, "purity", self.purity, low=0, high=1)

    @lazy_space
    def space(cls) -> Space:
        """Search the purity."""
        from optuna.distributions import FloatDistribution

        return {"purity": FloatDistribution(0.5, 1.0)}

    @property
    def needs(self) -> Needs:
        """Ask for the features, and for the predicted classes where they decide the radius."""
        return Needs(features=True, profiles=("class-histogram",) if self.radius is None else ())

    def _select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        """Return ``budget`` regions; the order of ties, and the points and rows of a large pool are drawn."""
        radius = self.radius
        if radius is None:
            assert pool.features is not None  # checked by select
            rows = training_rows(pool.num_regions, _PURITY_POINTS, rng)
            classes = np.argmax(pool.profiles["class-histogram"], axis=1)
            radius = purity_radius(pool.features, classes, self.purity, rows)
        limit = np.float32(radius**2)
        candidates = rng.permutation(pool.candidates)
        return self._cover(pool, budget, candidates, lambda squared: (squared < limit).astype(np.float32), rng)


@dataclass(frozen=True, kw_only=True)
class MaxHerding(_Coverage):
    """Selects what adds most to the mean over the pool of the largest similarity to S [Bae2024].

    The similarity of two regions is exp(-(d / bandwidth)^2), d the distance of their features scaled to length 1; S are
    the labelled and selected regions. The potential is what a region adds. Kernel, bandwidth and scale are those of the
    authors' code. Differences, and why: candidates are all unlabelled regions, theirs a random part of them; features
    are those of the segmentation network after the last round, not self-supervised ones.
    """

    name: ClassVar[str] = "max-herding"

    bandwidth: float = 1.0
    """Distance at which the similarity is 1/e; the authors' value is 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(self.name, "bandwidth", self.bandwidth, low=1e-3, high=1e3)

    @lazy_space
    def space(cls) -> Space:
        """Search the bandwidth."""
        from optuna.distributions import FloatDistribution

        return {"bandwidth": FloatDistribution(0.05, 2.0, log=True)}

    def _select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        """Return ``budget`` regions, ties to the lowest row number; the points of a large pool are drawn."""
        factor = np.float32(-1.0 / self.bandwidth**2)
        return self._cover(pool, budget, pool.candidates, lambda squared: np.exp(squared * factor), rng)
