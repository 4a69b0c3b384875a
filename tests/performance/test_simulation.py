"""The simulation of the statistics: its arrays equal the functions of the analysis, and the bounds that these keep."""

import itertools
import math

import numpy as np
import pytest
from support.curve_results import results_of

from performance.simulation.claims import (
    areas_of,
    claims_before,
    fit_areas,
    holm_of,
    primary_claims,
    primary_p_values,
    simultaneous_half_width,
)
from performance.simulation.coverage import ALL_GAINS, BEYOND, coverage_before, coverage_of_costs, coverage_of_gains
from performance.simulation.page import page
from performance.simulation.queries import NUM_STRATEGIES, QUERY_VARIANCES, claims_of, draw_queries, p_values_of
from performance.simulation.studies import BETTER, PIXELS, RANDOM, VARIANCES, Noise, Studies, draw_studies
from performance.simulation.tables import (
    NOISES,
    SEEDS,
    coverage_rows,
    false_claim_rows,
    planning_rows,
    power_rows,
    query_rows,
)
from quadrat.benchmark.analysis.analyse import analyse
from quadrat.benchmark.analysis.primary import primary_analysis
from quadrat.benchmark.analysis.statistics import holm
from quadrat.benchmark.results.trials import Results

LABELS = ("random", "a", "b", "c", "d", "e", "f", "g")


def results_of_study(studies: Studies, study: int) -> Results:
    """Return one study as a results folder."""
    by_label = {
        label: {seed: values.tolist() for seed, values in enumerate(studies.values[study, :, place])}
        for place, label in enumerate(LABELS)
    }
    clicks = {
        (label, seed): studies.clicks[study, seed, place].tolist()
        for place, label in enumerate(LABELS)
        for seed in range(studies.values.shape[1])
    }
    return results_of(by_label, pixels=PIXELS.tolist(), clicks=clicks)


def some_studies(noise: Noise = "normal", num_seeds: int = 3, num_studies: int = 6) -> Studies:
    return draw_studies(num_studies, num_seeds, noise, [*[RANDOM] * 7, BETTER], name="twin")


@pytest.mark.parametrize("noise", NOISES)
def test_p_values_and_claims_are_those_of_the_primary_analysis(noise: Noise) -> None:
    studies = some_studies(noise)
    for study in range(len(studies.values)):
        found = primary_analysis(results_of_study(studies, study))
        assert primary_p_values(studies)[study] == pytest.approx([one.p_value for one in found.comparisons])
        half_widths = [(one.simultaneous_high or 0) - one.gain for one in found.comparisons]
        fits = [fit_areas(areas_of(costs, studies.values)) for costs in (PIXELS, studies.clicks)]
        ours = np.concatenate([simultaneous_half_width(fit, found.num_tests)[study] for fit in fits])
        assert ours == pytest.approx(half_widths)
        claims = [one.verdict in ("better", "worse") for one in found.comparisons]
        assert primary_claims(studies)[study].tolist() == claims


@pytest.mark.parametrize("noise", NOISES)
def test_p_values_and_claims_of_queries_are_those_of_the_primary_analysis(noise: Noise) -> None:
    queries = draw_queries(4, 3, noise, "one three times", name="twin")
    p_values = p_values_of(queries)
    for study in range(4):
        by_label: dict[str, dict[int, list[float]]] = {}
        clicks: dict[tuple[str, int], list[float]] = {}
        sizes: dict[str, int] = {}
        for size, studies in zip((8, 16, 32), queries, strict=True):
            for place, strategy in enumerate(LABELS[:NUM_STRATEGIES]):
                label = f"{strategy} {size}"
                sizes[label] = size
                by_label[label] = {seed: row.tolist() for seed, row in enumerate(studies.values[study, :, place])}
                clicks |= {(label, seed): studies.clicks[study, seed, place].tolist() for seed in range(3)}
        found = primary_analysis(results_of(by_label, pixels=PIXELS.tolist(), clicks=clicks, sizes=sizes))
        assert found.queries is not None and found.num_tests == 2 * 9 + 8
        assert p_values["strategies"][study] == pytest.approx([one.p_value for one in found.comparisons])
        assert p_values["queries"][study] == pytest.approx([one.p_value for one in found.queries.comparisons])
        both = [*found.comparisons, *found.queries.comparisons]
        assert claims_of(p_values)[study].tolist() == [one.verdict in ("better", "worse") for one in both]


def test_areas_are_those_of_the_analysis() -> None:
    studies = some_studies()
    found = {area.label: area.summary.mean for area in analyse(results_of_study(studies, 0)).areas}
    assert areas_of(PIXELS, studies.values)[0].mean(axis=0) == pytest.approx([found[label] for label in LABELS])


def test_claims_of_before_are_the_low_p_values_of_the_exploratory_families() -> None:
    studies = some_studies(num_seeds=5, num_studies=4)
    before = claims_before(studies)
    for study in range(len(studies.values)):
        found = analyse(results_of_study(studies, study))
        assert found.pairwise is not None
        low = [one.adjusted_p is not None and one.adjusted_p < 0.05 for one in found.to_random.values()]
        assert before["last round"][study].tolist() == low
        assert before["pairs"][study].sum() == len(found.pairwise.below_level)
        compared = [area.comparison for area in found.areas if area.comparison is not None]
        assert before["area"][study].tolist() == [(one.adjusted_p or 0) < 0.05 for one in compared]
        num_wins = sum(win or 0 for row in found.penalty.wins for win in row) * len(found.penalty.rounds)
        assert before["penalty matrix"][study].sum() == pytest.approx(num_wins)


def test_holm_of_rows_is_that_of_statsmodels() -> None:
    p_values = np.random.default_rng(0).uniform(0, 0.2, (20, 9))
    assert holm_of(p_values) == pytest.approx(np.array([holm(row.tolist()) for row in p_values]))


def test_skewed_noise_has_the_mean_and_spread_of_the_normal_one() -> None:
    drawn = {noise: draw_studies(20_000, 3, noise, [RANDOM] * 2, name="moments").values[..., -1] for noise in NOISES}
    for values in drawn.values():
        assert values.mean() == pytest.approx(RANDOM[-1], abs=0.03)
        assert values.std() == pytest.approx(math.hypot(0.6, 1.2), rel=0.02)
    low = drawn["skewed"] - drawn["skewed"].mean()
    assert (low**3).mean() / low.std() ** 3 == pytest.approx(
        -2 * (0.6**3 + 1.2**3) / math.hypot(0.6, 1.2) ** 3, abs=0.1
    )


def test_the_page_has_a_cell_for_every_row_and_setting() -> None:
    text = page(
        {
            "coverage": coverage_rows(100, 100),
            "false claims": false_claim_rows(100),
            "queries": query_rows(100),
            "power": power_rows(100),
            "planning": planning_rows(100),
        }
    )
    assert text.count("| normal | 3 | now |") == 3 and text.count("| skewed | 10 | before |") == 2
    assert "| paired difference in a round |" in text and "| +0.75 |" in text


def above_by_chance(rate: float, num: int) -> float:
    """Return three standard errors of a rate."""
    return 3 * math.sqrt(rate * (1 - rate) / num)


@pytest.mark.slow
@pytest.mark.parametrize("num_seeds", SEEDS)
@pytest.mark.parametrize("noise", NOISES)
def test_any_false_claim_on_the_page_is_as_rare_as_it_says(noise: Noise, num_seeds: int) -> None:
    for std in VARIANCES.values():
        studies = draw_studies(8000, num_seeds, noise, [RANDOM] * 8, std, name="test")
        assert primary_claims(studies).any(axis=1).mean() <= 0.05 + above_by_chance(0.05, 8000)


@pytest.mark.slow
@pytest.mark.parametrize("num_seeds", SEEDS)
@pytest.mark.parametrize("noise", NOISES)
def test_any_false_claim_on_a_page_of_several_queries_is_too(noise: Noise, num_seeds: int) -> None:
    for variances in QUERY_VARIANCES:
        claims = claims_of(p_values_of(draw_queries(8000, num_seeds, noise, variances, name="test")))
        assert claims.any(axis=1).mean() <= 0.05 + above_by_chance(0.05, 8000)


@pytest.mark.slow
@pytest.mark.parametrize("variances", VARIANCES)
def test_all_simultaneous_intervals_hold_in_95_percent_of_studies_whatever_the_variances(variances: str) -> None:
    for noise, num_seeds in itertools.product(NOISES, SEEDS):
        coverage = coverage_of_gains(4000, num_seeds, noise, VARIANCES[variances])[ALL_GAINS]
        assert coverage >= 0.95 - above_by_chance(0.05, 4000)


@pytest.mark.slow
def test_four_families_on_one_page_make_false_claims_more_often() -> None:
    claims = claims_before(draw_studies(4000, 3, "normal", [RANDOM] * 8, name="test"))
    assert np.any([family.any(axis=1) for family in claims.values()], axis=0).mean() > 0.10


@pytest.mark.slow
@pytest.mark.parametrize("num_seeds", SEEDS)
@pytest.mark.parametrize("noise", NOISES)
def test_intervals_called_95_percent_cover_93_to_97(noise: Noise, num_seeds: int) -> None:
    found = coverage_of_gains(8000, num_seeds, noise, VARIANCES["equal"])
    found |= coverage_of_costs(2000, num_seeds, noise)
    margin = above_by_chance(0.05, 2000)
    assert found.pop(BEYOND) >= 0.97 - margin  # an open end is hardly ever wrong
    assert found.pop(ALL_GAINS) >= 0.95 - margin
    for name, coverage in found.items():
        assert 0.93 - margin <= coverage <= 0.97 + margin, name


@pytest.mark.slow
def test_bootstrap_percentiles_of_costs_do_not(num_studies: int = 300) -> None:
    found = coverage_before(num_studies, 3, "normal")
    assert max(found["cost to 95 % of full supervision"], found["cost to match Random's end"]) < 0.85
