"""Score per click: by hand, and refused for regions without a click."""

import numpy as np
import pytest
from support.pools import line_pool

from quadrat.strategies import Pool, StrategyError, load


def pool_of(entropy: list[float], clicks: list[float], pixels: list[int] | int = 1) -> Pool:
    return line_pool(len(entropy), pixels=pixels, signals={"entropy": entropy, "predicted-clicks": clicks})


def select(pool: Pool, **params: float) -> list[int]:
    strategy = load("score-per-click", **params)
    regions: list[int] = strategy.select(pool, pool.num_regions, np.random.default_rng(0)).regions.tolist()
    return regions


def test_uncertainty_is_divided_by_clicks() -> None:
    pool = pool_of([1.0, 0.9, 0.4], [10, 3, 1])
    assert select(pool) == [2, 1, 0]
    assert select(pool, exponent=0.0) == [0, 1, 2]
    assert select(pool, exponent=0.25) == [1, 0, 2]


def test_a_region_counts_with_all_its_pixels() -> None:
    # A clipped region at the border is cheap, but it has few pixels.
    assert select(pool_of([1.0, 1.0], [2, 1], [100, 10])) == [0, 1]


def test_a_region_without_a_click_is_refused() -> None:
    with pytest.raises(StrategyError, match=r"expected at least one click for every region, got .* = 0 in region 1"):
        select(pool_of([1.0, 1.0], [2, 0]))


def test_a_negative_exponent_is_refused() -> None:
    with pytest.raises(StrategyError, match="score-per-click: exponent must be a number of at least 0, got -1"):
        load("score-per-click", exponent=-1)
