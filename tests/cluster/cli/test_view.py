"""The page of a running folder: served to this machine alone, written again when records come."""

import http.client
import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest
from support.browser import BROWSER, open_browser
from support.fake_results import write_fake_results

from quadrat.benchmark.errors import QuadratError, ResultsError
from quadrat.benchmark.reporting import write_report
from quadrat.benchmark.storage.atomic import atomic_write
from quadrat.cluster.cli import view
from quadrat.cluster.cli.view import Site, open_server, watch


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ThreadingHTTPServer]:
    site = Site(tmp_path / "site")
    site.report.mkdir(parents=True)
    (site.report / "index.html").write_text("<p>the report")
    (site.folder / "secret").write_text("not of the report")
    server = open_server(site, 0)
    server.site = site  # type: ignore[attr-defined]  # for the tests
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def get(server: ThreadingHTTPServer, path: str, host: str | None = None, method: str = "GET") -> tuple[int, str, str]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    connection.request(method, path, headers={} if host is None else {"Host": host})
    answer = connection.getresponse()
    return answer.status, answer.getheader("Content-Security-Policy") or "", answer.read().decode()


def test_frame_state_and_report_are_served(server: ThreadingHTTPServer) -> None:
    status, policy, page = get(server, "/")
    assert status == 200 and "<iframe" in page and policy.startswith("default-src 'none'")
    assert get(server, "/view.js")[0] == get(server, "/view.css")[0] == 200
    assert json.loads(get(server, "/state.json")[2])["version"] == 0
    assert get(server, "/report/index.html?x=1")[2] == "<p>the report"


@pytest.mark.parametrize("path", ["/secret", "/report/", "/report", "/report/../secret", "/report/%2e%2e/secret", "/x"])
def test_nothing_else_is(server: ThreadingHTTPServer, path: str) -> None:
    status, _, body = get(server, path)
    assert "not of the report" not in body
    assert status == 404
    assert get(server, path, method="HEAD")[0] == 405


def test_pages_of_other_sites_read_nothing(server: ThreadingHTTPServer) -> None:
    assert get(server, "/state.json", "evil.example:8501")[0] == 403
    assert get(server, "/report/index.html", "127.0.0.1.evil.example")[0] == 403
    assert get(server, "/state.json", "localhost:8501")[0] == 200


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no Chromium on the PATH: the page was NOT tried in a browser")
def test_records_that_come_appear_on_the_open_page_and_what_is_chosen_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(view, "_REST", 0.0)
    folder = write_fake_results(tmp_path / "running", strategies=("random", "entropy"), budgets=(12, 24))
    records = folder / "records.jsonl"
    lines = records.read_text().splitlines(keepends=True)
    records.write_text("".join(lines[:-1]))
    site, over = Site(tmp_path / "site"), threading.Event()
    server = open_server(site, 0)
    watching = threading.Thread(
        target=watch, args=(site, lambda: folder, write_report, str), kwargs={"poll_s": 0.2, "is_over": over.is_set}
    )
    serving = threading.Thread(target=server.serve_forever)
    for thread in (watching, serving):
        thread.start()
    report = "document.getElementById('page')?.contentDocument"
    drawn = f"{report} && {report}.documentElement && Number({report}.documentElement.dataset.drawnMs || 0)"
    try:
        with open_browser(tmp_path / "profile") as tab:
            tab.visit(f"http://127.0.0.1:{server.server_port}/#results&cost=clicks")
            tab.wait_for(drawn)
            assert "1 of" in tab.evaluate(f"{report}.querySelector('div.alarm').textContent")
            with records.open("a") as file:
                file.write(lines[-1])
            tab.wait_for(f"{drawn} && !{report}.querySelector('div.alarm')")
            assert tab.evaluate(f"{report}.getElementById('cost').value") == "clicks"
            assert tab.evaluate("location.hash") == "#results&cost=clicks"
            assert tab.messages == []
    finally:
        over.set()
        server.shutdown()
        for thread in (watching, serving):
            thread.join()
        server.server_close()


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no Chromium on the PATH: the page was NOT tried in a browser")
def test_in_a_browser_the_report_is_loaded_into_the_frame(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    """The frame's script runs under its own policy, and keeps what the address says of the report."""
    assert BROWSER is not None
    server.site.version, server.site.text = 3, "2/4 trials"  # type: ignore[attr-defined]
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=4000"]
    address = f"http://127.0.0.1:{server.server_port}/#cost=clicks"
    command = [BROWSER, *options, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", address]
    page = subprocess.run(command, capture_output=True, text=True, check=True, timeout=50).stdout
    assert ">2/4 trials</p>" in page
    assert 'src="report/index.html#cost=clicks"' in page


def test_a_port_that_is_taken_is_named(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    with pytest.raises(QuadratError, match=f"expected a free port, got {server.server_port}"):
        open_server(Site(tmp_path), server.server_port)


def until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.005)


def test_it_is_written_again_when_records_come_and_only_then(tmp_path: Path) -> None:
    folder, site, over, written = tmp_path / "runs", Site(tmp_path / "site"), threading.Event(), []
    faults: list[Exception] = []
    looks: list[int] = []

    def fetch() -> Path:
        looks.append(site.version)
        if faults:
            raise faults[0]
        return folder

    def run() -> None:
        watch(
            site,
            fetch,
            lambda source, out: written.append((source / "records.jsonl").read_text()),
            lambda source: "going",
            poll_s=0.002,
            is_over=over.is_set,
        )

    folder.mkdir()
    (folder / "records.jsonl").write_text("")
    thread = threading.Thread(target=run)
    thread.start()
    try:
        until(lambda: len(looks) > 3)
        assert written == []  # no suite.json yet
        atomic_write(folder / "suite.json", b"{}")
        until(lambda: site.version == 1)
        until(lambda: looks.count(1) > 5)
        assert site.version == 1
        faults.append(ResultsError("the storage is away"))
        until(lambda: "the storage is away" in site.text)
        faults.clear()
        atomic_write(folder / "records.jsonl", b"one\n")
        until(lambda: site.version == 2 and site.text == "going")
        assert written == ["", "one\n"]
    finally:
        over.set()
        thread.join()


@pytest.mark.slow
def test_the_page_is_that_of_the_report(tmp_path: Path) -> None:
    folder = write_fake_results(tmp_path / "runs", strategies=("random", "entropy"), has_pool=False)
    site = Site(tmp_path / "site")
    watch(site, lambda: folder, write_report, lambda source: "", poll_s=0.0, is_over=lambda: site.version == 1)
    assert (site.report / "index.html").read_bytes() == write_report(folder, tmp_path / "alone").read_bytes()
    assert not (folder / "report").exists()
