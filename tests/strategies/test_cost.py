"""Score per click: by hand, and refused where clicks make no sense."""

import numpy as np
import pytest

from quadrat.strategies import Pool, StrategyError, load


def pool_of(entropy: list[float], clicks: list[float], pixels: list[int] | None = None) -> Pool:
    num_regions = len(entropy)
    return Pool(
        image=np.zeros(num_regions, int),
        row=np.zeros(num_regions, int),
        col=np.arange(num_regions),
        pixels=np.array(pixels or [1] * num_regions),
        labelled=np.zeros(num_regions, bool),
        signals={"entropy": np.float32(entropy), "predicted-clicks": np.float32(clicks)},
    )


def picks(pool: Pool, **params: float) -> list[int]:
    return load("score-per-click", **params).select(pool, pool.num_regions, np.random.default_rng(0)).regions.tolist()


def test_uncertainty_is_divided_by_clicks() -> None:
    pool = pool_of([1.0, 0.9, 0.4], [10, 3, 1])
    assert picks(pool) == [2, 1, 0]
    assert picks(pool, exponent=0.0) == [0, 1, 2]
    assert picks(pool, exponent=0.25) == [1, 0, 2]


def test_a_region_counts_with_all_its_pixels() -> None:
    # A sliver at the border is cheap, but there is little in it.
    assert picks(pool_of([1.0, 1.0], [2, 1], [100, 10])) == [0, 1]


def test_a_region_without_a_click_is_refused() -> None:
    with pytest.raises(StrategyError, match=r"expected at least one click for every region, got .* = 0 in region 1"):
        picks(pool_of([1.0, 1.0], [2, 0]))


def test_a_negative_exponent_is_refused() -> None:
    with pytest.raises(StrategyError, match="score-per-click: exponent must be a number of at least 0, got -1"):
        load("score-per-click", exponent=-1)
