"""Label efficiency: the cost to reach a target, a share of full supervision or Random's final value, with intervals.

The cost is read off the mean curve over seeds: its first crossing of the target, interpolated linearly between rounds.
Its interval holds every cost at which the paired t-test of "curve minus target is 0" over the seeds is not rejected at
the 5 % level: the test inverted over the cost, as [Fieller] did for a ratio. Where the data do not say how low or how
high the cost may be the interval is open on that side. Of a set of several pieces, the one around the estimate is
returned: with three seeds the hull of all covers 98 %, this piece 94 to 95 % (results/statistics).

References:
    [Fieller] "Some problems in interval estimation", J. Royal Statistical Society B 16, 1954.
"""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import special  # not scipy.stats, which takes seconds to import

from quadrat.benchmark.analysis.curves import Curve, first_crossing
from quadrat.benchmark.analysis.statistics import LEVEL, MIN_SEEDS

__all__ = [
    "SHARES",
    "CostInterval",
    "CostToTarget",
    "LabelEfficiency",
    "cost_interval",
    "cost_to_target",
    "label_efficiency",
]

# Legend: S seeds, R rounds.

SHARES: Final = (0.90, 0.95, 0.99)
"""Shares of full supervision that serve as targets."""


@dataclass(frozen=True, kw_only=True)
class CostInterval:
    """The 95 % interval of a cost, in the unit of the cost, or of Random's cost where it belongs to a ratio.

    Attributes:
        low: Lower end; None where it is open: the curve may have reached the target before the first round.
        high: Upper end; None where it is open: the curve may reach the target beyond the budget, or never.
    """

    low: float | None
    high: float | None


@dataclass(frozen=True, kw_only=True)
class CostToTarget:
    """The cost at which a strategy reaches a share of full supervision.

    Attributes:
        label: The strategy.
        share: Of full supervision's mean, 0..1.
        target: That value, percent.
        cost: First crossing of the target by the mean curve, in the unit of the cost; None when there is none.
        interval: Of that cost; None below MIN_SEEDS seeds that the curve shares with full supervision.
        is_at_most: Whether the curve starts at the target or above, so that the true cost may be lower.
        num_seeds: Seeds of the curve.
        num_reaching: Seeds whose own curve reaches the target.
        is_lost_again: Whether the mean curve reaches the target and is below it after the last round.
    """

    label: str
    share: float
    target: float
    cost: float | None
    interval: CostInterval | None
    is_at_most: bool
    num_seeds: int
    num_reaching: int
    is_lost_again: bool = False


@dataclass(frozen=True, kw_only=True)
class LabelEfficiency:
    """The labels a strategy needs to match Random's final value, relative to those that Random needed.

    Attributes:
        label: The strategy.
        baseline: The label of Random that it is compared to, the one with its region size.
        target: That Random's final value: the mean of its last round over the shared seeds, percent.
        relative_cost: Cost of the strategy at the target / cost of Random's last round: 0.6 means 40 % of the labels
            saved, above 1 means that more are needed; None when the strategy never reaches the target, or Random's
            labels cost nothing.
        interval: Of the relative cost; None below MIN_SEEDS shared seeds.
        is_at_most: As in `CostToTarget`.
        num_seeds: Seeds that both have.
        is_lost_again: As in `CostToTarget`.
    """

    label: str
    baseline: str
    target: float
    relative_cost: float | None
    interval: CostInterval | None
    is_at_most: bool
    num_seeds: int
    is_lost_again: bool = False


class _Stack(NamedTuple):
    """Curves of several seeds over the rounds that all of them have."""

    costs: npt.NDArray[np.float64]
    """(S, R)"""
    values: npt.NDArray[np.float64]
    """(S, R)"""


def cost_to_target(
    curves: Mapping[int, Curve], full_supervision: Mapping[int, float], share: float
) -> CostToTarget | None:
    """Return the cost to reach `share` of full supervision, or None when there is no curve or no full supervision.

    Args:
        curves: Seed -> curve of one label.
        full_supervision: Seed -> value of full supervision, percent. The target is its mean; the spread of curve minus
            target is that of the seeds that both have.
        share: 0..1.
    """
    seeds = sorted(curves)
    stack = _stacked([curves[seed] for seed in seeds])
    if stack is None or not full_supervision:
        return None
    target = share * float(np.mean(list(full_supervision.values())))
    shared = [place for place, seed in enumerate(seeds) if seed in full_supervision]
    interval = None
    if len(shared) >= MIN_SEEDS:
        of_seed = share * np.array([full_supervision[seeds[place]] for place in shared])
        interval = cost_interval(
            stack.costs.mean(0), stack.values[shared] - of_seed[:, None], stack.values.mean(0) - target
        )
    own = first_crossing(stack.costs, stack.values, np.full(len(seeds), target))
    return CostToTarget(
        label=curves[seeds[0]].label,
        share=share,
        target=target,
        cost=_crossing(stack, target),
        interval=interval,
        is_at_most=bool(stack.values[:, 0].mean() >= target),
        num_seeds=len(seeds),
        num_reaching=int(np.isfinite(own).sum()),
        is_lost_again=_is_lost_again(stack, target),
    )


def label_efficiency(curves: Mapping[int, Curve], baseline: Mapping[int, Curve]) -> LabelEfficiency | None:
    """Return the labels a strategy needs to match the baseline's final value, relative to the baseline's.

    Args:
        curves: Seed -> curve of the strategy.
        baseline: Seed -> curve of Random.

    Returns:
        None when they share no seed.
    """
    seeds = sorted(curves.keys() & baseline.keys())
    ours, theirs = _stacked([curves[seed] for seed in seeds]), _stacked([baseline[seed] for seed in seeds])
    if ours is None or theirs is None:
        return None
    target, spent = float(theirs.values[:, -1].mean()), float(theirs.costs[:, -1].mean())
    cost = _crossing(ours, target)
    interval = None
    if len(seeds) >= MIN_SEEDS and spent > 0:
        difference_SR = ours.values - theirs.values[:, -1:]
        interval = cost_interval(ours.costs.mean(0) / spent, difference_SR, difference_SR.mean(0))
    return LabelEfficiency(
        label=curves[seeds[0]].label,
        baseline=baseline[seeds[0]].label,
        target=target,
        relative_cost=None if cost is None or spent == 0 else cost / spent,
        interval=interval,
        is_at_most=bool(ours.values[:, 0].mean() >= target),
        num_seeds=len(seeds),
        is_lost_again=_is_lost_again(ours, target),
    )


def cost_interval(
    costs_R: npt.NDArray[np.float64], difference_SR: npt.NDArray[np.float64], mean_R: npt.NDArray[np.float64]
) -> CostInterval:
    """Return the costs at which a mean difference of zero is not rejected: the t-test inverted over the cost [Fieller].

    Between two rounds the differences are linear in the cost, so the squared t statistic is a ratio of two quadratic
    polynomials and the ends of the accepted pieces are roots of one.

    Args:
        costs_R: (R,), ascending.
        difference_SR: (S, R), curve minus target by seed; at least two seeds.
        mean_R: (R,), the mean difference; that of `difference_SR`, unless it was estimated from more seeds.

    Returns:
        The accepted piece around the first crossing of `mean_R`. Costs before the first round are accepted unless the
        curve is below the target there (rejected, with a negative mean), and costs beyond the last round unless it is
        above: a piece that reaches them is open.
    """
    num = len(difference_SR)
    critical = float(special.stdtrit(num - 1, (1 + LEVEL) / 2)) ** 2
    covariance_RR = np.cov(difference_SR, rowvar=False, ddof=1).reshape(len(costs_R), len(costs_R))
    # Rejected where excess = S * mean^2 - t^2 * variance is above zero.
    excess_RR = num * np.outer(mean_R, mean_R) - critical * covariance_RR
    pieces = _accepted(costs_R, excess_RR)
    first, last = float(costs_R[0]), float(costs_R[-1])
    if not (mean_R[0] < 0 < excess_RR[0, 0]):
        pieces = _merged([(-math.inf, first), *pieces])
    if not (mean_R[-1] > 0 and excess_RR[-1, -1] > 0):
        pieces = _merged([*pieces, (last, math.inf)])
    crossing = float(first_crossing(costs_R[None], mean_R[None], np.zeros(1))[0])
    low, high = min(pieces, key=lambda piece: max(piece[0] - crossing, crossing - piece[1]))
    return CostInterval(low=low if math.isfinite(low) else None, high=high if math.isfinite(high) else None)


def _accepted(costs_R: npt.NDArray[np.float64], excess_RR: npt.NDArray[np.float64]) -> list[tuple[float, float]]:
    """Return the pieces of the costs at which the excess is not above zero, ascending.

    At the share w of the way between two rounds it is a * (1 - w)^2 + 2 * b * w * (1 - w) + c * w^2, with a and c its
    values at the rounds and b that of the pair.
    """
    pieces: list[tuple[float, float]] = []
    for at in range(len(costs_R) - 1):
        a, b, c = float(excess_RR[at, at]), float(excess_RR[at, at + 1]), float(excess_RR[at + 1, at + 1])
        roots = sorted(_roots(a, b, c))
        pieces += [(root, root) for root in _costs(costs_R, at, roots)]
        for part, following in itertools.pairwise([0.0, *roots, 1.0]):
            w = (part + following) / 2
            if a * (1 - w) ** 2 + 2 * b * w * (1 - w) + c * w**2 <= 0:
                low, high = _costs(costs_R, at, [part, following])
                pieces.append((low, high))
    return _merged(pieces)


def _costs(costs_R: npt.NDArray[np.float64], at: int, parts: Sequence[float]) -> list[float]:
    """Return the costs at shares of the way from one round to the next; exactly the rounds' own at 0 and 1."""
    return [float(costs_R[at] * (1 - part) + costs_R[at + 1] * part) for part in parts]


def _merged(pieces: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the union of intervals as disjoint ones, ascending."""
    merged: list[tuple[float, float]] = []
    for low, high in sorted(pieces):
        if merged and low <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], high))
        else:
            merged.append((low, high))
    return merged


def _roots(start: float, cross: float, end: float) -> Iterator[float]:
    """Yield the roots in 0..1 of start * (1 - w)^2 + 2 * cross * w * (1 - w) + end * w^2."""
    square, linear = start - 2 * cross + end, 2 * (cross - start)
    discriminant = linear**2 - 4 * square * start
    if abs(discriminant) <= 1e-12 * linear**2:
        discriminant = 0.0  # a double root: differences without spread
    if discriminant < 0:
        return
    # The form without cancellation: two quotients with a common term.
    half = -(linear + math.copysign(math.sqrt(discriminant), linear)) / 2
    for numerator, denominator in ((half, square), (start, half)):
        if denominator and 0 <= numerator / denominator <= 1:
            yield numerator / denominator


def _crossing(stack: _Stack, target: float) -> float | None:
    cost = first_crossing(stack.costs.mean(0)[None], stack.values.mean(0)[None], np.array([target]))[0]
    return float(cost) if np.isfinite(cost) else None


def _is_lost_again(stack: _Stack, target: float) -> bool:
    return _crossing(stack, target) is not None and bool(stack.values[:, -1].mean() < target)


def _stacked(curves: Sequence[Curve]) -> _Stack | None:
    """Return the curves over the rounds that all of them have, or None when there is no such round."""
    shared = sorted(set.intersection(*(set(curve.rounds) for curve in curves))) if curves else []
    if not shared:
        return None
    at = [[curve.rounds.index(round_) for round_ in shared] for curve in curves]
    return _Stack(
        costs=np.array([[curve.costs[i] for i in row] for curve, row in zip(curves, at, strict=True)], dtype=float),
        values=np.array([[curve.values[i] for i in row] for curve, row in zip(curves, at, strict=True)], dtype=float),
    )
