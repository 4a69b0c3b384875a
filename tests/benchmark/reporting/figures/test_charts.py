"""Learning curves that are given another cost are those that were made with it."""

from pathlib import Path
from typing import Any

import pytest
from support.fake_results import write_fake_results

from quadrat.benchmark.analysis.measures import CLICKS, COSTS, MIOU, REGIONS, Cost
from quadrat.benchmark.reporting.figures.charts import learning_curves, with_cost
from quadrat.benchmark.reporting.figures.style import unchecked
from quadrat.benchmark.results.palette import looks_of
from quadrat.benchmark.results.trials import read_results


@pytest.mark.parametrize("cost", COSTS, ids=lambda cost: cost.key)
@pytest.mark.parametrize("made_with", [REGIONS, CLICKS], ids=lambda cost: cost.key)
def test_curves_with_another_cost_are_those_made_with_it(tmp_path: Path, made_with: Cost, cost: Cost) -> None:
    write_fake_results(tmp_path, strategies=("random", "entropy"), budgets=(12, 24))
    results = read_results(tmp_path)
    looks = looks_of(results.strategies, results.queries)

    def made(cost: Cost) -> dict[str, Any]:
        with unchecked():
            return _without_view_names(learning_curves(results, looks, cost=cost, metric=MIOU))

    before = made(made_with)
    changed = with_cost(before, results, cost)
    assert changed == made(cost)
    assert before == made(made_with)  # is not changed itself


def _without_view_names(spec: dict[str, Any]) -> dict[str, Any]:
    """Return the specification without the names that Altair makes of a hash of the whole."""
    for layer in spec["layer"]:
        layer.pop("name", None)
    for param in spec["params"]:
        param.pop("views", None)
    return spec
