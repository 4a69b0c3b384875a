"""One parametric family: uncertainty, feature distance and spatial distance under greedy diversification.

References:
    [Cai2021] L. Cai et al. "Exploring Spatial Diversity for Region-based Active Learning". IEEE TIP, 2021.
    [Sener2018] O. Sener, S. Savarese. "Active Learning for Convolutional Neural Networks: A Core-Set Approach". ICLR,
        2018.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from quadrat.strategies.base import Space, Strategy, lazy_space
from quadrat.strategies.borders import Neighbourhood
from quadrat.strategies.errors import StrategyError
from quadrat.strategies.features import project
from quadrat.strategies.greedy.borders import BorderDistance
from quadrat.strategies.greedy.cells import CellDistance, largest_in_image, linear_table, piecewise_table
from quadrat.strategies.greedy.centres import LinearDistance, PiecewiseDistance, largest_span
from quadrat.strategies.greedy.cuda import load_device
from quadrat.strategies.greedy.engine import maximise
from quadrat.strategies.greedy.objective import NormSchedule, Objective, SetFunction
from quadrat.strategies.greedy.spatial import Images, Norm, SpatialDistance
from quadrat.strategies.pool import Needs, Pool, Selection
from quadrat.strategies.ranking import min_max
from quadrat.strategies.validation import check_choice, check_count, check_number, check_signal

__all__ = [
    "CoreSet",
    "Diversification",
    "EntropyFeature",
    "EntropyFeatureSpatial",
    "EntropySpatial",
    "FeatureSpatial",
]


@dataclass(frozen=True, kw_only=True)
class Diversification(Strategy):
    """Selects greedily by uncertainty and distance to all labelled and selected regions [Cai2021, eq. 4].

    phi(x) = w_uncertainty * u(x) + w_feature * min_s d_f(x, s) + w_spatial * min_s d_s(x, s), s in labelled + selected,
    each term in [0, 1]. The subclasses differ in their default weights only. Choices that the paper leaves open are
    parameters whose defaults are ours: ``cutoff``, ``norm``, ``norm_schedule``.

    Distances inside an image are those of the cells of a grid, or of the centres of regions of any shape. The paper has
    squares only; ``distance="adjacency"`` is ours: its piece-wise distance with the regions that share a border as
    neighbours, whatever the distance of their centres; on a grid the four with an edge in common.
    """

    cutoff: float = 1.5
    """d_c: regions of one image nearer than this, in region sizes, are neighbours (our choice: the eight around)."""
    norm: Norm = 2
    """Norm of the difference of two region centres: 1, 2 or "inf" (our choice)."""
    d2_d1: float = 2.0
    """Ratio of the distances inside an image beyond and within the cut-off, 1 to 2."""
    d3_d2: float = 1.0
    """Ratio of the distance between images to that beyond the cut-off, at least 1."""
    w_uncertainty: float = 0.0
    """Weight of the uncertainty."""
    w_feature: float = 0.0
    """Weight of the feature distance."""
    w_spatial: float = 0.0
    """Weight of the spatial distance."""
    uncertainty: str = "entropy"
    """The signal to use as uncertainty; min-max normalised over the whole pool, once a round."""
    distance: Literal["piecewise", "linear", "adjacency"] = "piecewise"
    """Spatial distance: eq. 6 or eq. 5 of the paper, or eq. 6 with neighbours that share a border: no cut-off, norm."""
    set_function: SetFunction = "max-min"
    """Aggregation of the distances to labelled and selected regions; max-sum halves the uncertainty (section V-E)."""
    norm_schedule: NormSchedule = "round"
    """When the largest feature distance, the divisor of all, is computed (our choice: once a round)."""
    pca_dim: int | None = 128
    """Principal components of the features that are kept; None keeps the features as given."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(self.name, "cutoff", self.cutoff, low=0)
        check_choice(self.name, "norm", self.norm, (1, 2, "inf"))
        metric = " (outside of it the piece-wise distance is no metric)"
        check_number(self.name, "d2_d1", self.d2_d1, low=1, high=2, why=metric)
        check_number(self.name, "d3_d2", self.d3_d2, low=1, why=metric)
        for weight in ("w_uncertainty", "w_feature", "w_spatial"):
            check_number(self.name, weight, getattr(self, weight), low=0)
        if self.w_uncertainty == self.w_feature == self.w_spatial == 0:
            raise StrategyError(
                f"{self.name}: one of w_uncertainty, w_feature, w_spatial must be above 0, got 0 for all of them"
            )
        check_signal(self.name, "uncertainty", self.uncertainty)
        check_choice(self.name, "distance", self.distance, ("piecewise", "linear", "adjacency"))
        check_choice(self.name, "set_function", self.set_function, ("max-min", "max-sum"))
        check_choice(self.name, "norm_schedule", self.norm_schedule, ("round", "step"))
        if self.pca_dim is not None:
            check_count(self.name, "pca_dim", self.pca_dim)

    @lazy_space
    def space(cls) -> Space:
        """Search the parameters of the terms with a weight, and all weights but the first."""
        from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

        space: dict[str, BaseDistribution] = {}
        if cls.w_spatial > 0:
            space["cutoff"] = FloatDistribution(1.0, 6.0)
            space["norm"] = CategoricalDistribution((1, 2, "inf"))
            space["d2_d1"] = FloatDistribution(1.0, 2.0)
            space["d3_d2"] = FloatDistribution(1.0, 2.5)
        if cls.w_feature > 0:
            space["pca_dim"] = CategoricalDistribution((64, 128, 256))
        weights = [name for name in ("w_uncertainty", "w_feature", "w_spatial") if getattr(cls, name) > 0]
        for name in weights[1:]:
            space[name] = FloatDistribution(0.25, 4.0, log=True)
        return space

    @property
    def needs(self) -> Needs:
        """Ask for the inputs of the terms with a weight."""
        return Needs(
            signals=(self.uncertainty,) if self.w_uncertainty > 0 else (),
            features=self.w_feature > 0,
            borders=self.w_spatial > 0 and self.distance == "adjacency",
        )

    def _select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        """Return the greedy selection; only the rows that a large pool's PCA is fitted on are drawn."""
        return maximise(self.objective(pool, rng), budget)

    def load_engine(self, pool: Pool) -> None:
        """Load what a selection from this pool needs, which takes seconds the first time and is no part of it."""
        if self.w_feature > 0 and self.set_function == "max-min" and pool.features is not None:
            num_features = pool.features.shape[1]
            load_device(pool.num_regions, min(num_features, self.pca_dim or num_features))

    def objective(self, pool: Pool, rng: np.random.Generator) -> Objective:
        """Return the objective of ``pool`` with these parameters; ``rng`` draws the rows that PCA is fitted on."""
        utility = np.zeros(pool.num_regions)
        if self.w_uncertainty > 0:
            utility = self.w_uncertainty * min_max(pool.signals[self.uncertainty])
        features = None
        if self.w_feature > 0:
            assert pool.features is not None  # checked by select
            features = project(pool.features, self.pca_dim, rng)
        return Objective(
            utility=utility,
            labelled=pool.labelled,
            features=features,
            w_feature=self.w_feature,
            spatial=self._spatial(pool) if self.w_spatial > 0 else None,
            w_spatial=self.w_spatial,
            set_function=self.set_function,
            norm_schedule=self.norm_schedule,
        )

    def _spatial(self, pool: Pool) -> SpatialDistance:
        images, far = Images.of(pool.image), 1.0 / self.d3_d2
        near = far / self.d2_d1
        if self.distance == "adjacency":
            borders = pool.only(Needs(borders=True)).borders if pool.borders is None else pool.borders
            assert borders is not None  # checked by select
            return BorderDistance(images, Neighbourhood.of(borders, pool.num_regions), near=near, far=far)
        row, col = pool.row, pool.col
        if pool.has_cells:
            return CellDistance(self._table(pool, images, near, far), images, row, col)
        if self.distance == "linear":
            return LinearDistance(images, row, col, self.norm, largest=largest_span(images, row, col, self.norm))
        return PiecewiseDistance(images, row, col, self.norm, cutoff=self.cutoff, near=near, far=far)

    def _table(self, pool: Pool, images: Images, near: float, far: float) -> NDArray[np.float64]:
        num_rows, num_cols, largest = largest_in_image(images, pool.row, pool.col, self.norm)
        if self.distance == "linear":
            return linear_table(num_rows, num_cols, norm=self.norm, largest=largest)
        return piecewise_table(num_rows, num_cols, cutoff=self.cutoff, norm=self.norm, near=near, far=far)


@dataclass(frozen=True, kw_only=True)
class CoreSet(Diversification):
    """Selects the region whose features are furthest from all labelled and selected: k-center greedy [Sener2018]."""

    name: ClassVar[str] = "core-set"
    w_feature: float = 1.0


@dataclass(frozen=True, kw_only=True)
class FeatureSpatial(Diversification):
    """Feature and spatial diversity, without uncertainty."""

    name: ClassVar[str] = "feature-spatial"
    w_feature: float = 1.0
    w_spatial: float = 1.0


@dataclass(frozen=True, kw_only=True)
class EntropyFeature(Diversification):
    """Uncertainty and feature diversity."""

    name: ClassVar[str] = "entropy-feature"
    w_uncertainty: float = 1.0
    w_feature: float = 1.0


@dataclass(frozen=True, kw_only=True)
class EntropySpatial(Diversification):
    """Uncertainty and spatial diversity: the strategy that the paper proposes."""

    name: ClassVar[str] = "entropy-spatial"
    w_uncertainty: float = 1.0
    w_spatial: float = 1.0


@dataclass(frozen=True, kw_only=True)
class EntropyFeatureSpatial(Diversification):
    """Uncertainty, feature diversity and spatial diversity."""

    name: ClassVar[str] = "entropy-feature-spatial"
    w_uncertainty: float = 1.0
    w_feature: float = 1.0
    w_spatial: float = 1.0
