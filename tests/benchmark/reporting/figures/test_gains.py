"""The forest plot of the primary analysis: rows, order, filled marks and one scale for both costs."""

from typing import Any

import numpy as np
import pytest
import vl_convert
from support.curve_results import results_of

from quadrat.benchmark.analysis.primary import PrimaryAnalysis, primary_analysis
from quadrat.benchmark.reporting.figures import style
from quadrat.benchmark.reporting.figures.gains import gains
from quadrat.benchmark.reporting.vega import VEGA_LITE
from quadrat.benchmark.results.palette import looks_of

GAINS = {"random": 0.0, "entropy": 0.05, "core-set": -6.0, "entropy-spatial": 6.0}


def analysed(labels: dict[str, float] = GAINS) -> tuple[PrimaryAnalysis, dict[str, Any]]:
    generator = np.random.default_rng(5)
    curves = {
        label: {
            seed: (np.array([40, 45 + gain, 50 + gain]) + generator.normal(0, 0.5, 3)).tolist() for seed in range(5)
        }
        for label, gain in labels.items()
    }
    primary = primary_analysis(results_of(curves, pixels=(1.0, 2.0, 4.0)))
    spec = gains(primary, looks_of({label: label for label in labels}))
    assert spec is not None
    return primary, spec


def test_each_comparison_is_a_row_over_each_cost_and_filled_where_it_is_significant() -> None:
    primary, spec = analysed()
    rows = {(row["name"], row["cost"]): row for row in spec["datasets"]["means"]}
    assert len(rows) == len(primary.comparisons) == 6
    for found in primary.comparisons:
        row = rows[found.label, found.cost.key]
        assert row["is_claim"] == (found.adjusted_p is not None and found.adjusted_p < 0.05)
        assert row["low"] < row["gain"] < row["high"]
        if row["low"] > 0 or row["high"] < 0:
            assert row["is_claim"]
    assert {row["is_claim"] for row in rows.values()} == {True, False}
    assert len(spec["datasets"]["seeds"]) == 30


def test_rows_are_ordered_by_the_gain_over_pixels_and_both_plots_have_one_scale() -> None:
    _, spec = analysed()
    scales = [layer["encoding"]["x"]["scale"]["domain"] for plot in spec["hconcat"] for layer in plot["layer"][1:2]]
    orders = [plot["layer"][1]["encoding"]["y"]["sort"] for plot in spec["hconcat"]]
    assert scales[0] == scales[1] and orders[0] == orders[1] == ["entropy-spatial", "entropy", "core-set"]


def test_it_can_be_drawn_also_for_pairs_without_random() -> None:
    _, spec = analysed({"entropy": 0.0, "core-set": 3.0})
    svg = vl_convert.vegalite_to_svg(spec, vl_version=VEGA_LITE)
    assert "entropy \N{MINUS SIGN} core-set" in svg


def test_of_many_seeds_the_first_are_drawn_and_the_mean_is_over_all(monkeypatch: pytest.MonkeyPatch) -> None:
    primary, whole = analysed()
    monkeypatch.setattr(style, "DRAWN_SEEDS", 2)
    _, spec = analysed()
    assert {row["seed"] for row in spec["datasets"]["seeds"]} == {0, 1}
    assert spec["datasets"]["means"] == whole["datasets"]["means"]
    assert all(len(found.by_seed) == 5 for found in primary.comparisons)
