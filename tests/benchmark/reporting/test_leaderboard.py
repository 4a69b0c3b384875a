"""The page of several results folders: sentences, tables, files, and filters in a browser."""

import csv
import json
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from support.curve_results import results_of
from support.fake_results import write_fake_results

from quadrat.benchmark.analysis.leaderboard import leaderboard
from quadrat.benchmark.errors import QuadratError
from quadrat.benchmark.reporting.leaderboard import leaderboard_text
from quadrat.benchmark.reporting.leaderboard_sentences import (
    leaderboard_caveats,
    leaderboard_headline,
    leaderboard_ranks,
)
from quadrat.benchmark.reporting.tables.leaderboard import leaderboard_tables
from quadrat.benchmark.results.trials import Results, read_results
from quadrat.cluster.cli.leaderboard import folder_names

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def flat(data_set: str, **values: float) -> Results:
    results = results_of({label: {0: (value, value)} for label, value in values.items()}, pixels=(1, 3))
    return replace(
        results,
        dataset={
            **results.dataset,
            "title": data_set,
            "pool": {"fingerprint": data_set},
            "test": {"fingerprint": data_set},
        },
    )


def test_nothing_is_called_significant_where_nothing_can_be_tested() -> None:
    folders = {str(n): flat(f"set {n}", random=10, x=20 + n) for n in range(3)}
    found = leaderboard(folders)
    assert leaderboard_headline(found) == (
        "Nothing can be tested over data sets: the ranked strategies are on 3 (set 0, set 1 and set 2), and 7 are "
        "needed before 2 corrected comparisons with Random can have p < 0.05. All of this is exploratory."
    )
    texts = [leaderboard_headline(found), *leaderboard_ranks(found), *leaderboard_caveats(found, folders)]
    assert not any("significant" in text for text in texts)


def test_a_claim_needs_the_test_over_data_sets() -> None:
    folders = {str(n): flat(f"set {n}", random=10, x=20 + n) for n in range(7)}
    found = leaderboard(folders)
    assert leaderboard_headline(found) == (
        "Over 7 data sets, over labelled pixels x is significantly better than Random; over clicks x is significantly "
        "better than Random."
    )
    assert any(
        "smallest p 0.031 (x, +13.00 over labelled pixels)" in one for one in leaderboard_caveats(found, folders)
    )


def test_settings_of_one_data_set_and_other_machines_are_said() -> None:
    folders = {"a": flat("one", random=10, x=20), "b": flat("one", random=10, x=20), "c": flat("one", random=1, x=2)}
    folders["a"].environment["commit"] = "1" * 40  # type: ignore[index]
    for trial in folders["c"].trials:
        for record in trial.records:
            object.__setattr__(record, "picks_digest", "9" * 64)
    caveats = leaderboard_caveats(leaderboard(folders), folders)
    assert any(caveat.startswith("2 of 2 ranked settings are on one: they share images") for caveat in caveats)
    assert any("pools 2 folders of 2 commits (111111111111 and unknown)" in one for one in caveats)


def test_strategies_that_were_named_by_hand_are_said_to_be() -> None:
    folders = {"a": flat("one", random=10, x=20, y=30)}
    by_rule, by_hand = (leaderboard_caveats(leaderboard(folders, names), folders) for names in ((), ("random", "y")))
    assert any(caveat.startswith("Ranked are the strategies of most settings") for caveat in by_rule)
    assert any(caveat.startswith("The ranked strategies were named by hand (--strategy)") for caveat in by_hand)
    assert not any(caveat.startswith("Which strategies") for caveat in by_hand)


def test_a_matrix_of_many_strategies_is_cut_and_says_so() -> None:
    folders = {"a": flat("one", random=10, **{f"x{n:02d}": 11 + n / 100 for n in range(60)})}
    table = leaderboard_tables(leaderboard(folders), folders)["shares-won-clicks"]
    assert len(table.table.rows) == len(table.table.columns) == 40
    assert "The first 40 of 61 strategies" in table.caption


def test_folders_are_named_by_what_tells_them_apart(tmp_path: Path) -> None:
    paths: list[Path | str] = [tmp_path / "a" / "run", tmp_path / "b" / "run", "s3://me:secret@bucket/other"]
    assert folder_names(paths) == ["a/run", "b/run", "other"]
    with pytest.raises(QuadratError, match=r"expected each results folder once, got .*run 2 times"):
        folder_names([tmp_path / "run", tmp_path / "run"])


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    base = tmp_path_factory.mktemp("results")
    first = write_fake_results(base / "first", strategies=("random", "entropy", "entropy-spatial"), has_pool=False)
    second = write_fake_results(base / "second", strategies=("random", "core-set"), region_size=8, has_pool=False)
    described = json.loads((second / "suite.json").read_text())
    described["dataset"]["title"] = "<b>other</b>"
    (second / "suite.json").write_text(json.dumps(described))
    return first, second


@pytest.fixture(scope="module")
def page(folders: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    from click.testing import CliRunner

    from quadrat.cluster.cli.main import cli

    out = tmp_path_factory.mktemp("leaderboard")
    result = CliRunner().invoke(cli, ["leaderboard", *map(str, folders), "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("Nothing can be tested over data sets")
    assert result.stdout.splitlines()[-1] == str(out / "index.html")
    return out / "index.html"


def test_eight_strategies_fit_on_a_screen_of_80_by_24(tmp_path: Path) -> None:
    names = ["random", "entropy", "entropy-random", "core-set", "feature-spatial", "entropy-feature"]
    names += ["entropy-spatial", "entropy-feature-spatial"]
    folders = {"fake": read_results(write_fake_results(tmp_path, strategies=names, noise=0.02, has_pool=False))}
    found = leaderboard(folders)
    lines = leaderboard_text(found, folders, 80).splitlines()
    assert len(lines) < 23 and max(map(len, lines)) <= 80  # besides the path of the page and the prompt
    ranks = {line.name: f"{line.scores['clicks'].rank:.2f}" for line in found.standings}
    rows = {line.split()[0]: line.split()[1:] for line in lines if " of 1 " in line and line.split()[0] in ranks}
    assert len(rows) == 8 and {name: row[4] for name, row in rows.items()} == ranks
    assert any("on the page" in line for line in lines)
    assert "supervision" in leaderboard_text(found, folders)  # where there is room, the table is whole


@pytest.mark.slow
def test_the_page_is_one_file_that_loads_nothing(page: Path) -> None:
    html = page.read_text()
    assert "default-src 'none'" in html and "<b>other</b>" not in html.replace("\\u003cb", "")
    links = re.findall(r"""(?:src|href)\s*=\s*["']([^"']+)""", html)
    files = [link for link in links if not link.startswith(("#", "data:"))]
    assert files and all((page.parent / link).is_file() for link in files)
    assert "files/leaderboard.csv" in files and "files/areas-by-seed.csv" in files


@pytest.mark.slow
def test_every_number_is_in_a_csv_beside_it(page: Path) -> None:
    with (page.parent / "files" / "areas-by-seed.csv").open() as file:
        rows = list(csv.DictReader(file))
    # Two costs x (3 strategies x 3 seeds in the first folder + 2 x 3 in the second).
    assert len(rows) == 2 * (9 + 6)
    assert {row["cost"] for row in rows} == {"labelled-fraction", "clicks"}
    with (page.parent / "files" / "leaderboard.csv").open() as file:
        heads, *lines = list(csv.reader(file))
    assert heads[:4] == ["strategy", "settings", "mean rank (labelled pixels)", "mean rank (clicks)"]
    assert {line[0] for line in lines} == {"random", "entropy", "entropy-spatial", "core-set"}


class _Rows(HTMLParser):
    """Collects the text of the first cell of the rows of a table's body that are not hidden."""

    def __init__(self, caption: str) -> None:
        super().__init__()
        self.rows: list[str] = []
        self._caption = f"caption-{caption}"
        self._is_in = self._is_head = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "table":
            self._is_in = given.get("aria-labelledby") == self._caption
        elif tag == "tr" and self._is_in:
            self._is_hidden = "hidden" in given
        elif tag == "th" and self._is_in and given.get("scope") == "row" and not self._is_hidden:
            self._is_head = True
            self.rows.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag == "th":
            self._is_head = False
        elif tag == "table":
            self._is_in = False

    def handle_data(self, data: str) -> None:
        if self._is_head:
            self.rows[-1] = (self.rows[-1] + data).strip()


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no Chromium on the PATH: the page was NOT tried in a browser")
@pytest.mark.parametrize(
    ("chosen", "standings", "areas"),
    [
        ("", ["random", "entropy-spatial", "entropy", "core-set"], 5),
        ("strategy=ENTROPY spat", ["entropy-spatial"], 1),
        ("data-set=<b>other</b>", ["random", "core-set"], 2),
        ("settings&data-set=tiny&strategy=random", ["random"], 1),
    ],
)
def test_in_a_browser_the_address_filters_the_rows(
    page: Path, tmp_path: Path, chosen: str, standings: list[str], areas: int
) -> None:
    from urllib.parse import quote

    assert BROWSER is not None
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=2000"]
    address = f"{page.as_uri()}#{quote(chosen, safe='&=')}"
    command = [BROWSER, *options, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", address]
    dom = subprocess.run(command, capture_output=True, text=True, check=True, timeout=50).stdout
    found = _Rows("leaderboard")
    found.feed(dom)
    assert sorted(found.rows) == sorted(standings)
    of_settings = _Rows("areas")
    of_settings.feed(dom)
    assert len(of_settings.rows) == areas
