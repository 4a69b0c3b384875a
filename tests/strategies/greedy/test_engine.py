"""The fast engines pick what the plain loop picks; the plain loop picks what the paper says."""

import hashlib
import itertools
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import quadrat.strategies.greedy.cells as cells
import quadrat.strategies.greedy.lazy as shortlist
import quadrat.strategies.greedy.nearest as nearest
from quadrat.strategies import Needs, Pool, StrategyError, load
from quadrat.strategies.diversity import Diversification
from quadrat.strategies.features import centre, nearest_bound, project, squared_distance
from quadrat.strategies.greedy.engine import maximise, maximise_plainly

FAMILY = ["core-set", "feature-spatial", "entropy-feature", "entropy-spatial", "entropy-feature-spatial"]


def strategy(name: str, **params: Any) -> Diversification:
    loaded = load(name, **params)
    assert isinstance(loaded, Diversification)
    return loaded


def line(entropy: list[float], labelled: tuple[int, ...] = (), features: list[list[float]] | None = None) -> Pool:
    """One image, one row of regions."""
    num_regions = len(entropy)
    return Pool(
        image=np.zeros(num_regions, int),
        row=np.zeros(num_regions, int),
        col=np.arange(num_regions),
        pixels=np.ones(num_regions, int),
        labelled=np.isin(np.arange(num_regions), labelled),
        signals={"entropy": np.array(entropy, np.float32)},
        features=None if features is None else np.array(features, np.float32),
    )


def select(name: str, pool: Pool, budget: int, **params: Any) -> tuple[list[int], list[float]]:
    selection = load(name, **params).select(pool, budget, np.random.default_rng(0))
    return selection.regions.tolist(), selection.potential.tolist()


def test_entropy_spatial_by_hand() -> None:
    # u = 0, 1, 0.75, 0.5. First 1 (1 + 1). Then 2 is a neighbour (0.75 + 0.5), 3 is not (0.5 + 1), 0 is (0 + 0.5).
    regions, potential = select("entropy-spatial", line([0.0, 4.0, 3.0, 2.0]), 4)
    assert regions == [1, 3, 2, 0]
    assert potential == [2.0, 1.5, 1.25, 0.5]


def test_what_is_labelled_pushes_away_from_the_start() -> None:
    regions, potential = select("entropy-spatial", line([0.0, 4.0, 3.0, 2.0], labelled=(0,)), 2)
    # 1: 1 + 0.5, 2: 0.75 + 1, 3: 0.5 + 1. After 2 is taken, 1 stays at 1.5 and 3 falls to 1.
    assert (regions, potential) == ([2, 1], [1.75, 1.5])


def test_core_set_by_hand() -> None:
    pool = line([0.0] * 5, labelled=(0,), features=[[0, 0], [1, 0], [4, 0], [0, 3], [4, 0.5]])
    regions, potential = select("core-set", pool, 3)
    scale = np.sqrt(16.25)
    assert regions == [4, 3, 1]
    np.testing.assert_allclose(potential, [1.0, 3 / scale, 1 / scale])


def test_entropy_feature_by_hand() -> None:
    pool = line([0.0, 1.0, 0.5, 0.25], labelled=(0,), features=[[0], [1], [4], [2]])
    # 1: 1 + 1/4, 2: 0.5 + 4/4, 3: 0.25 + 2/4; then 1 stays at 1.25, 3 stays at 0.75 and falls to 0.25 + 1/4.
    assert select("entropy-feature", pool, 3) == ([2, 1, 3], [1.5, 1.25, 0.5])


def test_max_sum_by_hand() -> None:
    # Half of u plus the sum of distances: 0 | 1: 0.5, 2: 0.375, 3: 0.25. Then 0: 0.5, 2: 0.875, 3: 1.25.
    regions, potential = select("entropy-spatial", line([0.0, 4.0, 3.0, 2.0]), 3, set_function="max-sum")
    # Third: 0: 0.5 + 1 = 1.5, 2: 0.375 + 0.5 + 0.5 = 1.375.
    assert (regions, potential) == ([1, 3, 0], [0.5, 1.25, 1.5])


def test_linear_distance_by_hand() -> None:
    regions, potential = select("entropy-spatial", line([0.0] * 5, labelled=(0,)), 3, distance="linear")
    assert (regions, potential) == ([4, 2, 1], [1.0, 0.5, 0.25])


def test_renormalising_at_every_pick_lifts_the_feature_term() -> None:
    pool = line([0.0, 0.0, 0.0, 1.0], labelled=(0,), features=[[0], [8], [4], [1]])
    assert select("entropy-feature", pool, 3)[0] == [3, 1, 2]
    regions, potential = select("entropy-feature", pool, 3, norm_schedule="step")
    assert regions == [3, 1, 2]
    np.testing.assert_allclose(potential, [1 + 1 / 8, 1.0, 1.0])


def test_all_ties_go_to_the_lowest_row_number() -> None:
    pool = line([1.0] * 6, features=[[0.0]] * 6)
    for name in ("core-set", "entropy-feature"):
        assert select(name, pool, 6)[0] == [0, 1, 2, 3, 4, 5]


@st.composite
def problems(draw: st.DrawFn) -> tuple[Diversification, Pool, int]:
    """Small pools full of ties and duplicates, and every parameter of the family."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    shapes = draw(st.lists(st.tuples(st.integers(1, 6), st.integers(1, 6)), min_size=1, max_size=5))
    cells = [(image, *cell) for image, shape in enumerate(shapes) for cell in np.ndindex(*shape)]
    order = rng.permutation(len(cells)) if draw(st.booleans()) else np.arange(len(cells))
    image, row, col = np.array(cells, np.int32)[order].T
    num_regions, num_features = len(cells), draw(st.integers(1, 12))
    kind = draw(st.sampled_from(["normal", "ties", "far from 0", "duplicates"]))
    normal = rng.standard_normal((num_regions, num_features), np.float32)
    features = {
        "normal": normal,
        "ties": rng.integers(0, 3, normal.shape).astype(np.float32),
        "far from 0": 100 + normal / 1000,
        "duplicates": np.repeat(normal[: num_regions // 3 + 1], 3, axis=0)[:num_regions],
    }[kind]
    entropy = rng.random(num_regions) if draw(st.booleans()) else rng.integers(0, 3, num_regions)
    labelled = rng.random(num_regions) < draw(st.sampled_from([0.0, 0.1, 0.5]))
    pool = Pool(
        image=image,
        row=row,
        col=col,
        pixels=np.ones(num_regions, int),
        labelled=labelled,
        signals={"entropy": entropy.astype(np.float32)},
        features=features,
    )
    weight = st.sampled_from([0.3, 1.0, 2.5])
    params = {
        "cutoff": draw(st.sampled_from([0.0, 1.0, 1.5, 2.0, 3.0])),
        "norm": draw(st.sampled_from([1, 2, "inf"])),
        "d2_d1": draw(st.sampled_from([1.0, 1.5, 2.0])),
        "d3_d2": draw(st.sampled_from([1.0, 1.3, 2.5])),
        "distance": draw(st.sampled_from(["piecewise", "linear"])),
        "set_function": draw(st.sampled_from(["max-min", "max-min", "max-sum"])),
        "pca_dim": draw(st.one_of(st.none(), st.integers(1, 14))),
    }
    chosen = strategy(draw(st.sampled_from(FAMILY)), **params)
    for name in ("w_uncertainty", "w_feature", "w_spatial"):
        if getattr(chosen, name) > 0:
            params[name] = draw(weight)
    return strategy(chosen.name, **params), pool, draw(st.integers(0, int((~labelled).sum())))


@settings(max_examples=300, deadline=None)
@given(problem=problems(), sizes=st.tuples(*[st.integers(1, 20)] * 5))
def test_the_fast_engines_agree_with_the_plain_loop_bit_for_bit(
    problem: tuple[Diversification, Pool, int], sizes: tuple[int, ...]
) -> None:
    diversification, pool, budget = problem
    objective = diversification.objective(pool)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shortlist, "_FRONT", 2 * sizes[0])
        patch.setattr(shortlist, "_SHORTLIST", sizes[1])
        for constant, size in zip(("_CHUNK", "_PAIRS", "_GROUP"), sizes[2:], strict=True):
            patch.setattr(nearest, constant, size)
        for constant, size in zip(("_PROBES", "_BLOCK", "_FEW"), sizes, strict=False):
            patch.setattr(cells, constant, size)
        fast = maximise(objective, budget)
    plain = maximise_plainly(objective, budget)
    np.testing.assert_array_equal(fast.regions, plain.regions)
    np.testing.assert_array_equal(fast.potential, plain.potential)


@settings(max_examples=100, deadline=None)
@given(problem=problems())
def test_max_min_potentials_never_rise(problem: tuple[Diversification, Pool, int]) -> None:
    diversification, pool, budget = problem
    if diversification.set_function == "max-min":
        assert (np.diff(maximise(diversification.objective(pool), budget).potential) <= 0).all()


def large_pool(num_images: int = 300) -> Pool:
    rng = np.random.default_rng(0)
    num_regions = num_images * 20
    cell = np.arange(num_regions) % 20
    features = rng.standard_normal((num_regions, 24)) * np.arange(1, 25) ** -0.7
    return Pool(
        image=np.arange(num_regions) // 20,
        row=cell // 5,
        col=cell % 5,
        pixels=np.ones(num_regions, int),
        labelled=rng.random(num_regions) < 0.3,
        signals={"entropy": rng.random(num_regions, np.float32)},
        features=features.astype(np.float32),
    )


@pytest.mark.parametrize("name", FAMILY)
def test_they_agree_on_a_pool_of_several_shortlists(name: str) -> None:
    objective = strategy(name).objective(large_pool())
    fast, plain = maximise(objective, 1500), maximise_plainly(objective, 1500)
    np.testing.assert_array_equal(fast.regions, plain.regions)
    np.testing.assert_array_equal(fast.potential, plain.potential)


@pytest.mark.parametrize("name", [name for name in FAMILY if strategy(name).w_feature > 0])
def test_distances_to_what_is_labelled_that_are_known_change_nothing(name: str) -> None:
    objective = strategy(name).objective(large_pool(60))
    assert objective.features is not None
    labelled = np.flatnonzero(objective.labelled)
    squared = nearest.squares_to_labelled(objective.features, labelled)
    true = np.min([squared_distance(objective.features, row) for row in objective.features[labelled]], axis=0)
    np.testing.assert_array_equal(squared, true)
    known, searched = shortlist.maximise_by_shortlist(objective, 200, squared), maximise(objective, 200)
    np.testing.assert_array_equal(known.regions, searched.regions)
    np.testing.assert_array_equal(known.potential, searched.potential)


def digest(pca_dim: int) -> str:
    picks = load("entropy-feature-spatial", pca_dim=pca_dim).select(large_pool(), 1500, np.random.default_rng(0))
    return hashlib.sha256(picks.regions.tobytes() + picks.potential.tobytes()).hexdigest()


@pytest.mark.parametrize("threads", ["1", "2", "3"])
def test_the_number_of_threads_does_not_change_a_bit(threads: str) -> None:
    code = (
        f"import sys; sys.path.insert(0, {os.path.dirname(__file__)!r}); import test_engine as t; print(t.digest(12))"
    )
    environment = dict(os.environ, OMP_NUM_THREADS=threads, OPENBLAS_NUM_THREADS=threads)
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    output = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True)
    assert output.stdout.strip() == digest(12)


def test_core_set_covers_within_twice_the_best_radius() -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        features = rng.standard_normal((9, 2)).astype(np.float32)
        distance = np.sqrt([squared_distance(features, feature) for feature in features])
        pool = line([0.0] * 9, labelled=(0,), features=features.tolist())
        picks = [0, *select("core-set", pool, 3)[0]]
        best = min(distance[:, [0, *others]].min(axis=1).max() for others in itertools.combinations(range(1, 9), 3))
        assert distance[:, picks].min(axis=1).max() <= 2 * best + 1e-9


def test_max_min_dispersion_is_at_least_half_of_the_best() -> None:
    for seed in range(20):
        rng = np.random.default_rng(100 + seed)
        features = rng.standard_normal((9, 3)).astype(np.float32)
        distance = np.sqrt([squared_distance(features, feature) for feature in features])
        pool = line([0.0] * 9, labelled=(0,), features=features.tolist())
        picks = [0, *select("core-set", pool, 3)[0]]

        def dispersion(members: list[int], distance: np.ndarray = distance) -> float:
            return float(min(distance[a, b] for a, b in itertools.combinations(members, 2)))

        best = max(dispersion([0, *others]) for others in itertools.combinations(range(1, 9), 3))
        assert dispersion(picks) >= best / 2 - 1e-9


def test_max_sum_reaches_half_of_the_best() -> None:
    for seed in range(20):
        rng = np.random.default_rng(200 + seed)
        pool = line(rng.random(8).tolist())
        objective = strategy("entropy-spatial", set_function="max-sum").objective(pool)
        assert objective.table is not None
        distance = objective.table[0, np.abs(np.subtract.outer(np.arange(8), np.arange(8)))]

        def value(members: tuple[int, ...], u: np.ndarray = objective.utility, d: np.ndarray = distance) -> float:
            return float(u[list(members)].sum() + sum(d[a, b] for a, b in itertools.combinations(members, 2)))

        picks = tuple(maximise(objective, 4).regions.tolist())
        assert value(picks) >= max(map(value, itertools.combinations(range(8), 4))) / 2 - 1e-9


def test_a_distance_has_the_same_bits_in_every_company() -> None:
    rng = np.random.default_rng(0)
    for num_features in (1, 2, 3, 7, 8, 9, 33, 128, 129, 256, 300):
        left = rng.standard_normal((50, num_features)).astype(np.float32)
        right = rng.standard_normal(num_features).astype(np.float32)
        together = squared_distance(left, right)
        alone = np.concatenate([squared_distance(row, right) for row in left])
        strided = squared_distance(np.asfortranarray(left), right)
        np.testing.assert_array_equal(together, alone)
        np.testing.assert_array_equal(together, strided)
        np.testing.assert_array_equal(together, squared_distance(np.tile(right, (50, 1)), left))
        np.testing.assert_allclose(together, ((left.astype(float) - right) ** 2).sum(axis=1))


@pytest.mark.parametrize("offset", [0.0, 50.0])
def test_the_bound_of_the_search_is_above_the_true_distance_and_near_it(offset: float) -> None:
    rng = np.random.default_rng(0)
    features = (offset + rng.standard_normal((400, 32))).astype(np.float32)
    targets = features[:40]
    true = np.min([squared_distance(features, target) for target in targets], axis=0)
    bound = nearest_bound(features, targets, centre(features))
    assert (bound >= true).all()
    np.testing.assert_allclose(bound, true, atol=0.01)


def test_pca_keeps_what_a_reference_keeps() -> None:
    rng = np.random.default_rng(0)
    features = (rng.standard_normal((500, 20)) * np.arange(20, 0, -1)).astype(np.float32)
    centred = features.astype(float) - features.mean(axis=0)
    components = np.linalg.svd(centred, full_matrices=False)[2][:5]
    projected = project(features, 5)
    assert projected.shape == (500, 5) and projected.dtype == np.float32
    np.testing.assert_allclose(
        np.linalg.norm(projected[:50] - projected[50:100], axis=1),
        np.linalg.norm((centred[:50] - centred[50:100]) @ components.T, axis=1),
        rtol=1e-3,
    )


@pytest.mark.parametrize("pca_dim", [None, 20, 128])
def test_features_that_are_few_enough_stay_as_they_are(pca_dim: int | None) -> None:
    features = np.zeros((7, 20), np.float32)
    assert project(features, pca_dim) is features


def test_pca_of_fewer_regions_than_features_works() -> None:
    features = np.random.default_rng(0).standard_normal((3, 40)).astype(np.float32)
    projected = project(features, 4)
    np.testing.assert_allclose(
        np.linalg.norm(projected[0] - projected[1]), np.linalg.norm(features[0] - features[1]), rtol=1e-3
    )


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
        ({"distance": "manhattan"}, "distance must be one of 'piecewise', 'linear', got 'manhattan'"),
        ({"set_function": "sum"}, "set_function must be one of 'max-min', 'max-sum', got 'sum'"),
        ({"norm_schedule": "never"}, "norm_schedule must be one of 'round', 'step', got 'never'"),
        ({"pca_dim": 0}, "pca_dim must be a whole number of at least 1, got 0"),
    ],
)
def test_a_parameter_out_of_range_is_refused(params: dict[str, Any], message: str) -> None:
    with pytest.raises(StrategyError, match=f"entropy-spatial: {message}"):
        load("entropy-spatial", **params)


def test_a_strategy_needs_what_has_a_weight() -> None:
    assert load("core-set").needs == Needs(features=True)
    assert load("entropy-spatial", uncertainty="bald").needs == Needs(signals=("bald",))
    assert load("entropy-feature-spatial", w_feature=0.0).needs == Needs(signals=("entropy",))
