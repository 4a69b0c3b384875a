"""The objective of a study: one number for a candidate from the records of its trials, running or finished.

The cost is the number of labelled pixels: it is the only one that means the same at every region size.
"""

import math
import statistics
from collections.abc import Sequence
from typing import Final, Literal

import numpy as np

from quadrat.benchmark.analysis.curves import area, first_crossing
from quadrat.benchmark.config.study import Objective
from quadrat.benchmark.results.records import Record

__all__ = ["DISPLAY_SCALE", "DISPLAY_TITLE", "cost_or_penalty", "target_outcome", "value_of"]

_SHARE: Final = 0.95
"""Of full supervision, the target of `cost-95`: the paper's yardstick."""

DISPLAY_SCALE: Final[dict[Objective, float]] = {"area": 100.0, "cost-95": 100.0, "select-seconds": 1.0}
"""Factor from the value of an objective to the number that a reader sees."""

DISPLAY_TITLE: Final[dict[Objective, str]] = {
    "area": "area under the curve (%)",
    "cost-95": "pixels to 95 % of full supervision (%)",
    "select-seconds": "selection time (s)",
}


def value_of(objective: Objective, records: Sequence[Record], full_supervision: Sequence[Record] = ()) -> float:
    """Return the value of `objective` for one candidate.

    `area`: mean over seeds of the area under the mIoU curve over labelled pixels, divided by the curve's width: 0..1.
    `cost-95`: share of the pool's pixels at which the mean curve over seeds reaches 95 % of the mean mIoU of full
    supervision, see `cost_or_penalty`. `select-seconds`: mean over seeds of the seconds spent selecting, all rounds.

    The rounds may be the first ones only: then it is the running value, comparable between candidates after as many
    rounds. After round 0 the area is the mIoU.

    Args:
        objective: Which one.
        records: Of all trials of the candidate, at least one.
        full_supervision: Records of full supervision on the same seeds, for `cost-95`.
    """
    by_seed: dict[int, list[Record]] = {}
    for record in sorted(records, key=lambda record: record.round):
        by_seed.setdefault(record.seed, []).append(record)
    if objective == "area":
        return statistics.fmean(
            area([record.labelled_px for record in rounds], [record.miou for record in rounds])
            for rounds in by_seed.values()
        )
    if objective == "select-seconds":
        return statistics.fmean(math.fsum(record.seconds["select"] for record in rounds) for rounds in by_seed.values())
    shared = list(zip(*by_seed.values(), strict=False))  # the rounds that all seeds have
    return cost_or_penalty(
        [statistics.fmean(record.labelled_fraction for record in round_) for round_ in shared],
        [statistics.fmean(record.miou for record in round_) for round_ in shared],
        _SHARE * statistics.fmean(record.miou for record in full_supervision),
    )


def target_outcome(records: Sequence[Record], full_supervision: Record) -> Literal["kept", "lost again", "not reached"]:
    """Return whether the curve of a trial reaches the target of `cost-95`, and is still there after the last round.

    Args:
        records: Of one trial, at least one.
        full_supervision: On the same seed.
    """
    mious = [record.miou for record in sorted(records, key=lambda record: record.round)]
    target = _SHARE * full_supervision.miou
    if max(mious) < target:
        return "not reached"
    return "kept" if mious[-1] >= target else "lost again"


def cost_or_penalty(costs: Sequence[float], mious: Sequence[float], target: float) -> float:
    """Return the cost at which a curve first reaches `target`, or a penalty above 1 where it never does.

    Candidates have to be ranked even when none reaches the target, so the penalty is 1 plus the share of the target
    that the curve's best point lacks. Costs are at most 1: a candidate that reaches the target is always ahead of one
    that does not, and of two that do not, the one that comes closer is ahead.

    Args:
        costs: Shares of the pool, ascending; at least one.
        mious: One for each cost.
        target: mIoU above 0.

    Examples:
        >>> cost_or_penalty([0.1, 0.3], [0.2, 0.6], target=0.4)
        0.2
        >>> cost_or_penalty([0.1, 0.3], [0.2, 0.6], target=0.8)
        1.25
    """
    cost = float(first_crossing(np.array([costs]), np.array([mious]), np.array([target]))[0])
    return cost if math.isfinite(cost) else 1 + (target - max(mious)) / target
