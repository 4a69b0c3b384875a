"""Tables of results: which mean is best, shares of full supervision, absent classes, selection time."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.fake_results import write_fake_results

from quadrat.benchmark.analysis.measures import CLICKS, FRACTION, REGIONS
from quadrat.benchmark.reporting.tables.results import (
    budget_table,
    class_table,
    round_heads,
    share_table,
    time_table,
)
from quadrat.benchmark.results.trials import read_results

FEW: dict[str, Any] = {"strategies": ("random", "entropy", "entropy-spatial"), "budgets": (12, 24, 48)}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_fake_results(tmp_path_factory.mktemp("whole"))


def test_best_mean_is_bold_and_round_zero_never_is(whole: Path) -> None:
    table = budget_table(read_results(whole))
    rows = [row for row in table.rows if not row.is_full_supervision]
    assert not any(row.cells[0].is_best for row in rows)
    means = [float(row.cells[-1].text.split()[0]) for row in rows]
    assert [row.cells[-1].is_best for row in rows] == [mean == max(means) for mean in means]


def test_mean_over_fewer_seeds_is_not_called_best(tmp_path: Path) -> None:
    folder = write_fake_results(tmp_path, **FEW, num_rounds={("entropy-spatial", 0): 1}, noise=0.0)
    rows = {row.label: row.cells for row in budget_table(read_results(folder)).rows}
    assert rows["entropy-spatial"][2].note == "2 of 3 seeds"
    assert not rows["entropy-spatial"][2].is_best
    assert rows["entropy"][2].is_best


def test_share_of_full_supervision_is_the_ratio_of_the_means(whole: Path) -> None:
    results = read_results(whole)
    table = share_table(results)
    assert table is not None
    full = np.mean([record.miou for record in results.full_supervision])
    random = np.mean([record.miou for record in results.records if (record.label, record.round) == ("random", 3)])
    assert table.rows[0].cells[3].text == f"{100 * random / full:.1f}"


def test_absent_class_has_no_number(tmp_path: Path) -> None:
    folder = write_fake_results(tmp_path, **FEW, absent=(2,))
    rows = {row.label: row for row in class_table(read_results(folder)).rows}
    assert {cell.text for cell in rows["pole"].cells} == {"\N{EN DASH}"}
    assert all(cell.shade is not None for cell in rows["road"].cells)


def test_selection_time_has_the_sum_over_rounds_last(whole: Path) -> None:
    table = time_table(read_results(whole))
    assert table.columns[-1] == "all rounds"
    assert [cell.text for cell in table.rows[0].cells] == ["0.14", "0.28", "0.56", "1.1", "2.1"]


def test_column_heads_are_ranges_where_the_strategies_means_differ(whole: Path) -> None:
    results = read_results(whole)
    first = results.labels[0]

    def spent(label: str, seed: int) -> tuple[float, int]:
        return (0.01 + 0.001 * (seed - 1), 1500) if label == first else (0.02, 1500)  # the mean of seeds 0, 1, 2: 1 %

    trials = []
    for trial in results.trials:
        records = []
        for record in trial.records:
            fraction, clicks = spent(record.label, record.seed)
            records.append(replace(record, labelled_fraction=fraction, clicks=clicks))
        trials.append(replace(trial, records=tuple(records)))
    changed = replace(results, trials=tuple(trials))
    rounds = results.num_rounds
    assert round_heads(changed, FRACTION) == ("1.0 to 2.0 %",) * rounds
    assert round_heads(changed, CLICKS) == ("1,500",) * rounds
    assert round_heads(changed, REGIONS) == tuple(f"{budget:,}" for budget in results.suite["budgets"])
