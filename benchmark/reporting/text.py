"""The output of `quadrat stats`: the statistics as plain text for a terminal, and as JSON for other programs."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from quadrat.benchmark.analysis.analyse import Analysis
from quadrat.benchmark.analysis.measures import COSTS, FRACTION, Cost, Metric
from quadrat.benchmark.errors import ResultsError
from quadrat.benchmark.reporting.formatting import filled
from quadrat.benchmark.reporting.summary import report_summary
from quadrat.benchmark.reporting.tables.contents import GAINS_CAPTION
from quadrat.benchmark.reporting.tables.export import to_text
from quadrat.benchmark.results.trials import Results, Trial

__all__ = ["as_json", "as_text", "cost_of_key"]


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
    """Return unfinished trials, headline, findings, caveats and average ranks, as lines of text.

    Args:
        results: The results.
        cost: The unit of exploratory numbers.
        columns: Width of the terminal; without one a paragraph is a line.
    """
    lines = (line for text in _lines(results, cost, columns) for line in filled(text, columns))
    return "\n".join(lines) + "\n"


def _lines(results: Results, cost: Cost, columns: int | None) -> Iterator[str]:
    summary = report_summary(results, cost)
    unfinished, ranks = summary.analysis.unfinished, summary.analysis.ranks
    if unfinished:
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
    if summary.gains is not None:
        yield from ("", *to_text(summary.gains, columns).splitlines(), GAINS_CAPTION)
    if summary.queries is not None:
        yield from ("", *to_text(summary.queries.table, columns).splitlines(), summary.queries.caption)
    if summary.findings:
        yield from ("", "Exploratory:", *(f"- {finding}" for finding in summary.findings))
    yield from ("", *(f"! {caveat}" for caveat in summary.caveats))
    if ranks is not None:
        order = sorted(ranks.mean, key=lambda label: ranks.mean[label])
        yield ""
        yield f"Average rank over rounds and {ranks.num_seeds} seeds (1 is best): " + ", ".join(
            f"{label} {ranks.mean[label]:.2f}" for label in order
        )


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
