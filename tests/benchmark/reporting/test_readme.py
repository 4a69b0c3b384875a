"""The results block of a README: made from records, never by hand."""

from pathlib import Path

import pytest
from click.testing import CliRunner
from support.fake_results import write_fake_results

from quadrat.benchmark.errors import ResultsError
from quadrat.benchmark.reporting.readme import END, START, results_block, update_readme
from quadrat.benchmark.results.publish import CURVES, GAINS, publish
from quadrat.benchmark.results.trials import read_results
from quadrat.cluster.cli.main import cli


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_fake_results(
        tmp_path_factory.mktemp("repo") / "results", strategies=("random", "entropy"), budgets=(12, 24)
    )


@pytest.mark.slow
def test_command_replaces_what_is_between_the_markers_and_nothing_else(folder: Path) -> None:
    readme = folder.parent / "README.md"
    readme.write_text(f"# mine\n{START}\nfrom last year\n{END}\nafter\n", encoding="utf-8")
    for _ in range(2):  # doing it twice changes nothing
        done = CliRunner().invoke(cli, ["report", str(folder), "--readme", str(readme)])
        assert done.exit_code == 0, done.output
        text = readme.read_text(encoding="utf-8")
        assert text.startswith(f"# mine\n{START}\n**") and text.endswith(f"{END}\nafter\n")
        assert "from last year" not in text and text.count("| random |") == 1
    links = (
        "report/index.html",
        "report/files/learning-curves-labelled-fraction.svg",
        "report/files/gains.svg",
        "records.jsonl",
    )
    for link in links:
        assert f"(results/{link})" in text
        assert (folder / link).is_file()


def test_block_holds_headline_table_and_how_it_was_made(folder: Path) -> None:
    block = results_block(read_results(folder), folder.parent, folder / "report" / "index.html")
    assert "mean (std) over 3 seeds" in block
    assert "`quadrat run fake`, commit `0123456789ab`, 2 CPU cores" in block
    header, rule, *rows = [line for line in block.splitlines() if line.startswith("|")]
    assert header.startswith("| strategy | 12<br>") and rule == "|---|---|---|"
    assert [row.split(" |")[0] for row in rows] == ["| random", "| entropy", "| full-supervision"]


def test_readme_without_markers_is_refused_and_left_alone(folder: Path, tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"{END} {START}", encoding="utf-8")
    with pytest.raises(ResultsError, match="expected the markers"):
        update_readme(readme, folder, folder / "report" / "index.html")
    assert readme.read_text(encoding="utf-8") == f"{END} {START}"


def test_results_without_a_record_have_no_block(tmp_path: Path) -> None:
    nothing = {(label, 0): 0 for label in ("random", "full-supervision")}
    empty = write_fake_results(tmp_path, strategies=("random",), seeds=(0,), num_rounds=nothing)
    with pytest.raises(ResultsError, match="run the suite first"):
        results_block(read_results(empty), tmp_path, tmp_path / "index.html")


def test_block_shows_the_figure_of_a_published_folder_where_there_is_one(folder: Path, tmp_path: Path) -> None:
    publish(folder, tmp_path / "published")
    for name in (CURVES, GAINS):
        (tmp_path / "published" / name).write_text("<svg/>", encoding="utf-8")
    page = tmp_path / "published" / "report" / "index.html"
    block = results_block(read_results(tmp_path / "published"), tmp_path, page)
    assert f"](published/{CURVES})" in block and f"](published/{GAINS})" in block
