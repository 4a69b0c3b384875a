"""How fast the report opens: 8 strategies x 5 seeds x 6 rounds, in headless Chromium. Run by hand, in `tests/`.

    python -m performance.open_page [--page FILE] [--browser chromium] [--times 5]

It prints the size of the page and the milliseconds from the start of the navigation until the curves are drawn (the
page itself notes that moment), over several fresh loads.
"""

import argparse
import statistics
import tempfile
from pathlib import Path

from support.browser import DRAWN, open_browser
from support.fake_results import write_fake_results

from quadrat.benchmark.reporting import write_report


def measure(browser: str, page: Path, times: int) -> list[float]:
    """Return the milliseconds that each of several loads took until the curves were drawn."""
    with tempfile.TemporaryDirectory() as profile, open_browser(Path(profile), browser) as tab:
        return [float(tab.open(page).evaluate(DRAWN)) for _ in range(times)]


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
        found = measure(options.browser, page, options.times)
        print(
            f"{page.stat().st_size / 1e6:.1f} MB; drawn after " + ", ".join(f"{value:.0f}" for value in found) + " ms"
        )
        print(f"median {statistics.median(found):.0f} ms")


if __name__ == "__main__":
    main()
