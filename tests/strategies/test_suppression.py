"""Non-maximum suppression by hand and as a property."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quadrat.strategies import Needs, Pool, StrategyError, load
from quadrat.strategies.testing import example_pool


def line(entropy: list[float], image: list[int] | None = None) -> Pool:
    num_regions = len(entropy)
    return Pool(
        image=np.array(image or [0] * num_regions),
        row=np.zeros(num_regions, int),
        col=np.arange(num_regions),
        pixels=np.ones(num_regions, int),
        labelled=np.zeros(num_regions, bool),
        signals={"entropy": np.array(entropy, np.float32)},
    )


def picks(pool: Pool, budget: int, **params: object) -> list[int]:
    return load("nms-entropy", **params).select(pool, budget, np.random.default_rng(0)).regions.tolist()


def test_neighbours_of_a_pick_wait_until_nothing_else_is_left() -> None:
    pool = line([5, 9, 8, 7, 1, 2])
    # 1 drops 0 and 2; 3 is free and drops 4; 5 is free. Then 2, 0, 4: 2 and 0 are 2 apart, so is 4.
    assert picks(pool, 6) == [1, 3, 5, 2, 0, 4]
    assert picks(pool, 6, radius=0.5) == [1, 2, 3, 0, 5, 4]
    assert picks(pool, 6, radius=2.0) == [1, 5, 2, 3, 0, 4]


def test_regions_of_other_images_are_no_neighbours() -> None:
    assert picks(line([5, 9, 8, 7], [0, 0, 1, 1]), 4) == [1, 2, 3, 0]


def test_the_eight_around_are_neighbours_by_default_and_the_four_beside_under_norm_1() -> None:
    row, col = np.indices((3, 3)).reshape(2, -1)
    entropy = np.float32([8, 1, 2, 3, 9, 4, 5, 6, 7])
    pool = Pool(
        image=np.zeros(9, int),
        row=row,
        col=col,
        pixels=np.ones(9, int),
        labelled=np.zeros(9, bool),
        signals={"entropy": entropy},
    )
    assert picks(pool, 2) == [4, 0]  # everything is beside the centre: a new pass begins
    assert picks(pool, 5, radius=1.0, norm=1) == [4, 0, 8, 6, 2]


def by_brute_force(pool: Pool, radius: float, norm: object) -> list[int]:
    """Return all candidates in the order of the docstring: pass by pass, each region compared with every pick of it."""
    order = sorted(pool.candidates.tolist(), key=lambda region: (-pool.signals["entropy"][region], region))
    cell = np.stack([pool.row, pool.col], axis=1).astype(float)
    done: list[int] = []
    while order:
        taken: list[int] = []
        for region in order:
            beside = [other for other in taken if pool.image[other] == pool.image[region]]
            norms = {1: 1, 2: 2, "inf": np.inf}
            if all(np.linalg.norm(cell[region] - cell[other], ord=norms[norm]) > radius for other in beside):
                taken.append(region)
        order = [region for region in order if region not in taken]
        done += taken
    return done


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 1.0, 1.5, 2.3, 3.0]), st.sampled_from([1, 2, "inf"]))
def test_it_agrees_with_brute_force(seed: int, radius: float, norm: object) -> None:
    pool = example_pool(Needs(signals=("entropy",)), seed=seed, num_images=3)
    assert picks(pool, 10**6, radius=radius, norm=norm) == by_brute_force(pool, radius, norm)


@pytest.mark.parametrize("radius", [-1.0, 100.0])
def test_a_radius_out_of_range_is_refused(radius: float) -> None:
    with pytest.raises(StrategyError, match="nms-entropy: radius must be a number from 0 to 64"):
        load("nms-entropy", radius=radius)
