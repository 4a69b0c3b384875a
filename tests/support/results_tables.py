"""Generated parts of results/README.md: `python -m support.results_tables` in `tests/` writes them again."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from quadrat.benchmark.analysis.analyse import Analysis
from quadrat.benchmark.analysis.measures import CLICKS
from quadrat.benchmark.reporting.summary import report_summary
from quadrat.benchmark.reporting.tables.export import to_markdown
from quadrat.benchmark.results.markdown import markdown
from quadrat.benchmark.results.trials import read_results
from support.paths import ROOT

__all__ = ["ABLATIONS", "PAGE", "ablations", "shapes", "with_parts"]

PAGE: Final = ROOT / "results/README.md"

ABLATIONS: Final = {
    "scenes-distance": "V-A",
    "scenes-cutoff": "V-B, figure 5",
    "scenes-ratios": "V-C, figure 6",
    "scenes-region-size": "V-D, figure 7",
    "scenes-set-function": "V-E",
    "scenes-feature-dimension": "V-H, figure 8",
    "scenes-bald": "table I",
}
"""Suite -> section of the paper."""


def ablations(results: Path = ROOT / "results") -> str:
    """Return the table: one row a suite, from its committed records by the functions that the report calls."""
    lines = [
        "| paper | suite | seeds | area under the curve over pixels, mean mIoU in % | significant (primary analysis) "
        "| pairs with p < 0.05 in the last round (exploratory) |",
        "|---|---|---|---|---|---|",
    ]
    for suite, section in ABLATIONS.items():
        found = read_results(results / suite)
        summary = report_summary(found)
        areas = sorted(summary.analysis.areas, key=lambda area: -area.summary.mean)
        cells = (
            section,
            f"[`{suite}`]({suite})",
            str(len(found.seeds)),
            ", ".join(f"{area.label} {area.summary.mean:.1f} ({area.summary.std:.1f})" for area in areas),
            summary.headline.removeprefix("On scenes (test), ").rstrip("."),
            _pairs(summary.analysis),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _pairs(found: Analysis) -> str:
    assert found.pairwise is not None
    if not found.pairwise.below_level:
        return f"none of {len(found.pairwise.pairs)}"
    return ", ".join(f"{higher} over {lower}" for higher, lower in found.pairwise.below_level)


def shapes(folder: Path = ROOT / "results/scenes-shapes") -> str:
    """Return what the report says of regions and label types: its sentences, and the area of each query over clicks."""
    summary = report_summary(read_results(folder), CLICKS)
    assert summary.queries is not None
    return (
        f"{markdown(summary.headline)}\n\n"
        + "".join(f"- {markdown(sentence)}\n" for sentence in summary.answer)
        + f"\n{to_markdown(summary.queries.table)}\n{markdown(summary.queries.caption)}\n"
    )


PARTS: Final[dict[str, Callable[[], str]]] = {"ablations": ablations, "shapes": shapes}
"""Name of the markers -> what lies between them."""


def with_parts(text: str) -> str:
    """Return a page with the parts between its markers replaced."""
    for name, part in PARTS.items():
        start, end = (f"<!-- {name}:{place} -->\n" for place in ("start", "end"))
        before, found, rest = text.partition(start)
        _, closed, after = rest.partition(end)
        assert found and closed, f"expected {start!r} and {end!r} in the page"
        text = f"{before}{start}{part()}{end}{after}"
    return text


if __name__ == "__main__":
    PAGE.write_text(with_parts(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
