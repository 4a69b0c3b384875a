"""What the bulletin of a study says: how many candidates have ended, and where the trials of those in flight are."""

from collections.abc import Iterable, Mapping
from typing import Any

from quadrat.benchmark.results.candidates import Candidate
from quadrat.cluster.progress.progress import RunProgress
from quadrat.cluster.progress.status import describe_row

__all__ = ["describe_search"]


def describe_search(
    candidates: Iterable[Candidate],
    in_flight: Mapping[int, RunProgress],
    *,
    num_wanted: int,
    activity: str,
    elapsed_s: float,
) -> dict[str, Any]:
    """Return what is said of a search, JSON-plain, in the keys of a run's bulletin as far as they apply.

    There are no trials and rounds in all, and no time left: how many rounds a candidate has is the pruner's to say. An
    actor tells once a round of all its seeds, so what its trials are at within a round is not known either.

    Args:
        candidates: All that were proposed so far.
        in_flight: Number and board of those that run.
        num_wanted: As many candidates as the study is to have.
        activity: What is done as long as none is in flight.
        elapsed_s: Seconds since the search, or its continuation, began.
    """
    states = [candidate.state for candidate in candidates]
    rows = [
        {**describe_row(board, row), "candidate": number, "phase": "search"}
        for number, board in in_flight.items()
        for row in board.rows.values()
        if row.num_done < row.spec.num_rounds
    ]
    return {
        "candidates": {
            "num": num_wanted,
            "ended": sum(state != "running" for state in states),
            "failed": states.count("failed"),
        },
        "activity": activity,
        "elapsed_s": round(elapsed_s, 1),
        "left_s": None,
        "in_flight": rows,
    }
