"""Class-balanced, pixel-balanced and RIPU on pools small enough to check by hand."""

import math
from typing import Any

import numpy as np
import pytest
from support.pools import float32, line_pool

from quadrat.strategies import Selection, StrategyError, load
from quadrat.strategies.class_balance import class_shares, impurity

HISTOGRAM = [[0.8, 0.2], [1.0, 0.0], [0.6, 0.4], [0.1, 0.9]]


def select(name: str, params: dict[str, Any] | None = None, **arrays: Any) -> Selection:
    return load(name, **(params or {})).select(line_pool(4, **arrays), 4, np.random.default_rng(0))


def test_class_balanced_prefers_regions_of_a_rare_dominant_class() -> None:
    bvsb = np.array([0.9, 0.8, 0.7, 0.6], np.float32)
    selection = select("class-balanced", signals={"bvsb": bvsb}, profiles={"class-histogram": HISTOGRAM})
    weights = np.exp([-0.75, -0.75, -0.75, -0.25])  # class 0 dominates three of the four
    np.testing.assert_array_equal(selection.regions, [3, 0, 1, 2])
    np.testing.assert_allclose(selection.potential, (bvsb * weights)[[3, 0, 1, 2]], rtol=1e-6)


def test_bvsb_class_balanced_scales_the_signal_first_over_labelled_regions_too() -> None:
    bvsb = np.array([0.9, 0.8, 0.5, 0.65], np.float32)
    pool = line_pool(4, labelled=[2], signals={"bvsb": bvsb}, profiles={"class-histogram": HISTOGRAM})
    selection = load("bvsb-class-balanced").select(pool, 3, np.random.default_rng(0))
    scaled = np.array([1.0, 0.75, 0.0, 0.375]) * np.exp([-0.75, -0.75, -0.75, -0.25])
    np.testing.assert_array_equal(selection.regions, [0, 1, 3])
    np.testing.assert_allclose(selection.potential, scaled[[0, 1, 3]], rtol=1e-5)
    unscaled = load("class-balanced").select(pool, 3, np.random.default_rng(0))
    np.testing.assert_array_equal(unscaled.regions, [3, 0, 1])


def test_pixel_balanced_weights_every_pixel_by_its_class() -> None:
    probability = float32([[0.9, 0.1], [0.9, 0.1], [0.9, 0.1], [0.3, 0.7]])
    by_class = float32([[0.5, 0.0], [0.3, 0.1], [0.0, 0.2], [0.0, 0.0]])
    selection = select(
        "pixel-balanced",
        {"alpha": 4.0},
        pixels=np.array([10, 10, 10, 30]),
        profiles={"class-bvsb": by_class, "class-probability": probability},
    )
    share = [(0.9 * 30 + 0.3 * 30) / 60, (0.1 * 30 + 0.7 * 30) / 60]
    weight = [(4 * share[0] + 1) ** -2, (4 * share[1] + 1) ** -2]
    score = by_class @ weight
    np.testing.assert_array_equal(selection.regions, np.argsort(-score))
    np.testing.assert_allclose(selection.potential, np.sort(score)[::-1], rtol=1e-6)


def test_pixel_balanced_with_alpha_0_is_the_uncertainty() -> None:
    by_class = float32([[0.5, 0.0], [0.3, 0.4], [0.0, 0.2], [0.0, 0.1]])
    profiles = {"class-entropy": by_class, "class-probability": np.full((4, 2), 0.5, np.float32)}
    selection = select("pixel-balanced", {"alpha": 0.0, "uncertainty": "entropy"}, profiles=profiles)
    np.testing.assert_array_equal(selection.regions, [1, 0, 2, 3])
    np.testing.assert_allclose(selection.potential, [0.7, 0.5, 0.2, 0.1], rtol=1e-6)


def test_ripu_is_impurity_times_entropy() -> None:
    entropy = float32([0.5, 2.0, 0.5, 0.4])
    selection = select("ripu", signals={"entropy": entropy}, profiles={"class-histogram": HISTOGRAM})
    expected = [-0.5 * (p * math.log(p) + (1 - p) * math.log(1 - p)) for p in (0.6, 0.8)]
    last = -0.4 * (0.1 * math.log(0.1) + 0.9 * math.log(0.9))
    np.testing.assert_array_equal(selection.regions, [2, 0, 3, 1])
    np.testing.assert_allclose(selection.potential, [*expected, last, 0.0], atol=1e-6)


def test_impurity_is_ln_c_for_even_classes_and_zero_for_one_class() -> None:
    np.testing.assert_allclose(impurity(np.full((1, 7), 1 / 7, np.float32)), [math.log(7)], rtol=1e-6)
    np.testing.assert_array_equal(impurity(np.eye(3, dtype=np.float32)), [0.0, 0.0, 0.0])


def test_class_shares_count_pixels_not_regions() -> None:
    shares = class_shares(float32([[1, 0], [0, 1], [0, 1]]), np.array([80, 10, 10]))
    np.testing.assert_allclose(shares, [0.8, 0.2])


@pytest.mark.parametrize(("parameter", "value"), [("alpha", -1.0), ("alpha", None), ("uncertainty", "margin")])
def test_an_invalid_parameter_of_pixel_balanced_is_refused(parameter: str, value: object) -> None:
    with pytest.raises(StrategyError, match=f"pixel-balanced: {parameter} must be"):
        load("pixel-balanced", **{parameter: value})
