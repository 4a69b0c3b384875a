"""CLUE: the regions nearest to the centres of clusters in which uncertain regions weigh more.

References:
    [Prabhu2021] V. Prabhu, A. Chandrasekaran, K. Saenko, J. Hoffman. "Active Domain Adaptation via Clustering
        Uncertainty-weighted Embeddings". ICCV, 2021. Code of the authors: https://github.com/virajprabhu/CLUE,
        sample.py.

Axes: R regions, N candidates, D features, B budget.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from quadrat.strategies.base import Space, Strategy, lazy_space
from quadrat.strategies.errors import StrategyError
from quadrat.strategies.features import nearest_in_order, project, training_rows, weighted_centres
from quadrat.strategies.kmeans_pp import kmeans_plusplus
from quadrat.strategies.pool import Needs, Pool, Selection
from quadrat.strategies.validation import check_count, check_signal

__all__ = ["Clue", "nearest_distinct"]

# Keeps a region of no uncertainty in its cluster; the authors add it to every probability.
_EPSILON = 1e-8


def nearest_distinct(centre_BD: NDArray[np.float32], features_ND: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return as many different rows as there are centres: the nearest of each, then further ones [Prabhu2021].

    Where several centres have one nearest row, m rows are missing: the second nearest of the first m centres follow,
    then the third nearest of as many as are still missing, and so on.

    Args:
        centre_BD: Centres, at least one.
        features_ND: At least as many rows as centres.

    Returns:
        (B,) rows in the order in which they are found.

    >>> nearest_distinct(np.array([[0.0], [0.1], [9.0]], np.float32), np.array([[0.0], [1.0], [8.0]], np.float32))
    array([0, 2, 1])
    """
    num_rows = len(centre_BD)
    found: dict[int, None] = {}
    rank, known_BK = 0, nearest_in_order(centre_BD, features_ND, 1)
    while (missing := num_rows - len(found)) > 0:
        if rank == known_BK.shape[1]:
            known_BK = nearest_in_order(centre_BD[:missing], features_ND, min(2 * rank + 2, len(features_ND)))
        found |= dict.fromkeys(known_BK[:missing, rank].tolist())
        rank += 1
    return np.array(list(found), np.int64)


@dataclass(frozen=True, kw_only=True)
class Clue(Strategy):
    """Selects the regions nearest to the centres of uncertainty-weighted k-means [Prabhu2021].

    Unlabelled regions are divided into as many clusters as the budget, by k-means in which each weighs as much as its
    uncertainty. Differences from the authors' code, and why:

    - The weight is the mean entropy of the region's pixels at temperature 1, which they use for digits; for DomainNet
      they divide the logits by 0.1 first.
    - k-means is 20 iterations of Lloyd's algorithm from one start by k-means++, on fewer than 512 regions per cluster
      and on one thread, so that results do not depend on threads; theirs is scikit-learn's, best of several starts.
    - Features are projected on principal components unless ``pca_dim`` is None: clusters are many here.
    """

    name: ClassVar[str] = "clue"

    uncertainty: str = "entropy"
    """The signal to weight by, 0 or more."""
    pca_dim: int | None = 128
    """Principal components of the features that are kept; None keeps the features as given, as in the paper."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_signal(self.name, "uncertainty", self.uncertainty)
        if self.pca_dim is not None:
            check_count(self.name, "pca_dim", self.pca_dim)

    @lazy_space
    def space(cls) -> Space:
        """Search the uncertainty and the PCA."""
        from optuna.distributions import CategoricalDistribution

        return {
            "uncertainty": CategoricalDistribution(("entropy", "margin", "bvsb")),
            "pca_dim": CategoricalDistribution((64, 128, 256)),
        }

    @property
    def needs(self) -> Needs:
        """Ask for the uncertainty and the features."""
        return Needs(signals=(self.uncertainty,), features=True)

    def _select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        """Return ``budget`` regions; the initial centres of k-means and the rows it is fitted on are drawn."""
        assert pool.features is not None  # checked by select
        weight_R = pool.signals[self.uncertainty]
        if weight_R.min() < 0:
            raise StrategyError(
                f"{self.name}: expected a signal of 0 or more, got {self.uncertainty!r} = {weight_R.min():g} in region "
                f"{weight_R.argmin()}; a weight needs values of 0 or more, use another signal"
            )
        candidates = pool.candidates
        features_ND = np.ascontiguousarray(project(pool.features, self.pca_dim, rng)[candidates])
        rows = training_rows(len(candidates), 256 * budget, rng)
        initial = kmeans_plusplus(features_ND, rows, int(rng.integers(len(rows))), budget, rng)
        weight_N = np.maximum(weight_R[candidates], np.float32(_EPSILON))
        # Of mean 1, which moves no centre: of smaller ones faiss up to 1.10 looks for ever for a cluster to divide.
        weight_N /= weight_N.mean(dtype=np.float64)
        centre_BD = weighted_centres(features_ND, rows, weight_N, initial.regions)
        return Selection.of(candidates[nearest_distinct(centre_BD, features_ND)])
