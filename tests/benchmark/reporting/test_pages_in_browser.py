"""The pages in headless Chromium: controls, the address, sorting, links, dark scheme, widths, pictures, print."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from support.browser import BROWSER, Tab, open_browser
from support.fake_results import write_fake_results
from support.paths import ROOT

from quadrat.benchmark.analysis.leaderboard import leaderboard
from quadrat.benchmark.reporting import write_leaderboard, write_report
from quadrat.benchmark.results.trials import read_results

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="no Chromium on the PATH: the pages were NOT tried in a browser"),
]

STRATEGIES = ("random", "entropy", "entropy-spatial")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results") / "fake"
    return write_fake_results(folder, strategies=STRATEGIES, budgets=(12, 24, 48))


@pytest.fixture(scope="module")
def report(results: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(results, tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def board(results: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folders = {"fake": read_results(results)}
    return write_leaderboard(leaderboard(folders), folders, tmp_path_factory.mktemp("board"))


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    with open_browser(tmp_path_factory.mktemp("profile")) as tab:
        yield tab


@pytest.fixture(params=["report", "board"])
def page(request: pytest.FixtureRequest) -> Path:
    """Each of the two pages."""
    found: Path = request.getfixturevalue(request.param)
    return found


def column(tab: Tab, table: str, place: int) -> list[str]:
    """Return the texts of a column of a table by its name, in the order shown, without their small print."""
    return list(
        tab.evaluate(
            f"[...document.querySelector('[aria-labelledby=\"caption-{table}\"] tbody').rows]"
            f".map((row) => row.cells[{place}]).filter(Boolean)"
            ".map((cell) => [...cell.childNodes].filter((node) => node.nodeName !== 'SMALL')"
            ".map((node) => node.textContent).join('').trim())"
        )
    )


def shown(tab: Tab, selector: str) -> list[str]:
    """Return the attribute that a switch looks at, of the boxes that are shown."""
    return list(
        tab.evaluate(
            f"[...document.querySelectorAll('{selector}')].filter((box) => !box.hidden)"
            ".map((box) => box.dataset.cost ?? box.dataset.baseline)"
        )
    )


def test_nothing_is_written_to_the_console(tab: Tab, page: Path) -> None:
    assert tab.open(page).messages == []


def test_one_switch_changes_the_cost_of_tables_heads_and_charts(tab: Tab, report: Path) -> None:
    tab.open(report)
    assert shown(tab, ".by-cost") == ["labelled-fraction"]
    tab.choose("#cost", "clicks")
    assert shown(tab, ".by-cost") == ["clicks"]
    # Of fake results, 5 clicks a region: 60, 120 and 240.
    heads = tab.evaluate(
        "[...document.querySelectorAll('[aria-labelledby=\"caption-miou\"] thead th button')]"
        ".map((head) => head.firstChild.textContent)"
    )
    assert heads == ["strategy", "60", "120", "240"]
    assert tab.evaluate("document.getElementById('second-cost').value") == "labelled-fraction"
    tab.wait_for("document.getElementById('curves-chart').getAttribute('aria-label').includes('over clicks')")
    assert tab.evaluate("location.hash") == "#cost=clicks&second-cost=labelled-fraction"
    assert tab.messages == []


def test_the_baseline_is_chosen_on_the_page(tab: Tab, report: Path) -> None:
    tab.open(report)
    tab.choose("#baseline", "entropy")
    assert shown(tab, ".by-baseline") == ["entropy"]
    assert tab.evaluate("location.hash") == "#baseline=entropy"


def test_the_address_brings_back_what_was_chosen(tab: Tab, report: Path) -> None:
    tab.open(report, "results&cost=clicks&baseline=entropy&hide=entropy-spatial&log=false")
    values = "['cost', 'baseline', 'second-cost'].map((id) => document.getElementById(id).value)"
    assert tab.evaluate(values) == ["clicks", "entropy", "labelled-fraction"]
    boxes = "[...document.querySelectorAll('#shown input')].filter((box) => !box.checked).map((box) => box.value)"
    assert tab.evaluate(boxes) == ["entropy-spatial"]
    assert shown(tab, ".by-cost") == ["clicks"] and shown(tab, ".by-baseline") == ["entropy"]
    top = tab.evaluate("document.getElementById('results').getBoundingClientRect().top")
    assert abs(top) < 120  # below the bar at the top
    tab.evaluate("location.hash = '#cost=regions'")
    tab.wait_for("document.getElementById('cost').value === 'regions'")
    assert tab.evaluate("document.getElementById('baseline').value") == "Random"


def test_an_address_that_names_what_is_not_there_leaves_the_page_as_it_is(tab: Tab, page: Path) -> None:
    tab.open(page, "nowhere&cost=smiles&data-set=%3Cb%3E&baseline=x")
    assert tab.messages == []
    assert tab.evaluate("[...document.querySelectorAll('select')].every((one) => one.value !== 'smiles')")


def test_a_click_on_a_head_sorts_and_another_one_turns_it_round(tab: Tab, report: Path) -> None:
    tab.open(report)
    head = '[aria-labelledby="caption-miou"] thead th:nth-child(4)'
    values = column(tab, "miou", 3)
    numbers = sorted((float(value.split()[0]) for value in values), reverse=True)
    for order, expected in (("descending", numbers), ("ascending", numbers[::-1])):
        tab.click(f"{head} button")
        assert [float(value.split()[0]) for value in column(tab, "miou", 3)] == expected
        assert tab.evaluate(f"document.querySelector('{head}').getAttribute('aria-sort')") == order
        assert column(tab, "miou", 0)[-1] == "full-supervision"


def test_the_leaderboard_sorts_by_rank_and_filters_by_what_is_typed(tab: Tab, board: Path) -> None:
    tab.open(board)
    tab.click('[aria-labelledby="caption-leaderboard"] thead th:nth-child(3) button')
    ranks = [float(value) for value in column(tab, "leaderboard", 2)]
    assert ranks == sorted(ranks, reverse=True) and len(ranks) == 3
    tab.choose("#strategy", "spatial")
    names = (
        "[...document.querySelectorAll('#summary tbody tr')].filter((row) => !row.hidden)"
        ".map((row) => row.cells[0].textContent.trim())"
    )
    assert tab.evaluate(names) == ["entropy-spatial"]
    assert tab.evaluate("document.getElementById('count').textContent") == "1 of 3 strategies"
    assert tab.evaluate("location.hash") == "#strategy=spatial"
    heads = "[...document.querySelectorAll('#wins thead th')].filter((one) => !one.hidden).length"
    assert tab.evaluate(heads) == 2 * 2  # in both matrices the corner and one column


def test_every_link_leads_somewhere(tab: Tab, page: Path) -> None:
    tab.open(page)
    links = tab.evaluate(
        "[...document.querySelectorAll('a[href]')].filter((one) => !one.closest('.vega-embed'))"
        ".map((one) => one.getAttribute('href'))"
    )
    inner = [link[1:] for link in links if link.startswith("#")]
    files = [unquote(link) for link in links if not link.startswith("#")]
    assert len(inner) >= 5 and len(files) >= 5
    assert [link for link in inner if not tab.evaluate(f"!!document.getElementById({json.dumps(link)})")] == []
    assert [link for link in files if not (page.parent / link).is_file()] == []
    tab.click("nav a:nth-of-type(3)")
    tab.wait_for("scrollY > 200")
    assert tab.evaluate("location.hash") == links[2]


def luminance(colour: str) -> float:
    """Return the relative luminance of a CSS colour `rgb(...)`, WCAG 2.1."""
    parts = [float(part) / 255 for part in colour.split("(")[1].rstrip(")").split(",")[:3]]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(first: str, second: str) -> float:
    high, low = sorted((luminance(first), luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("is_dark", [False, True], ids=["light", "dark"])
def test_texts_can_be_read_in_both_schemes(tab: Tab, page: Path, is_dark: bool) -> None:
    """The contrast that WCAG 2.1 asks for, 4.5, of texts and links on their ground."""
    tab.open(page, is_dark=is_dark)
    ground = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (luminance(ground) < 0.1) == is_dark
    selectors = ["body", ".headline", ".caption", ".caveats", "nav a", "td small", "th[scope=row]", ".controls label"]
    colours: dict[str, Any] = tab.evaluate(
        f"Object.fromEntries({json.dumps(selectors)}.map((one) => [one, document.querySelector(one)])"
        ".filter(([, found]) => found).map(([one, found]) => [one, getComputedStyle(found).color]))"
    )
    assert len(colours) >= 6
    assert {one: colour for one, colour in colours.items() if contrast(colour, ground) < 4.5} == {}


@pytest.mark.parametrize("width", [390, 1366, 2560])
def test_nothing_but_wide_tables_is_wider_than_the_window(tab: Tab, page: Path, width: int) -> None:
    tab.open(page, width=width)
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    outside = tab.evaluate(
        "[...document.querySelectorAll('main *, header *')]"
        ".filter((one) => !one.closest('.scroll') && one.getClientRects().length && one.checkVisibility())"
        f".filter((one) => one.getBoundingClientRect().right > {width} + 1 && !one.closest('svg'))"
        ".map((one) => one.outerHTML.slice(0, 120))"
    )
    assert outside == []
    if width == 2560:
        assert tab.evaluate("document.querySelector('main').getBoundingClientRect().width") > 2000


def test_no_text_of_a_chart_or_menu_is_cut_on_a_phone(tab: Tab, page: Path) -> None:
    tab.open(page, width=390)
    cut = tab.evaluate(
        "[...document.querySelectorAll('.chart svg')].flatMap((svg) => [...svg.querySelectorAll('text')]"
        ".filter((one) => one.textContent && one.getBoundingClientRect().right > svg.getBoundingClientRect().right + 1)"
        ".map((one) => one.textContent))"
    )
    assert cut == []
    wider = tab.evaluate(
        "[...document.querySelectorAll('select')].filter((one) => one.checkVisibility()).flatMap((one) => {"
        " const pen = document.createElement('canvas').getContext('2d'); pen.font = getComputedStyle(one).font;"
        " return [...one.options].map((option) => option.text)"
        ".filter((text) => pen.measureText(text).width > one.clientWidth - 28); })"
    )
    assert wider == []


def test_tables_on_a_phone_keep_the_names_of_their_rows_in_sight(tab: Tab, page: Path) -> None:
    tab.open(page, width=390)
    left = tab.evaluate(
        "(() => { const box = [...document.querySelectorAll('.scroll')].find((one) => one.scrollWidth > one.clientWidth"
        " + 40); box.scrollLeft = 30; const head = box.querySelector('tbody th');"
        " return [head.getBoundingClientRect().left - box.getBoundingClientRect().left,"
        " head.getBoundingClientRect().width / box.clientWidth]; })()"
    )
    assert left[0] == pytest.approx(0, abs=1) and left[1] < 0.55


def test_a_picture_is_enlarged_by_click_and_by_key(tab: Tab, report: Path) -> None:
    tab.open(report)
    is_open = "document.getElementById('enlarged').open"
    tab.evaluate("document.querySelector('figure > svg').dispatchEvent(new MouseEvent('click', { bubbles: true }))")
    assert tab.evaluate(is_open)
    tab.evaluate("document.querySelector('dialog figure').click()")
    assert not tab.evaluate(is_open)
    tab.evaluate("document.querySelector('figure > svg').focus()")
    tab.press("Enter")
    tab.wait_for(is_open)


def test_charts_tables_and_controls_have_names_for_a_screen_reader(tab: Tab, page: Path) -> None:
    tab.open(page)
    nameless = tab.evaluate(
        "[...document.querySelectorAll('.chart, table[aria-labelledby], .scroll[role], nav, select, input')]"
        ".filter((one) => { const by = one.getAttribute('aria-labelledby');"
        " const label = one.getAttribute('aria-label') || (by && document.getElementById(by)?.textContent)"
        " || (one.labels && [...one.labels].map((label) => label.textContent).join(''));"
        " return !label || !label.trim(); }).map((one) => one.outerHTML.slice(0, 120))"
    )
    assert nameless == []


A4_PX = round((210 - 2 * 14) / 25.4 * 96)
"""Between the margins of the style, at 96 pixels an inch."""


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of results with fourteen strategies, whose tables are the widest."""
    return write_report(ROOT / "results" / "camvid-cpu", tmp_path_factory.mktemp("many"))


@pytest.mark.parametrize(("name", "width"), [("many", 1366), ("many", 2560), ("board", 1366)])
def test_nothing_is_wider_than_the_paper_and_no_control_is_on_it(
    request: pytest.FixtureRequest, tab: Tab, name: str, width: int
) -> None:
    tab.open(request.getfixturevalue(name), width=width).emulate_print(A4_PX)
    too_wide = tab.evaluate(
        f"[...document.querySelectorAll('body *')].filter((one) => one.getBoundingClientRect().right > {A4_PX} + 1"
        " && !one.parentElement.closest('svg')).map((one) => one.outerHTML.slice(0, 80))"
    )
    assert too_wide == []
    controls = "nav, select, input, dialog, .files, .vega-embed summary"
    assert tab.evaluate(f"[...document.querySelectorAll('{controls}')].filter((one) => one.offsetParent).length") == 0


def test_what_is_folded_up_is_printed_too(tab: Tab, report: Path) -> None:
    tab.open(report)
    assert tab.evaluate("[...document.querySelectorAll('details')].some((one) => !one.open)")
    tab.emulate_print(A4_PX)
    assert tab.evaluate("[...document.querySelectorAll('details')].every((one) => one.open)")


def test_the_pages_become_a_pdf_of_several_pages(tab: Tab, page: Path) -> None:
    pdf = tab.open(page).print()
    assert pdf.startswith(b"%PDF-") and len(re.findall(rb"/Type\s*/Page\b", pdf)) > 1
