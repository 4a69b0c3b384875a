"""TypiClust: the most typical regions of clusters without labels, for small budgets.

References:
    [Hacohen2022] G. Hacohen, A. Dekel, D. Weinshall. "Active Learning on a Budget: Opposite Strategies Suit High and
        Low Budgets". ICML, 2022.

Axes: R regions, D features, N regions of a cluster.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from quadrat.strategies.base import Space, Strategy, lazy_space
from quadrat.strategies.features import assign_clusters, mean_neighbour_distance
from quadrat.strategies.pool import Needs, Pool, Selection
from quadrat.strategies.validation import check_count

__all__ = ["TypiClust", "round_robin_order", "typicality"]

# Keeps the typicality of regions with equal features finite; the authors' constant.
_EPSILON = 1e-5


def typicality(features_ND: NDArray[np.float32], num_neighbours: int) -> NDArray[np.float64]:
    """Return 1 / (mean distance to the nearest neighbours + 1e-5), 0 for a single region [Hacohen2022].

    Args:
        features_ND: Features of the regions of a cluster.
        num_neighbours: Number of nearest neighbours; all others where there are fewer.

    Returns:
        (N,) values. O(N^2 D).

    >>> typicality(np.array([[0.0], [1.0], [3.0]], np.float32), 1).round(2).tolist()
    [1.0, 1.0, 0.5]
    """
    if len(features_ND) == 1:
        return np.zeros(1)
    return 1.0 / (mean_neighbour_distance(features_ND, min(num_neighbours, len(features_ND) - 1)) + _EPSILON)


def round_robin_order(
    cluster_R: NDArray[np.int64], typicality_R: NDArray[np.float64], labelled_R: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Return the unlabelled regions in the order of TypiClust [Hacohen2022]: round robin over clusters.

    Clusters are ordered by number of labelled regions, fewest first, then by size, largest first, then by index. Each
    cluster in turn gives its most typical remaining region, ties to the lowest row number.

    >>> cluster, labelled = np.array([0, 0, 0, 1, 1]), np.array([1, 0, 0, 0, 0], bool)
    >>> round_robin_order(cluster, np.array([1.0, 3.0, 2.0, 5.0, 4.0]), labelled)
    array([3, 1, 4, 2])
    """
    num_clusters = int(cluster_R.max()) + 1
    size = np.bincount(cluster_R, minlength=num_clusters)
    num_labelled = np.bincount(cluster_R[labelled_R], minlength=num_clusters)
    rank = np.empty(num_clusters, np.int64)
    rank[np.lexsort((-size, num_labelled))] = np.arange(num_clusters)
    candidates = np.flatnonzero(~labelled_R)
    cluster = rank[cluster_R[candidates]]
    by_cluster = np.lexsort((-typicality_R[candidates], cluster))
    ordered = cluster[by_cluster]
    turn = np.arange(len(ordered)) - np.searchsorted(ordered, ordered)  # 0 for the most typical of a cluster
    return candidates[by_cluster[np.lexsort((ordered, turn))]]


@dataclass(frozen=True, kw_only=True)
class TypiClust(Strategy):
    """Selects the most typical region of each feature cluster without a label [Hacohen2022].

    k-means over the whole pool, into as many clusters as labelled and selected regions together, up to a limit; then
    ``round_robin_order``. The potential is the typicality.
    """

    name: ClassVar[str] = "typiclust"

    # Both numbers are those of the authors' code.
    max_clusters: int = 500
    """Largest number of clusters."""
    num_neighbours: int = 20
    """Nearest neighbours, within the cluster, of which typicality averages the distance."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count(self.name, "max_clusters", self.max_clusters)
        check_count(self.name, "num_neighbours", self.num_neighbours)

    @lazy_space
    def space(cls) -> Space:
        """Search both parameters."""
        from optuna.distributions import IntDistribution

        return {
            "max_clusters": IntDistribution(50, 2000, log=True),
            "num_neighbours": IntDistribution(5, 50),
        }

    @property
    def needs(self) -> Needs:
        """Ask for the features."""
        return Needs(features=True)

    def _select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        """Return the first ``budget`` regions of the order; the initial centres of k-means are drawn."""
        assert pool.features is not None  # checked by select
        wanted = int(np.count_nonzero(pool.labelled)) + budget
        seed = int(rng.integers(2**31 - 1))
        cluster_R = assign_clusters(pool.features, min(wanted, self.max_clusters), seed)
        typicality_R = np.zeros(pool.num_regions)
        by_cluster = np.argsort(cluster_R, kind="stable")
        for members in np.split(by_cluster, np.cumsum(np.bincount(cluster_R))[:-1]):
            if len(members):
                typicality_R[members] = typicality(pool.features[members], self.num_neighbours)
        regions = round_robin_order(cluster_R, typicality_R, pool.labelled)[:budget]
        return Selection.of(regions, typicality_R[regions])
