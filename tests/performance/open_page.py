"""How fast the report opens: 8 strategies x 5 seeds x 6 rounds, in headless Chromium. Run by hand, in `tests/`.

    python -m performance.open_page [--page FILE] [--browser chromium] [--times 5]

It prints the size of the page and the milliseconds from the start of the navigation until the curves are drawn (the
page itself notes that moment), over several fresh loads.
"""

import argparse
import asyncio
import statistics
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import aiohttp
from support.fake_results import write_fake_results

from quadrat.benchmark.reporting import write_report

_DRAWN = "Number(document.documentElement.dataset.drawnMs || 0)"


async def measure(browser: str, page: Path, times: int) -> list[float]:
    """Return the milliseconds that each of several loads took until the curves were drawn."""
    with tempfile.TemporaryDirectory() as profile:
        command = [
            browser,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            f"--user-data-dir={profile}",
        ]
        process = subprocess.Popen(
            [*command, "--remote-debugging-port=0", "about:blank"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            port = await _port(Path(profile) / "DevToolsActivePort")
            async with aiohttp.ClientSession() as session:
                async with session.get(f"http://127.0.0.1:{port}/json/list") as response:
                    target = next(one for one in await response.json() if one["type"] == "page")
                async with session.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                    return [await _load(socket, page) for _ in range(times)]
        finally:
            process.terminate()
            process.wait()


async def _port(path: Path) -> int:
    while not path.is_file() or not path.read_text(encoding="utf-8").strip():
        await asyncio.sleep(0.1)
    return int(path.read_text(encoding="utf-8").splitlines()[0])


async def _load(socket: Any, page: Path) -> float:
    await _call(socket, "Page.navigate", url=page.absolute().as_uri())
    for _ in range(300):
        found = await _call(socket, "Runtime.evaluate", expression=_DRAWN)
        if drawn := found.get("result", {}).get("value"):
            await _call(socket, "Page.navigate", url="about:blank")
            return float(drawn)
        await asyncio.sleep(0.2)
    raise SystemExit(f"{page}: no curves within a minute; is it a report of this version with a record in it?")


async def _call(socket: Any, method: str, **params: Any) -> dict[str, Any]:
    await socket.send_json({"id": 1, "method": method, "params": params})
    while True:
        message = await socket.receive_json()
        if message.get("id") == 1:
            return dict(message.get("result", {}))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page", type=Path)
    parser.add_argument("--browser", default="chromium")
    parser.add_argument("--times", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        page = options.page or write_report(
            write_fake_results(
                Path(folder) / "fake", seeds=range(5), budgets=(12, 24, 48, 96, 150, 200), has_previews=True
            )
        )
        found = asyncio.run(measure(options.browser, page, options.times))
        print(
            f"{page.stat().st_size / 1e6:.1f} MB; drawn after " + ", ".join(f"{value:.0f}" for value in found) + " ms"
        )
        print(f"median {statistics.median(found):.0f} ms")


if __name__ == "__main__":
    main()
