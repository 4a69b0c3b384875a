"""The figure of the leaderboard: the gain over Random of every strategy in every setting, and their mean."""

from statistics import fmean
from typing import Any

import altair as alt

from quadrat.benchmark.analysis.leaderboard import Leaderboard
from quadrat.benchmark.analysis.measures import Cost
from quadrat.benchmark.reporting.figures.style import Spec, finished, short
from quadrat.benchmark.reporting.tables.primary import SHORT_TITLES

__all__ = ["gains_by_setting"]

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#782ae8", "#a06a00", "#cc3080", "#444444")
_SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right")


def gains_by_setting(found: Leaderboard, cost: Cost, *, width: int = 330) -> Spec | None:
    """Return a plot with a mark for each setting, by data set, and a stroke at their mean; None without a gain.

    Args:
        found: The comparison.
        cost: Of the areas.
        width: Of the plot without labels, pixels.
    """
    values: list[dict[str, Any]] = []
    means: list[dict[str, Any]] = []
    for line in found.standings:
        if line.entry.strategy == "random":
            continue
        gains = [
            (areas.setting, fmean(by_seed.values()))
            for areas in found.areas[cost.key].values()
            if (by_seed := areas.gains(line.entry))
        ]
        values += [
            {"name": line.name, "setting": one.name, "data set": one.data_set, "gain": short(gain)}
            for one, gain in gains
        ]
        if gains:
            means.append({"name": line.name, "gain": short(fmean(gain for _, gain in gains))})
    if not means:
        return None
    order = [one["name"] for one in sorted(means, key=lambda one: -one["gain"])]
    data_sets = sorted({one["data set"] for one in values})
    scale = {
        "domain": data_sets,
        "range": [_COLOURS[place % len(_COLOURS)] for place in range(len(data_sets))],
    }
    shapes = {"domain": data_sets, "range": [_SHAPES[place % len(_SHAPES)] for place in range(len(data_sets))]}
    legend = alt.Legend(title=None, orient="bottom")
    y = alt.Y("name:N", sort=order, title=None, axis=alt.Axis(labelLimit=230, grid=True, ticks=False, domain=False))
    x = alt.X(
        "gain:Q",
        title=f"gain over Random over {SHORT_TITLES[cost.key]} (points of mIoU)",
        axis=alt.Axis(tickCount=6, labelExpr="datum.value == 0 ? '0' : format(datum.value, '+.3~r')"),
    )
    chart = alt.layer(
        alt.Chart(alt.InlineData(values=[{"zero": 0}])).mark_rule(color="#555").encode(x=alt.X("zero:Q")),
        alt.Chart(alt.InlineData(values=values))
        .mark_point(filled=True, size=60, opacity=0.85)
        .encode(
            x=x,
            y=y,
            color=alt.Color("data set:N", scale=alt.Scale(**scale), legend=legend),
            shape=alt.Shape("data set:N", scale=alt.Scale(**shapes), legend=legend),
        ),
        alt.Chart(alt.InlineData(values=means)).mark_tick(thickness=3, size=18, color="#111").encode(x="gain:Q", y=y),
        width=width,
        height=alt.Step(24),
    )
    return finished(chart)
