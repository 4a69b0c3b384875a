"""ProbCover and MaxHerding against their authors' loops in plain Python, on points checked by hand."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from support.pools import float32, line_pool

from quadrat.strategies import Needs, Pool, Selection, StrategyError, load
from quadrat.strategies.coverage import purity_radius
from quadrat.strategies.greedy.coverage import unit_features
from quadrat.strategies.testing import example_pool


def circle(*degrees: float) -> NDArray[np.float32]:
    """Return points on the unit circle."""
    return float32([[math.cos(math.radians(angle)), math.sin(math.radians(angle))] for angle in degrees])


def select(name: str, pool: Pool, budget: int, seed: int = 0, **params: Any) -> Selection:
    return load(name, **params).select(pool, budget, np.random.default_rng(seed))


def test_prob_cover_by_hand() -> None:
    # A radius of 0.3 is 17 degrees: 10 covers five points, 93 three, 180 itself.
    pool = line_pool(9, features=3.0 * circle(0, 4, 10, 17, 20, 90, 93, 96, 180))
    selection = select("prob-cover", pool, 3, radius=0.3)
    assert selection.regions[0] == 2 and selection.regions[1] in (5, 6, 7) and selection.regions[2] == 8
    np.testing.assert_allclose(selection.potential, [5 / 9, 3 / 9, 1 / 9])


def test_what_labelled_regions_cover_counts_for_none() -> None:
    pool = line_pool(9, labelled=[0], features=circle(0, 4, 10, 17, 20, 90, 93, 96, 180))
    selection = select("prob-cover", pool, 2, radius=0.3)
    assert selection.regions[0] in (5, 6, 7)  # 0 covers four of the first five
    np.testing.assert_allclose(selection.potential, [3 / 9, 1 / 9])


def test_prob_cover_draws_ties_and_the_rest() -> None:
    pool = line_pool(12, features=np.ones((12, 2)))
    drawn = [select("prob-cover", pool, 3, seed=seed, radius=0.1) for seed in range(60)]
    for turn in range(3):  # the first covers all; the others are drawn
        assert {int(selection.regions[turn]) for selection in drawn} == set(range(12))
    np.testing.assert_array_equal(drawn[0].potential, [1.0, 0.0, 0.0])


def prob_cover_in_plain_python(pool: Pool, radius: float, budget: int, order: list[int]) -> list[int]:
    """Return the selection as the authors' graph of the rounded features gives it; ties to the first in ``order``."""
    assert pool.features is not None
    unit = unit_features(pool.features).astype(float)
    near = {i: {j for j in range(len(unit)) if np.linalg.norm(unit[i] - unit[j]) < radius} for i in range(len(unit))}
    covered = {j for i in np.flatnonzero(pool.labelled).tolist() for j in near[i]}
    selected: list[int] = []
    for _ in range(budget):
        best = max(order, key=lambda region: len(near[region] - covered))
        if not near[best] - covered:
            break
        covered |= near[best]
        selected.append(best)
    return selected


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([0.6, 1.0, 1.25]), st.booleans())
def test_prob_cover_agrees_with_the_authors_graph(seed: int, radius: float, any_shape: bool) -> None:
    pool = example_pool(Needs(features=True), seed=seed, num_images=3, any_shape=any_shape)
    budget = min(15, len(pool.candidates))
    order = np.random.default_rng(5).permutation(pool.candidates).tolist()
    expected = prob_cover_in_plain_python(pool, radius, budget, order)
    selection = select("prob-cover", pool, budget, seed=5, radius=radius)
    assert selection.regions[: len(expected)].tolist() == expected
    assert (selection.potential[len(expected) :] == 0).all()


def purity(unit: NDArray[np.float64], classes: NDArray[np.int64], radius: float) -> float:
    """Return the share of balls whose members are of one class, one ball at a time."""
    pure = 0
    for centre in unit:
        members = np.linalg.norm(unit - centre, axis=1) < radius
        pure += len(set(classes[members].tolist())) <= 1
    return pure / len(unit)


@pytest.mark.parametrize("share", [0.5, 0.8, 0.95])
def test_the_radius_is_the_largest_of_that_purity(share: float) -> None:
    rng = np.random.default_rng(1)
    features, classes = rng.standard_normal((60, 3), np.float32), rng.integers(0, 3, 60)
    radius = purity_radius(features, classes, share, np.arange(60))
    unit = features.astype(float) / np.linalg.norm(features.astype(float), axis=1, keepdims=True)
    assert purity(unit, classes, radius - 2e-3) >= share > purity(unit, classes, radius + 2e-3)


def test_one_class_has_the_largest_radius() -> None:
    assert purity_radius(circle(0, 90), np.zeros(2, np.int64), 0.95, np.arange(2)) == 2.0
    assert purity_radius(circle(0, 90), np.arange(2), 0.0, np.arange(2)) == 2.0


def test_prob_cover_takes_its_radius_from_predicted_classes() -> None:
    features, histogram = circle(0, 10, 20, 90, 100), np.eye(2)[[0, 0, 0, 1, 1]]
    pool = line_pool(5, features=features, profiles={"class-histogram": histogram})
    selection = select("prob-cover", pool, 2, purity=1.0)
    np.testing.assert_allclose(selection.potential, [3 / 5, 2 / 5])  # nearest of another class: 70 degrees away


def max_herding_in_plain_python(pool: Pool, bandwidth: float, budget: int) -> list[int]:
    """Return the selection by the authors' update: mean over all of the positive part of the kernel's rise."""
    assert pool.features is not None
    unit = pool.features.astype(float) / np.linalg.norm(pool.features.astype(float), axis=1, keepdims=True)
    kernel = np.exp(-((np.linalg.norm(unit[:, None] - unit, axis=2) / bandwidth) ** 2))
    best, in_set = kernel[pool.labelled].max(axis=0, initial=0.0), pool.labelled.copy()
    selected: list[int] = []
    for _ in range(budget):
        rise = np.maximum(kernel - best, 0.0).mean(axis=1)
        rise[in_set] = -np.inf
        selected.append(int(rise.argmax()))
        best = np.maximum(best, kernel[selected[-1]])
        in_set[selected[-1]] = True
    return selected


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([0.3, 1.0]), st.sampled_from([0.0, 0.2]), st.booleans())
def test_max_herding_agrees_with_the_authors_update(
    seed: int, bandwidth: float, labelled: float, any_shape: bool
) -> None:
    pool = example_pool(Needs(features=True), seed=seed, num_images=3, labelled=labelled, any_shape=any_shape)
    budget = min(12, len(pool.candidates))
    selection = select("max-herding", pool, budget, bandwidth=bandwidth)
    assert pool.features is not None
    unit = pool.features.astype(float) / np.linalg.norm(pool.features.astype(float), axis=1, keepdims=True)
    kernel = np.exp(-((np.linalg.norm(unit[:, None] - unit, axis=2) / bandwidth) ** 2))
    # Features are rounded: what is selected adds as much as the best, to that rounding.
    best = kernel[pool.labelled].max(axis=0, initial=0.0)
    for region, potential in zip(selection.regions, selection.potential, strict=True):
        rise = np.maximum(kernel - best, 0.0).mean(axis=1)
        assert rise[region] >= rise[~pool.labelled].max() - 5e-3
        assert potential == pytest.approx(rise[region], abs=5e-3)
        best = np.maximum(best, kernel[region])


def test_max_herding_by_hand() -> None:
    pool = line_pool(6, features=circle(0, 10, 20, 120, 130, 240))
    selection = select("max-herding", pool, 3, bandwidth=0.5)
    assert selection.regions.tolist() == max_herding_in_plain_python(pool, 0.5, 3)
    assert selection.regions[0] == 1 and selection.regions[1] in (3, 4) and selection.regions[2] == 5


def test_coverage_of_a_large_pool_is_averaged_over_drawn_regions() -> None:
    pool = example_pool(Needs(features=True), num_images=20)
    all_points, few = (select("max-herding", pool, 5, max_points=count) for count in (10_000, 20))
    again, other = (select("max-herding", pool, 5, seed=seed, max_points=20) for seed in (0, 1))
    assert again.regions.tolist() == few.regions.tolist() != other.regions.tolist()
    assert few.regions.tolist() != all_points.regions.tolist()


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("prob-cover", {"radius": 0.0}, "radius must be a number from 0.001 to 2, got 0.0"),
        ("prob-cover", {"purity": 1.5}, "purity must be a number from 0 to 1"),
        ("max-herding", {"bandwidth": 0}, "bandwidth must be a number from 0.001 to 1000"),
        ("max-herding", {"max_points": 0}, "max_points must be a whole number of at least 1"),
    ],
)
def test_an_invalid_parameter_is_refused(name: str, params: dict[str, Any], message: str) -> None:
    with pytest.raises(StrategyError, match=f"{name}: {message}"):
        load(name, **params)
