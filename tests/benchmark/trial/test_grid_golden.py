"""Suites on square regions are what they were before there were regions of other shapes.

tests/golden/grid.json holds the trial ids of all shipped suites, and what selecting and labelling on a clipped grid
gave, from the version before region maps. Nothing in it depends on the machine. A change of that file is a change of
what is computed or of which trials count as done: say why in the commit. To write it again:

    PYTHONPATH=tests .venv/bin/python tests/benchmark/trial/test_grid_golden.py
"""

import dataclasses
import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.paths import GOLDEN
from support.tiny_suite import TINY_SUITE

from quadrat.benchmark.config.suite import Suite, load_suite, shipped_suites
from quadrat.benchmark.results.selections import selection_digest
from quadrat.benchmark.trial.context import TrialContext
from quadrat.benchmark.trial.labels import LabelState
from quadrat.benchmark.trial.oracle import Oracle
from quadrat.benchmark.trial.state import first_selection

GRID = GOLDEN / "grid.json"
BUDGETS = (3, 9, 31)
FAST = ("camvid-cpu", "quickstart", "scenes-study")
"""Suites whose ids are made in under a second."""


def trial_ids(name: str) -> str:
    """Return the digest of a shipped suite's trial ids."""
    return hashlib.sha256("\n".join(spec.trial_id for spec in load_suite(name).trials()).encode()).hexdigest()


def labelling(folder: Path) -> list[dict[str, Any]]:
    """Return selection, cost and revealed labels of random rounds on images that no region size divides."""
    dataset = {"name": "scenes", "params": {"num_train": 6, "num_test": 2, "height": 50, "width": 70}}
    suite = Suite.model_validate({**TINY_SUITE, "dataset": dataset, "budgets": BUDGETS})
    data = TrialContext.open(suite, folder).data
    grid, is_void = data.layout(16), data.void_regions(16)
    state = LabelState(grid.num_regions)
    oracle = Oracle(data.pool.masks, grid, state, data.clicks(16), is_void)
    order = first_selection(np.arange(grid.num_regions), BUDGETS[-1], seed=0)
    rounds = []
    for begin, end in zip((0, *BUDGETS), BUDGETS, strict=False):
        cost = oracle.label(order.regions[begin:end])
        labels = oracle.reveal()
        crops = hashlib.sha256(b"".join(labels.crop(image, -3, 5, 60, 61).tobytes() for image in range(6)))
        rounds.append(
            {
                "selection": selection_digest(order),
                "labelled": state.digest,
                "crops": crops.hexdigest(),
                "cost": {name: list(v) if isinstance(v, tuple) else v for name, v in dataclasses.asdict(cost).items()},
            }
        )
    rounds[-1]["class_shares"] = hashlib.sha256(oracle.class_shares().tobytes()).hexdigest()
    return rounds


def golden() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(GRID.read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in FAST else pytest.mark.slow) for name in golden()["trial_ids"]]
)
def test_shipped_suites_have_the_trials_of_before(name: str) -> None:
    assert trial_ids(name) == golden()["trial_ids"][name]


def test_labelling_squares_gives_what_it_gave_before(tmp_path: Path) -> None:
    assert labelling(tmp_path) == golden()["labelling"]


def write() -> None:
    """Write the golden file."""
    with tempfile.TemporaryDirectory() as folder:
        ids = {name: trial_ids(name) for name in sorted(shipped_suites())}
        content = {"trial_ids": ids, "labelling": labelling(Path(folder))}
    GRID.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write()
