"""Results in a notebook: the numbers of the records, short texts, and figures."""

import json
import statistics
from pathlib import Path

import pytest
from support.fake_results import write_fake_results

import quadrat
from quadrat.benchmark.errors import ResultsError, SuiteError
from quadrat.benchmark.reporting.tables.cells import Cell, Row, Table

LABELS = ("random", "entropy", "core-set")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "fake"
    return write_fake_results(folder, strategies=LABELS, has_pool=False, num_rounds={("entropy", 2): 3})


@pytest.fixture(scope="module")
def lines(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]


def test_names_are_offered_and_the_version_is_that_of_the_distribution() -> None:
    offered = {name for name in dir(quadrat) if not name.startswith("_")}
    assert offered == {"Figure", "QuadratError", "SuiteResults", "Summary", "load", "run", "strategies", "trial"}
    for name in offered:
        assert getattr(quadrat, name) is not None
    assert "__version__" in dir(quadrat)
    assert quadrat.__version__[0].isdigit()
    assert "load" in (quadrat.__doc__ or "")
    with pytest.raises(AttributeError, match="no attribute 'lood'"):
        _ = quadrat.lood  # type: ignore[attr-defined]
    with pytest.raises(quadrat.QuadratError, match="nowhere: expected a results folder"):
        quadrat.load("nowhere")


def test_the_frame_has_a_row_for_each_record(folder: Path, lines: list[dict[str, object]]) -> None:
    frame = quadrat.load(folder).frame()
    assert len(frame) == len(lines)
    found = {(row.trial_id, row.round): (row.miou, row.clicks) for row in frame.itertuples()}
    assert found == {(line["trial_id"], line["round"]): (line["miou"], line["clicks"]) for line in lines}
    assert {"iou sky", "iou bicyclist", "s fit"} <= set(frame.columns)
    assert not {"iou", "seconds", "usage"} & set(frame.columns)


def test_curves_are_means_over_seeds(folder: Path, lines: list[dict[str, object]]) -> None:
    curves = quadrat.load(folder).curves(cost="clicks")
    row = curves[(curves.label == "entropy") & (curves["round"] == 3)].iloc[0]
    last = [line for line in lines if line["label"] == "entropy" and line["round"] == 3]
    assert row.seeds == len(last) == 2  # the third seed has three rounds
    miou = [100 * line["miou"] for line in last]  # type: ignore[operator]
    assert row["mean"] == pytest.approx(statistics.mean(miou))
    assert row["std"] == pytest.approx(statistics.stdev(miou))
    assert (row.low, row.high) == pytest.approx((min(miou), max(miou)))
    assert row.clicks == pytest.approx(statistics.mean(line["clicks"] for line in last))  # type: ignore[misc]
    sky = quadrat.load(folder).curves("iou sky")
    first = [100 * line["iou"][0] for line in lines if line["label"] == "random" and line["round"] == 0]  # type: ignore[index]
    assert sky.iloc[0]["mean"] == pytest.approx(statistics.mean(first))


def test_texts_are_short(folder: Path) -> None:
    results = quadrat.load(folder)
    assert repr(results).endswith("11 of 12 trials complete; 3 strategies, 3 seeds, 4 rounds")
    assert repr(results.summary()).startswith(results.summary().headline)
    assert "<th>core-set</th>" in results._repr_html_()


def test_labels_are_text_in_html() -> None:
    row = Row(label="<b>mine", cells=(Cell(text="<i>1", note="<u>2"),))
    table = Table(corner="strategy", columns=("<s>gain",), rows=(row,))
    summary = quadrat.Summary(headline="<p>", answer=(), gains=table, findings=(), caveats=())
    page = summary._repr_html_()
    for text in ("<b>mine", "<i>1", "<u>2", "<s>gain", "<p><p>"):
        assert text not in page
    assert "&lt;b&gt;mine" in page


def test_figures_are_saved(folder: Path, tmp_path: Path) -> None:
    figure = quadrat.load(folder).plot(cost="clicks")
    figure.save(tmp_path / "curves.svg")
    assert "entropy" in (tmp_path / "curves.svg").read_text()
    assert {"image/svg+xml", "text/plain"} < set(figure._repr_mimebundle_())
    with pytest.raises(ResultsError, match=r"ends in .svg, .pdf, .png or .json, got 'curves.jpg'"):
        figure.save("curves.jpg")


def test_mistakes_are_one_sentence(folder: Path, tmp_path: Path) -> None:
    results = quadrat.load(folder)
    with pytest.raises(ResultsError, match="expected a metric, one of miou, pixel-accuracy, iou sky"):
        results.curves("mious")
    with pytest.raises(ResultsError, match="expected a cost, one of regions"):
        results.curves(cost="euros")
    with pytest.raises(ResultsError, match="no such folder"):
        quadrat.load(tmp_path / "nowhere")
    with pytest.raises(SuiteError, match="Did you mean quickstart"):
        quadrat.load("quickstrat")


def test_the_results_of_a_suite_are_found_from_folders_below(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = folder.parent / "project"
    below = root / "notebooks" / "deep"
    below.mkdir(parents=True)
    monkeypatch.delenv("QUADRAT_RESULTS", raising=False)
    monkeypatch.chdir(below)
    with pytest.raises(ResultsError, match=r"results of suite 'quickstart' .* `quadrat run quickstart` makes them"):
        quadrat.load("quickstart")
    (root / "results" / "runs").mkdir(parents=True)
    (root / "results" / "runs" / "quickstart").symlink_to(folder)
    assert quadrat.load("quickstart").path.samefile(folder)
    monkeypatch.setenv("QUADRAT_RESULTS", str(folder.parent / "elsewhere"))
    with pytest.raises(ResultsError, match=r"\(\$QUADRAT_RESULTS\)"):
        quadrat.load("quickstart")
