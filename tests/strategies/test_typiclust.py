"""TypiClust against a loop in plain Python, on points checked by hand, and on outliers."""

import numpy as np
import pytest
from numpy.typing import NDArray
from support.pools import float32, line_pool

from quadrat.strategies import Pool, load
from quadrat.strategies.typiclust import cluster_turns, most_typical


def test_typicality_by_hand() -> None:
    """Four members: k = 2. Then three and two remain: k = 1. The last one has no neighbour."""
    selected = most_typical(float32([[0], [1], [2], [12]]), 4, 20)
    assert selected.regions.tolist() == [1, 0, 2, 3]
    # Mean distances: (1 + 1) / 2 of 1; then 2 of 0, to 2; then 10 of 2, to 12.
    np.testing.assert_allclose(selected.potential, [1 / (1 + 1e-5), 1 / (2 + 1e-5), 1 / (10 + 1e-5), 0.0], rtol=1e-5)


def test_clusters_take_turns_unlabelled_and_large_ones_first() -> None:
    cluster = np.array([0, 0, 0, 1, 1, 2, 2, 2])
    labelled = np.array([1, 0, 0, 0, 0, 0, 0, 0], bool)
    assert cluster_turns(cluster, labelled, 7, 0).tolist() == [2, 1, 0, 2, 1, 0, 2]
    # Cluster 1 is small: it follows when the others are exhausted.
    assert cluster_turns(cluster, labelled, 7, 2).tolist() == [2, 0, 2, 0, 2, 1, 1]
    assert cluster_turns(cluster, labelled, 5, 2).tolist() == [2, 0, 2, 0, 2]
    # All are small.
    assert cluster_turns(cluster, labelled, 7, 3).tolist() == [2, 1, 0, 2, 1, 0, 2]


def typiclust_in_plain_python(
    features: NDArray[np.float32], cluster: NDArray[np.int64], labelled: NDArray[np.bool_], budget: int
) -> list[int]:
    """Return the selection by the authors' description and constants, one distance at a time."""
    free = [region for region in range(len(features)) if not labelled[region]]
    members = {int(number): [r for r in range(len(features)) if cluster[r] == number] for number in set(cluster)}

    def key(number: int) -> tuple[int, int, int]:
        return sum(bool(labelled[region]) for region in members[number]), -len(members[number]), number

    def density(region: int, others: list[int]) -> float:
        k = min(20, len(others) // 2)
        distances = [float(np.linalg.norm(features[region].astype(float) - features[other])) for other in others]
        return 1 / (sum(sorted(distances)[1 : k + 1]) / k + 1e-5)  # the first is the region itself

    order = sorted((number for number in members if len(members[number]) > 5), key=key)
    selected: list[int] = []
    while len(selected) < budget:
        for number in order[: budget - len(selected)]:
            left = [region for region in members[number] if region in free and region not in selected]
            values = [density(region, left) for region in left]
            selected.append(left[int(np.argmax(values))])
    return selected


@pytest.mark.parametrize("seed", range(4))
def test_the_selection_is_that_of_a_loop_in_plain_python(seed: int) -> None:
    """Ten clusters of 3 to 60 members that lie far apart, so that k-means finds them, some of them labelled."""
    rng = np.random.default_rng(seed)
    sizes = np.array([60, 45, 45, 30, 24, 22, 9, 6, 5, 3])
    cluster = rng.permutation(np.repeat(np.arange(10), sizes))
    corners = 1000.0 * np.eye(10)
    features = float32(corners[cluster] + rng.standard_normal((len(cluster), 10)))
    labelled = np.isin(cluster, [0, 3, 5]) & (rng.random(len(cluster)) < 0.2)
    budget = 28  # three turns and a half: members that are selected or labelled must not count for the density
    pool = line_pool(len(cluster), labelled=tuple(np.flatnonzero(labelled)), features=features)
    selection = load("typiclust", max_clusters=10).select(pool, budget, np.random.default_rng(seed))
    # Indices of clusters break ties only where two have equal size and labels: 45 and 45. k-means may swap them.
    swapped = np.where(cluster == 1, 2, np.where(cluster == 2, 1, cluster))
    expected = [typiclust_in_plain_python(features, numbers, labelled, budget) for numbers in (cluster, swapped)]
    assert selection.regions.tolist() in expected
    assert not np.isin(cluster[selection.regions], [8, 9]).any()


def pool_with_outliers(num_regions: int, distance: float) -> tuple[Pool, NDArray[np.bool_]]:
    """Return 20 blobs in 16 dimensions, of which every fiftieth region is far away, in a direction of its own."""
    rng = np.random.default_rng(0)
    is_outlier = np.arange(num_regions) % 50 == 7
    features = 10 * rng.standard_normal((20, 16))[rng.integers(20, size=num_regions)]
    features += rng.standard_normal((num_regions, 16))
    direction = rng.standard_normal((num_regions, 16))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    features += distance * np.where(is_outlier, 1 + rng.random(num_regions), 0.0)[:, None] * direction
    return line_pool(num_regions, features=features), is_outlier


@pytest.mark.parametrize("distance", [100.0, 1000.0])
def test_no_outlier_is_selected(distance: float) -> None:
    pool, is_outlier = pool_with_outliers(10_000, distance)
    assert is_outlier.mean() == 0.02
    selection = load("typiclust").select(pool, 500, np.random.default_rng(0))
    assert is_outlier[selection.regions].sum() == 0


def test_small_clusters_come_last_and_are_not_lost() -> None:
    pool, is_outlier = pool_with_outliers(500, 1000.0)
    selection = load("typiclust", max_clusters=50).select(pool, 500, np.random.default_rng(0))
    assert len(set(selection.regions.tolist())) == 500
    assert np.flatnonzero(is_outlier[selection.regions]).min() > 400


def test_k_means_does_not_alias_with_the_grid() -> None:
    """Even columns are alike, odd ones are two groups far away: clusters of every second region miss the odd ones."""
    rng = np.random.default_rng(0)
    is_odd = np.arange(1040) % 2 == 1
    features = rng.standard_normal((1040, 1))
    features[is_odd] = 5 * features[is_odd] + 1000.0 * rng.integers(1, 3, (int(is_odd.sum()), 1))
    selection = load("typiclust").select(line_pool(1040, features=features), 2, rng)
    assert sorted(is_odd[selection.regions].tolist()) == [False, True]


def test_typiclust_selects_the_middle_of_each_unlabelled_cluster() -> None:
    offsets = np.array([-9, -6, -1, 0, 1, 6, 9])
    features = np.concatenate([centre + offsets for centre in (0, 100, 200)])[:, None]
    pool = line_pool(21, labelled=(0,), features=features)
    selection = load("typiclust", num_neighbours=2).select(pool, 2, np.random.default_rng(0))
    assert set(selection.regions.tolist()) == {10, 17}
