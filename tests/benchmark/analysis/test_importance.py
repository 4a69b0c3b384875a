"""Importance of searched dimensions: the one that decides is found, and none is given where the method can't say."""

from collections.abc import Callable
from typing import Any

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, distribution_to_json

from quadrat.benchmark.analysis.importance import importance_of
from quadrat.benchmark.config.candidates import Candidate
from quadrat.benchmark.config.study import Study
from quadrat.benchmark.results.study_results import StudyResults
from quadrat.benchmark.seeds import rng

SPACE = {
    "region_size": CategoricalDistribution((8, 16, 24, 32)),
    "d2_d1": FloatDistribution(0.25, 4),
    "cutoff": FloatDistribution(1, 6),
}


def search(num: int, value_of: Callable[[dict[str, Any]], float], objective: str = "area") -> StudyResults:
    """Return a study whose candidates are drawn at random, and valued by a function of their parameters."""
    draw = rng(0, "importance")
    found = []
    for number in range(num):
        params = {
            "region_size": int(draw.choice([8, 16, 24, 32])),
            "d2_d1": float(draw.uniform(0.25, 4)),
            "cutoff": float(draw.uniform(1, 6)),
        }
        found.append(Candidate(number=number, state="done", params=params, values=(value_of(params),)))
    study = {"strategy": "entropy-spatial", "candidates": num, "search_seeds": [10], "objective": objective}
    definition = Study.model_validate({**study, "space": {"region_size": [8, 16, 24, 32]}})
    return StudyResults(
        study=definition,
        space={name: distribution_to_json(one) for name, one in SPACE.items()},
        directions=definition.directions,
        candidates=tuple(found),
        best=(),
    )


def by_size(params: dict[str, Any]) -> float:
    return 1.0 - 0.01 * float(params["region_size"])


@pytest.mark.parametrize(("objective", "sign"), [("area", 1.0), ("select-seconds", -1.0)])
@pytest.mark.parametrize("dimension", ["cutoff", "d2_d1"])
def test_the_dimension_that_decides_matters_most(objective: str, sign: float, dimension: str) -> None:
    found = importance_of(search(40, lambda params: sign * params[dimension], objective))
    assert next(iter(found.shares)) == dimension and found.shares[dimension] > 0.6
    assert found.num_best == 10


def test_candidates_that_tie_are_all_among_the_best_so_that_what_decides_is_seen() -> None:
    results = search(40, by_size)
    found = importance_of(results)
    sizes = sorted(candidate.params["region_size"] for candidate in results.candidates)
    assert sizes[8:11] == [8, 16, 16] and sizes[15:17] == [16, 24]  # the tenth of forty ties with six more
    assert found.num_best == 16
    assert next(iter(found.shares)) == "region_size" and found.shares["region_size"] > 0.8


def test_with_eleven_candidates_no_figure_is_given() -> None:
    found = importance_of(search(11, by_size))
    assert found.shares == {}
    assert found.reason == "it needs 20 completed candidates, and there are 11"


def test_where_most_candidates_tie_no_figure_is_given() -> None:
    found = importance_of(search(40, lambda params: float(params["region_size"] < 32)))
    assert found.shares == {}
    assert "of the 40 completed candidates tie for the best quarter" in found.reason
