"""k-means++ seeding and BADGE on points small enough to check by hand."""

import numpy as np
import pytest
from numpy.typing import NDArray
from support.pools import float32, line_pool
from threadpoolctl import threadpool_info, threadpool_limits

from quadrat.strategies import load, subspace
from quadrat.strategies.features import squared_distance
from quadrat.strategies.kmeans_pp import kmeans_plusplus
from quadrat.strategies.subspace import SubspaceDistance


def test_the_second_draw_is_in_proportion_to_the_squared_distance() -> None:
    points, rng, counts = float32([[0], [1], [2], [3]]), np.random.default_rng(0), np.zeros(4)
    for _ in range(2000):
        counts[kmeans_plusplus(points, np.arange(4), 0, 2, rng).regions[1]] += 1
    np.testing.assert_allclose(counts / 2000, np.array([0, 1, 4, 9]) / 14, atol=0.04)


def kmeans_plusplus_reference(
    points: NDArray[np.float32], rows: NDArray[np.int64], first: int, budget: int, rng: np.random.Generator
) -> list[int]:
    """Return what ``kmeans_plusplus`` draws, with every distance computed anew; no two points are equal."""
    drawn, stale_goal = [int(rows[first])], 1
    while len(drawn) < budget:
        stale = np.min([squared_distance(points[rows], points[region]) for region in drawn[:stale_goal]], axis=0)
        goal = min(budget, stale_goal + min(stale_goal, 256))
        while len(drawn) < goal:
            position = int(np.searchsorted(np.cumsum(stale), rng.random() * np.cumsum(stale)[-1], side="right"))
            true = min(squared_distance(points[region], points[rows[position]])[0] for region in drawn)
            if rng.random() * stale[position] < true:
                drawn.append(int(rows[position]))
        stale_goal = goal
    return drawn


@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_the_draws_are_those_of_the_reference(offset: float) -> None:
    points = (offset + np.random.default_rng(0).standard_normal((900, 5))).astype(np.float32)
    rows = np.arange(3, 900)
    drawn = kmeans_plusplus(points, rows, 7, 600, np.random.default_rng(1))
    assert drawn.regions.tolist() == kmeans_plusplus_reference(points, rows, 7, 600, np.random.default_rng(1))


def test_products_run_on_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    # Of many small products each would wait for a second thread that other processes keep from its core.
    seen: list[int] = []
    add = SubspaceDistance.add

    def watched(self: SubspaceDistance, regions: NDArray[np.int64]) -> None:
        seen.extend(info["num_threads"] for info in threadpool_info() if info["user_api"] == "blas")
        add(self, regions)

    monkeypatch.setattr(SubspaceDistance, "add", watched)
    points = np.random.default_rng(0).standard_normal((50, 3)).astype(np.float32)
    with threadpool_limits(limits=2, user_api="blas"):
        kmeans_plusplus(points, np.arange(50), 0, 10, np.random.default_rng(1))
    assert set(seen) == {1}


@pytest.mark.parametrize("size", [1, 7, 100])
def test_block_sizes_do_not_change_a_draw(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    points = np.random.default_rng(0).standard_normal((200, 5)).astype(np.float32)
    expected = kmeans_plusplus(points, np.arange(200), 0, 90, np.random.default_rng(1))
    for constant in ("_CELL", "_PAIRS", "_SAMPLE", "_PROBES"):
        monkeypatch.setattr(subspace, constant, size)
    again = kmeans_plusplus(points, np.arange(200), 0, 90, np.random.default_rng(1))
    np.testing.assert_array_equal(again.regions, expected.regions)
    np.testing.assert_array_equal(again.potential, expected.potential)


@pytest.mark.slow
def test_draws_by_stale_distances_have_the_true_distribution() -> None:
    # The third and fourth draw are proposed by distances to the first two only.
    points, counts = float32([[0], [1], [2], [4], [9]]), np.zeros((2, 5))
    rng, reference = np.random.default_rng(0), np.random.default_rng(1)
    for _ in range(4000):
        counts[0, kmeans_plusplus(points, np.arange(5), 0, 4, rng).regions[3]] += 1
        drawn = [0]
        for _step in range(3):
            squared = ((points - points[drawn].T) ** 2).min(axis=1)
            drawn.append(int(reference.choice(5, p=squared / squared.sum())))
        counts[1, drawn[3]] += 1
    np.testing.assert_allclose(counts[0] / 4000, counts[1] / 4000, atol=0.04)


def test_all_distinct_points_are_drawn_before_a_duplicate() -> None:
    points = np.repeat(np.arange(12, dtype=np.float32), 50)[:, None]
    drawn = kmeans_plusplus(points, np.arange(600), 0, 30, np.random.default_rng(0))
    assert len(set((drawn.regions[:12] // 50).tolist())) == 12 and len(set(drawn.regions.tolist())) == 30
    np.testing.assert_array_equal(drawn.potential[12:], 0.0)


def test_the_potential_is_the_distance_to_the_draws_before() -> None:
    points = np.random.default_rng(0).standard_normal((50, 3)).astype(np.float32)
    drawn = kmeans_plusplus(points, np.arange(5, 50), 7, 10, np.random.default_rng(1))
    assert drawn.regions[0] == 12 and np.isnan(drawn.potential[0])
    for step in range(1, 10):
        before = points[drawn.regions[:step]].astype(float)
        expected = np.linalg.norm(before - points[drawn.regions[step]], axis=1).min()
        assert drawn.potential[step] == pytest.approx(expected, rel=1e-6)


def test_equal_points_are_drawn_uniformly_and_once() -> None:
    drawn = kmeans_plusplus(np.ones((6, 2), np.float32), np.arange(6), 2, 6, np.random.default_rng(0))
    np.testing.assert_array_equal(np.sort(drawn.regions), np.arange(6))
    np.testing.assert_array_equal(drawn.potential[1:], 0.0)


def test_k_means_plus_plus_draws_from_the_most_uncertain_only() -> None:
    features = np.random.default_rng(0).standard_normal((40, 4)).astype(np.float32)
    entropy = np.arange(40, dtype=np.float32)
    pool = line_pool(40, labelled=(39,), features=features, signals={"entropy": entropy})
    strategy = load("k-means-plus-plus", uncertainty="entropy", top=2.0)
    seen = {int(r) for seed in range(30) for r in strategy.select(pool, 5, np.random.default_rng(seed)).regions}
    assert seen == set(range(29, 39))


def test_badge_starts_with_the_longest_gradient_and_draws_a_duplicate_last() -> None:
    gradients = float32([[0.1, 0], [5, 0], [5, 0], [0, 4], [9, 9]])
    pool = line_pool(5, labelled=(4,), profiles={"gradient-embedding": gradients})
    for seed in range(10):
        selection = load("badge", pca_dim=None).select(pool, 4, np.random.default_rng(seed))
        assert selection.regions[0] == 1
        assert selection.regions[-1] == 2 and selection.potential[-1] == 0.0


def test_badge_draws_the_same_on_principal_components_that_keep_all_variance() -> None:
    rng = np.random.default_rng(0)
    flat = (rng.standard_normal((60, 2)) @ rng.standard_normal((2, 30))).astype(np.float32)
    pool = line_pool(60, profiles={"gradient-embedding": flat})
    whole, few = (load("badge", pca_dim=dim).select(pool, 12, np.random.default_rng(3)) for dim in (None, 5))
    np.testing.assert_array_equal(few.regions, whole.regions)
    np.testing.assert_allclose(few.potential, whole.potential, rtol=1e-3)
