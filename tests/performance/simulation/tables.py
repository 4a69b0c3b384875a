"""The tables of the simulation, as rows of plain numbers."""

import itertools
import math
from typing import Any, Final, NamedTuple

import numpy as np

from performance.simulation.claims import areas_of, claims_before, fit_areas, primary_claims
from performance.simulation.coverage import coverage_before, coverage_of_costs, coverage_of_gains
from performance.simulation.queries import QUERY_VARIANCES, claims_of, draw_queries, p_values_of
from performance.simulation.studies import PIXELS, RANDOM, VARIANCES, Array, Noise, draw_studies
from quadrat.benchmark.analysis.curves import area
from quadrat.benchmark.analysis.power import seeds_needed

__all__ = [
    "NOISES",
    "SEEDS",
    "Row",
    "coverage_rows",
    "false_claim_rows",
    "planning_rows",
    "power_rows",
    "query_rows",
]

SEEDS: Final = (3, 5, 10)
NOISES: Final[tuple[Noise, ...]] = ("normal", "skewed")
GAINS: Final = (1.0, 2.0, 3.0, 4.0)

_NUM_STRATEGIES: Final = 8
_NUM_TESTS: Final = 2 * (_NUM_STRATEGIES - 1)


class Row(NamedTuple):
    """One number.

    Attributes:
        quantity: What was counted.
        method: Whose statement: `now`; `pooled only`, the same test without the guard against unequal variances;
            `two families`, queries corrected apart and with the degrees of freedom of all strategies;
            `before`, what the report did until it had a primary analysis.
        seeds: Seeds of each study.
        noise: `normal` or `skewed`.
        setting: Standard deviations of the strategies, or the true gain in points.
        rate: Fraction of studies (of intervals), 0..1.
        studies: Studies drawn.
    """

    quantity: str
    method: str
    seeds: int
    noise: str
    setting: str
    rate: float
    studies: int

    def as_dict(self) -> dict[str, Any]:
        """Return the row JSON-plain."""
        return {**self._asdict(), "rate": round(self.rate, 4)}


def coverage_rows(num_studies: int, num_before: int) -> list[Row]:
    """Return the coverage of every kind of interval, of the present and of the former methods.

    Args:
        num_studies: Studies a row.
        num_before: Studies a row of the former methods, whose bootstrap is slow.
    """
    rows = []
    for noise, seeds in itertools.product(NOISES, SEEDS):
        for variances, std in VARIANCES.items():
            found = coverage_of_gains(num_studies, seeds, noise, std)
            rows += [Row(name, "now", seeds, noise, variances, rate, num_studies) for name, rate in found.items()]
        found = coverage_of_costs(num_studies, seeds, noise)
        rows += [Row(name, "now", seeds, noise, "equal", rate, num_studies) for name, rate in found.items()]
        found = coverage_before(num_before, seeds, noise)
        rows += [Row(name, "before", seeds, noise, "equal", rate, num_before) for name, rate in found.items()]
    return rows


def false_claim_rows(num_studies: int) -> list[Row]:
    """Return how often equal strategies are told apart: any claim on the page, of eight strategies."""
    rows = []
    for noise, seeds in itertools.product(NOISES, SEEDS):
        for variances, std in VARIANCES.items():
            studies = draw_studies(num_studies, seeds, noise, [RANDOM] * _NUM_STRATEGIES, std, name="null")
            claims_by_method = {
                "now": primary_claims(studies),
                "pooled only": primary_claims(studies, is_guarded=False),
                "before": np.concatenate(list(claims_before(studies).values()), axis=1),
            }
            for method, claims in claims_by_method.items():
                rate = float(claims.any(axis=1).mean())
                rows.append(Row("any false claim", method, seeds, noise, variances, rate, num_studies))
    return rows


def query_rows(num_studies: int) -> list[Row]:
    """Return how often any claim is made on a page of several queries whose strategies and queries are equal."""
    rows = []
    for noise, seeds, variances in itertools.product(NOISES, SEEDS, QUERY_VARIANCES):
        p_values = p_values_of(draw_queries(num_studies, seeds, noise, variances))
        for method in ("now", "two families"):
            rate = float(claims_of(p_values, is_one_family=method == "now").any(axis=1).mean())
            rows.append(Row("any false claim", method, seeds, noise, variances, rate, num_studies))
    return rows


def power_rows(num_studies: int) -> list[Row]:
    """Return how often one strategy among seven equal ones is claimed to be better, over pixels, by its true gain."""
    rows = []
    for noise, seeds, gain in itertools.product(NOISES, SEEDS, GAINS):
        studies = draw_studies(
            num_studies, seeds, noise, [*[RANDOM] * (_NUM_STRATEGIES - 1), _above(gain)], name="power"
        )
        place = _NUM_STRATEGIES - 2  # the last of the strategies over pixels
        claims_by_method = {
            "now": primary_claims(studies)[:, place],
            "pooled only": primary_claims(studies, is_guarded=False)[:, place],
            "before": claims_before(studies)["area"][:, place],
        }
        for method, claims in claims_by_method.items():
            rate = float(claims.mean())
            rows.append(Row("claimed to be better", method, seeds, noise, f"{gain:g}", rate, num_studies))
    return rows


def planning_rows(num_studies: int) -> list[Row]:
    """Return how often a strategy is claimed to be better with the seeds that were planned for its true gain."""
    null = draw_studies(num_studies, 10, "normal", [RANDOM] * _NUM_STRATEGIES, name="spread")
    std = math.sqrt(2 * fit_areas(areas_of(PIXELS, null.values)).variance_B.mean())
    rows = []
    for gain in (0.75, 1.0, 1.5, 2.0, 3.0):
        seeds = seeds_needed(std, gain, num_tests=_NUM_TESTS, num_strategies=_NUM_STRATEGIES)
        assert seeds is not None
        curves = [*[RANDOM] * (_NUM_STRATEGIES - 1), _above(gain)]
        claims = primary_claims(draw_studies(num_studies, seeds, "normal", curves, name="planning"))
        rate = float(claims[:, _NUM_STRATEGIES - 2].mean())
        rows.append(Row("claimed to be better", "planned", seeds, "normal", f"{gain:g}", rate, num_studies))
    return rows


def _above(gain: float) -> Array:
    """Return a curve above Random's from round 1 on whose area over the pixels is higher by `gain`."""
    step = np.array([0.0, 1.0, 1.0, 1.0, 1.0])
    above: Array = RANDOM + gain * step / area(PIXELS.tolist(), step.tolist())
    return above
