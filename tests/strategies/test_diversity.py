"""The diversification family by hand, its guarantees by brute force, and its parameters."""

import itertools
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from support.pools import entropy_pool

from quadrat.strategies import Needs, Pool, StrategyError, load
from quadrat.strategies.diversity import EntropySpatial
from quadrat.strategies.features import squared_distance
from quadrat.strategies.greedy.engine import maximise

FloatArray = NDArray[np.float64]


def select(name: str, pool: Pool, budget: int, **params: Any) -> tuple[list[int], list[float]]:
    selection = load(name, **params).select(pool, budget, np.random.default_rng(0))
    return selection.regions.tolist(), selection.potential.tolist()


def test_entropy_spatial_by_hand() -> None:
    # u = 0, 1, 0.75, 0.5. First 1 (1 + 1). Then 2 is a neighbour (0.75 + 0.5), 3 is not (0.5 + 1), 0 is (0 + 0.5).
    regions, potential = select("entropy-spatial", entropy_pool([0.0, 4.0, 3.0, 2.0]), 4)
    assert regions == [1, 3, 2, 0]
    assert potential == [2.0, 1.5, 1.25, 0.5]


def test_distances_start_from_labelled_regions() -> None:
    regions, potential = select("entropy-spatial", entropy_pool([0.0, 4.0, 3.0, 2.0], labelled=(0,)), 2)
    # 1: 1 + 0.5, 2: 0.75 + 1, 3: 0.5 + 1. After 2 is selected, 1 stays at 1.5 and 3 falls to 1.
    assert (regions, potential) == ([2, 1], [1.75, 1.5])


def test_core_set_by_hand() -> None:
    pool = entropy_pool([0.0] * 5, labelled=(0,), features=[[0, 0], [1, 0], [4, 0], [0, 3], [4, 0.5]])
    regions, potential = select("core-set", pool, 3)
    scale = np.sqrt(16.25)
    assert regions == [4, 3, 1]
    np.testing.assert_allclose(potential, [1.0, 3 / scale, 1 / scale])


def test_entropy_feature_by_hand() -> None:
    pool = entropy_pool([0.0, 1.0, 0.5, 0.25], labelled=(0,), features=[[0], [1], [4], [2]])
    # 1: 1 + 1/4, 2: 0.5 + 4/4, 3: 0.25 + 2/4; then 1 stays at 1.25, 3 stays at 0.75 and falls to 0.25 + 1/4.
    assert select("entropy-feature", pool, 3) == ([2, 1, 3], [1.5, 1.25, 0.5])


def test_max_sum_by_hand() -> None:
    # Half of u plus the sum of distances: 0 | 1: 0.5, 2: 0.375, 3: 0.25. Then 0: 0.5, 2: 0.875, 3: 1.25.
    regions, potential = select("entropy-spatial", entropy_pool([0.0, 4.0, 3.0, 2.0]), 3, set_function="max-sum")
    # Third: 0: 0.5 + 1 = 1.5, 2: 0.375 + 0.5 + 0.5 = 1.375.
    assert (regions, potential) == ([1, 3, 0], [0.5, 1.25, 1.5])


def test_linear_distance_by_hand() -> None:
    regions, potential = select("entropy-spatial", entropy_pool([0.0] * 5, labelled=(0,)), 3, distance="linear")
    assert (regions, potential) == ([4, 2, 1], [1.0, 0.5, 0.25])


def test_normalising_at_every_step_raises_the_feature_term() -> None:
    pool = entropy_pool([0.0, 0.0, 0.0, 1.0], labelled=(0,), features=[[0], [8], [4], [1]])
    assert select("entropy-feature", pool, 3)[0] == [3, 1, 2]
    regions, potential = select("entropy-feature", pool, 3, norm_schedule="step")
    assert regions == [3, 1, 2]
    np.testing.assert_allclose(potential, [1 + 1 / 8, 1.0, 1.0])


def test_ties_go_to_the_lowest_row_number() -> None:
    pool = entropy_pool([1.0] * 6, features=[[0.0]] * 6)
    for name in ("core-set", "entropy-feature"):
        assert select(name, pool, 6)[0] == [0, 1, 2, 3, 4, 5]


def test_core_set_covers_within_twice_the_optimal_radius() -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        features = rng.standard_normal((9, 2)).astype(np.float32)
        distance = np.sqrt([squared_distance(features, feature) for feature in features])
        pool = entropy_pool([0.0] * 9, labelled=(0,), features=features.tolist())
        selected = [0, *select("core-set", pool, 3)[0]]
        best = min(distance[:, [0, *others]].min(axis=1).max() for others in itertools.combinations(range(1, 9), 3))
        assert distance[:, selected].min(axis=1).max() <= 2 * best + 1e-9


def test_max_min_dispersion_is_at_least_half_the_optimum() -> None:
    for seed in range(20):
        rng = np.random.default_rng(100 + seed)
        features = rng.standard_normal((9, 3)).astype(np.float32)
        distance = np.sqrt([squared_distance(features, feature) for feature in features])
        pool = entropy_pool([0.0] * 9, labelled=(0,), features=features.tolist())
        selected = [0, *select("core-set", pool, 3)[0]]

        def dispersion(members: list[int], distance: FloatArray = distance) -> float:
            return float(min(distance[a, b] for a, b in itertools.combinations(members, 2)))

        best = max(dispersion([0, *others]) for others in itertools.combinations(range(1, 9), 3))
        assert dispersion(selected) >= best / 2 - 1e-9


def test_max_sum_is_at_least_half_the_optimum() -> None:
    for seed in range(20):
        rng = np.random.default_rng(200 + seed)
        pool = entropy_pool(rng.random(8).tolist())
        objective = EntropySpatial(set_function="max-sum").objective(pool, rng)
        assert objective.spatial is not None
        distance = objective.spatial.table[0, np.abs(np.subtract.outer(np.arange(8), np.arange(8)))]

        def value(members: tuple[int, ...], u: FloatArray = objective.utility, d: FloatArray = distance) -> float:
            return float(u[list(members)].sum() + sum(d[a, b] for a, b in itertools.combinations(members, 2)))

        selected = tuple(maximise(objective, 4).regions.tolist())
        assert value(selected) >= max(map(value, itertools.combinations(range(8), 4))) / 2 - 1e-9


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"cutoff": -1}, "cutoff must be a number of at least 0, got -1"),
        ({"norm": 3}, "norm must be one of 1, 2, 'inf', got 3"),
        ({"d2_d1": 2.5}, "d2_d1 must be a number from 1 to 2 .*no metric.*, got 2.5"),
        ({"d3_d2": 0.5}, "d3_d2 must be a number of at least 1 .*no metric.*, got 0.5"),
        ({"w_spatial": -1.0}, "w_spatial must be a number of at least 0, got -1.0"),
        ({"w_spatial": 0, "w_uncertainty": 0}, "one of w_uncertainty, w_feature, w_spatial must be above 0"),
        ({"uncertainty": ""}, "uncertainty must be the name of a signal, got ''"),
        ({"distance": "manhattan"}, "distance must be one of 'piecewise', 'linear', 'adjacency', got 'manhattan'"),
        ({"set_function": "sum"}, "set_function must be one of 'max-min', 'max-sum', got 'sum'"),
        ({"norm_schedule": "never"}, "norm_schedule must be one of 'round', 'step', got 'never'"),
        ({"pca_dim": 0}, "pca_dim must be a whole number of at least 1, got 0"),
    ],
)
def test_a_parameter_out_of_range_is_refused(params: dict[str, Any], message: str) -> None:
    with pytest.raises(StrategyError, match=f"entropy-spatial: {message}"):
        load("entropy-spatial", **params)


def test_a_strategy_needs_the_inputs_of_weighted_terms() -> None:
    assert load("core-set").needs == Needs(features=True)
    assert load("entropy-spatial", uncertainty="bald").needs == Needs(signals=("bald",))
    assert load("entropy-feature-spatial", w_feature=0.0).needs == Needs(signals=("entropy",))
