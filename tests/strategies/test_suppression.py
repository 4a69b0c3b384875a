"""Non-maximum suppression: by hand, and against brute force."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.pools import entropy_pool

from quadrat.strategies import Needs, Pool, StrategyError, load
from quadrat.strategies.testing import example_pool


def select(pool: Pool, budget: int, **params: object) -> list[int]:
    selection = load("nms-entropy", **params).select(pool, budget, np.random.default_rng(0))
    regions: list[int] = selection.regions.tolist()
    return regions


def test_neighbours_are_selected_in_a_second_pass() -> None:
    pool = entropy_pool([5, 9, 8, 7, 1, 2])
    # 1 suppresses 0 and 2; 3 is free and suppresses 4; 5 is free. Then 2, 0, 4: 2 and 0 are 2 apart, so is 4.
    assert select(pool, 6) == [1, 3, 5, 2, 0, 4]
    assert select(pool, 6, radius=0.5) == [1, 2, 3, 0, 5, 4]
    assert select(pool, 6, radius=2.0) == [1, 5, 2, 3, 0, 4]


def test_regions_of_other_images_are_not_neighbours() -> None:
    assert select(entropy_pool([5, 9, 8, 7], image=[0, 0, 1, 1]), 4) == [1, 2, 3, 0]


def test_eight_neighbours_by_default_and_four_under_norm_1() -> None:
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
    assert select(pool, 2) == [4, 0]  # all are neighbours of the centre: a new pass begins
    assert select(pool, 5, radius=1.0, norm=1) == [4, 0, 8, 6, 2]


def by_brute_force(pool: Pool, radius: float, norm: object) -> list[int]:
    """Return all candidates pass by pass, each region compared with every region selected in its pass."""
    order = sorted(pool.candidates.tolist(), key=lambda region: (-pool.signals["entropy"][region], region))
    cell = np.stack([pool.row, pool.col], axis=1).astype(float)
    done: list[int] = []
    while order:
        selected: list[int] = []
        for region in order:
            same_image = [other for other in selected if pool.image[other] == pool.image[region]]
            norms = {1: 1, 2: 2, "inf": np.inf}
            if all(np.linalg.norm(cell[region] - cell[other], ord=norms[norm]) > radius for other in same_image):
                selected.append(region)
        order = [region for region in order if region not in selected]
        done += selected
    return done


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 2**32 - 1), st.sampled_from([0.0, 1.0, 1.5, 2.3, 3.0]), st.sampled_from([1, 2, "inf"]), st.booleans()
)
def test_nms_agrees_with_brute_force(seed: int, radius: float, norm: object, any_shape: bool) -> None:
    pool = example_pool(Needs(signals=("entropy",)), seed=seed, num_images=3, any_shape=any_shape)
    assert select(pool, 10**6, radius=radius, norm=norm) == by_brute_force(pool, radius, norm)


@pytest.mark.parametrize("radius", [-1.0, 100.0])
def test_a_radius_out_of_range_is_refused(radius: float) -> None:
    with pytest.raises(StrategyError, match="nms-entropy: radius must be a number from 0 to 64"):
        load("nms-entropy", radius=radius)
