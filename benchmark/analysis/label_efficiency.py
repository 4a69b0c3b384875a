"""Label efficiency: the cost to reach a target, a share of full supervision or Random's final value, with intervals.

The cost is read off the mean curve over seeds: its first crossing of the target, interpolated linearly between rounds.
Intervals are bootstrap percentiles [Efron] over seeds: whole seeds are drawn with replacement, so values that are
paired within a seed (strategy, baseline, full supervision) stay together. A draw whose curve never reaches the target
counts as a cost beyond the budget; the fraction of such draws is reported. With few seeds such intervals are too narrow
(three seeds give ten different draws): they describe the spread of the seeds at hand and guarantee no coverage.

References:
    [Efron] "Bootstrap methods: another look at the jackknife", Annals of Statistics 7, 1979.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from quadrat.benchmark.analysis.curves import Curve, first_crossing
from quadrat.benchmark.analysis.statistics import LEVEL
from quadrat.benchmark.seeds import rng

__all__ = ["RESAMPLES", "SHARES", "CostToTarget", "LabelEfficiency", "cost_to_target", "label_efficiency"]

# Legend: B draws, S seeds, R rounds.

RESAMPLES: Final = 10_000
"""Bootstrap draws: the percentiles are then steady to about a hundredth of the interval."""

SHARES: Final = (0.90, 0.95, 0.99)
"""Shares of full supervision that serve as targets."""


@dataclass(frozen=True, kw_only=True)
class CostToTarget:
    """The cost at which a strategy reaches a share of full supervision.

    Attributes:
        label: The strategy.
        share: Of full supervision's mean, 0..1.
        target: That value, percent.
        cost: First crossing of the target by the mean curve, in the unit of the cost; None when there is none.
        low: Lower end of the 95 % interval; None when that lies beyond the budget, and for one seed.
        high: Upper end; None when it lies beyond the budget (more than 2.5 % of the draws never reach the target), and
            for one seed.
        is_at_most: Whether the curve starts at the target or above, so that the true cost may be lower.
        num_seeds: Seeds of the curve.
        num_reaching: Seeds whose own curve reaches the target.
        fraction_not_reached: Fraction of bootstrap draws that never reach it, 0..1; 0 or 1 for one seed.
    """

    label: str
    share: float
    target: float
    cost: float | None
    low: float | None
    high: float | None
    is_at_most: bool
    num_seeds: int
    num_reaching: int
    fraction_not_reached: float


@dataclass(frozen=True, kw_only=True)
class LabelEfficiency:
    """The labels a strategy needs to match Random's final value, relative to those that Random needed.

    Attributes:
        label: The strategy.
        baseline: The label of Random that it is compared to.
        target: Random's final value: the mean of its last round over the shared seeds, percent.
        relative_cost: Cost of the strategy at the target / cost of Random's last round: 0.6 means 40 % of the labels
            saved, above 1 means that more are needed; None when the strategy never reaches the target.
        low: Lower end of its 95 % interval; None as in `CostToTarget`.
        high: Upper end; None as in `CostToTarget`.
        is_at_most: As in `CostToTarget`.
        num_seeds: Seeds that both have.
        fraction_not_reached: Fraction of bootstrap draws that never reach the target, 0..1.
    """

    label: str
    baseline: str
    target: float
    relative_cost: float | None
    low: float | None
    high: float | None
    is_at_most: bool
    num_seeds: int
    fraction_not_reached: float


class _Stack(NamedTuple):
    """Curves of several seeds over the rounds that all of them have."""

    costs: npt.NDArray[np.float64]
    """(S, R)"""
    values: npt.NDArray[np.float64]
    """(S, R)"""


class _Interval(NamedTuple):
    low: float | None
    high: float | None
    fraction_not_reached: float


def cost_to_target(
    curves: Mapping[int, Curve], full_supervision: Mapping[int, float], share: float, *, resamples: int = RESAMPLES
) -> CostToTarget | None:
    """Return the cost to reach `share` of full supervision, or None when there is no curve or no full supervision.

    Args:
        curves: Seed -> curve of one label.
        full_supervision: Seed -> value of full supervision, percent. Where every seed of the curve has one, both are
            drawn together; else their mean is taken as known.
        share: 0..1.
        resamples: Bootstrap draws.
    """
    seeds = sorted(curves)
    stack = _stacked([curves[seed] for seed in seeds])
    if stack is None or not full_supervision:
        return None
    target = share * float(np.mean(list(full_supervision.values())))
    targets_S = np.full(len(seeds), target)
    if set(seeds) <= full_supervision.keys():
        targets_S = share * np.array([full_supervision[seed] for seed in seeds])
        # The target is the mean over all seeds of full supervision; only its spread is that of the shared ones.
        targets_S += target - targets_S.mean()
    cost = first_crossing(stack.costs.mean(0)[None], stack.values.mean(0)[None], np.array([target]))[0]
    draws_BS = _draws(len(seeds), resamples)
    drawn = first_crossing(stack.costs[draws_BS].mean(1), stack.values[draws_BS].mean(1), targets_S[draws_BS].mean(1))
    own = first_crossing(stack.costs, stack.values, np.full(len(seeds), target))
    found = _interval(drawn, len(seeds))
    return CostToTarget(
        label=curves[seeds[0]].label,
        share=share,
        target=target,
        cost=_finite(cost),
        low=found.low,
        high=found.high,
        is_at_most=bool(stack.values[:, 0].mean() >= target),
        num_seeds=len(seeds),
        num_reaching=int(np.isfinite(own).sum()),
        fraction_not_reached=found.fraction_not_reached,
    )


def label_efficiency(
    curves: Mapping[int, Curve], baseline: Mapping[int, Curve], *, resamples: int = RESAMPLES
) -> LabelEfficiency | None:
    """Return the labels a strategy needs to match the baseline's final value, relative to the baseline's.

    Args:
        curves: Seed -> curve of the strategy.
        baseline: Seed -> curve of Random.
        resamples: Bootstrap draws.

    Returns:
        None when they share no seed.
    """
    seeds = sorted(curves.keys() & baseline.keys())
    ours, theirs = _stacked([curves[seed] for seed in seeds]), _stacked([baseline[seed] for seed in seeds])
    if ours is None or theirs is None:
        return None
    target, spent = float(theirs.values[:, -1].mean()), float(theirs.costs[:, -1].mean())
    cost = first_crossing(ours.costs.mean(0)[None], ours.values.mean(0)[None], np.array([target]))[0]
    draws_BS = _draws(len(seeds), resamples)
    drawn = first_crossing(
        ours.costs[draws_BS].mean(1), ours.values[draws_BS].mean(1), theirs.values[draws_BS, -1].mean(1)
    )
    found = _interval(drawn / theirs.costs[draws_BS, -1].mean(1), len(seeds))
    return LabelEfficiency(
        label=curves[seeds[0]].label,
        baseline=baseline[seeds[0]].label,
        target=target,
        relative_cost=_finite(cost / spent),
        low=found.low,
        high=found.high,
        is_at_most=bool(ours.values[:, 0].mean() >= target),
        num_seeds=len(seeds),
        fraction_not_reached=found.fraction_not_reached,
    )


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


def _draws(num_seeds: int, resamples: int) -> npt.NDArray[np.int64]:
    """Return which seeds are in each draw, int64 (B, S): the same for every strategy and in every call."""
    return rng(0, "bootstrap", num_seeds).integers(0, num_seeds, (resamples, num_seeds))


def _interval(drawn_B: npt.NDArray[np.float64], num_seeds: int) -> _Interval:
    fraction_not_reached = float(np.isinf(drawn_B).mean())
    if num_seeds < 2:
        return _Interval(None, None, fraction_not_reached)
    # A percentile that is one of the draws: between a cost and "beyond the budget" there is nothing to interpolate.
    low, high = np.quantile(drawn_B, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], method="inverted_cdf")
    return _Interval(_finite(low), _finite(high), fraction_not_reached)


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
