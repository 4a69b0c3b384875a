"""TypiClust on points small enough to check by hand."""

import numpy as np
from support.pools import float32, line_pool

from quadrat.strategies import load
from quadrat.strategies.typiclust import round_robin_order, typicality


def test_typicality_by_hand() -> None:
    points = float32([[0], [1], [2], [12]])
    np.testing.assert_allclose(1 / typicality(points, 2), np.array([1.5, 1.0, 1.5, 10.5]) + 1e-5, rtol=1e-4)
    np.testing.assert_array_equal(typicality(points[:1], 2), [0.0])


def test_clusters_take_turns_unlabelled_and_large_ones_first() -> None:
    cluster = np.array([0, 0, 0, 1, 1, 2, 2, 2])
    labelled = np.array([1, 0, 0, 0, 0, 0, 0, 0], bool)
    value = np.array([9.0, 1.0, 2.0, 3.0, 4.0, 6.0, 5.0, 7.0])
    assert round_robin_order(cluster, value, labelled).tolist() == [7, 4, 2, 5, 3, 1, 6]


def test_typiclust_selects_the_middle_of_each_unlabelled_cluster() -> None:
    offsets = np.array([-3, -1, 0, 1, 3])
    features = np.concatenate([centre + offsets for centre in (0, 100, 200)])[:, None]
    pool = line_pool(15, labelled=(0,), features=features)
    selection = load("typiclust", num_neighbours=4).select(pool, 2, np.random.default_rng(0))
    assert set(selection.regions.tolist()) == {7, 12}
