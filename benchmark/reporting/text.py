"""The statistics as plain text for a terminal, and as JSON for other programs."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from quadrat.benchmark.analysis.measures import COSTS, FRACTION, Cost, Metric
from quadrat.benchmark.analysis.summary import Evidence
from quadrat.benchmark.errors import ResultsError
from quadrat.benchmark.reporting.summary import answer
from quadrat.benchmark.results.trials import Results, Trial

__all__ = ["as_json", "cost_of_key", "plain_text"]


def cost_of_key(key: str) -> Cost:
    """Return the cost called `key`.

    Raises:
        ResultsError: When there is no such cost.
    """
    cost = next((cost for cost in COSTS if cost.key == key), None)
    if cost is None:
        raise ResultsError(f"expected a cost, one of {', '.join(cost.key for cost in COSTS)}, got '{key}'")
    return cost


def plain_text(results: Results, cost: Cost = FRACTION) -> str:
    """Return what failed or is missing, the answer, what it leans on, and average ranks, as lines of text."""
    return "\n".join(_lines(results, cost)) + "\n"


def _lines(results: Results, cost: Cost) -> Iterator[str]:
    found = answer(results, cost)
    unfinished = found.evidence.unfinished
    if unfinished:
        yield f"{len(unfinished)} of {len(results.trials)} trials are failed or missing; they are in no number below:"
        for trial in unfinished:
            why = f": {trial.failure.exception}" if trial.failure is not None else ""
            yield f"  {trial.state}  {trial.label} seed {trial.seed}, {len(trial.records)} rounds{why}"
        yield ""
    yield found.headline
    yield from ("", *(f"- {fact}" for fact in found.facts))
    yield from ("", *(f"! {caveat}" for caveat in found.caveats))
    ranks = found.evidence.ranks
    if ranks is not None:
        order = sorted(ranks.mean, key=lambda label: ranks.mean[label])
        yield ""
        yield f"Average rank over rounds and {ranks.num_seeds} seeds (1 is best): " + ", ".join(
            f"{label} {ranks.mean[label]:.2f}" for label in order
        )


def as_json(found: Evidence) -> dict[str, Any]:
    """Return the statistics JSON-plain, under the names of `Evidence`'s fields; pairs are written "first - second"."""
    plain = _plain(found)
    assert isinstance(plain, dict)
    return plain


def _plain(value: object) -> Any:
    if isinstance(value, Cost | Metric):
        return value.key
    if isinstance(value, Trial):
        why = value.failure.exception if value.failure is not None else None
        return {"trial_id": value.trial_id, "state": value.state, "rounds": len(value.records), "exception": why}
    if dataclasses.is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {_key(key): _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value


def _key(key: object) -> str:
    return " - ".join(map(str, key)) if isinstance(key, tuple) else str(key)
