"""Tables of label diversity: entropy of the labelled classes, and their shares."""

from dataclasses import replace

import pytest
from support.fake_results import CLASSES, write_fake_results

from quadrat.benchmark.reporting.tables.contents import tables_of
from quadrat.benchmark.reporting.tables.diversity import (
    class_share_table,
    diversity_table,
    has_diversity,
    has_wrong_labels,
)
from quadrat.benchmark.results.trials import Results, read_results

STRATEGIES = ("random", "core-set", "entropy-spatial")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return read_results(write_fake_results(tmp_path_factory.mktemp("diversity"), strategies=STRATEGIES, has_pool=False))


def test_label_diversity_has_the_pool_as_its_last_row(results: Results) -> None:
    table = diversity_table(results)
    assert has_diversity(results)
    assert [row.label for row in table.rows] == [*STRATEGIES, "full-supervision"]
    assert table.rows[-1].is_full_supervision
    last = {row.label: float(row.cells[-1].text.split()[0]) for row in table.rows}
    assert last["entropy-spatial"] > last["random"]  # the fake labels of entropy strategies are more even


def test_class_shares_sum_to_a_hundred_percent(results: Results) -> None:
    table = class_share_table(results)
    assert [row.label for row in table.rows] == list(CLASSES)
    for place in range(len(table.columns)):
        assert sum(float(row.cells[place].text) for row in table.rows) == pytest.approx(100, abs=2.5)


def test_right_labels_are_shown_where_some_are_wrong(results: Results) -> None:
    assert not has_wrong_labels(results)
    names = list(tables_of(results, []))
    records = {
        trial.trial_id: tuple(replace(one, label_accuracy=0.9) for one in trial.records) for trial in results.trials
    }
    wrong = replace(results, trials=tuple(replace(trial, records=records[trial.trial_id]) for trial in results.trials))
    found = tables_of(wrong, [])
    assert sorted(found) == sorted([*names, "label-accuracy"])
    assert {cell.text for row in found["label-accuracy"].table.rows for cell in row.cells} == {"90.0 (0.0)"}
