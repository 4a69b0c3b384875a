"""What the READMEs say of results follows from the committed records, by the commands that they name."""

from support.paths import ROOT
from support.results_tables import PAGE, with_parts

from quadrat.benchmark.reporting.readme import END, START, results_block
from quadrat.benchmark.results.trials import read_results

CAMVID = ROOT / "results/camvid-cpu"


def test_the_landing_page_shows_what_the_records_say() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = text[text.index(START) + len(START) + 1 : text.index(END)]
    assert shown == results_block(read_results(CAMVID), ROOT, CAMVID / "report/index.html"), (
        "quadrat report results/camvid-cpu --readme README.md"
    )


def test_the_tables_of_the_results_page_are_those_of_the_records() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page == with_parts(page), "cd tests && python -m support.results_tables"
