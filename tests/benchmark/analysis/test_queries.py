"""Queries over clicks: areas and gains against a regression, and what cannot be compared."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from statsmodels.stats.multitest import multipletests
from support.curve_results import results_of

from quadrat.benchmark.analysis.analyse import analyse
from quadrat.benchmark.analysis.primary import primary_analysis
from quadrat.benchmark.analysis.queries import QueryAnalysis
from quadrat.benchmark.reporting.summary import report_summary
from quadrat.benchmark.reporting.tables.queries import queries_table, query_sentences
from quadrat.benchmark.results.trials import Query, Results

GAINS = {
    "random": 0.0,
    "entropy": 1.0,
    "random dominant": 2.0,
    "entropy dominant": 0.9,
    "random multi-class": -3.0,
    "entropy multi-class": 1.1,
}
CLICKS = (100.0, 200.0, 400.0)


def results(noise: float = 0.3, num_seeds: int = 4) -> Results:
    """Return two strategies x three label types: 40, 45, 50 % and a gain from round 1 on, over equal clicks."""
    rng = np.random.default_rng(5)
    curves = {
        label: {
            seed: (np.array([40.0, 45 + gain, 50 + gain]) + rng.normal(0, noise, 3)).tolist()
            for seed in range(num_seeds)
        }
        for label, gain in GAINS.items()
    }
    found = results_of(curves, pixels=(1.0, 2.0, 4.0), clicks=dict.fromkeys(curves, CLICKS))
    typed = (replace(one, labels=one.label.partition(" ")[2] or "precise") for one in found.trials)  # type: ignore[arg-type]
    return replace(found, trials=tuple(typed))


def query_analysis(suite: Results) -> QueryAnalysis | None:
    return primary_analysis(suite).queries


@pytest.mark.filterwarnings("ignore:The design matrix is rank-deficient")
def test_gains_are_those_of_a_regression_with_a_seed_of_a_strategy_as_block() -> None:
    suite = results()
    found = query_analysis(suite)
    assert found is not None and (found.low, found.high) == (100, 400) and found.reference == Query(16, "precise")
    rows = []
    for trial in suite.trials:
        a, b, c = (100 * record.miou for record in trial.records)
        area = ((a + b) / 2 * 100 + (b + c) / 2 * 200) / 300
        rows.append((trial.label, f"{trial.strategy} {trial.seed}", area))
    frame = pd.DataFrame(rows, columns=["label", "block", "area"])
    for strategy in ("random", "entropy"):
        # All of one strategy's effects, with the blocks of both strategies: the other strategy's labels are nested.
        own = frame.assign(label=[label if label.startswith(strategy) else f"~{label}" for label in frame.label])
        fit = smf.ols(f"area ~ C(label, Treatment('{strategy}')) + C(block)", own).fit()
        for label in GAINS:
            if label.startswith(f"{strategy} "):
                name = f"C(label, Treatment('{strategy}'))[T.{label}]"
                comparison = found.find(label)
                assert comparison is not None and comparison.baseline == strategy
                assert comparison.gain == pytest.approx(
                    frame[frame.label == label].area.mean() - frame[frame.label == strategy].area.mean()
                )
                low, high = fit.conf_int().loc[name]
                assert fit.df_resid == 2 * 3 * 2
                assert (comparison.low, comparison.high) == (
                    pytest.approx(low, rel=0.05),
                    pytest.approx(high, rel=0.05),
                )


def test_strategies_and_queries_are_one_family() -> None:
    suite = results()
    primary = primary_analysis(suite)
    assert primary.queries is not None
    both = [*primary.comparisons, *primary.queries.comparisons]
    assert primary.num_tests == len(both) == 2 * 3 + 4  # entropy of three queries over two costs; four labels
    adjusted = multipletests([one.p_value for one in both], method="holm")[1]
    assert [one.adjusted_p for one in both] == pytest.approx(adjusted.tolist())
    for one in both:
        assert one.simultaneous_low is not None and one.simultaneous_high is not None and one.p_value is not None
        assert (one.simultaneous_low > 0 or one.simultaneous_high < 0) == (one.p_value * 10 < 0.05)


def test_a_strategy_whose_curves_repeat_another_ones_adds_no_evidence() -> None:
    """Under one query strategies share labels and model: in the worst case all errors, as here."""
    suite = results(noise=1.5)
    alone = replace(suite, trials=tuple(trial for trial in suite.trials if trial.strategy == "random"))
    copies = tuple(
        replace(
            trial,
            trial_id=trial.trial_id.replace("random", "entropy"),
            label=trial.label.replace("random", "entropy"),
            strategy="entropy",
            records=tuple(replace(record, label=record.label.replace("random", "entropy")) for record in trial.records),
        )
        for trial in alone.trials
    )
    both = query_analysis(replace(suite, trials=(*alone.trials, *copies)))
    assert both is not None and len(both.comparisons) == 4
    rows = []
    for trial in alone.trials:
        a, b, c = (100 * record.miou for record in trial.records)
        rows.append((trial.label, trial.seed, ((a + b) / 2 * 100 + (b + c) / 2 * 200) / 300))
    fit = smf.ols(
        "area ~ C(label, Treatment('random')) + C(seed)", pd.DataFrame(rows, columns=["label", "seed", "area"])
    ).fit()
    for label in ("random dominant", "random multi-class"):
        found = both.find(label)
        assert found is not None and found.p_value is not None
        assert found.p_value >= fit.pvalues[f"C(label, Treatment('random'))[T.{label}]"] - 1e-12


def test_the_table_and_the_sentences_name_the_best_query_of_each_strategy() -> None:
    found = query_analysis(results())
    assert found is not None
    table = queries_table(found)
    assert table.columns == ("random", "entropy")
    assert [row.label for row in table.rows] == ["16 px", "16 px, dominant", "16 px, multi-class"]
    assert [row.cells[0].is_best for row in table.rows] == [False, True, False]
    for row, kind in zip(table.rows, ("", " dominant", " multi-class"), strict=True):
        for column, strategy in zip(row.cells, table.columns, strict=True):
            assert float(column.text) == pytest.approx(found.areas[f"{strategy}{kind}"], abs=0.006)
    first, second = query_sentences(found)
    assert first.startswith("Over clicks random is highest with 16 px, dominant (") and "significantly better" in first
    assert "entropy is highest with" in second and "significantly better" not in second


def test_a_suite_of_one_query_has_no_such_comparison() -> None:
    one = results_of({"random": {0: [40.0, 50.0]}, "entropy": {0: [41.0, 51.0]}}, pixels=(1.0, 2.0))
    assert query_analysis(one) is None and analyse(one).primary.num_tests == 0


def test_queries_without_common_clicks_are_not_compared() -> None:
    suite = results()
    cheap = {"random dominant": (1.0, 2.0, 3.0)}
    trials = tuple(
        replace(
            trial,
            records=tuple(
                replace(record, clicks=int(cheap[trial.label][place])) for place, record in enumerate(trial.records)
            ),
        )
        if trial.label in cheap
        else trial
        for trial in suite.trials
    )
    assert query_analysis(replace(suite, trials=trials)) is None


def test_the_summary_shows_the_comparison_of_queries() -> None:
    summary = report_summary(results())
    assert summary.queries is not None and summary.queries.name == "queries"
    assert any(sentence.startswith("Over clicks random is highest") for sentence in summary.answer)
