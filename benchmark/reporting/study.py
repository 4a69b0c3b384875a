"""The study in the report: candidates, slices as in the paper's figures 5 to 7, and the best against the rest.

What the search says and what the report seeds say stand apart: only the latter are results.
"""

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import altair as alt
import vl_convert
from markupsafe import Markup

from quadrat.benchmark.analysis.objective import value_of
from quadrat.benchmark.analysis.statistics import paired_difference, summarise
from quadrat.benchmark.config.candidates import Candidate
from quadrat.benchmark.config.study import Objective
from quadrat.benchmark.reporting.files import VEGA_LITE, NamedTable
from quadrat.benchmark.reporting.tables.cells import ABSENT, Cell, Row, Table, interval, mean_std, signed
from quadrat.benchmark.results.study_results import StudyResults, read_study
from quadrat.benchmark.results.trials import Results

__all__ = ["Slice", "StudySection", "study_section"]

_MIN_DONE: Final = 5
"""Candidates below which no importance is computed: it would be noise."""

_TITLES: Final = {
    "cutoff": "d_c, in region sizes (figure 5)",
    "d2_d1": "d2/d1 (figure 6)",
    "d3_d2": "d3/d2 (figure 6)",
    "region_size": "region size, px (figure 7)",
}
_NAMES: Final[dict[Objective, str]] = {
    "area": "area under the curve (%)",
    "cost-95": "pixels to 95 % of full supervision (%)",
    "select-seconds": "seconds of selecting",
}
_COLOURS: Final = {"done": "#0072B2", "pruned": "#D55E00", "best": "#000000"}


@dataclass(frozen=True, kw_only=True)
class Slice:
    """The objective against one searched dimension.

    Attributes:
        name: The dimension.
        title: What it is, with the paper's figure.
        svg: The drawing.
    """

    name: str
    title: str
    svg: Markup


@dataclass(frozen=True, kw_only=True)
class StudySection:
    """What the page says about a study.

    Attributes:
        headline: The best candidate and its figures, or why there are none.
        facts: How it was searched.
        caveats: What to keep in mind.
        best: The best and the suite's strategies on the report seeds; None before those have run.
        candidates: Every candidate of the search.
        importance: Share of each dimension in what makes candidates good; None with too few candidates.
        slices: One a dimension.
    """

    headline: str
    facts: tuple[str, ...]
    caveats: tuple[str, ...]
    best: NamedTable | None
    candidates: NamedTable
    importance: NamedTable | None
    slices: tuple[Slice, ...]


def study_section(results: Results) -> StudySection | None:
    """Return what the page says about the study of a results folder, None when there was none."""
    found = read_study(results.path)
    if found is None or not found.candidates:
        return None
    values = _report_values(results, found.study.objective[0])
    return StudySection(
        headline=_headline(found, values),
        facts=_facts(found, results),
        caveats=_caveats(found, results),
        best=_best_table(found, results, values) if any(best.label in values for best in found.best) else None,
        candidates=_candidate_table(found),
        importance=_importance_table(found),
        slices=tuple(_slice(found, name) for name in found.space),
    )


def _scale(objective: Objective) -> float:
    return 1.0 if objective == "select-seconds" else 100.0


def _report_values(results: Results, objective: Objective) -> dict[str, dict[int, float]]:
    """Return label -> report seed -> objective, for the trials that are complete."""
    full = {record.seed: record for record in results.full_supervision}
    values: dict[str, dict[int, float]] = {}
    for trial in results.trials:
        if trial.is_full_supervision or trial.state != "done" or (objective == "cost-95" and trial.seed not in full):
            continue
        references = [full[trial.seed]] if trial.seed in full else []
        value = _scale(objective) * value_of(objective, trial.records, references)
        values.setdefault(trial.label, {})[trial.seed] = value
    return values


def _headline(found: StudyResults, values: Mapping[str, Mapping[int, float]]) -> str:
    objective = found.study.objective[0]
    if not found.best:
        return "The search has not ended, or left no candidate: there is no best one yet."
    best = found.best[0]
    candidate = found.candidates[best.candidate]
    name = f"candidate {best.candidate}" + ("" if best.label == candidate.label else f" (it is {best.label})")
    chosen = f"Best of {len(found.candidates)} candidates on the search seeds: {name}, {_params(candidate.params)}."
    if best.label not in values:
        return f"{chosen} It has not been run on the report seeds yet."
    mine = values[best.label]
    rest = {label: seeds for label, seeds in values.items() if label not in {one.label for one in found.best}}
    text = f"{chosen} On the report seeds its {_NAMES[objective]} is {mean_std(summarise(mine.values()), 2)}"
    if not rest:
        return text + "."
    sign = 1 if found.directions[0] == "maximize" else -1
    ahead = max(rest, key=lambda label: sign * statistics.fmean(rest[label].values()))
    text += f", against {mean_std(summarise(rest[ahead].values()), 2)} of {ahead}, the best strategy of the suite"
    difference = paired_difference(mine, rest[ahead])
    if difference is None or difference.summary.half_width is None:
        return text + "; one seed tells nothing about the difference."
    half, mean = difference.summary.half_width, difference.summary.mean
    told = "they can be told apart" if abs(mean) > half else f"{difference.summary.num} seeds don't tell them apart"
    return f"{text}: a difference of {signed(mean)} (95 % interval {interval(difference.summary)}), so {told}."


def _facts(found: StudyResults, results: Results) -> tuple[str, ...]:
    study, states = found.study, [candidate.state for candidate in found.candidates]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    split = study.test or results.suite["dataset"]["test"]
    pruner = type(study.make_pruner()).__name__
    pruned = "nobody was given up early" if pruner == "NopPruner" else f"{pruner} gave candidates up between rounds"
    return (
        f"{len(found.candidates)} of {study.candidates} candidates of {study.strategy}: {counts}.",
        f"Judged by {' and '.join(_NAMES[objective] for objective in study.objective)} on search seeds "
        f"{', '.join(map(str, study.search_seeds))} and split {split}; {study.sampler.name} proposed, {pruned}.",
        f"The best were run again on report seeds {', '.join(map(str, results.seeds))} and split "
        f"{results.suite['dataset']['test']}, beside the suite's strategies.",
    )


def _caveats(found: StudyResults, results: Results) -> tuple[str, ...]:
    caveats = [
        "Values of the search are the best of many draws, therefore too good: compare figures of the report seeds only."
    ]
    if found.study.test in (None, results.suite["dataset"]["test"]):
        caveats.append("The search saw the images of the report, if with other seeds: study.test names a split for it.")
    if (num := len(found.study.search_seeds)) < 3:
        seeds = f"{num} seed{'s' if num > 1 else ''}"
        caveats.append(f"{seeds} judged each candidate: part of what tells candidates apart is chance.")
    if failed := [str(candidate.number) for candidate in found.candidates if candidate.state == "failed"]:
        caveats.append(f"Candidates that failed: {', '.join(failed)}; running the study again tries them again.")
    return tuple(caveats)


def _params(params: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {_show(value)}" for name, value in params.items())


def _show(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _candidate_table(found: StudyResults) -> NamedTable:
    objectives, best = found.study.objective, {one.candidate for one in found.best}
    rows = []
    for candidate in found.candidates:
        values = [_value(objective, candidate, place) for place, objective in enumerate(objectives)]
        state = candidate.state if candidate.same_as is None else f"{candidate.state}, as candidate {candidate.same_as}"
        rounds = f"{len(candidate.running)} rounds" if candidate.running and candidate.state != "done" else ""
        is_best = candidate.number in best
        cells = [Cell(text=state, note=rounds), *(Cell(text=value, is_best=is_best) for value in values)]
        cells += [Cell(text=_show(candidate.params.get(name, ABSENT))) for name in found.space]
        rows.append(Row(label=f"candidate {candidate.number}", cells=tuple(cells)))
    table = Table(
        corner="candidate",
        columns=("state", *(_NAMES[objective] for objective in objectives), *found.space),
        rows=tuple(rows),
    )
    caption = (
        "The search: every candidate with its objective on the search seeds, the chosen ones in bold. A value in "
        "brackets is that of a candidate when it was given up, which is no final one."
    )
    return NamedTable(name="study-candidates", caption=caption, table=table)


def _value(objective: Objective, candidate: Candidate, place: int) -> str:
    if candidate.values:
        return f"{_scale(objective) * candidate.values[place]:.2f}"
    if place == 0 and candidate.running:
        return f"({_scale(objective) * candidate.running[-1]:.2f})"
    return ABSENT


def _best_table(found: StudyResults, results: Results, values: Mapping[str, Mapping[int, float]]) -> NamedTable:
    objective, first = found.study.objective[0], found.best[0].label
    searched = {one.label: found.candidates[one.candidate].values[0] * _scale(objective) for one in found.best}
    done = [trial for trial in results.trials if trial.state == "done"]
    final = {label: [100 * trial.records[-1].miou for trial in done if trial.label == label] for label in values}
    order = [*dict.fromkeys(one.label for one in found.best if one.label in values)]
    order += [label for label in values if label not in order]
    sign = 1 if found.directions[0] == "maximize" else -1
    ahead = max(order, key=lambda label: sign * statistics.fmean(values[label].values()))
    rows = []
    for label in order:
        difference = paired_difference(values[first], values[label]) if label != first and first in values else None
        has_interval = difference is not None and difference.summary.half_width is not None
        cells = [
            Cell(text=mean_std(summarise(values[label].values()), 2), is_best=label == ahead),
            Cell(text=mean_std(summarise(final[label]), 2)),
            Cell(text=ABSENT if difference is None else signed(difference.summary.mean)),
            Cell(text=interval(difference.summary) if difference is not None and has_interval else ABSENT),
            Cell(text=f"{searched[label]:.2f}" if label in searched else ABSENT),
        ]
        rows.append(Row(label=label, cells=tuple(cells)))
    columns = (
        _NAMES[objective],
        "mIoU after the last round (%)",
        f"{first} minus it",
        "95 % interval",
        "on the search seeds (no result)",
    )
    caption = (
        "The results: the best candidates and the suite's strategies on report seeds "
        f"{', '.join(map(str, results.seeds))}, mean (std) over seeds, best mean in bold; differences are paired by "
        "seed."
    )
    return NamedTable(
        name="study-best", caption=caption, table=Table(corner="strategy", columns=columns, rows=tuple(rows))
    )


def _importance_table(found: StudyResults) -> NamedTable | None:
    importance = importance_of(found)
    if importance is None:
        return None
    rows = tuple(Row(label=name, cells=(Cell(text=f"{100 * share:.0f} %"),)) for name, share in importance.items())
    num_done = sum(candidate.state == "done" for candidate in found.candidates)
    caption = (
        f"Importance of the searched dimensions by PED-ANOVA over the {num_done} candidates that are done: in how far "
        "the best of them differ from all of them in this dimension. Small numbers of candidates make it unsure."
    )
    return NamedTable(
        name="study-importance", caption=caption, table=Table(corner="dimension", columns=("importance",), rows=rows)
    )


def importance_of(found: StudyResults) -> dict[str, float] | None:
    """Return the importance of each dimension for the first objective, the largest first; None with too few candidates.

    PED-ANOVA rather than fANOVA: it needs no random forest, hence no scikit-learn, and says what matters among the
    good.
    """
    done = [candidate for candidate in found.candidates if candidate.state == "done"]
    if len(done) < _MIN_DONE or len({candidate.values[0] for candidate in done}) < 2:
        return None
    import warnings

    import optuna
    from optuna.distributions import json_to_distribution

    space = {name: json_to_distribution(text) for name, text in found.space.items()}
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction=found.directions[0])
    for candidate in done:
        study.add_trial(
            optuna.trial.create_trial(params=candidate.params, distributions=space, value=candidate.values[0])
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the evaluator is experimental in Optuna
        evaluator = optuna.importance.PedAnovaImportanceEvaluator()
        return dict(optuna.importance.get_param_importances(study, evaluator=evaluator))


def _slice(found: StudyResults, name: str) -> Slice:
    title = _TITLES.get(name, name)
    spec = slice_chart(found, name, title)
    svg = vl_convert.vegalite_to_svg(spec, vl_version=VEGA_LITE)
    return Slice(name=name, title=title, svg=Markup(svg))  # drawn from numbers and names of our own


def slice_chart(found: StudyResults, name: str, title: str) -> dict[str, Any]:
    """Return the first objective against one dimension: done as circles, pruned as crosses, the best ringed."""
    from optuna.distributions import CategoricalDistribution, json_to_distribution

    objective = found.study.objective[0]
    best = {one.candidate for one in found.best}
    rows = [
        {
            "x": candidate.params[name],
            "y": _scale(objective) * (candidate.values[0] if candidate.values else candidate.running[-1]),
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
    y = alt.Y("y:Q", title=_NAMES[objective], scale=alt.Scale(zero=False, nice=True))
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
    chart = (
        alt.layer(*layers)
        .properties(width=250, height=190)
        .configure(font="Arial, 'Liberation Sans', sans-serif", background="transparent")
        .configure_view(stroke=None)
        .configure_axis(labelFontSize=11, titleFontSize=12, titleFontWeight="normal", gridColor="#e6e6e6")
    )
    return dict(chart.to_dict())
