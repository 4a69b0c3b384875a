"""CLUE: its weighted k-means by the condition that Lloyd's algorithm ends with, the rest as its authors' loop."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from support.pools import float32, line_pool

from quadrat.strategies import StrategyError, clue, load
from quadrat.strategies.clue import nearest_distinct
from quadrat.strategies.features import weighted_centres


def groups(*sizes: int) -> NDArray[np.float32]:
    """Return groups of points far from each other, in two dimensions."""
    rng = np.random.default_rng(0)
    middles = np.array([[100.0, 0.0], [0.0, 100.0], [-100.0, 0.0], [0.0, -100.0]])[: len(sizes)]
    return float32(np.repeat(middles, sizes, axis=0) + rng.uniform(-5, 5, (sum(sizes), 2)))


def test_a_centre_is_the_weighted_mean_of_its_cluster() -> None:
    features, rng = groups(8, 5, 9), np.random.default_rng(1)
    weight = rng.uniform(0.01, 2, 22).astype(np.float32)
    centres = weighted_centres(features, np.arange(22), weight, np.array([0, 8, 13]))
    parts = [slice(0, 8), slice(8, 13), slice(13, 22)]
    expected = [np.average(features[part], axis=0, weights=weight[part]) for part in parts]
    np.testing.assert_allclose(centres, expected, rtol=1e-4, atol=1e-4)


def test_weights_of_any_size_are_those_of_mean_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """With smaller ones k-means of faiss 1.10 does not end: of 60 regions with three features, six clusters."""
    seen: list[NDArray[np.float32]] = []

    def recorded(
        features: NDArray[np.float32], rows: NDArray[np.int64], weight: NDArray[np.float32], *rest: Any
    ) -> Any:
        seen.append(weight)
        return weighted_centres(features, rows, weight, *rest)

    monkeypatch.setattr(clue, "weighted_centres", recorded)
    features = float32(np.repeat([[0.0, 1.0], [5.0, 1.0], [0.0, 9.0]], 20, axis=0))
    for entropy in (1e-6, 0.01, 1.5):
        pool = line_pool(60, signals={"entropy": np.full(60, entropy, np.float32)}, features=features)
        selected = load("clue").select(pool, 6, np.random.default_rng(0)).regions
        assert len(set(selected.tolist())) == 6
    assert [weight.mean() for weight in seen] == pytest.approx([1.0, 1.0, 1.0])


def distinct_as_the_authors(centres: NDArray[np.float32], features: NDArray[np.float32]) -> set[int]:
    """Return the rows by a full sort of all distances."""
    ranked = np.linalg.norm(centres[:, None].astype(float) - features, axis=2).argsort(axis=1)
    found: list[int] = []
    rank, missing = 0, len(centres)
    while missing > 0:
        found = list({*found, *ranked[:, rank][:missing].tolist()})
        missing = len(centres) - len(found)
        rank += 1
    return set(found)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 20))
def test_distinct_rows_are_those_of_the_authors_loop(seed: int, num_centres: int) -> None:
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((num_centres + int(rng.integers(0, 10)), 3), np.float32)
    centres = 0.3 * rng.standard_normal((num_centres, 3), np.float32)  # many of one nearest row
    found = nearest_distinct(centres, features).tolist()
    assert len(set(found)) == len(found) == num_centres
    assert set(found) == distinct_as_the_authors(centres, features)


def test_the_region_nearest_to_each_weighted_centre_is_selected() -> None:
    features = groups(7, 7, 7)
    entropy = np.tile([0.01, 0.01, 5.0, 0.01, 0.01, 0.01, 0.01], 3)  # the third of each group outweighs the others
    pool = line_pool(21, features=features, signals={"entropy": entropy})
    selection = load("clue").select(pool, 3, np.random.default_rng(0))
    assert sorted(selection.regions.tolist()) == [2, 9, 16]
    assert np.isnan(selection.potential).all()


def test_labelled_regions_take_no_part() -> None:
    pool = line_pool(14, labelled=range(7), features=groups(7, 7), signals={"entropy": np.ones(14)})
    selected = load("clue").select(pool, 7, np.random.default_rng(0)).regions
    assert sorted(selected.tolist()) == list(range(7, 14))


def test_a_negative_weight_is_refused() -> None:
    pool = line_pool(2, features=np.eye(2), signals={"entropy": [1.0, -1.0]})
    with pytest.raises(StrategyError, match="clue: expected a signal of 0 or more, got 'entropy' = -1 in region 1"):
        load("clue").select(pool, 1, np.random.default_rng(0))
