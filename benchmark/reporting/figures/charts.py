"""Vega-Lite charts of the report: the same specification is drawn in the page and written as SVG.

The learning curves hold every metric and every cost; parameters of the chart choose among them. The page's script sets
those parameters and the axis titles, so a static figure and the page can't disagree.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import altair as alt

from quadrat.benchmark.analysis.measures import (
    COSTS,
    DIVERSITY,
    LABEL_ACCURACY,
    REGIONS,
    VOID_SHARE,
    Cost,
    Metric,
    metrics_of,
)
from quadrat.benchmark.analysis.statistics import Comparison, Summary, summarise, values_by_seed
from quadrat.benchmark.config.trial import FULL_SUPERVISION
from quadrat.benchmark.reporting.figures.style import DRAWN_SEEDS, Spec, drawn, finished, short
from quadrat.benchmark.results.palette import Look
from quadrat.benchmark.results.records import Record
from quadrat.benchmark.results.trials import Results

__all__ = [
    "BANDS",
    "axis_of",
    "band_of",
    "curve_rows",
    "differences",
    "is_doubling",
    "learning_curves",
    "metrics_shown",
    "with_cost",
]

Band = Literal["std", "range", "pointed"]

BANDS: Mapping[Band, str] = {
    "std": "± 1 standard deviation",
    "range": "lowest to highest seed",
    "pointed": "± 1 std of the strategy pointed at",
}
"""The band around a mean line, and its title in the menu."""

_MAX_BANDS = 4


def learning_curves(
    results: Results,
    looks: Mapping[str, Look],
    *,
    cost: Cost,
    metric: Metric,
    band: Band | None = None,
    with_legend: bool = True,
    width: int | Literal["container"] = 640,
    rows: Spec | None = None,
) -> Spec:
    """Return the learning curves: mean line, band over seeds, seeds as points, full supervision as a line.

    Args:
        results: What to draw; at least one record of a strategy.
        looks: Colour, dash and mark by label.
        cost: On the x-axis at first.
        metric: On the y-axis at first.
        band: What the band shows at first; by default that of `band_of`.
        with_legend: Off in the page, whose own legend can hide strategies.
        width: Of the plot in pixels, or that of the element it is drawn into.
        rows: What `curve_rows` returns, where several figures of the same results are made.
    """
    labels = _recorded_labels(results)
    band = band or band_of(results)
    params = [
        alt.param(name="metric", value=metric.key),
        alt.param(name="cost", value=cost.key),
        alt.param(name="band", value=band),
        alt.param(name="shown", value=labels),
        alt.param(name="seeds", value=False),
    ]
    x = alt.X(
        "x:Q", title=cost.title, scale=_scale(is_doubling(results)), axis=alt.Axis(**axis_of(results, cost), grid=False)
    )
    y = alt.Y("mean:Q", title=metric.title, scale=alt.Scale(zero=False, nice=True))
    legend = alt.Legend(title=None, orient="right", symbolSize=90, symbolOpacity=1) if with_legend else None
    colour = alt.Color("label:N", scale=_ordinal(labels, [looks[label].colour for label in labels]), legend=legend)
    shape = alt.Shape("label:N", scale=_ordinal(labels, [looks[label].mark for label in labels]), legend=legend)
    # Not in the legend, where it would break up the outlines of the marks.
    dashes = [list(looks[label].dash) or [1, 0] for label in labels]
    dash = alt.StrokeDash("label:N", scale=_ordinal(labels, dashes), legend=None)
    means = (
        alt.Chart(alt.NamedData(name="means"))
        .transform_filter("datum.metric == metric && indexof(shown, datum.label) >= 0")
        .transform_calculate(
            x="datum[cost]",
            bottom="band == 'range' ? datum.low : datum.mean - datum.std",
            top="band == 'range' ? datum.high : datum.mean + datum.std",
        )
    )
    tooltip = [
        alt.Tooltip("label:N", title="strategy"),
        alt.Tooltip("round:Q", title="round"),
        alt.Tooltip("x:Q", title="cost", format=",.4~g"),
        alt.Tooltip("mean:Q", title="mean", format=".2f"),
        alt.Tooltip("std:Q", title="std", format=".2f"),
        alt.Tooltip("num:Q", title="seeds"),
    ]
    pointed = alt.selection_point(name="pointed", on="pointerover", fields=["label"], empty=False)
    opacity = alt.condition(pointed, alt.value(0.16), alt.value(alt.ExprRef("band == 'pointed' ? 0 : 0.13")))
    layers = [
        means.mark_area().encode(x=x, y=alt.Y("bottom:Q"), y2="top:Q", color=colour, opacity=opacity),
        *(_full_supervision_layers() if results.full_supervision else ()),
        means.mark_line(strokeWidth=2).encode(x=x, y=y, color=colour, strokeDash=dash),
        means.mark_point(filled=True, size=110, opacity=1, stroke="white", strokeWidth=0.7)
        .encode(x=x, y=y, color=colour, shape=shape, tooltip=tooltip)
        .add_params(pointed),
        _seed_layer().encode(x=x, color=colour, shape=shape).add_params(*params),  # these are the whole chart's
    ]
    shared = alt.Resolve(legend=alt.LegendResolveMap(color="shared", shape="shared"))
    spec = finished(alt.layer(*layers, width=width, height=400, resolve=shared))
    # Not through Altair, which would check every row against its schema.
    spec["datasets"] = dict(curve_rows(results) if rows is None else rows)
    return spec


def with_cost(curves: Spec, results: Results, cost: Cost) -> Spec:
    """Return learning curves with another cost on the x-axis; far cheaper than to make them with it.

    What is changed is what the page's script changes when its reader chooses a cost.

    Args:
        curves: What `learning_curves` returns for `results`; shares its data.
        results: As there.
        cost: To be on the x-axis.
    """
    params = [param | {"value": cost.key} if param["name"] == "cost" else param for param in curves["params"]]
    layers = []
    for layer in curves["layer"]:
        encoding = dict(layer["encoding"])
        if encoding.get("x", {}).get("field") == "x":
            encoding["x"] = encoding["x"] | {"title": cost.title, "axis": {**axis_of(results, cost), "grid": False}}
        layers.append(layer | {"encoding": encoding})
    return curves | {"params": params, "layer": layers}


def curve_rows(results: Results) -> Spec:
    """Return the data of the learning curves, over every cost and for every metric: the same for all their figures."""
    metrics, first_seeds = metrics_shown(results), set(results.seeds[:DRAWN_SEEDS])
    return {
        "means": _mean_rows(results, _recorded_labels(results), COSTS, metrics),
        "seeds": [_seed_row(record, COSTS, metrics) for record in results.records if record.seed in first_seeds],
        "full_supervision": _full_supervision_rows(results, metrics),
    }


def _recorded_labels(results: Results) -> list[str]:
    recorded = {record.label for record in results.records}
    return [label for label in results.labels if label in recorded]


def _mean_rows(
    results: Results, labels: Sequence[str], costs: Sequence[Cost], metrics: Sequence[Metric]
) -> list[dict[str, Any]]:
    positions: dict[tuple[str, int], dict[str, float]] = {}
    for cost in costs:
        for label, rounds in values_by_seed(results.records, cost).items():
            for round_, seeds in rounds.items():
                positions.setdefault((label, round_), {})[cost.key] = short(summarise(seeds.values()).mean)
    rows = []
    for metric in metrics:
        values = values_by_seed(results.records, metric)
        for label in labels:
            for round_, seeds in sorted(values.get(label, {}).items()):
                row = {"metric": metric.key, "label": label, "round": round_, **positions[label, round_]}
                rows.append(row | _summary_fields(summarise(seeds.values())))
    return rows


def _summary_fields(summary: Summary) -> dict[str, float]:
    """Return the numbers of a summary; one seed has a band of no height."""
    return {
        "num": summary.num,
        "mean": short(summary.mean),
        "std": short(summary.std or 0.0),
        "low": short(summary.low),
        "high": short(summary.high),
    }


def _seed_layer() -> alt.Chart:
    tooltip = [
        alt.Tooltip("label:N", title="strategy"),
        alt.Tooltip("seed:N", title="seed"),
        alt.Tooltip("round:Q", title="round"),
        alt.Tooltip("value:Q", title="value", format=".2f"),
    ]
    return (
        alt.Chart(alt.NamedData(name="seeds"))
        .transform_filter("seeds && indexof(shown, datum.label) >= 0 && isValid(datum[metric])")
        .transform_calculate(x="datum[cost]", value="datum[metric]")
        .mark_point(filled=True, size=22, opacity=0.75)
        .encode(y=alt.Y("value:Q"), tooltip=tooltip)
    )


def _seed_row(record: Record, costs: Sequence[Cost], metrics: Sequence[Metric]) -> dict[str, Any]:
    row: dict[str, Any] = {"label": record.label, "seed": record.seed, "round": record.round}
    values = {cost.key: cost.of(record) for cost in costs} | {metric.key: metric.of(record) for metric in metrics}
    return row | {key: None if value is None else short(value) for key, value in values.items()}


def _full_supervision_rows(results: Results, metrics: Sequence[Metric]) -> list[dict[str, Any]]:
    rows = []
    for metric in metrics:
        values = [value for record in results.full_supervision if (value := metric.of(record)) is not None]
        if values:
            rows.append({"metric": metric.key, **_summary_fields(summarise(values))})
    return rows


def _full_supervision_layers() -> list[alt.Chart]:
    base = alt.Chart(alt.NamedData(name="full_supervision")).transform_filter("datum.metric == metric")
    text = base.transform_calculate(text=f"'{FULL_SUPERVISION} ' + format(datum.mean, '.1f')")
    return [
        base.mark_rule(strokeDash=[6, 4], strokeWidth=1.4, color="black").encode(y=alt.Y("mean:Q")),
        text.mark_text(align="left", baseline="bottom", dx=4, dy=-3, fontSize=12, color="black").encode(
            y=alt.Y("mean:Q"), x=alt.value(0), text="text:N"
        ),
    ]


def differences(
    comparisons: Mapping[str, Comparison],
    looks: Mapping[str, Look],
    *,
    baseline: str = "Random",
    width: int | Literal["container"] = "container",
) -> Spec:
    """Return the paired differences to a baseline: seeds as small marks, the mean as a large one with its interval."""
    labels = sorted(comparisons, key=lambda label: -comparisons[label].difference.summary.mean)
    means, seeds = [], []
    for label in labels:
        difference = comparisons[label].difference
        summary = difference.summary
        half = difference.half_width or 0.0
        row = {"label": label, "mean": short(summary.mean), "num": summary.num}
        means.append(row | {"low": short(summary.mean - half), "high": short(summary.mean + half)})
        seeds += [{"label": label, "seed": seed, "value": short(v)} for seed, v in drawn(difference.by_seed)]
    y = alt.Y("label:N", sort=labels, title=None, axis=alt.Axis(labelLimit=260, grid=False, ticks=False, domain=False))
    colour = alt.Color("label:N", scale=_ordinal(labels, [looks[label].colour for label in labels]), legend=None)
    shape = alt.Shape("label:N", scale=_ordinal(labels, [looks[label].mark for label in labels]), legend=None)
    title = f"difference to {baseline} (points of mIoU)"
    mean = alt.Chart(alt.NamedData(name="means")).encode(y=y, color=colour)
    shown = [
        alt.Tooltip("label:N", title="strategy"),
        alt.Tooltip("mean:Q", format="+.2f"),
        alt.Tooltip("low:Q", title="interval from", format="+.2f"),
        alt.Tooltip("high:Q", title="to", format="+.2f"),
    ]
    layers = [
        alt.Chart(alt.InlineData(values=[{"zero": 0}])).mark_rule(color="#555").encode(x=alt.X("zero:Q")),
        mean.mark_rule(strokeWidth=2).encode(
            x=alt.X(
                "low:Q",
                title=title,
                axis=alt.Axis(tickCount=9, labelExpr="datum.value == 0 ? '0' : format(datum.value, '+.3~r')"),
            ),
            x2="high:Q",
            tooltip=shown,
        ),
        mean.mark_point(filled=True, size=240, opacity=1, stroke="white").encode(
            x="mean:Q", shape=shape, tooltip=shown
        ),
        alt.Chart(alt.NamedData(name="seeds"))
        .mark_tick(thickness=1.5, size=9, opacity=0.9, yOffset=11)
        .encode(
            x="value:Q",
            y=y,
            color=alt.value("#333"),
            tooltip=[alt.Tooltip("label:N", title="strategy"), "seed:N", alt.Tooltip("value:Q", format="+.2f")],
        ),
    ]
    spec = finished(alt.layer(*layers, width=width, height=34 * len(labels)))
    spec["datasets"] |= {"means": means, "seeds": seeds}
    return spec


def band_of(results: Results) -> Band:
    """Return the band shown at first: above four strategies bands hide each other, and come where one points."""
    return "std" if len(results.labels) <= _MAX_BANDS else "pointed"


def is_doubling(results: Results) -> bool:
    """Return whether the budgets grow so much that a logarithmic axis shows the early rounds better."""
    budgets = results.suite["budgets"]
    return bool(budgets[-1] >= 8 * budgets[0])


def metrics_shown(results: Results) -> tuple[Metric, ...]:
    """Return what can be on the y-axis: every metric, and what describes the labels where records have it."""
    has_diversity = any(DIVERSITY.of(record) is not None for record in results.records)
    has_void = any(record.void_px for record in results.records)
    has_wrong = any(record.label_accuracy < 1 for record in results.records)
    of_labels = ((DIVERSITY, has_diversity), (VOID_SHARE, has_void), (LABEL_ACCURACY, has_wrong))
    return (*metrics_of(results.classes), *(metric for metric, is_there in of_labels if is_there))


def axis_of(results: Results, cost: Cost) -> dict[str, Any]:
    """Return the settings of the x-axis for `cost`; ticks are where the rounds are, if those are the same for all."""
    axis: dict[str, Any] = {"title": cost.title, "format": cost.format, "labelOverlap": True}
    if cost is REGIONS and not results.has_several_sizes:
        axis["values"] = sorted({record.regions for record in results.records})
    return axis


def _scale(is_log: bool) -> alt.Scale:
    return alt.Scale(type="log", nice=False) if is_log else alt.Scale(type="linear", nice=False, zero=False)


def _ordinal(domain: Sequence[str], values: Sequence[Any]) -> alt.Scale:
    return alt.Scale(domain=list(domain), range=list(values))
