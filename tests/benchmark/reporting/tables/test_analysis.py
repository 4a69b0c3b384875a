"""Tables of the analysis: label efficiency, penalty matrix, pairs."""

from pathlib import Path

import pytest
from support.fake_results import write_fake_results

from quadrat.benchmark.analysis.analyse import Analysis, analyse
from quadrat.benchmark.analysis.measures import FRACTION
from quadrat.benchmark.reporting.tables.analysis import (
    label_efficiency_table,
    pairs_table,
    penalty_table,
    shares_won_table,
)
from quadrat.benchmark.results.trials import Results, read_results

STRATEGIES = ("random", "core-set", "entropy-spatial")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    folder: Path = tmp_path_factory.mktemp("analysis")
    return read_results(write_fake_results(folder, strategies=STRATEGIES, seeds=(0, 1, 2, 3, 4), noise=0.02))


@pytest.fixture(scope="module")
def found(results: Results) -> Analysis:
    return analyse(results, FRACTION)


def test_summary_has_one_row_per_strategy_and_marks_the_best_area_and_rank(found: Analysis) -> None:
    table = label_efficiency_table(found)
    assert table.columns == (
        "AUBC",
        "AUBC minus Random's",
        "cost to 90 %",
        "cost to 95 %",
        "cost to 99 %",
        "cost to match Random, % of Random's",
        "mean rank",
    )
    rows = {row.label: row.cells for row in table.rows}
    assert list(rows) == list(STRATEGIES)
    assert [cells[0].is_best for cells in rows.values()] == [False, False, True]
    assert [cells[6].text for cells in rows.values()] == ["2.0", "3.0", "1.0"]
    assert rows["entropy-spatial"][6].is_best
    assert rows["entropy-spatial"][1].is_best and not rows["core-set"][1].is_best
    assert rows["core-set"][1].text.startswith("\N{MINUS SIGN}")
    assert rows["core-set"][5].text == "not reached"
    assert rows["core-set"][5].note.startswith("\N{GREATER-THAN OR EQUAL TO} ")


def test_costs_are_those_of_the_analysis_with_their_intervals(found: Analysis) -> None:
    cell = {row.label: row.cells for row in label_efficiency_table(found).rows}["entropy-spatial"][2]
    cost = found.cost_to_target("entropy-spatial", 0.90)
    assert cost is not None
    assert cell.text == f"{cost.cost:.0f} %"
    assert cost.interval is not None
    assert cell.note == f"{cost.interval.low:.0f} % to {cost.interval.high:.0f} %"


def test_row_of_the_penalty_matrix_is_better_than_the_column(found: Analysis) -> None:
    table = penalty_table(found)
    cells = {row.label: dict(zip(table.columns, (cell.text for cell in row.cells), strict=True)) for row in table.rows}
    assert cells["entropy-spatial"] == {"random": "100", "core-set": "100", "entropy-spatial": ""}
    assert cells["core-set"] == {"random": "0", "core-set": "", "entropy-spatial": "0"}
    assert cells["penalty (mean of column)"] == {"random": "50", "core-set": "100", "entropy-spatial": "0"}
    assert [cell.is_best for cell in table.rows[-1].cells] == [False, False, True]


def test_pairs_name_the_higher_one_first_largest_difference_on_top(found: Analysis) -> None:
    table = pairs_table(found)
    assert table is not None
    rows = table.rows
    assert [(row.label, row.cells[0].text) for row in rows] == [
        ("entropy-spatial", "core-set"),
        ("entropy-spatial", "random"),
        ("random", "core-set"),
    ]
    assert all(row.cells[1].text.startswith("+") for row in rows)


def test_one_seed_gives_costs_without_intervals_and_no_penalty(tmp_path: Path) -> None:
    alone = analyse(read_results(write_fake_results(tmp_path, strategies=STRATEGIES, seeds=(0,))), FRACTION)
    notes = {cell.note for row in label_efficiency_table(alone).rows for cell in row.cells}
    assert notes == {""}
    assert alone.penalty.num_tests == 0
    pairs = pairs_table(alone)
    assert pairs is not None and pairs.rows == ()


def test_shares_won_are_in_percent_and_empty_on_the_diagonal(found: Analysis) -> None:
    table = shares_won_table(found)
    cells = {row.label: dict(zip(table.columns, (cell.text for cell in row.cells), strict=True)) for row in table.rows}
    assert cells["entropy-spatial"] == {"random": "100", "core-set": "100", "entropy-spatial": ""}
    assert cells["core-set"]["entropy-spatial"] == "0"
