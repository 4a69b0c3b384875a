"""What `make bench ARGS=strategies` and `ARGS=rivals` measure: every strategy, and equal problems for all packages."""

import numpy as np
import pytest

from performance import selection
from performance.selection_side import Problem, measure
from quadrat.benchmark.planning.selection_time import synthetic_pool

SMALL = Problem(num_regions=256, num_features=8, num_labelled=1, budget=40)


def test_every_shipped_strategy_can_be_measured() -> None:
    problem = Problem(num_regions=256, num_features=8, num_labelled=20, budget=10, is_full=True)
    for name in selection.shipped():
        row, regions = measure(name, problem)
        assert len(np.unique(regions)) == 10, name
        assert row["wall_s"] >= 0 and row["cpu_s"] >= 0


def test_core_set_from_one_region_is_farthest_point_sampling() -> None:
    """As the other packages do it: each point is the one farthest from the start and all before it."""
    pool = synthetic_pool(num_regions=256, num_features=8, num_labelled=1)
    assert pool.features is not None
    points = pool.features.astype(np.float64)
    nearest = np.linalg.norm(points - points[np.flatnonzero(pool.labelled)], axis=1)
    expected = []
    for _ in range(SMALL.budget):
        expected.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, np.linalg.norm(points - points[expected[-1]], axis=1))
    assert measure("core-set", SMALL)[1].tolist() == expected


@pytest.mark.slow
def test_a_process_is_measured_and_one_that_fails_or_takes_too_long_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    row, regions = selection._run("random", SMALL, 1, 60.0)
    assert row["side"] == "random" and row["wall_s"] >= 0 and regions is not None and len(regions) == 40
    assert selection._run("random", SMALL, 1, 0.01) == ({**_asked("random"), "longer_than_s": 0.01}, None)
    row, regions = selection._run("no such strategy", SMALL, 1, 60.0)
    assert "no such strategy" in row["error"] and regions is None


def _asked(side: str) -> dict[str, object]:
    return {"side": side, "threads": 1, **vars(SMALL)}
