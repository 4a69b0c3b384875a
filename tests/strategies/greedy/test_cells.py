"""The first bounds on nearest distances: never below the truth, near it, and no worse than what was looked at."""

import numpy as np
import pytest

from quadrat.strategies.features import centre, squared_distance
from quadrat.strategies.greedy import cells
from quadrat.strategies.greedy.cells import bound_by_cells


def clustered(num_regions: int, offset: float) -> np.ndarray:
    rng = np.random.default_rng(0)
    middle = 3.0 * rng.standard_normal((20, 16))
    return (offset + middle[rng.integers(20, size=num_regions)] + rng.standard_normal((num_regions, 16))).astype("f4")


def true_squares(features: np.ndarray, members: np.ndarray) -> np.ndarray:
    return np.min([squared_distance(features, member) for member in members], axis=0)


@pytest.mark.parametrize("offset", [0.0, 200.0])
@pytest.mark.parametrize("probes", [1, 2, 10**6])
def test_a_bound_is_never_below_the_distance_and_most_are_at_it(
    offset: float, probes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cells, "_PROBES", probes)
    monkeypatch.setattr(cells, "_FEW", 10)
    monkeypatch.setattr(cells, "_BLOCK", 700)
    features = clustered(2000, offset)
    members = features[::10]
    bound, true = bound_by_cells(features, members, centre(features)), true_squares(features, members)
    assert (bound >= true).all()
    at_it = np.isclose(bound, true, atol=0.05)
    assert at_it.all() if probes > 100 else at_it.mean() > 0.5


def test_members_that_are_all_alike_are_no_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells, "_FEW", 10)
    features = clustered(500, 0.0)
    members = np.repeat(features[:1], 100, axis=0)
    np.testing.assert_allclose(
        bound_by_cells(features, members, centre(features)), squared_distance(features, features[0]), atol=0.01
    )


def test_a_memory_map_gives_the_same_bounds(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells, "_FEW", 10)
    features = clustered(600, 0.0)
    np.save(tmp_path / "features.npy", features)
    mapped = np.load(tmp_path / "features.npy", mmap_mode="r")
    mean = centre(features)
    np.testing.assert_array_equal(
        bound_by_cells(mapped, features[:90], mean), bound_by_cells(features, features[:90], mean)
    )
