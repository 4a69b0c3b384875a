"""Tables of a study: candidates of the search, the best candidates on the report seeds, importance of dimensions."""

import statistics
from collections.abc import Mapping

from quadrat.benchmark.analysis.importance import Importance
from quadrat.benchmark.analysis.objective import DISPLAY_SCALE, DISPLAY_TITLE
from quadrat.benchmark.analysis.statistics import paired_difference, summarise
from quadrat.benchmark.config.candidates import Candidate
from quadrat.benchmark.config.study import Objective
from quadrat.benchmark.reporting.formatting import ABSENT, interval, mean_std, parameter, percent, signed
from quadrat.benchmark.reporting.study_sentence import target_outcomes
from quadrat.benchmark.reporting.tables.cells import Cell, NamedTable, Row, Table
from quadrat.benchmark.results.study_results import StudyResults
from quadrat.benchmark.results.trials import Results

__all__ = ["best_table", "candidate_table", "importance_table"]


def candidate_table(found: StudyResults) -> NamedTable:
    """Return every candidate with its state, objectives and parameters."""
    objectives, best = found.study.objective, {one.candidate for one in found.best}
    rows = []
    for candidate in found.candidates:
        values = [_value(objective, candidate, place) for place, objective in enumerate(objectives)]
        state = candidate.state if candidate.same_as is None else f"{candidate.state}, as candidate {candidate.same_as}"
        rounds = f"{len(candidate.running)} rounds" if candidate.running and candidate.state != "done" else ""
        is_best = candidate.number in best
        cells = [Cell(text=state, note=rounds), *(Cell(text=value, is_best=is_best) for value in values)]
        cells += [Cell(text=parameter(candidate.params.get(name, ABSENT))) for name in found.space]
        rows.append(Row(label=f"candidate {candidate.number}", cells=tuple(cells)))
    table = Table(
        corner="candidate",
        columns=("state", *(DISPLAY_TITLE[objective] for objective in objectives), *found.space),
        rows=tuple(rows),
    )
    caption = (
        "All candidates of the search with their objective on the search seeds, the best in bold. A value in brackets "
        "is the last one of a candidate that was pruned or has not finished."
    )
    return NamedTable(name="study-candidates", caption=caption, table=table)


def _value(objective: Objective, candidate: Candidate, place: int) -> str:
    if candidate.values:
        return f"{DISPLAY_SCALE[objective] * candidate.values[place]:.2f}"
    if place == 0 and candidate.running:
        return f"({DISPLAY_SCALE[objective] * candidate.running[-1]:.2f})"
    return ABSENT


def best_table(found: StudyResults, results: Results, values: Mapping[str, Mapping[int, float]]) -> NamedTable:
    """Return the best candidates and the suite's strategies on the report seeds.

    Args:
        found: The study.
        results: The results folder.
        values: Label -> report seed -> first objective, as displayed.
    """
    objective, first = found.study.objective[0], found.best[0].label
    searched = {one.label: found.candidates[one.candidate].values[0] * DISPLAY_SCALE[objective] for one in found.best}
    done = [trial for trial in results.trials if trial.state == "done"]
    final = {label: [100 * trial.records[-1].miou for trial in done if trial.label == label] for label in values}
    order = [*dict.fromkeys(one.label for one in found.best if one.label in values)]
    order += [label for label in values if label not in order]
    said = target_outcomes(results, objective)
    sign = 1 if found.directions[0] == "maximize" else -1
    ahead = max(order, key=lambda label: sign * statistics.fmean(values[label].values()))
    rows = []
    for label in order:
        difference = paired_difference(values[first], values[label]) if label != first and first in values else None
        has_interval = difference is not None and difference.half_width is not None
        cells = [
            Cell(text=mean_std(summarise(values[label].values()), 2), is_best=label == ahead, note=said.get(label, "")),
            Cell(text=mean_std(summarise(final[label]), 2)),
            Cell(text=ABSENT if difference is None else signed(difference.summary.mean)),
            Cell(text=interval(difference) if difference is not None and has_interval else ABSENT),
            Cell(text=f"{searched[label]:.2f}" if label in searched else ABSENT),
        ]
        rows.append(Row(label=label, cells=tuple(cells)))
    columns = (
        DISPLAY_TITLE[objective],
        "mIoU after the last round (%)",
        f"{first} minus this",
        "95 % interval",
        "on the search seeds (not a result)",
    )
    caption = (
        "Results: the best candidates and the suite's strategies on report seeds "
        f"{', '.join(map(str, results.seeds))}, mean (std) over seeds, best mean in bold; differences are paired by "
        "seed."
    )
    return NamedTable(
        name="study-best", caption=caption, table=Table(corner="strategy", columns=columns, rows=tuple(rows))
    )


def importance_table(found: StudyResults, importance: Importance) -> NamedTable | None:
    """Return the importance of each searched dimension, or None where the method can't say."""
    if not importance.shares:
        return None
    rows = tuple(Row(label=name, cells=(Cell(text=percent(share)),)) for name, share in importance.shares.items())
    num_done = sum(candidate.state == "done" for candidate in found.candidates)
    caption = (
        f"Importance of the searched dimensions by PED-ANOVA: how far the {importance.num_best} best of the {num_done} "
        "completed candidates differ from all of them in this dimension."
    )
    return NamedTable(
        name="study-importance", caption=caption, table=Table(corner="dimension", columns=("importance",), rows=rows)
    )
