"""The paper's own numbers beside ours: in the right suite, in the right row, in the right column."""

import json
from pathlib import Path
from typing import Any

import pytest
from support.fake_results import write_fake_results

from quadrat.benchmark.reporting import write_report
from quadrat.benchmark.reporting.tables.cells import NamedTable
from quadrat.benchmark.reporting.tables.paper import PAPER_TABLES, beside_paper
from quadrat.benchmark.results.trials import read_results

BUDGETS = (6, 12, 24, 48, 96, 144)


def fake_with(folder: Path, paper: str | None, **changes: Any) -> Path:
    settings: dict[str, Any] = {"budgets": BUDGETS, "seeds": (0, 1), **changes}
    write_fake_results(folder, **settings)
    path = folder / "suite.json"
    described = json.loads(path.read_text(encoding="utf-8"))
    if paper is not None:
        described["suite"]["paper"] = paper
    path.write_text(json.dumps(described), encoding="utf-8")
    return folder


def texts_of(beside: NamedTable) -> dict[str, list[str]]:
    return {row.label: [cell.text for cell in row.cells] for row in beside.table.rows}


def test_every_table_of_the_paper_has_a_number_for_each_of_its_five_budgets() -> None:
    assert {table.key for table in PAPER_TABLES} == {
        "V-A/cityscapes",
        "V-A/voc",
        "V-E/cityscapes",
        "V-E/voc",
        "V-F",
        "V-G",
    }
    for table in PAPER_TABLES:
        for numbers in table.rows.values():
            means = [mean for mean, _ in numbers]
            assert len(means) == 5 and means == sorted(means)


def test_piece_wise_and_max_min_are_one_run_of_the_paper() -> None:
    tables = {table.key: table.rows for table in PAPER_TABLES}
    for data in ("cityscapes", "voc"):
        assert tables[f"V-A/{data}"]["piece-wise"] == tables[f"V-E/{data}"]["max-min"]


def test_our_row_stands_above_the_papers_and_the_gain_below_both(tmp_path: Path) -> None:
    folder = fake_with(tmp_path, "V-A/cityscapes", strategies=("linear", "piece-wise"))
    (beside,) = beside_paper(read_results(folder))
    texts = texts_of(beside)
    assert list(texts) == [
        "linear",
        "paper: linear",
        "piece-wise",
        "paper: piece-wise",
        "gain of piece-wise",
        "paper: gain of piece-wise",
    ]
    assert texts["paper: linear"][0] == "44.54 (5.56)" and texts["paper: piece-wise"][4] == "72.72 (0.78)"
    assert texts["paper: gain of piece-wise"][0] == "+6.62"
    ours = {label: [float(text.split()[0]) for text in texts[label]] for label in ("linear", "piece-wise")}
    gains = [float(text.replace("\N{MINUS SIGN}", "-")) for text in texts["gain of piece-wise"]]
    assert gains == pytest.approx([b - a for a, b in zip(*ours.values(), strict=True)], abs=0.011)


def test_other_budgets_are_matched_by_round_and_the_caption_says_so(tmp_path: Path) -> None:
    folder = fake_with(tmp_path, "V-A/cityscapes", strategies=("linear", "piece-wise"), budgets=(6, 12, 24))
    (beside,) = beside_paper(read_results(folder))
    assert "columns are matched by round" in beside.caption
    assert beside.table.columns == ("2k", "4k", "8k", "16k", "32k")
    assert beside.table.subheads == ("ours: 12", "ours: 24", "", "", "")
    assert texts_of(beside)["linear"][2:] == ["\N{EN DASH}"] * 3


def test_budgets_of_the_paper_are_matched_by_their_number_of_regions(tmp_path: Path) -> None:
    folder = fake_with(tmp_path, "V-E/cityscapes", strategies=("max-sum", "max-min"))
    path = folder / "suite.json"
    described = json.loads(path.read_text(encoding="utf-8"))
    described["suite"]["budgets"] = [1000, 4000, 8000, 16000, 32000, 64000]
    described["suite"]["dataset"]["name"] = "cityscapes"
    path.write_text(json.dumps(described), encoding="utf-8")
    (beside,) = beside_paper(read_results(folder))
    assert beside.table.subheads == ("", "ours: 4,000", "ours: 8,000", "ours: 16,000", "ours: 32,000")
    assert texts_of(beside)["max-min"][0] == "\N{EN DASH}"


def test_the_main_comparison_shows_images_and_cumulative_selection_time(tmp_path: Path) -> None:
    folder = fake_with(tmp_path, "V-F", strategies=("random", "entropy", "core-set", "entropy-spatial"))
    images, seconds = beside_paper(read_results(folder))
    assert list(texts_of(images)) == [
        "random",
        "paper: random",
        "entropy",
        "paper: entropy",
        "entropy-spatial",
        "paper: entropy-spatial",
    ]
    assert texts_of(images)["paper: random"] == ["1,460", "2,197", "2,784", "2,964", "2,975"]
    assert texts_of(seconds)["paper: entropy"] == ["3.92", "7.9", "13.5", "29.6", "71.6"]
    assert texts_of(seconds)["entropy"][0] == "0.48"  # 0.16 s in round 0, 0.32 s in round 1


@pytest.mark.parametrize("paper", [None, "", "V-B", "I", "V-A/voc"])
def test_suites_that_repeat_no_table_or_hold_none_of_its_rows_show_none(tmp_path: Path, paper: str | None) -> None:
    folder = fake_with(tmp_path, paper, strategies=("random", "entropy"), seeds=(0,))
    assert beside_paper(read_results(folder)) == ()


@pytest.mark.slow
def test_the_page_shows_the_papers_rows_and_writes_them_beside_it(tmp_path: Path) -> None:
    folder = fake_with(tmp_path, "V-A/voc", strategies=("linear", "piecewise"), seeds=(0,))
    html = write_report(folder).read_text(encoding="utf-8")
    assert "paper: linear" in html and "52.48 (0.67)" in html and "paper: piece-wise" in html
    assert "60.05 (0.38)" in (folder / "report" / "files" / "paper-v-a-voc.csv").read_text(encoding="utf-8")
