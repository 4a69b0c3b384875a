"""The table of ablations in results/README.md: `python -m support.results_tables` in `tests/` writes it again."""

from pathlib import Path
from typing import Final

from quadrat.benchmark.analysis.analyse import Analysis
from quadrat.benchmark.reporting.summary import report_summary
from quadrat.benchmark.results.trials import read_results
from support.paths import ROOT

__all__ = ["ABLATIONS", "PAGE", "ablations", "with_ablations"]

PAGE: Final = ROOT / "results/README.md"
START: Final = "<!-- ablations:start -->\n"
END: Final = "<!-- ablations:end -->\n"

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


def with_ablations(text: str) -> str:
    """Return a page with the table between its markers replaced."""
    before, _, rest = text.partition(START)
    _, _, after = rest.partition(END)
    return f"{before}{START}{ablations()}{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(with_ablations(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
