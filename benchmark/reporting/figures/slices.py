"""Slices of a study: the objective against one searched dimension, as in the paper's figures 5 to 7."""

from typing import Final

import altair as alt

from quadrat.benchmark.analysis.objective import DISPLAY_SCALE, DISPLAY_TITLE
from quadrat.benchmark.reporting.figures.style import Spec, finished
from quadrat.benchmark.results.study_results import StudyResults

__all__ = ["slice_chart", "slice_title"]

_TITLES: Final = {
    "cutoff": "d_c, in region sizes (figure 5)",
    "d2_d1": "d2/d1 (figure 6)",
    "d3_d2": "d3/d2 (figure 6)",
    "region_size": "region size, px (figure 7)",
}
_COLOURS: Final = {"done": "#0072B2", "pruned": "#D55E00", "best": "#000000"}


def slice_title(name: str) -> str:
    """Return the axis title of a searched dimension, with the paper's figure."""
    return _TITLES.get(name, name)


def slice_chart(found: StudyResults, name: str) -> Spec:
    """Return the first objective against one dimension: done as circles, pruned as crosses, the best ringed."""
    from optuna.distributions import CategoricalDistribution, json_to_distribution

    objective, title = found.study.objective[0], slice_title(name)
    best = {one.candidate for one in found.best}
    rows = [
        {
            "x": candidate.params[name],
            "y": DISPLAY_SCALE[objective] * (candidate.values[0] if candidate.values else candidate.running[-1]),
            "state": candidate.state,
            "candidate": candidate.number,
        }
        for candidate in found.candidates
        if candidate.state in ("done", "pruned") and (candidate.values or candidate.running)
    ]
    distribution = json_to_distribution(found.space[name])
    if isinstance(distribution, CategoricalDistribution):
        rows = [{**row, "x": str(row["x"])} for row in rows]
        x = alt.X(
            "x:N", title=title, sort=[str(choice) for choice in distribution.choices], axis=alt.Axis(labelAngle=0)
        )
    else:
        is_log = bool(getattr(distribution, "log", False))
        low, high = distribution.low, distribution.high  # type: ignore[attr-defined]
        x = alt.X("x:Q", title=title, scale=alt.Scale(type="log" if is_log else "linear", domain=[low, high]))
    y = alt.Y("y:Q", title=DISPLAY_TITLE[objective], scale=alt.Scale(zero=False, nice=True))
    base = alt.Chart(alt.InlineData(values=rows)).encode(x=x, y=y)
    layers = [
        base.transform_filter("datum.state == 'done'").mark_point(
            filled=True, size=70, opacity=0.85, color=_COLOURS["done"]
        ),
        base.transform_filter("datum.state == 'pruned'").mark_point(
            shape="cross", filled=True, size=60, opacity=0.9, color=_COLOURS["pruned"]
        ),
        base.transform_filter(alt.FieldOneOfPredicate(field="candidate", oneOf=sorted(best) or [-1])).mark_point(
            size=260, strokeWidth=2, color=_COLOURS["best"]
        ),
    ]
    return finished(alt.layer(*layers, width=250, height=190))
