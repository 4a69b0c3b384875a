"""Distances filtered by principal components: to the last bit those of a comparison of all pairs."""

import numpy as np
import pytest
from numpy.typing import NDArray

from quadrat.strategies import subspace
from quadrat.strategies.features import squared_distance
from quadrat.strategies.subspace import SubspaceDistance


def points_of(kind: str, num: int) -> NDArray[np.float32]:
    """Return (num, D) points: a falling spectrum, one far from the origin, no spectrum at all, few, or copies."""
    rng = np.random.default_rng(0)
    num_features = {"few dimensions": 5, "no spectrum": 70}.get(kind, 96)
    points = rng.standard_normal((num, num_features))
    if kind != "no spectrum":
        points *= (1.0 + np.arange(num_features)) ** -1.0
    if kind == "far away":
        points += 300.0
    if kind == "copies":
        points[num // 2 :] = points[: num - num // 2]
    if kind == "a plane":
        points[:, 2:] = 0.0
    return points.astype(np.float32)


KINDS = ("falling spectrum", "far away", "no spectrum", "few dimensions", "copies", "a plane")


def brute_force(
    points: NDArray[np.float32], rows: NDArray[np.int64], members: NDArray[np.int64]
) -> NDArray[np.float64]:
    return np.min([squared_distance(points[rows], points[member]) for member in members], axis=0)


@pytest.mark.parametrize("levels", [(16, 32), (4,), (1, 2)])
@pytest.mark.parametrize("kind", KINDS)
def test_the_distances_are_those_of_all_pairs(
    kind: str, levels: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subspace, "_LEVELS", levels)
    monkeypatch.setattr(subspace, "_CELL", 100)
    points = points_of(kind, 900)
    rng = np.random.default_rng(1)
    rows = np.flatnonzero(rng.random(900) < 0.8)
    members = rng.permutation(900)[:300]
    distance = SubspaceDistance(points, rows)
    assert np.isinf(distance.squared()).all()
    for start, stop in ((0, 1), (1, 2), (2, 30), (30, 100), (100, 300)):
        distance.add(members[start:stop])
        assert np.array_equal(distance.squared(), brute_force(points, rows, members[:stop]))


@pytest.mark.parametrize("components", [True, False])
def test_any_level_gives_the_same(components: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    # A comparison that costs nothing makes the fewest components the best, a dear one all dimensions.
    monkeypatch.setattr(subspace, "_COMPARISON", 0.0 if components else 1e12)
    points = points_of("falling spectrum", 600)
    members = np.random.default_rng(2).permutation(600)[:150]
    distance = SubspaceDistance(points, np.arange(600))
    distance.add(members)
    assert (distance._best(members).axes_DP is not None) == components
    assert np.array_equal(distance.squared(), brute_force(points, np.arange(600), members))


def test_members_far_from_a_cell_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subspace, "_CELL", 50)
    points = points_of("falling spectrum", 400)
    points[200:, 0] += 1000.0  # two groups, so that no cell has points of both
    distance = SubspaceDistance(points, np.arange(400))
    distance.add(np.array([0, 399]))
    is_near = distance._near_cells(np.array([5, 395]), 1000.0)
    assert is_near.any(axis=1).all() and not is_near.all(axis=1).any()
