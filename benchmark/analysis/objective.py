"""What a candidate of a study is worth: one number from the records of its trials, running or finished.

The cost is the number of labelled pixels: it is the only one that means the same at every region size.
"""

import itertools
import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from quadrat.benchmark.config.study import Objective
from quadrat.benchmark.results.records import Record

__all__ = ["Point", "area", "cost_to_reach", "value_of"]

_SHARE: Final = 0.95
"""Of full supervision, whose cost `cost-95` asks for: the paper's yardstick."""


class Point(NamedTuple):
    """A point of a learning curve.

    Attributes:
        cost: What had been spent.
        miou: mIoU then, 0..1.
    """

    cost: float
    miou: float


def value_of(objective: Objective, records: Sequence[Record], references: Sequence[Record] = ()) -> float:
    """Return the value of `objective` for one candidate.

    `area`: mean over seeds of the area under the mIoU curve over labelled pixels, divided by the curve's width: 0..1.
    `cost-95`: share of the pool's pixels at which the mean curve over seeds reaches 95 % of the mean mIoU of full
    supervision, see `cost_to_reach`. `select-seconds`: mean over seeds of the seconds that selecting took, all rounds.

    The rounds may be the first ones only: then it is the running value, comparable between candidates after as many
    rounds. After round 0 the area is the mIoU.

    Args:
        objective: Which one.
        records: Of all trials of the candidate, at least one.
        references: Of full supervision on the same seeds, for `cost-95`.
    """
    by_seed: dict[int, list[Record]] = {}
    for record in sorted(records, key=lambda record: record.round):
        by_seed.setdefault(record.seed, []).append(record)
    if objective == "area":
        return statistics.fmean(area([Point(r.labelled_px, r.miou) for r in rounds]) for rounds in by_seed.values())
    if objective == "select-seconds":
        return statistics.fmean(math.fsum(r.seconds["select"] for r in rounds) for rounds in by_seed.values())
    full = statistics.fmean(record.miou for record in references)
    return cost_to_reach(_mean_curve(by_seed.values()), _SHARE * full)


def _mean_curve(trials: Iterable[Sequence[Record]]) -> list[Point]:
    """Return the mean over trials of each round that all of them have."""

    def mean(of: Callable[[Record], float], rounds: Sequence[Record]) -> float:
        return statistics.fmean(of(record) for record in rounds)

    return [
        Point(mean(lambda record: record.labelled_fraction, rounds), mean(lambda record: record.miou, rounds))
        for rounds in zip(*trials, strict=False)
    ]


def area(curve: Sequence[Point]) -> float:
    """Return the area under a learning curve by trapezoids, divided by its width; a single point has its own mIoU.

    Examples:
        >>> area([Point(100, 0.2), Point(200, 0.4), Point(400, 0.6)])
        0.43333333333333335
    """
    width = curve[-1].cost - curve[0].cost
    if width == 0:
        return curve[-1].miou
    trapezoids = ((right.cost - left.cost) * (left.miou + right.miou) / 2 for left, right in itertools.pairwise(curve))
    return math.fsum(trapezoids) / width


def cost_to_reach(curve: Sequence[Point], target: float) -> float:
    """Return the cost at which a curve first reaches `target`, interpolated linearly between its points.

    A curve that never does has no such cost, but candidates have to be ranked: it gets 1 plus the share of the target
    that its best point lacks. Costs are shares of the pool, so whoever reaches the target is ahead of whoever does not,
    and among those that do not, the nearest is ahead.

    Args:
        curve: At least one point, costs as shares of the pool.
        target: mIoU above 0.

    Examples:
        >>> cost_to_reach([Point(0.1, 0.2), Point(0.3, 0.6)], target=0.4)
        0.2
        >>> cost_to_reach([Point(0.1, 0.2), Point(0.3, 0.6)], target=0.8)
        1.25
    """
    if curve[0].miou >= target:
        return curve[0].cost
    for left, right in itertools.pairwise(curve):
        if right.miou >= target:
            return left.cost + (right.cost - left.cost) * (target - left.miou) / (right.miou - left.miou)
    return 1 + (target - max(point.miou for point in curve)) / target
