"""The first bounds on nearest distances: never below the true distance, and close to it."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from quadrat.strategies.features import mean_feature, squared_distance
from quadrat.strategies.greedy import nearest
from quadrat.strategies.greedy.nearest import bound_by_clusters


def clustered(num_regions: int, offset: float) -> NDArray[np.float32]:
    rng = np.random.default_rng(0)
    middle = 3.0 * rng.standard_normal((20, 16))
    return (offset + middle[rng.integers(20, size=num_regions)] + rng.standard_normal((num_regions, 16))).astype("f4")


def true_squares(features: NDArray[np.float32], members: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.min([squared_distance(features, member) for member in members], axis=0)


@pytest.mark.parametrize("offset", [0.0, 200.0])
@pytest.mark.parametrize("probes", [1, 2, 10**6])
def test_a_bound_is_never_below_the_distance_and_most_equal_it(
    offset: float, probes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nearest, "_PROBES", probes)
    monkeypatch.setattr(nearest, "_FEW", 10)
    monkeypatch.setattr(nearest, "_BLOCK", 700)
    features = clustered(2000, offset)
    members = features[::10]
    bound, true = bound_by_clusters(features, members, mean_feature(features)), true_squares(features, members)
    assert (bound >= true).all()
    is_equal = np.isclose(bound, true, atol=0.05)
    assert is_equal.all() if probes > 100 else is_equal.mean() > 0.5


def test_identical_members_are_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearest, "_FEW", 10)
    features = clustered(500, 0.0)
    members = np.repeat(features[:1], 100, axis=0)
    np.testing.assert_allclose(
        bound_by_clusters(features, members, mean_feature(features)), squared_distance(features, features[0]), atol=0.01
    )


def test_a_memory_map_gives_the_same_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearest, "_FEW", 10)
    features = clustered(600, 0.0)
    np.save(tmp_path / "features.npy", features)
    mapped = np.load(tmp_path / "features.npy", mmap_mode="r")
    mean = mean_feature(features)
    np.testing.assert_array_equal(
        bound_by_clusters(mapped, features[:90], mean), bound_by_clusters(features, features[:90], mean)
    )
