"""The section of a study in the report: the best candidate, how it was searched, caveats, tables and slices.

Values on the search seeds and on the report seeds are kept apart: only the latter are results.
"""

import statistics
from collections.abc import Mapping
from dataclasses import dataclass

import vl_convert
from markupsafe import Markup

from quadrat.benchmark.analysis.importance import importance_of
from quadrat.benchmark.analysis.objective import DISPLAY_SCALE, DISPLAY_TITLE, value_of
from quadrat.benchmark.analysis.statistics import paired_difference, summarise
from quadrat.benchmark.config.study import Objective
from quadrat.benchmark.reporting.figures.slices import slice_chart, slice_title
from quadrat.benchmark.reporting.files import VEGA_LITE
from quadrat.benchmark.reporting.formatting import interval, mean_std, parameter, signed
from quadrat.benchmark.reporting.tables.cells import NamedTable
from quadrat.benchmark.reporting.tables.study import best_table, candidate_table, importance_table
from quadrat.benchmark.results.study_results import StudyResults, read_study
from quadrat.benchmark.results.trials import Results

__all__ = ["Slice", "StudySection", "study_section"]


@dataclass(frozen=True, kw_only=True)
class Slice:
    """The objective against one searched dimension.

    Attributes:
        title: The dimension, with the paper's figure.
        svg: The drawing.
    """

    title: str
    svg: Markup


@dataclass(frozen=True, kw_only=True)
class StudySection:
    """The section of the page on a study.

    Attributes:
        headline: The best candidate and its values, or why there is none.
        facts: How it was searched.
        caveats: Limitations of the search.
        best: The best and the suite's strategies on the report seeds; None before those have run.
        candidates: Every candidate of the search.
        importance: Importance of each dimension for the objective; None where the method can't say.
        no_importance: Why there is none; empty where there is.
        slices: One for each dimension.
    """

    headline: str
    facts: tuple[str, ...]
    caveats: tuple[str, ...]
    best: NamedTable | None
    candidates: NamedTable
    importance: NamedTable | None
    no_importance: str
    slices: tuple[Slice, ...]


def study_section(results: Results) -> StudySection | None:
    """Return the section on the study of a results folder, None when it has none."""
    found = read_study(results.path)
    if found is None or not found.candidates:
        return None
    values = _report_values(results, found.study.objective[0])
    importance = importance_of(found)
    return StudySection(
        headline=_headline(found, values),
        facts=_facts(found, results),
        caveats=_caveats(found, results),
        best=best_table(found, results, values) if any(best.label in values for best in found.best) else None,
        candidates=candidate_table(found),
        importance=importance_table(found, importance),
        no_importance=importance.reason,
        slices=tuple(_slice(found, name) for name in found.space),
    )


def _report_values(results: Results, objective: Objective) -> dict[str, dict[int, float]]:
    """Return label -> report seed -> objective as displayed, for the trials that are complete."""
    full = {record.seed: record for record in results.full_supervision}
    values: dict[str, dict[int, float]] = {}
    for trial in results.trials:
        if trial.is_full_supervision or trial.state != "done" or (objective == "cost-95" and trial.seed not in full):
            continue
        targets = [full[trial.seed]] if trial.seed in full else []
        value = DISPLAY_SCALE[objective] * value_of(objective, trial.records, targets)
        values.setdefault(trial.label, {})[trial.seed] = value
    return values


def _headline(found: StudyResults, values: Mapping[str, Mapping[int, float]]) -> str:
    objective = found.study.objective[0]
    if not found.best:
        return "The search has not ended, or no candidate was completed: there is no best one yet."
    best = found.best[0]
    candidate = found.candidates[best.candidate]
    name = f"candidate {best.candidate}" + ("" if best.label == candidate.label else f" (same as {best.label})")
    params = ", ".join(f"{name} {parameter(value)}" for name, value in candidate.params.items())
    chosen = f"Best of {len(found.candidates)} candidates on the search seeds: {name}, {params}."
    if best.label not in values:
        return f"{chosen} It has not been run on the report seeds yet."
    mine = values[best.label]
    rest = {label: seeds for label, seeds in values.items() if label not in {one.label for one in found.best}}
    text = f"{chosen} On the report seeds its {DISPLAY_TITLE[objective]} is {mean_std(summarise(mine.values()), 2)}"
    if not rest:
        return text + "."
    sign = 1 if found.directions[0] == "maximize" else -1
    ahead = max(rest, key=lambda label: sign * statistics.fmean(rest[label].values()))
    text += f", against {mean_std(summarise(rest[ahead].values()), 2)} of {ahead}, the best strategy of the suite"
    difference = paired_difference(mine, rest[ahead])
    if difference is None:
        return text + "; they share no seed."
    text += f": a difference of {signed(difference.summary.mean)}"
    if difference.half_width is None:
        return f"{text} over {difference.summary.num} shared seed{'s' if difference.summary.num > 1 else ''}."
    return f"{text} (95 % interval {interval(difference)}; exploratory)."


def _facts(found: StudyResults, results: Results) -> tuple[str, ...]:
    study, states = found.study, [candidate.state for candidate in found.candidates]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    split = study.test or results.suite["dataset"]["test"]
    pruner = type(study.make_pruner()).__name__
    pruned = "none was pruned" if pruner == "NopPruner" else f"{pruner} pruned candidates between rounds"
    return (
        f"{len(found.candidates)} of {study.candidates} candidates of {study.strategy}: {counts}.",
        f"Objective: {' and '.join(DISPLAY_TITLE[objective] for objective in study.objective)} on search seeds "
        f"{', '.join(map(str, study.search_seeds))} and split {split}; proposed by {study.sampler.name}, {pruned}.",
        f"The best candidates were run again on report seeds {', '.join(map(str, results.seeds))} and split "
        f"{results.suite['dataset']['test']}, beside the suite's strategies.",
    )


def _caveats(found: StudyResults, results: Results) -> tuple[str, ...]:
    caveats = [
        "Values of the search are optimistic, as the best of many draws: compare values of the report seeds only."
    ]
    if found.study.test in (None, results.suite["dataset"]["test"]):
        caveats.append(
            "The search was evaluated on the images of the report, with other seeds; study.test can name another split."
        )
    if (num := len(found.study.search_seeds)) < 3:
        seeds = f"{num} seed{'s' if num > 1 else ''}"
        caveats.append(
            f"Each candidate was evaluated with {seeds}: part of the differences between candidates is chance."
        )
    if failed := [str(candidate.number) for candidate in found.candidates if candidate.state == "failed"]:
        caveats.append(f"Candidates that failed: {', '.join(failed)}; running the study again tries them again.")
    return tuple(caveats)


def _slice(found: StudyResults, name: str) -> Slice:
    svg = vl_convert.vegalite_to_svg(slice_chart(found, name), vl_version=VEGA_LITE)
    return Slice(title=slice_title(name), svg=Markup(svg))  # drawn from numbers and names of our own
