"""What the charts have in common: fonts and colours of axes, digits of numbers, how many seeds are drawn."""

import itertools
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, Final

import altair as alt
from altair.utils import schemapi

__all__ = ["DRAWN_SEEDS", "Spec", "drawn", "finished", "short", "unchecked"]

Spec = dict[str, Any]
"""A chart in Vega-Lite's JSON."""

DRAWN_SEEDS: Final = 100
"""Single seeds that a figure draws; means and intervals are over all. More marks hide each other, and fill the page."""

_DIGITS: Final = 6
_FONT: Final = "Arial, 'Liberation Sans', sans-serif"  # of the same widths wherever a figure is drawn or opened


def drawn(by_seed: Mapping[int, float]) -> list[tuple[int, float]]:
    """Return seeds with their values, as many as a figure draws."""
    return list(itertools.islice(by_seed.items(), DRAWN_SEEDS))


def short(value: float) -> float:
    """Return `value` with the digits that a chart can show, which keeps the page small."""
    return float(f"{value:.{_DIGITS}g}")


def finished(chart: alt.LayerChart | alt.HConcatChart) -> Spec:
    """Return the specification of a chart in the style of the report.

    Args:
        chart: Made for this call: it is given its configuration in place. Each method of Altair that returns a changed
            chart copies all of it, layers with their encodings too, which takes longer than everything else here.
    """
    chart.config = alt.Config(
        font=_FONT,
        background="transparent",
        view=alt.ViewConfig(stroke=None),
        axis=alt.AxisConfig(
            labelFontSize=12, titleFontSize=13, titleFontWeight="normal", gridColor="#e6e6e6", domainColor="#888"
        ),
        legend=alt.LegendConfig(labelFontSize=12, labelLimit=260),
    )
    spec: Spec = chart.to_dict(validate=schemapi.DEBUG_MODE)
    return spec


def unchecked() -> AbstractContextManager[None]:
    """Return a context in which Altair does not hold each part of a chart against Vega-Lite's JSON schema.

    That takes longer than to draw it, and finds mistakes of a programmer: the tests draw all charts with it.
    """
    context: AbstractContextManager[None] = schemapi.debug_mode(False)
    return context
