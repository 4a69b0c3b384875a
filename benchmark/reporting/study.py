"""The section of a study in the report: the best candidate, how it was searched, caveats, tables and slices.

Values on the search seeds and on the report seeds are kept apart: only the latter are results.
"""

from dataclasses import dataclass

import vl_convert
from markupsafe import Markup

from quadrat.benchmark.analysis.importance import importance_of
from quadrat.benchmark.analysis.objective import DISPLAY_TITLE
from quadrat.benchmark.reporting.figures.slices import slice_chart, slice_title
from quadrat.benchmark.reporting.formatting import counted
from quadrat.benchmark.reporting.study_sentence import report_values, study_sentence, target_outcomes
from quadrat.benchmark.reporting.tables.cells import NamedTable
from quadrat.benchmark.reporting.tables.study import best_table, candidate_table, importance_table
from quadrat.benchmark.reporting.vega import VEGA_LITE
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
    values = report_values(results, found.study.objective[0])
    importance = importance_of(found)
    return StudySection(
        headline=study_sentence(found, values, results.strategies, target_outcomes(results, found.study.objective[0])),
        facts=_facts(found, results),
        caveats=_caveats(found, results),
        best=best_table(found, results, values) if any(best.label in values for best in found.best) else None,
        candidates=candidate_table(found),
        importance=importance_table(found, importance),
        no_importance=importance.reason,
        slices=tuple(_slice(found, name) for name in found.space),
    )


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
        seeds = counted(num, "seed")
        caveats.append(
            f"Each candidate was evaluated with {seeds}: part of the differences between candidates is chance."
        )
    if failed := [str(candidate.number) for candidate in found.candidates if candidate.state == "failed"]:
        caveats.append(f"Candidates that failed: {', '.join(failed)}; running the study again tries them again.")
    return tuple(caveats)


def _slice(found: StudyResults, name: str) -> Slice:
    svg = vl_convert.vegalite_to_svg(slice_chart(found, name), vl_version=VEGA_LITE)
    return Slice(title=slice_title(name), svg=Markup(svg))  # drawn from numbers and names of our own
