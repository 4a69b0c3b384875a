import csv
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.fake_results import CLASSES, STRATEGIES, write_fake_results

from quadrat.benchmark.errors import ResultsError
from quadrat.benchmark.reporting import write_report
from quadrat.benchmark.reporting.figures.gallery import Gallery, choose_images, draw_gallery
from quadrat.benchmark.reporting.figures.pictures import (
    Unavailable,
    cells_path,
    open_pool,
    read_selections,
)
from quadrat.benchmark.reporting.summary import report_summary
from quadrat.benchmark.reporting.tables.results import budget_table, class_table, share_table, time_table
from quadrat.benchmark.results.trials import read_results

FEW: dict[str, Any] = {"strategies": ("random", "entropy", "entropy-spatial"), "budgets": (12, 24, 48)}


class _Page(HTMLParser):
    """What a page shows and what it refers to."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.full_supervision: list[str] = []
        self.ids: set[str] = set()
        self.words: list[str] = []
        self.style = ""
        self._inside = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = tag
        for name, value in attrs:
            if name in ("src", "href", "xlink:href", "action", "srcset", "poster", "data"):
                self.full_supervision.append(value or "")
            if name == "id":
                self.ids.add(value or "")

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "style":
            self.style += data
        elif self._inside != "script":
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


def gallery_of(folder: Path, num_images: int = 4) -> Gallery | Unavailable:
    results = read_results(folder)
    return draw_gallery(results, read_selections(results), open_pool(results), num_images)


def page_of(folder: Path) -> _Page:
    return _Page(write_report(folder).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_fake_results(tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def html(whole: Path) -> str:
    return write_report(whole).read_text(encoding="utf-8")


def test_figures_and_tables_lie_beside_the_page_for_papers(whole: Path, html: str) -> None:
    assert html.startswith("<!doctype html>")
    assert {path.name for path in (whole / "report").iterdir()} == {"index.html", "files"}
    files = {path.name for path in (whole / "report" / "files").iterdir()}
    costs = ("regions", "labelled-fraction", "clicks", "images-opened")
    assert {"miou.csv", "miou.tex", *(f"learning-curves-{cost}.svg" for cost in costs)} <= files
    assert {Path(name).stem for name in files if name.endswith(".svg")} == {
        Path(name).stem for name in files if name.endswith(".pdf")
    }
    assert {Path(name).stem for name in files if name.endswith(".tex")} == {
        Path(name).stem for name in files if name.endswith(".csv")
    } - {"learning-curves"}
    assert (whole / "report" / "files" / "learning-curves-regions.pdf").read_bytes().startswith(b"%PDF")
    assert "<svg" in (whole / "report" / "files" / "learning-curves-regions.svg").read_text(encoding="utf-8")


def test_numbers_behind_the_curves_are_those_of_the_table(whole: Path, html: str) -> None:
    with (whole / "report" / "files" / "learning-curves.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["metric"] == "miou" and row["strategy"] == "entropy"]
    cells = next(row.cells for row in budget_table(read_results(whole)).rows if row.label == "entropy")
    assert [f"{float(row['mean']):.2f} ({float(row['std']):.2f})" for row in rows] == [cell.text for cell in cells]


def test_report_goes_where_it_is_told(tmp_path: Path) -> None:
    folder = write_fake_results(tmp_path / "run", **FEW, seeds=(0,))
    assert write_report(folder, tmp_path / "elsewhere") == tmp_path / "elsewhere" / "index.html"
    assert not (folder / "report").exists()


def test_page_has_every_section_with_trials_first(html: str) -> None:
    assert re.findall(r'<section id="(\w+)">', html) == [
        "trials",
        "summary",
        "setup",
        "curves",
        "results",
        "efficiency",
        "comparisons",
        "classes",
        "selections",
        "labels",
        "provenance",
    ]


def test_page_refers_to_nothing_outside_itself(html: str) -> None:
    page = _Page(html)
    assert page.full_supervision
    assert [reference for reference in page.full_supervision if not reference.startswith(("#", "data:"))] == []
    assert "url(" not in page.style and "@import" not in page.style
    assert "default-src 'none'" in html  # and the browser holds the scripts to it


def test_page_stays_below_three_megabytes(html: str) -> None:
    assert len(html.encode()) < 3_000_000


def test_page_names_what_was_run(html: str) -> None:
    text = _Page(html).text
    for fact in ("12 images", "324 regions of 16 px", "12, 24, 48, 96 labelled", "commit 0123456789abcdef", "2 cores"):
        assert fact in text
    for label in (*STRATEGIES, *CLASSES):
        assert label in text


def test_embedded_data_survive_hostile_names(tmp_path: Path) -> None:
    folder = write_fake_results(tmp_path, **FEW, seeds=(0,))
    for name in ("suite.json", "records.jsonl"):
        path = folder / name
        path.write_text(path.read_text().replace('"label": "entropy"', '"label": "</script><b>x"'), encoding="utf-8")
    html = write_report(folder).read_text(encoding="utf-8")
    assert "</script><b>x" not in html
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.S)
    assert data is not None
    labels = {row["label"] for row in json.loads(data.group(1))["curves"]["datasets"]["means"]}
    assert "</script><b>x" in labels


def test_differences_are_drawn_against_a_line_at_zero(html: str) -> None:
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.S)
    assert data is not None
    chart = json.loads(data.group(1))["differences"]
    named = {layer["data"]["name"] for layer in chart["layer"] if "data" in layer}
    assert named <= chart["datasets"].keys()
    assert [{"zero": 0}] in chart["datasets"].values()


def test_failed_and_missing_trials_come_first_with_what_happened(tmp_path: Path) -> None:
    folder = write_fake_results(
        tmp_path,
        **FEW,
        num_rounds={("entropy", 1): 2, ("random", 2): 0, ("entropy-spatial", 0): 1},
        failed={("entropy", 1): "TrainingError: loss is nan"},
    )
    text = page_of(folder).text
    assert "3 of 12 trials are failed or missing" in text
    assert text.index("TrainingError: loss is nan") < text.index("Summary", text.index("trials are failed"))
    assert "not run yet" in text
    assert "2 of 3 seeds" in text


def test_a_failed_trial_that_was_finished_later_counts_as_done(tmp_path: Path) -> None:
    folder = write_fake_results(tmp_path, **FEW, seeds=(0,), failed={("entropy", 0): "OSError: gone"})
    assert {trial.state for trial in read_results(folder).trials} == {"done"}


def test_a_trial_that_exhausted_the_pool_is_done(tmp_path: Path) -> None:
    folder = write_fake_results(tmp_path, **FEW, seeds=(0,), num_rounds={("random", 0): 2})
    path = folder / "records.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        line["exhausted"] = line["label"] == "random" and line["round"] == 1
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    assert {trial.state for trial in read_results(folder).trials} == {"done"}
    assert any(
        "The pool ran out" in caveat and "random" in caveat for caveat in report_summary(read_results(folder)).caveats
    )


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"strategies": ("random",)}, id="one strategy"),
        pytest.param({"strategies": ("entropy", "core-set")}, id="no random"),
        pytest.param({"seeds": (5,)}, id="one seed"),
        pytest.param({"has_full_supervision": False}, id="no full supervision"),
        pytest.param({"budgets": (12,)}, id="one round"),
        pytest.param({"num_rounds": {("random", 0): 2, ("entropy", 1): 1}}, id="unequal numbers of rounds"),
        pytest.param({"absent": (2, 5)}, id="absent classes"),
        pytest.param({"has_pool": False}, id="no selections"),
        pytest.param({"num_rounds": {("full-supervision", seed): 0 for seed in (0, 1)}}, id="full supervision missing"),
    ],
)
def test_report_is_written_for_incomplete_results(tmp_path: Path, changes: dict[str, Any]) -> None:
    folder = write_fake_results(tmp_path, **{**FEW, "seeds": (0, 1), **changes})
    assert {"curves-chart", "gallery-seed"} & page_of(folder).ids


def test_report_is_written_before_the_first_record(tmp_path: Path) -> None:
    nothing = {(label, seed): 0 for label in (*STRATEGIES, "full-supervision") for seed in (0, 1, 2)}
    page = page_of(write_fake_results(tmp_path, num_rounds=nothing))
    assert "27 of 27 trials are failed or missing" in page.text
    assert "no record of any strategy" in page.text


def test_folder_that_holds_no_results_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match=r"expected a results folder with suite\.json.*quadrat run"):
        write_report(tmp_path)
    with pytest.raises(ResultsError, match="no such folder"):
        write_report(tmp_path / "nowhere")


def test_damaged_suite_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "suite.json").write_text("{", encoding="utf-8")
    with pytest.raises(ResultsError, match=r"suite\.json: expected JSON"):
        write_report(tmp_path)


def test_damaged_selection_is_named(tmp_path: Path) -> None:
    folder = write_fake_results(tmp_path, **FEW, seeds=(0,))
    (folder / "selections" / "random-s0" / "round-1.npz").write_bytes(b"PK")
    with pytest.raises(ResultsError, match=r"round-1\.npz: expected a selection"):
        write_report(folder)


def test_records_of_trials_outside_the_suite_are_counted_and_left_out(tmp_path: Path) -> None:
    folder = write_fake_results(tmp_path, **FEW, seeds=(0,))
    path = folder / "suite.json"
    described = json.loads(path.read_text())
    described["trials"] = [trial for trial in described["trials"] if trial["label"] != "entropy"]
    path.write_text(json.dumps(described), encoding="utf-8")
    results = read_results(folder)
    assert results.num_foreign_records == 3
    assert "entropy" not in results.labels


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


def test_gallery_shows_the_same_images_for_every_strategy_and_seed(whole: Path) -> None:
    gallery = gallery_of(whole, num_images=3)
    assert isinstance(gallery, Gallery)
    assert gallery.labels == STRATEGIES
    places = {(drawing.label, drawing.seed, drawing.picture) for drawing in gallery.drawings}
    assert places == {(label, seed, picture) for label in STRATEGIES for seed in (0, 1, 2) for picture in range(3)}


def test_gallery_draws_every_selected_region_of_an_image(whole: Path) -> None:
    gallery = gallery_of(whole)
    assert isinstance(gallery, Gallery)
    drawing = next(drawing for drawing in gallery.drawings if drawing.label == "entropy" and drawing.seed == 1)
    index = gallery.pictures[drawing.picture].index
    expected = sum(
        int((np.load(path)["image"] == index).sum()) for path in (whole / "selections" / "entropy-s1").glob("*.npz")
    )
    assert drawing.num_regions == expected
    assert sum(path.count("M") for path in drawing.paths.values()) == expected


def test_page_says_that_the_packed_pool_is_gone(tmp_path: Path) -> None:
    folder = write_fake_results(tmp_path, **FEW, seeds=(0,))
    shutil.rmtree(folder / "cache")
    page = page_of(folder)
    assert "the packed images are not there any more" in page.text
    assert "gallery-seed" not in page.ids


def test_selected_regions_are_not_drawn_over_another_pool(tmp_path: Path) -> None:
    folder = write_fake_results(tmp_path, **FEW, seeds=(0,))
    path = folder / "suite.json"
    described = json.loads(path.read_text())
    described["dataset"]["pool"]["fingerprint"] = "f" * 64
    path.write_text(json.dumps(described), encoding="utf-8")
    gallery = gallery_of(folder)
    assert isinstance(gallery, Unavailable)
    assert "not those that these results were computed from" in gallery.reason


def test_images_are_chosen_apart_from_each_other() -> None:
    counts = np.array([0, 9, 8, 8, 1, 0, 0, 0, 0])
    assert choose_images(counts, 3) == [1, 3]
    assert choose_images(counts, 20) == [1, 2, 3, 4]


def test_cells_are_clipped_at_the_border() -> None:
    assert cells_path([0, 3], [1, 5], 16, 60, 90) == "M16,0h16v16h-16zM80,48h10v12h-10z"
