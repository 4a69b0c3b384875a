"""The evidence as tables: what stands in which cell, which way a matrix is read, what is said where little is known."""

from pathlib import Path

import pytest
from support.fake_results import CLASSES, write_fake_results

from quadrat.benchmark.analysis.measures import FRACTION
from quadrat.benchmark.analysis.summary import Evidence, evidence
from quadrat.benchmark.reporting.tables.analysis import pairs_table, penalty_table, summary_table
from quadrat.benchmark.reporting.tables.diversity import class_share_table, diversity_table, has_diversity
from quadrat.benchmark.results.trials import Results, read_results

STRATEGIES = ("random", "core-set", "entropy-spatial")


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Results:
    folder: Path = tmp_path_factory.mktemp("evidence")
    return read_results(write_fake_results(folder, strategies=STRATEGIES, seeds=range(5), noise=0.02))


@pytest.fixture(scope="module")
def found(results) -> Evidence:
    return evidence(results, FRACTION)


def test_summary_has_one_row_per_strategy_and_marks_the_best_area_and_rank(found):
    table = summary_table(found)
    assert table.columns == (
        "AUBC",
        "AUBC against Random",
        "90 % of full",
        "95 % of full",
        "99 % of full",
        "labels needed, Random = 100 %",
        "mean rank",
    )
    rows = {row.label: row.cells for row in table.rows}
    assert list(rows) == list(STRATEGIES)
    assert [cells[0].is_best for cells in rows.values()] == [False, False, True]
    assert [cells[6].text for cells in rows.values()] == ["2.0", "3.0", "1.0"]
    assert rows["entropy-spatial"][6].is_best
    assert rows["entropy-spatial"][1].is_best and not rows["core-set"][1].is_best
    assert rows["core-set"][1].text.startswith("\N{MINUS SIGN}")
    assert rows["core-set"][5].text == "never there"


def test_costs_are_those_of_the_evidence_with_their_intervals(found):
    cell = {row.label: row.cells for row in summary_table(found).rows}["entropy-spatial"][2]
    reach = found.reach_of("entropy-spatial", 0.90)
    assert cell.text == f"{reach.cost:.0f} %"
    assert cell.note == f"{reach.low:.0f} % to {reach.high:.0f} %"


def test_row_of_the_penalty_matrix_beats_the_column(found):
    table = penalty_table(found)
    cells = {row.label: dict(zip(table.columns, (cell.text for cell in row.cells), strict=True)) for row in table.rows}
    assert cells["entropy-spatial"] == {"random": "100", "core-set": "100", "entropy-spatial": ""}
    assert cells["core-set"] == {"random": "0", "core-set": "", "entropy-spatial": "0"}
    assert cells["mean: how often beaten"] == {"random": "50", "core-set": "100", "entropy-spatial": "0"}
    assert [cell.is_best for cell in table.rows[-1].cells] == [False, False, True]


def test_pairs_name_the_better_one_first_largest_difference_on_top(found):
    rows = pairs_table(found).rows
    assert [(row.label, row.cells[0].text) for row in rows] == [
        ("entropy-spatial", "core-set"),
        ("entropy-spatial", "random"),
        ("random", "core-set"),
    ]
    assert all(row.cells[1].text.startswith("+") for row in rows)


def test_label_diversity_has_the_pool_as_its_last_row(results):
    table = diversity_table(results)
    assert has_diversity(results)
    assert [row.label for row in table.rows] == [*STRATEGIES, "full-supervision"]
    assert table.rows[-1].is_full_supervision
    last = {row.label: float(row.cells[-1].text.split()[0]) for row in table.rows}
    assert last["entropy-spatial"] > last["random"]  # the fake labels of entropy strategies are more even


def test_class_shares_sum_to_a_hundred_percent(results):
    table = class_share_table(results)
    assert [row.label for row in table.rows] == list(CLASSES)
    for place in range(len(table.columns)):
        assert sum(float(row.cells[place].text) for row in table.rows) == pytest.approx(100, abs=2.5)


def test_one_seed_gives_costs_without_intervals_and_no_penalty(tmp_path):
    alone = evidence(read_results(write_fake_results(tmp_path, strategies=STRATEGIES, seeds=(0,))), FRACTION)
    notes = {cell.note for row in summary_table(alone).rows for cell in row.cells}
    assert notes == {""}
    assert alone.penalty.num_tests == 0
    assert pairs_table(alone).rows == ()
