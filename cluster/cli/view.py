"""The command `view`: serve the report of results on this machine, written again as records come."""

import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import click

from quadrat.cluster.cli.console import pasteable
from quadrat.cluster.cli.options import results_argument
from quadrat.cluster.cli.places import local_copy

__all__ = ["COMMANDS", "Site", "open_server", "watch"]

_HOST: Final = "127.0.0.1"
_POLL_S: Final = {"folder": 2.0, "url": 20.0}
_REST: Final = 4.0
"""Pause after a page, in times that it took to write it: the run beside it has the processor."""
_FILES: Final = ("suite.json", "records.jsonl", "failures.jsonl", "study/records.jsonl", "study/study.json")
_REPORT: Final = "report"

_PAGE: Final = b"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>quadrat view</title>
<link rel="stylesheet" href="view.css">
</head>
<body>
<p id="state" role="status">starting</p>
<iframe id="page" title="report"></iframe>
<script src="view.js"></script>
</body>
</html>
"""
_STYLE: Final = b"""html, body { height: 100%; margin: 0; color-scheme: light dark; font: 14px/1.4 Arial, sans-serif; }
body { display: flex; flex-direction: column; }
#state { margin: 0; padding: .3em 1em; border-bottom: 1px solid #8888; }
#page { flex: 1; border: 0; width: 100%; }
"""
_SCRIPT: Final = b"""// The report in a frame, loaded again when it was written again; its state stays in the address.
"use strict";
const frame = document.getElementById("page"), state = document.getElementById("state");
let version = 0;
async function look() {
  try {
    const found = await (await fetch("state.json", { cache: "no-store" })).json();
    state.textContent = found.text;
    document.title = found.title;
    if (found.version !== version) {
      if (version) frame.contentWindow.location.reload();
      else frame.src = "report/index.html" + location.hash;
      version = found.version;
    }
  } catch (error) {
    state.textContent = "quadrat view has ended; the page is that of its last look";
  }
  if (version) {
    const hash = frame.contentWindow.location.hash;
    if (hash !== location.hash) history.replaceState(null, "", hash || location.pathname);
  }
}
setInterval(look, 1000);
look();
"""
_OWN: Final = {
    "/": (_PAGE, "text/html; charset=utf-8"),
    "/view.css": (_STYLE, "text/css; charset=utf-8"),
    "/view.js": (_SCRIPT, "text/javascript; charset=utf-8"),
}
_POLICY: Final = "default-src 'none'; frame-src 'self'; connect-src 'self'; script-src 'self'; style-src 'self'"


@click.command()
@results_argument()
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8501, show_default=True, help="Port on 127.0.0.1; 0: a free one"
)
def view(results: Path | str, port: int) -> None:
    """Serve the report of results until Ctrl-C, up to date.

    The page is written again as records come, in a folder of its own: nothing is written to the results. It is the one
    that the run writes at its end.
    """
    from quadrat.benchmark.reporting import write_report
    from quadrat.cluster.cli.extras import require_extras

    require_extras(["report"], what="quadrat view")
    with tempfile.TemporaryDirectory(prefix="quadrat-view-") as folder:
        site = Site(Path(folder))
        server = open_server(site, port)
        click.echo(f"http://{_HOST}:{server.server_port}/\n(Ctrl-C ends it)")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        poll_s = _POLL_S["folder" if isinstance(results, Path) else "url"]
        fetch = partial(local_copy, results, "selections", "previews")
        try:
            watch(site, fetch, lambda source, out: write_report(source, out), partial(_say, results), poll_s=poll_s)
        except KeyboardInterrupt:
            pass
        finally:
            server.shutdown()
    sys.exit(0)


class Site:
    """What is served: a folder with the report, and one line on the run.

    Args:
        folder: An empty folder; the report lies in `report` inside it.

    Attributes:
        version: Number of times that the report was written; 0 before the first.
        text: The line.
        title: Title of the page.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.version = 0
        self.text = "looking at the results"
        self.title = "quadrat view"

    @property
    def report(self) -> Path:
        """Folder of the report."""
        return self.folder / _REPORT


def watch(
    site: Site,
    fetch: Callable[[], Path],
    write: Callable[[Path, Path], Any],
    say: Callable[[Path], str],
    *,
    poll_s: float,
    is_over: Callable[[], bool] = lambda: False,
) -> None:
    """Write the report of results again whenever they have changed.

    Args:
        site: What is served.
        fetch: Returns the results folder, up to date.
        write: Writes the report of a results folder into a folder.
        say: Returns one line on the run.
        poll_s: Pause between two looks, seconds; after a report at least four times what it took.
        is_over: Whether to return.
    """
    from quadrat.benchmark.errors import QuadratError

    seen: object = None
    while True:
        pause_s = poll_s
        try:
            source = fetch()
            now = _signature(source)
            if now != seen and any(name == "suite.json" for name, *_ in now):
                begin_s = time.monotonic()
                write(source, site.report)
                pause_s = max(poll_s, _REST * (time.monotonic() - begin_s))
                seen = now
                site.version += 1
            site.title = f"{source.name} - quadrat view"
            site.text = say(source)
        except QuadratError as error:  # said on the page, which stays; the next look may find it mended
            site.text = f"{time.strftime('%H:%M:%S')}  {error}"
        if is_over():
            return
        time.sleep(pause_s)


def _signature(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """Return what changes when records come."""
    found = []
    for name in _FILES:
        path = folder / name
        if path.is_file():
            stat = path.stat()
            found.append((name, stat.st_mtime_ns, stat.st_size))
    return tuple(found)


def _say(results: Path | str, source: Path) -> str:
    """Return how far the run is; when none writes there, where the page comes from."""
    from quadrat.cluster.cli.status_view import totals
    from quadrat.cluster.progress.status import read_status

    found = read_status(results)
    if found is None:
        return f"no run writes to {source.name} now; the page as a file: {pasteable('report', results)}"
    status = found.document
    activity = "" if status["in_flight"] else f"  {status['activity']}"
    return f"{time.strftime('%H:%M:%S')}  {totals(status)}{activity}"


def open_server(site: Site, port: int) -> ThreadingHTTPServer:
    """Return a server on 127.0.0.1 for the site, which nothing runs yet.

    Raises:
        QuadratError: When the port is taken.
    """
    from quadrat.benchmark.errors import QuadratError

    try:
        return ThreadingHTTPServer((_HOST, port), partial(_Handler, site))
    except OSError as error:
        raise QuadratError(
            f"--port: expected a free port, got {port}, which another program uses; try {port + 1}, or 0"
        ) from error


class _Handler(SimpleHTTPRequestHandler):
    """Serves the frame, its state, and the files of the report; to this machine's own pages alone."""

    def __init__(self, site: Site, *args: Any) -> None:
        self._site = site
        super().__init__(*args, directory=str(site.folder))

    def do_GET(self) -> None:
        """Answer a request."""
        # A page of another site could have its own name resolve to this machine, and read the results.
        if self.headers.get("Host", "").partition(":")[0] not in (_HOST, "localhost"):
            self.send_error(HTTPStatus.FORBIDDEN)
            return
        path = self.path.partition("?")[0]
        if path in _OWN:
            self._send(*_OWN[path])
        elif path == "/state.json":
            state = {"version": self._site.version, "text": self._site.text, "title": self._site.title}
            self._send(json.dumps(state).encode(), "application/json")
        elif self._is_of_report():
            super().do_GET()
        else:
            self.send_error(HTTPStatus.NOT_FOUND)

    def do_HEAD(self) -> None:
        """Refuse: the inherited answer would tell which files there are."""
        self.send_error(HTTPStatus.METHOD_NOT_ALLOWED)

    def _is_of_report(self) -> bool:
        file = Path(self.translate_path(self.path)).resolve()
        return file.is_relative_to(self._site.report.resolve()) and file.is_file()

    def _send(self, data: bytes, kind: str) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Content-Security-Policy", _POLICY)
        self.end_headers()
        self.wfile.write(data)

    def end_headers(self) -> None:
        """Forbid to keep what is served: it changes."""
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        super().end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing."""


COMMANDS: Final = (view,)
