"""The fast engines return what the reference implementation returns, bit for bit."""

import hashlib
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_info, threadpool_limits

from quadrat.strategies import Pool
from quadrat.strategies.borders import borders_of_cells
from quadrat.strategies.diversity import (
    CoreSet,
    Diversification,
    EntropyFeature,
    EntropyFeatureSpatial,
    EntropySpatial,
    FeatureSpatial,
)
from quadrat.strategies.features import squared_distance
from quadrat.strategies.greedy import lazy, nearest
from quadrat.strategies.greedy.engine import maximise, maximise_reference

FAMILY: list[type[Diversification]] = [CoreSet, FeatureSpatial, EntropyFeature, EntropySpatial, EntropyFeatureSpatial]


@st.composite
def problems(draw: st.DrawFn) -> tuple[Diversification, Pool, int]:
    """Small pools full of ties and duplicates, and every parameter of the family."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    shapes = draw(st.lists(st.tuples(st.integers(1, 6), st.integers(1, 6)), min_size=1, max_size=5))
    cells = [(image, *cell) for image, shape in enumerate(shapes) for cell in np.ndindex(*shape)]
    order = rng.permutation(len(cells)) if draw(st.booleans()) else np.arange(len(cells))
    image, row, col = np.array(cells, np.int32)[order].T
    borders = None
    if draw(st.booleans()):  # regions of any shape: images of any size, centres of few values, some in one place
        row, col = rng.choice(rng.uniform(0, 5, draw(st.integers(1, 9))), (2, len(cells)))
        pairs = rng.integers(0, len(cells), (2 * len(cells), 2))
        borders = pairs[(image[pairs[:, 0]] == image[pairs[:, 1]]) & (pairs[:, 0] != pairs[:, 1])]
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
        borders=borders,
    )
    weight = st.sampled_from([0.3, 1.0, 2.5])
    params = {
        "cutoff": draw(st.sampled_from([0.0, 1.0, 1.5, 2.0, 3.0])),
        "norm": draw(st.sampled_from([1, 2, "inf"])),
        "d2_d1": draw(st.sampled_from([1.0, 1.5, 2.0])),
        "d3_d2": draw(st.sampled_from([1.0, 1.3, 2.5])),
        "distance": draw(st.sampled_from(["piecewise", "linear", "adjacency"])),
        "set_function": draw(st.sampled_from(["max-min", "max-min", "max-sum"])),
        "pca_dim": draw(st.one_of(st.none(), st.integers(1, 14))),
    }
    family = draw(st.sampled_from(FAMILY))
    for name in ("w_uncertainty", "w_feature", "w_spatial"):
        if getattr(family, name) > 0:
            params[name] = draw(weight)
    return family(**params), pool, draw(st.integers(0, int((~labelled).sum())))


@settings(max_examples=300, deadline=None)
@given(problem=problems(), sizes=st.tuples(*[st.integers(1, 20)] * 5))
def test_the_fast_engines_equal_the_reference_bit_for_bit(
    problem: tuple[Diversification, Pool, int], sizes: tuple[int, ...]
) -> None:
    diversification, pool, budget = problem
    objective = diversification.objective(pool, np.random.default_rng(0))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lazy, "_QUEUE", 2 * sizes[0])
        patch.setattr(lazy, "_BATCH", sizes[1])
        for constant, size in zip(("_CHUNK", "_PAIRS", "_GROUP"), sizes[2:], strict=True):
            patch.setattr(nearest, constant, size)
        for constant, size in zip(("_PROBES", "_BLOCK", "_FEW"), sizes, strict=False):
            patch.setattr(nearest, constant, size)
        fast = maximise(objective, budget)
    reference = maximise_reference(objective, budget)
    np.testing.assert_array_equal(fast.regions, reference.regions)
    np.testing.assert_array_equal(fast.potential, reference.potential)


@settings(max_examples=100, deadline=None)
@given(problem=problems())
def test_max_min_potentials_never_rise(problem: tuple[Diversification, Pool, int]) -> None:
    diversification, pool, budget = problem
    if diversification.set_function == "max-min":
        assert (
            np.diff(maximise(diversification.objective(pool, np.random.default_rng(0)), budget).potential) <= 0
        ).all()


@settings(max_examples=50, deadline=None)
@given(problem=problems())
def test_centres_that_are_whole_numbers_give_the_selection_of_the_grid(
    problem: tuple[Diversification, Pool, int],
) -> None:
    diversification, pool, budget = problem
    places = np.column_stack([pool.image, np.floor(pool.row), np.floor(pool.col)]).astype(np.int32)
    rows = np.sort(np.unique(places, axis=0, return_index=True)[1])
    image, row, col = places[rows].T
    columns = {"image": image, "pixels": pool.pixels[rows], "labelled": pool.labelled[rows]}
    arrays = {"signals": {"entropy": pool.signals["entropy"][rows]}, "features": pool.features[rows]}
    grid = Pool(**columns, **arrays, row=row, col=col)
    centres = Pool(
        **columns, **arrays, row=row.astype(float), col=col.astype(float), borders=borders_of_cells(image, row, col)
    )
    expected, found = (diversification.select(some, budget, np.random.default_rng(0)) for some in (grid, centres))
    np.testing.assert_array_equal(found.regions, expected.regions)
    np.testing.assert_array_equal(found.potential, expected.potential)


def test_neighbours_by_borders_are_those_of_norm_1_on_a_grid() -> None:
    pool, rng = large_pool(40), np.random.default_rng(0)
    by_border = EntropyFeatureSpatial(distance="adjacency").select(pool, 300, rng)
    by_norm = EntropyFeatureSpatial(norm=1, cutoff=1.5).select(pool, 300, rng)
    np.testing.assert_array_equal(by_border.regions, by_norm.regions)
    np.testing.assert_array_equal(by_border.potential, by_norm.potential)


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


@pytest.mark.parametrize("family", FAMILY)
def test_they_are_equal_on_a_pool_of_several_batches(family: type[Diversification]) -> None:
    objective = family().objective(large_pool(), np.random.default_rng(0))
    fast, reference = maximise(objective, 1500), maximise_reference(objective, 1500)
    np.testing.assert_array_equal(fast.regions, reference.regions)
    np.testing.assert_array_equal(fast.potential, reference.potential)


@pytest.mark.parametrize("family", [family for family in FAMILY if family.w_feature > 0])
def test_known_distances_to_labelled_regions_change_nothing(family: type[Diversification]) -> None:
    objective = family().objective(large_pool(60), np.random.default_rng(0))
    assert objective.features is not None
    labelled = np.flatnonzero(objective.labelled)
    squared = nearest.squared_distance_to_labelled(objective.features, labelled)
    true = np.min([squared_distance(objective.features, row) for row in objective.features[labelled]], axis=0)
    np.testing.assert_array_equal(squared, true)
    known, searched = lazy.maximise_lazily(objective, 200, squared), maximise(objective, 200)
    np.testing.assert_array_equal(known.regions, searched.regions)
    np.testing.assert_array_equal(known.potential, searched.potential)


def digest(pca_dim: int) -> str:
    selection = EntropyFeatureSpatial(pca_dim=pca_dim).select(large_pool(), 1500, np.random.default_rng(0))
    return hashlib.sha256(selection.regions.tobytes() + selection.potential.tobytes()).hexdigest()


@pytest.mark.parametrize("threads", ["1", pytest.param("2", marks=pytest.mark.slow), "3"])
def test_the_number_of_threads_does_not_change_a_bit(threads: str) -> None:
    code = (
        f"import sys; sys.path.insert(0, {os.path.dirname(__file__)!r}); import test_engine as t; print(t.digest(12))"
    )
    environment = dict(os.environ, OMP_NUM_THREADS=threads, OPENBLAS_NUM_THREADS=threads)
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    output = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True)
    assert output.stdout.strip() == digest(12)


def test_the_loop_over_small_products_runs_on_one_thread_of_blas(monkeypatch: pytest.MonkeyPatch) -> None:
    def num_threads() -> set[int]:
        return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}

    inside: set[int] = set()
    select_from = lazy._LazyGreedy.select_from

    def recorded(self: lazy._LazyGreedy, *arguments: Any) -> None:
        inside.update(num_threads())
        select_from(self, *arguments)

    CoreSet().select(large_pool(num_images=4), 5, np.random.default_rng(0))  # all libraries are loaded
    monkeypatch.setattr(lazy._LazyGreedy, "select_from", recorded)
    with threadpool_limits(limits=2, user_api="blas"):
        CoreSet().select(large_pool(num_images=4), 5, np.random.default_rng(0))
        assert (inside, num_threads()) == ({1}, {2})
