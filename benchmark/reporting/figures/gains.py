"""The first figure of the report: the gain of every strategy over Random, over pixels and over clicks side by side."""

from collections.abc import Mapping
from typing import Any

import altair as alt

from quadrat.benchmark.analysis.primary import PrimaryAnalysis
from quadrat.benchmark.reporting.figures.style import Spec, drawn, finished, short
from quadrat.benchmark.reporting.tables.primary import SHORT_TITLES, ordered_pairs, pair_name
from quadrat.benchmark.results.palette import Look

__all__ = ["gains"]

_OTHER = "#444444"  # of a pair, which has no colour of its own


def gains(primary: PrimaryAnalysis, looks: Mapping[str, Look], *, width: int = 330) -> Spec | None:
    """Return a forest plot: gain in points, its simultaneous interval as a line, each seed as a stroke.

    A filled mark is a significant difference, an empty one is not. The lines are the intervals that hold together, so
    a line that does not touch zero always comes with a filled mark.

    Args:
        primary: At least one comparison, else None is returned.
        looks: Colour by label.
        width: Of one of the two plots, pixels.
    """
    if not primary.comparisons:
        return None
    names: dict[tuple[str, str], str] = {}
    means: list[dict[str, Any]] = []
    seeds: list[dict[str, Any]] = []
    for found in primary.comparisons:
        name = names[found.label, found.baseline] = pair_name(found, primary)
        row = {"name": name, "cost": found.cost.key}
        means.append(
            {
                **row,
                "gain": short(found.gain),
                "low": _short(found.simultaneous_low, found.gain),
                "high": _short(found.simultaneous_high, found.gain),
                "verdict": found.verdict,
                "is_claim": found.verdict in ("better", "worse"),
                "seeds": found.num_seeds,
            }
        )
        seeds += [{**row, "seed": seed, "value": short(value)} for seed, value in drawn(found.by_seed)]
    pairs = ordered_pairs(primary)
    order = [names[pair] for pair in pairs]
    colours = [looks[label].colour if primary.is_against_random else _OTHER for label, _ in pairs]
    # One scale for both, so that a gain has the same length over pixels and over clicks.
    ends = [value for row in means for value in (row["low"], row["high"])] + [row["value"] for row in seeds] + [0.0]
    domain = [short(min(ends)), short(max(ends))]
    plots = [
        _plot(SHORT_TITLES[axis.cost.key], axis.cost.key, order, colours, domain, width=width, has_names=place == 0)
        for place, axis in enumerate(primary.axes)
    ]
    spec = finished(alt.hconcat(*plots, spacing=18))
    spec["datasets"] = {**spec.get("datasets", {}), "means": means, "seeds": seeds}
    return spec


def _short(value: float | None, instead: float) -> float:
    return short(instead if value is None else value)


def _plot(
    title: str, key: str, order: list[str], colours: list[str], domain: list[float], *, width: int, has_names: bool
) -> alt.LayerChart:
    axis = alt.Axis(labelLimit=280, grid=False, ticks=False, domain=False, labels=has_names)
    y = alt.Y("name:N", sort=order, title=None, axis=axis)
    scale_of_colours = alt.Scale(domain=order, range=colours)
    colour = alt.Color("name:N", scale=scale_of_colours, legend=None)
    numbers = alt.Axis(tickCount=7, labelExpr="datum.value == 0 ? '0' : format(datum.value, '+.3~r')")
    scale = alt.Scale(domain=domain, nice=True, zero=True)
    of_cost = f"datum.cost == '{key}'"
    mean = alt.Chart(alt.NamedData(name="means")).transform_filter(of_cost).encode(y=y, color=colour)
    shown = [
        alt.Tooltip("name:N", title="strategy"),
        alt.Tooltip("gain:Q", title="gain", format="+.2f"),
        alt.Tooltip("low:Q", title="interval from", format="+.2f"),
        alt.Tooltip("high:Q", title="to", format="+.2f"),
        alt.Tooltip("verdict:N"),
        alt.Tooltip("seeds:Q"),
    ]
    x = alt.X("low:Q", title=f"gain over {title} (points of mIoU)", axis=numbers, scale=scale)
    fill = alt.condition("datum.is_claim", "name:N", alt.value("white"), scale=scale_of_colours, legend=None)
    return alt.layer(
        alt.Chart(alt.InlineData(values=[{"zero": 0}])).mark_rule(color="#555").encode(x=alt.X("zero:Q")),
        mean.mark_rule(strokeWidth=2).encode(x=x, x2="high:Q", tooltip=shown),
        alt.Chart(alt.NamedData(name="seeds"))
        .transform_filter(of_cost)
        .mark_tick(thickness=1.3, size=8, opacity=0.8, yOffset=10)
        .encode(x="value:Q", y=y, color=alt.value("#333"), tooltip=["seed:N", alt.Tooltip("value:Q", format="+.2f")]),
        mean.mark_point(size=110, opacity=1, strokeWidth=2).encode(x="gain:Q", fill=fill, tooltip=shown),
        width=width,
        height=alt.Step(30),
    )
