"""The output of `quadrat stats`: the statistics as plain text for a terminal, and as JSON for other programs."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from quadrat.benchmark.analysis.analyse import Analysis
from quadrat.benchmark.analysis.measures import COSTS, FRACTION, Cost, Metric
from quadrat.benchmark.errors import ResultsError
from quadrat.benchmark.reporting.formatting import counted, filled
from quadrat.benchmark.reporting.summary import ReportSummary, report_summary
from quadrat.benchmark.reporting.tables.contents import GAINS_CAPTION, later_steps_note
from quadrat.benchmark.reporting.tables.export import to_text
from quadrat.benchmark.reporting.tables.primary import gains_table
from quadrat.benchmark.results.trials import Results, Trial

__all__ = ["as_brief_text", "as_json", "as_text", "cost_of_key"]

_BRIEF_CAPTION: Final = (
    "Gain in mean mIoU over the budget (area under the curve) in points; intervals that hold all together, with at "
    "least 95 %. * significant."
)


def cost_of_key(key: str) -> Cost:
    """Return the cost called `key`.

    Raises:
        ResultsError: When there is no such cost.
    """
    cost = next((cost for cost in COSTS if cost.key == key), None)
    if cost is None:
        raise ResultsError(f"expected a cost, one of {', '.join(cost.key for cost in COSTS)}, got '{key}'")
    return cost


def as_text(results: Results, cost: Cost = FRACTION, columns: int | None = None) -> str:
    """Return unfinished trials, headline, findings, average ranks and caveats, as lines of text.

    Args:
        results: The results.
        cost: The unit of exploratory numbers.
        columns: Width of the terminal; without one a paragraph is a line.
    """
    summary = report_summary(results, cost)
    return _joined((*_opening(results, summary), *_details(summary, columns)), columns)


def as_brief_text(results: Results, columns: int | None = None, more: str = "") -> str:
    """Return what a terminal of 24 lines holds: unfinished trials, headline, gains, and what there is besides.

    What is wrong with the data set is said here too.

    Args:
        results: The results.
        columns: Width of the terminal; without one a paragraph is a line.
        more: The command line that prints all of `as_text`.
    """
    summary = report_summary(results)
    warnings = [f"! {one}" for one in results.dataset.get("warnings", ())]  # the first of the caveats
    num_left = len(summary.caveats) - len(warnings)
    parts = (*_opening(results, summary), *_gains(summary, columns), "", *warnings, *_more(summary, num_left))
    text = _joined(parts, columns)
    return f"{text}  {more}\n"  # in one line, since it is pasted


def _joined(paragraphs: Iterable[str], columns: int | None) -> str:
    return "\n".join(line for text in paragraphs for line in filled(text, columns)) + "\n"


def _opening(results: Results, summary: ReportSummary) -> Iterator[str]:
    """Yield the trials that are not complete, and what was found."""
    if unfinished := summary.analysis.unfinished:
        yield (
            f"{len(unfinished)} of {len(results.trials)} trials are failed or missing; areas and costs leave them out:"
        )
        for trial in unfinished:
            why = f": {trial.failure.exception}" if trial.failure is not None else ""
            yield f"  {trial.state}  {trial.label} seed {trial.seed}, {len(trial.records)} rounds{why}"
        yield ""
    yield from (summary.headline, *summary.answer)
    if summary.entry is not None:
        yield from ("The best candidate, as one of a suite's strategies:", f"  {summary.entry}")


def _gains(summary: ReportSummary, columns: int | None) -> Iterator[str]:
    """Yield the gains without p-values and seeds."""
    if summary.gains is not None:
        yield from ("", *to_text(gains_table(summary.analysis.primary, is_brief=True), columns).splitlines())
        yield _BRIEF_CAPTION + later_steps_note(summary.analysis.primary)


def _more(summary: ReportSummary, num_caveats: int) -> Iterator[str]:
    """Yield what `as_text` has besides: its limitations count, and so does their number."""
    parts = [
        *(["p-values, seeds needed"] if summary.gains is not None else []),
        *(["the comparison of queries"] if summary.queries is not None else []),
        *([counted(len(summary.findings), "exploratory finding")] if summary.findings else []),
        *([counted(num_caveats, "limitation")] if num_caveats else []),
    ]
    yield f"More{': ' if parts else ''}{', '.join(parts)}:"


def _details(summary: ReportSummary, columns: int | None) -> Iterator[str]:
    """Yield the tables, the exploratory findings and the caveats."""
    if summary.gains is not None:
        caption = GAINS_CAPTION + later_steps_note(summary.analysis.primary)
        yield from ("", *to_text(summary.gains, columns).splitlines(), caption)
    if summary.queries is not None:
        yield from ("", *to_text(summary.queries.table, columns).splitlines(), summary.queries.caption)
    if summary.findings:
        yield from ("", "Exploratory:", *(f"- {finding}" for finding in summary.findings))
    if (ranks := summary.analysis.ranks) is not None:
        order = sorted(ranks.mean, key=lambda label: ranks.mean[label])
        yield f"- Average rank over rounds and {ranks.num_seeds} seeds (1 is best): " + ", ".join(
            f"{label} {ranks.mean[label]:.2f}" for label in order
        )
    yield from ("", *(f"! {caveat}" for caveat in summary.caveats))


def as_json(found: Analysis) -> dict[str, Any]:
    """Return the statistics JSON-plain, under the names of `Analysis`'s fields; pairs are written "first - second"."""
    value = _json(found)
    assert isinstance(value, dict)
    return value


def _json(value: object) -> Any:
    if isinstance(value, Cost | Metric):
        return value.key
    if isinstance(value, Trial):
        why = value.failure.exception if value.failure is not None else None
        return {"trial_id": value.trial_id, "state": value.state, "rounds": len(value.records), "exception": why}
    if dataclasses.is_dataclass(value):
        return {field.name: _json(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {_key(key): _json(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_json(item) for item in value]
    return value


def _key(key: object) -> str:
    return " - ".join(map(str, key)) if isinstance(key, tuple) else str(key)
