import csv
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock, Timeout
from support.fake_results import CLASSES, STRATEGIES, write_fake_results

from quadrat.benchmark.analysis.measures import MIOU
from quadrat.benchmark.errors import ResultsError
from quadrat.benchmark.reporting import page, write_report
from quadrat.benchmark.reporting.files import _remove_earlier, write_files
from quadrat.benchmark.reporting.tables.results import budget_table
from quadrat.benchmark.results.trials import read_results
from quadrat.benchmark.storage.atomic import atomic_write

FEW: dict[str, Any] = {"strategies": ("random", "entropy", "entropy-spatial"), "budgets": (12, 24, 48)}


class _Page(HTMLParser):
    """The text of a page and its references."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.words: list[str] = []
        self.style = ""
        self._inside = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = tag
        for name, value in attrs:
            if name in ("src", "href", "xlink:href", "action", "srcset", "poster", "data"):
                self.links.append(value or "")
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


def page_of(folder: Path) -> _Page:
    return _Page(write_report(folder).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_fake_results(tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def html(whole: Path) -> str:
    return write_report(whole).read_text(encoding="utf-8")


def test_files_of_an_earlier_report_are_removed_and_those_of_the_user_stay(tmp_path: Path) -> None:
    folder = tmp_path / "files"
    for names in (["one", "two"], ["two"]):
        kept = {f"{name}.csv" for name in names}
        for name in kept:
            atomic_write(folder / name, b"table")
        atomic_write(folder / "own.csv", b"of the user")
        _remove_earlier(folder, kept)
    assert sorted(path.name for path in folder.iterdir()) == ["own.csv", "two.csv"]
    (tmp_path / "files.json").write_text('["../own", "own.csv"')  # damaged: nothing is removed
    _remove_earlier(folder, set())
    assert sorted(path.name for path in folder.iterdir()) == ["own.csv", "two.csv"]


def test_what_a_killed_report_left_is_removed_and_two_reports_take_turns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "report"
    (folder / "files").mkdir(parents=True)
    for name in (".index.html.00000000-1-89abcdef.tmp", "files/.miou.csv.00000000-2-89abcdef.tmp"):
        (folder / name).write_text("half")  # of another machine, for all we know
    inside: list[bool] = []

    def write(*arguments: object) -> tuple[str, ...]:
        inside.append(not list(folder.rglob(".*.tmp")))
        with pytest.raises(Timeout):
            FileLock(folder / ".lock").acquire(timeout=0)
        return ()

    monkeypatch.setattr(page, "write_files", write)
    monkeypatch.setattr(page, "_render", lambda *arguments: "page")
    write_report(write_fake_results(tmp_path, **FEW))
    assert inside == [True]
    assert sorted(path.name for path in folder.rglob("*")) == ["files", "index.html"]


@pytest.mark.slow
def test_figures_and_tables_lie_beside_the_page_for_papers(whole: Path, html: str) -> None:
    assert html.startswith("<!doctype html>")
    assert {path.name for path in (whole / "report").iterdir()} == {"index.html", "files", "files.json"}
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


def test_a_page_that_is_sent_alone_links_no_file(whole: Path, html: str, tmp_path: Path) -> None:
    page = write_report(whole, tmp_path / "alone", page_only=True)
    assert [path.name for path in page.parent.iterdir()] == ["index.html"]
    links = r'<a href="(?!#)([^"]*)"'
    assert not any(link.startswith("files/") for link in re.findall(links, page.read_text(encoding="utf-8")))
    assert any(link.startswith("files/") for link in re.findall(links, html))


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


def test_page_refers_to_itself_and_to_the_files_beside_it(whole: Path, html: str) -> None:
    page = _Page(html)
    beside = [link for link in page.links if not link.startswith(("#", "data:"))]
    assert all(link.startswith("files/") and (whole / "report" / link).is_file() for link in beside)
    written = {f"files/{path.name}" for path in (whole / "report" / "files").iterdir()}
    assert set(beside) == written  # every file is linked
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


@pytest.mark.slow
def test_embedded_data_survive_hostile_names(tmp_path: Path) -> None:
    folder = write_fake_results(tmp_path, **FEW, seeds=(0,))
    for name in ("suite.json", "records.jsonl"):
        path = folder / name
        text = re.sub(r', "checksum": "[^"]*"', "", path.read_text())
        path.write_text(text.replace('"label": "entropy"', '"label": "</script><b>x"'), encoding="utf-8")
    html = write_report(folder).read_text(encoding="utf-8")
    assert "</script><b>x" not in html
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.S)
    assert data is not None
    labels = {row["label"] for row in json.loads(data.group(1))["curves"]["datasets"]["means"]}
    assert "</script><b>x" in labels


def test_differences_are_drawn_against_a_line_at_zero(html: str) -> None:
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.S)
    assert data is not None
    charts = json.loads(data.group(1))["differences"]
    assert list(charts) == ["Random", *STRATEGIES]  # the first is what the page shows until another is chosen
    for chart in charts.values():
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


@pytest.mark.slow
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
    page = page_of(folder)
    assert {"curves-chart", "second-curves-chart", "gains-chart", "gallery-seed"} & page.ids
    assert "no pair of strategies has p" not in page.text  # two seeds are not tested


def test_report_is_written_before_the_first_record(tmp_path: Path) -> None:
    nothing = {(label, seed): 0 for label in (*STRATEGIES, "full-supervision") for seed in (0, 1, 2)}
    page = page_of(write_fake_results(tmp_path, num_rounds=nothing))
    assert "27 of 27 trials are failed or missing" in page.text
    assert "no record of any strategy" in page.text


def test_damaged_selection_is_named(tmp_path: Path) -> None:
    folder = write_fake_results(tmp_path, **FEW, seeds=(0,))
    (folder / "selections" / "random-s0" / "round-1.npz").write_bytes(b"PK")
    with pytest.raises(ResultsError, match=r"round-1\.npz: expected a selection"):
        write_report(folder)


@pytest.mark.slow
def test_page_says_that_the_packed_pool_is_gone(tmp_path: Path) -> None:
    folder = write_fake_results(tmp_path, **FEW, seeds=(0,))
    shutil.rmtree(folder / "cache")
    page = page_of(folder)
    assert "the packed images are not there any more" in page.text
    assert "gallery-seed" not in page.ids


def test_no_label_is_a_formula_in_the_numbers_of_the_curves(tmp_path: Path) -> None:
    folder = write_fake_results(tmp_path / "results", strategies=("random", "entropy"), seeds=(0,))
    for name in ("suite.json", "records.jsonl"):
        text = (folder / name).read_text().replace('"label": "entropy"', '"label": "=1+1"')
        (folder / name).write_text(re.sub(r', "checksum": "\w+"', "", text))
    write_files(tmp_path / "files", {}, (), read_results(folder), (MIOU,))
    labels = {line.partition(",")[0] for line in (tmp_path / "files" / "learning-curves.csv").read_text().splitlines()}
    assert "'=1+1" in labels and "=1+1" not in labels
