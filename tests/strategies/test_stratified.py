"""ClaSP PE against a loop in plain Python that follows the authors' code, its schedule and its draws."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.pools import float32, line_pool

from quadrat.strategies import Needs, Pool, StrategyError, load
from quadrat.strategies.testing import example_pool

NEEDS = Needs(signals=("entropy",), profiles=("class-soft-entropy",))


def in_plain_python(pool: Pool, budget: int, seed: int, beta: float, background: int | None) -> set[int]:
    """Return the regions: quotas and choices one at a time, with the draws in the order of the docstring."""
    rng = np.random.default_rng(seed)
    columns = pool.profiles["class-soft-entropy"].T.tolist()
    classes = [column for label, column in enumerate(columns) if label != background]
    strata = [*classes, pool.signals["entropy"].tolist()]
    noise = rng.gumbel(size=(len(strata), pool.num_regions))
    num_by_class = int(budget * 0.66)
    quotas = [num_by_class // len(classes)] * len(classes)
    drawn = rng.permutation(len(classes)).tolist()
    for label in drawn[: num_by_class % len(classes)]:
        quotas[label] += 1
    quotas.append(budget - num_by_class)
    left = pool.candidates.tolist()
    for stratum in rng.permutation(len(strata)).tolist():
        for _ in range(quotas[stratum]):
            best = max(left, key=lambda region: math.log(strata[stratum][region]) + noise[stratum, region] / beta)
            left.remove(best)
    return set(pool.candidates.tolist()) - set(left)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 40), st.sampled_from([None, 0, 4]), st.booleans())
def test_it_agrees_with_plain_python(seed: int, budget: int, background: int | None, any_shape: bool) -> None:
    pool = example_pool(NEEDS, seed=seed, num_images=3, labelled=0.1, any_shape=any_shape)
    budget = min(budget, len(pool.candidates))
    share = pool.pixels[pool.labelled].sum() / pool.pixels.sum()
    strategy = load("clasp-pe", background=background, last_share=0.5)
    selection = strategy.select(pool, budget, np.random.default_rng(seed))
    beta = 100 ** min(share / 0.5, 1.0)
    assert set(selection.regions.tolist()) == in_plain_python(pool, budget, seed, beta, background)


@pytest.mark.parametrize(("num_labelled", "beta"), [(0, 1.0), (5, 10.0), (10, 100.0), (60, 100.0)])
def test_noise_fades_with_the_labelled_share_of_the_pixels(num_labelled: int, beta: float) -> None:
    pool = line_pool(100, labelled=range(num_labelled))
    assert load("clasp-pe", last_share=0.1).beta(pool) == pytest.approx(beta)  # type: ignore[attr-defined]


def test_without_noise_every_class_has_its_share_in_every_part_of_the_selection() -> None:
    by_class = np.full((40, 4), 0.01, np.float32)
    by_class[np.arange(40), np.arange(40) % 4] = np.linspace(0.5, 1.0, 40)
    pool = line_pool(40, signals={"entropy": np.ones(40)}, profiles={"class-soft-entropy": by_class})
    strategy = load("clasp-pe", beta_first=1e6, beta_last=1e6, stratified_fraction=1.0)
    regions = strategy.select(pool, 20, np.random.default_rng(0)).regions
    assert sorted(regions.tolist()) == list(range(20, 40))  # the five best of each class
    for part in (4, 8, 20):
        np.testing.assert_array_equal(np.bincount(regions[:part] % 4), [part // 4] * 4)


def test_regions_are_drawn_in_proportion_to_the_power_of_the_score() -> None:
    entropy = float32([1.0, 2.0, 3.0, 0.0])
    pool = line_pool(4, signals={"entropy": entropy}, profiles={"class-soft-entropy": np.ones((4, 2))})
    strategy, rng = load("clasp-pe", stratified_fraction=0.0, beta_first=2.0), np.random.default_rng(0)
    counts = np.bincount([int(strategy.select(pool, 1, rng).regions[0]) for _ in range(2000)], minlength=4)
    np.testing.assert_allclose(counts / 2000, np.array([1.0, 4.0, 9.0, 0.0]) / 14.0, atol=0.05)


def test_the_only_class_as_background_leaves_the_entropy() -> None:
    pool = line_pool(3, signals={"entropy": [1.0, 3.0, 2.0]}, profiles={"class-soft-entropy": np.ones((3, 1))})
    strategy = load("clasp-pe", background=0, beta_first=1e6, beta_last=1e6)
    np.testing.assert_array_equal(strategy.select(pool, 2, np.random.default_rng(0)).regions, [1, 2])


def test_what_it_cannot_use_is_refused() -> None:
    pool = example_pool(NEEDS)
    with pytest.raises(StrategyError, match="clasp-pe: background must be one of the classes 0 to 4, got 5"):
        load("clasp-pe", background=5).select(pool, 1, np.random.default_rng(0))
    negative = line_pool(2, signals={"entropy": [1.0, -1.0]}, profiles={"class-soft-entropy": np.ones((2, 2))})
    with pytest.raises(StrategyError, match="clasp-pe: expected entropies of 0 or more, got -1 in region 1"):
        load("clasp-pe").select(negative, 1, np.random.default_rng(0))
