"""k-means++ draws, BADGE and TypiClust on points small enough to check by hand."""

from typing import Any

import numpy as np
import pytest

from quadrat.strategies import Pool, load
from quadrat.strategies.features import assign_clusters, mean_neighbour_distance, squared_distance
from quadrat.strategies.greedy import nearest
from quadrat.strategies.kmeans_pp import draw_apart
from quadrat.strategies.typiclust import in_turns, typicality


def pool_of(num_regions: int, labelled: tuple[int, ...] = (), **arrays: Any) -> Pool:
    return Pool(
        image=np.zeros(num_regions, int),
        row=np.zeros(num_regions, int),
        col=np.arange(num_regions),
        pixels=np.ones(num_regions, int),
        labelled=np.isin(np.arange(num_regions), labelled),
        **arrays,
    )


def test_the_second_draw_is_in_proportion_to_the_squared_distance() -> None:
    points, rng, counts = np.float32([[0], [1], [2], [3]]), np.random.default_rng(0), np.zeros(4)
    for _ in range(2000):
        counts[draw_apart(points, np.arange(4), 0, 2, rng).regions[1]] += 1
    np.testing.assert_allclose(counts / 2000, np.array([0, 1, 4, 9]) / 14, atol=0.04)


def draw_plainly(points: np.ndarray, rows: np.ndarray, first: int, budget: int, rng: np.random.Generator) -> list[int]:
    """Return what ``draw_apart`` draws, every distance computed from scratch; no two points are equal."""
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
def test_the_draws_are_those_of_a_plain_loop(offset: float) -> None:
    points = (offset + np.random.default_rng(0).standard_normal((900, 5))).astype(np.float32)
    rows = np.arange(3, 900)
    drawn = draw_apart(points, rows, 7, 600, np.random.default_rng(1))
    assert drawn.regions.tolist() == draw_plainly(points, rows, 7, 600, np.random.default_rng(1))


@pytest.mark.parametrize("size", [1, 7, 100])
def test_sizes_of_blocks_do_not_change_a_draw(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    points = np.random.default_rng(0).standard_normal((200, 5)).astype(np.float32)
    expected = draw_apart(points, np.arange(200), 0, 90, np.random.default_rng(1))
    for constant in ("_CHUNK", "_PAIRS", "_ALL"):
        monkeypatch.setattr(nearest, constant, size)
    again = draw_apart(points, np.arange(200), 0, 90, np.random.default_rng(1))
    np.testing.assert_array_equal(again.regions, expected.regions)
    np.testing.assert_array_equal(again.potential, expected.potential)


def test_a_draw_by_an_old_distance_is_in_proportion_to_the_true_one() -> None:
    # The third and fourth draw are made by distances to the first two only.
    points, counts = np.float32([[0], [1], [2], [4], [9]]), np.zeros((2, 5))
    rng, plain = np.random.default_rng(0), np.random.default_rng(1)
    for _ in range(4000):
        counts[0, draw_apart(points, np.arange(5), 0, 4, rng).regions[3]] += 1
        drawn = [0]
        for _turn in range(3):
            squared = ((points - points[drawn].T) ** 2).min(axis=1)
            drawn.append(int(plain.choice(5, p=squared / squared.sum())))
        counts[1, drawn[3]] += 1
    np.testing.assert_allclose(counts[0] / 4000, counts[1] / 4000, atol=0.04)


def test_a_few_distinct_points_among_many_are_all_drawn_before_a_copy_is() -> None:
    points = np.repeat(np.arange(12, dtype=np.float32), 50)[:, None]
    drawn = draw_apart(points, np.arange(600), 0, 30, np.random.default_rng(0))
    assert len(set((drawn.regions[:12] // 50).tolist())) == 12 and len(set(drawn.regions.tolist())) == 30
    np.testing.assert_array_equal(drawn.potential[12:], 0.0)


def test_the_potential_is_the_distance_to_what_was_drawn_before() -> None:
    points = np.random.default_rng(0).standard_normal((50, 3)).astype(np.float32)
    drawn = draw_apart(points, np.arange(5, 50), 7, 10, np.random.default_rng(1))
    assert drawn.regions[0] == 12 and np.isnan(drawn.potential[0])
    for turn in range(1, 10):
        before = points[drawn.regions[:turn]].astype(float)
        expected = np.linalg.norm(before - points[drawn.regions[turn]], axis=1).min()
        assert drawn.potential[turn] == pytest.approx(expected, rel=1e-6)


def test_equal_points_are_drawn_uniformly_and_once() -> None:
    drawn = draw_apart(np.ones((6, 2), np.float32), np.arange(6), 2, 6, np.random.default_rng(0))
    np.testing.assert_array_equal(np.sort(drawn.regions), np.arange(6))
    np.testing.assert_array_equal(drawn.potential[1:], 0.0)


def test_k_means_plus_plus_draws_from_the_most_uncertain_only() -> None:
    features = np.random.default_rng(0).standard_normal((40, 4)).astype(np.float32)
    entropy = np.arange(40, dtype=np.float32)
    pool = pool_of(40, (39,), features=features, signals={"entropy": entropy})
    strategy = load("k-means-plus-plus", uncertainty="entropy", top=2.0)
    seen = {int(r) for seed in range(30) for r in strategy.select(pool, 5, np.random.default_rng(seed)).regions}
    assert seen == set(range(29, 39))


def test_badge_begins_with_the_longest_gradient_and_leaves_equal_ones_for_last() -> None:
    gradients = np.float32([[0.1, 0], [5, 0], [5, 0], [0, 4], [9, 9]])
    pool = pool_of(5, (4,), profiles={"gradient-embedding": gradients})
    for seed in range(10):
        selection = load("badge", pca_dim=None).select(pool, 4, np.random.default_rng(seed))
        assert selection.regions[0] == 1
        assert selection.regions[-1] == 2 and selection.potential[-1] == 0.0


def test_badge_on_its_principal_components_draws_the_same_when_they_hold_everything() -> None:
    rng = np.random.default_rng(0)
    flat = (rng.standard_normal((60, 2)) @ rng.standard_normal((2, 30))).astype(np.float32)
    pool = pool_of(60, profiles={"gradient-embedding": flat})
    whole, few = (load("badge", pca_dim=dim).select(pool, 12, np.random.default_rng(3)) for dim in (None, 5))
    np.testing.assert_array_equal(few.regions, whole.regions)
    np.testing.assert_allclose(few.potential, whole.potential, rtol=1e-3)


def test_clusters_that_lie_apart_are_found() -> None:
    rng = np.random.default_rng(0)
    centres = np.float32([[0, 0], [50, 0], [0, 50]])
    home = rng.integers(3, size=90)
    points = (centres[home] + rng.standard_normal((90, 2))).astype(np.float32)
    cluster = assign_clusters(points, 3, seed=5)
    assert len({(int(a), int(b)) for a, b in zip(home, cluster, strict=True)}) == 3
    np.testing.assert_array_equal(assign_clusters(points, 3, seed=5), cluster)


def test_mean_neighbour_distance_agrees_with_brute_force() -> None:
    points = np.random.default_rng(0).standard_normal((40, 6)).astype(np.float32)
    distance = np.sort(np.linalg.norm(points[:, None] - points[None], axis=2), axis=1)
    np.testing.assert_allclose(mean_neighbour_distance(points, 7), distance[:, 1:8].mean(axis=1), rtol=1e-3)


def test_typicality_by_hand() -> None:
    points = np.float32([[0], [1], [2], [12]])
    np.testing.assert_allclose(1 / typicality(points, 2), np.array([1.5, 1.0, 1.5, 10.5]) + 1e-5, rtol=1e-4)
    np.testing.assert_array_equal(typicality(points[:1], 2), [0.0])


def test_clusters_take_turns_the_uncovered_and_large_ones_first() -> None:
    cluster = np.array([0, 0, 0, 1, 1, 2, 2, 2])
    labelled = np.array([1, 0, 0, 0, 0, 0, 0, 0], bool)
    value = np.array([9.0, 1.0, 2.0, 3.0, 4.0, 6.0, 5.0, 7.0])
    assert in_turns(cluster, value, labelled).tolist() == [7, 4, 2, 5, 3, 1, 6]


def test_typiclust_takes_the_middle_of_each_uncovered_cluster() -> None:
    offsets = np.float32([-3, -1, 0, 1, 3])
    features = np.concatenate([centre + offsets for centre in (0, 100, 200)])[:, None].astype(np.float32)
    pool = pool_of(15, (0,), features=features)
    selection = load("typiclust", num_neighbours=4).select(pool, 2, np.random.default_rng(0))
    assert set(selection.regions.tolist()) == {7, 12}
