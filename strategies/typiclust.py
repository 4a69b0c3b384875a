"""TypiClust: the most typical regions of clusters without labels, for small budgets.

References:
    [Hacohen2022] G. Hacohen, A. Dekel, D. Weinshall. "Active Learning on a Budget: Opposite Strategies Suit High and
        Low Budgets". ICML, 2022. Code of the authors: https://github.com/avihu111/TypiClust, deep-al/pycls/al.

Axes: R regions, D features, N members of a cluster, L neighbours of each member, B budget.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from quadrat.strategies.base import Space, Strategy, lazy_space
from quadrat.strategies.features import assign_clusters, nearest_neighbours, training_rows
from quadrat.strategies.kmeans_pp import kmeans_plusplus
from quadrat.strategies.pool import Needs, Pool, Selection
from quadrat.strategies.validation import check_count

__all__ = ["TypiClust", "cluster_turns", "most_typical"]

# Keeps the typicality of regions with equal features finite; the authors' constant.
_EPSILON = 1e-5


def most_typical(features_ND: NDArray[np.float32], count: int, num_neighbours: int) -> Selection:
    """Return ``count`` members of a cluster, each the most typical of those that remain [Hacohen2022].

    With n members remaining, the typicality of one is 1 / (mean distance to its k nearest remaining members + 1e-5),
    k = min(num_neighbours, n // 2); 0 where it is the only one. Ties go to the lowest row.

    Args:
        features_ND: Features of the candidates of one cluster, at least ``count``.
        count: Members to select, 1 or more.
        num_neighbours: Largest k.

    Returns:
        Rows of ``features_ND``, and their typicality when selected. O(N^2 D + count N L), L = num_neighbours + count.

    >>> most_typical(np.array([[0.0], [1.0], [3.0], [4.5]], np.float32), 3, 20).regions
    array([1, 2, 0])
    """
    num_members = len(features_ND)
    # As many neighbours as are needed after count - 1 removals.
    kept = min(num_members - 1, num_neighbours + count - 1)
    if kept == 0:
        return Selection.of(np.zeros(1, np.int64), np.zeros(1))
    neighbour_NL, distance_NL = nearest_neighbours(features_ND, kept)
    remaining_N = np.ones(num_members, np.bool_)
    typicality_N, last_k = np.zeros(num_members), -1
    regions, potentials = np.empty(count, np.int64), np.empty(count)
    stale_N = remaining_N
    for turn in range(count):
        k = min(num_neighbours, (num_members - turn) // 2)
        rows = np.flatnonzero(remaining_N if k != last_k else remaining_N & stale_N)
        is_counted = remaining_N[neighbour_NL[rows]]
        is_counted &= np.cumsum(is_counted, axis=1) <= k
        mean = np.sum(distance_NL[rows], axis=1, where=is_counted) / max(k, 1)
        typicality_N[rows] = 1.0 / (mean + _EPSILON) if k > 0 else 0.0
        best = int(np.where(remaining_N, typicality_N, -1.0).argmax())
        regions[turn], potentials[turn] = best, typicality_N[best]
        remaining_N[best], last_k = False, k
        stale_N = (neighbour_NL == best).any(axis=1)
    return Selection.of(regions, potentials)


def cluster_turns(
    cluster_R: NDArray[np.int64], labelled_R: NDArray[np.bool_], budget: int, small_cluster: int
) -> NDArray[np.int64]:
    """Return the cluster that each selection is made from, (B,): round robin in the order of [Hacohen2022].

    Clusters are ordered by number of labelled members, fewest first, then by size, largest first, then by index. A
    cluster whose members are all selected is skipped. Clusters of at most ``small_cluster`` members, labelled ones
    included, follow in the same way when all others are exhausted.

    Args:
        cluster_R: Cluster of each region, 0 or more.
        labelled_R: Which regions are labelled.
        budget: B, at most the number of unlabelled regions.
        small_cluster: Largest size of a small cluster; 0: none is small.

    >>> cluster, labelled = np.array([0, 0, 0, 1, 1, 2]), np.array([1, 0, 0, 0, 0, 0], bool)
    >>> cluster_turns(cluster, labelled, 5, 1)
    array([1, 0, 1, 0, 2])
    """
    size_C = np.bincount(cluster_R)
    num_labelled_C = np.bincount(cluster_R[labelled_R], minlength=len(size_C))
    order = np.lexsort((-size_C, num_labelled_C))
    available = (size_C - num_labelled_C)[order]
    cluster = np.repeat(order, available)
    turn = np.arange(len(cluster)) - np.repeat(np.cumsum(available) - available, available)
    return cluster[np.lexsort((turn, size_C[cluster] <= small_cluster))][:budget]


@dataclass(frozen=True, kw_only=True)
class TypiClust(Strategy):
    """Selects the most typical region of each feature cluster without a label [Hacohen2022].

    k-means over the whole pool, into as many clusters as labelled and selected regions together, up to a limit. Then
    ``cluster_turns`` and, in each cluster, ``most_typical`` of its unlabelled members. The potential is the typicality.
    The order of the clusters, the clusters that are left out, the members that count for a density, its number of
    neighbours and all constants are those of the authors' code. Differences, and why:

    - Distances are Euclidean, as the paper defines typicality; the code averages squared ones.
    - k-means is Lloyd's with k-means++ on fewer than 512 regions per cluster, for any number of clusters. The code runs
      it on all samples up to 50 clusters, mini-batches beyond: pools here are larger, and results must not depend on
      threads.
    - The code fails when a cluster, or all clusters that are not too small, have no member left. Regions are so many
      that this happens: then the cluster is skipped, and small clusters come last.
    - Features are those of the segmentation network after the last round; the paper's are self-supervised.
    """

    name: ClassVar[str] = "typiclust"

    # These three numbers are those of the authors' code.
    max_clusters: int = 500
    """Largest number of clusters."""
    num_neighbours: int = 20
    """Nearest neighbours of which typicality averages the distance; half of the remaining members where fewer."""
    small_cluster: int = 5
    """Clusters of at most this many regions are left out while others have unlabelled regions: outliers."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count(self.name, "max_clusters", self.max_clusters)
        check_count(self.name, "num_neighbours", self.num_neighbours)
        check_count(self.name, "small_cluster", self.small_cluster, low=0)

    @lazy_space
    def space(cls) -> Space:
        """Search the clusters and the neighbours."""
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
        """Return ``budget`` regions; the initial centres of k-means and the rows it is fitted on are drawn."""
        assert pool.features is not None  # checked by select
        num_clusters = min(int(np.count_nonzero(pool.labelled)) + budget, self.max_clusters)
        cluster_R = _clusters(pool.features, num_clusters, rng)
        cluster_B = cluster_turns(cluster_R, pool.labelled, budget, self.small_cluster)
        candidates = pool.candidates
        by_cluster = candidates[np.argsort(cluster_R[candidates], kind="stable")]
        ordered = cluster_R[by_cluster]
        regions, potential = np.empty(budget, np.int64), np.empty(budget)
        for cluster in np.unique(cluster_B):
            members = by_cluster[np.searchsorted(ordered, cluster) : np.searchsorted(ordered, cluster, side="right")]
            turns = np.flatnonzero(cluster_B == cluster)
            selected = most_typical(pool.features[members], len(turns), self.num_neighbours)
            regions[turns], potential[turns] = members[selected.regions], selected.potential
        return Selection.of(regions, potential)


def _clusters(features_RD: NDArray[np.float32], num_clusters: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return each region's cluster by k-means with k-means++ [Arthur2007 in ``kmeans_pp``] on rows that are drawn."""
    rows = training_rows(len(features_RD), 256 * num_clusters, rng)
    initial = kmeans_plusplus(features_RD, rows, int(rng.integers(len(rows))), num_clusters, rng)
    return assign_clusters(features_RD, rows, initial.regions)
