"""Learning curves over any cost: points, mean and spread, area under the curve, first crossing of a target.

A curve belongs to one label and one seed. Between two rounds it is interpolated linearly in the cost.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from quadrat.benchmark.analysis.measures import Cost, Metric
from quadrat.benchmark.analysis.statistics import Summary, summarise
from quadrat.benchmark.results.records import Record

__all__ = [
    "Curve",
    "CurvePoint",
    "Curves",
    "area",
    "areas",
    "common_range",
    "curves_of",
    "first_crossing",
    "mean_curve",
]

# Legend: B curves, R rounds.


@dataclass(frozen=True, kw_only=True)
class Curve:
    """The learning curve of one trial.

    Attributes:
        label: Of its strategy.
        seed: Its seed.
        rounds: The rounds that have both cost and value, ascending.
        costs: Cumulative cost after each, ascending.
        values: The metric after each, percent.
    """

    label: str
    seed: int
    rounds: tuple[int, ...]
    costs: tuple[float, ...]
    values: tuple[float, ...]


Curves = dict[str, dict[int, Curve]]
"""label -> seed -> curve."""


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """A point of a mean curve.

    Attributes:
        round: Counted from 0.
        cost: Mean over the seeds: at the same number of regions, pixels and clicks differ by seed.
        value: Mean and spread of the metric over the seeds.
    """

    round: int
    cost: float
    value: Summary


def curves_of(records: Iterable[Record], cost: Cost, metric: Metric) -> Curves:
    """Return the curves of all trials in `records`; a round without the metric is left out."""
    points: dict[str, dict[int, dict[int, tuple[float, float]]]] = {}
    for record in records:
        if (value := metric.of(record)) is not None:
            points.setdefault(record.label, {}).setdefault(record.seed, {})[record.round] = (cost.of(record), value)
    return {
        label: {
            seed: Curve(
                label=label,
                seed=seed,
                rounds=tuple(sorted(rounds)),
                costs=tuple(rounds[round_][0] for round_ in sorted(rounds)),
                values=tuple(rounds[round_][1] for round_ in sorted(rounds)),
            )
            for seed, rounds in sorted(seeds.items())
        }
        for label, seeds in points.items()
    }


def mean_curve(curves: Mapping[int, Curve]) -> tuple[CurvePoint, ...]:
    """Return mean and spread over seeds at every round that any of them has.

    Args:
        curves: Seed -> curve of one label.
    """
    found: dict[int, list[tuple[float, float]]] = {}
    for curve in curves.values():
        for round_, cost, value in zip(curve.rounds, curve.costs, curve.values, strict=True):
            found.setdefault(round_, []).append((cost, value))
    return tuple(
        CurvePoint(
            round=round_,
            cost=summarise(cost for cost, _ in found[round_]).mean,
            value=summarise(value for _, value in found[round_]),
        )
        for round_ in sorted(found)
    )


def common_range(curves: Iterable[Curve]) -> tuple[float, float] | None:
    """Return the costs that all `curves` cover, lowest and highest, or None when their ranges do not overlap."""
    ends = [(curve.costs[0], curve.costs[-1]) for curve in curves]
    if not ends:
        return None
    low, high = max(low for low, _ in ends), min(high for _, high in ends)
    return (low, high) if low < high else None


def area(costs: Sequence[float], values: Sequence[float], low: float | None = None, high: float | None = None) -> float:
    """Return the area under a curve between two costs, by trapezoids, divided by `high - low`.

    It has the unit of the metric: the mean height of the curve over the budget (AUBC, as in nnActive). Where there is
    no width, as after a single round, it is the last value.

    Args:
        costs: Ascending, covering `low` to `high`; rounds may have equal ones, as images opened once all of them are.
        values: One for each cost.
        low: Cost to begin at; by default the first.
        high: Cost to end at; by default the last.

    Examples:
        >>> area((0, 1, 3), (10, 20, 40))  # (15 * 1 + 30 * 2) / 3
        25.0
    """
    x, y = np.array(costs, dtype=float), np.array(values, dtype=float)
    low, high = x[0] if low is None else low, x[-1] if high is None else high
    if low == high:
        return float(y[-1])
    inside = (x > low) & (x < high)
    at_high = int(np.searchsorted(x, high))  # of several rounds at this cost the first: the others add no width
    last = y[at_high] if x[at_high] == high else np.interp(high, x, y)
    y = np.array([np.interp(low, x, y), *y[inside], last])
    x = np.array([low, *x[inside], high])
    return float(np.trapezoid(y, x) / (high - low))


def areas(curves: Curves) -> dict[str, dict[int, float]]:
    """Return label -> seed -> normalised area over the costs that all curves cover; empty when there are none.

    One range for all, since areas over different ranges can't be compared: a strategy whose regions take many clicks
    spends more clicks than the others for the same number of regions.
    """
    shared = common_range(curve for seeds in curves.values() for curve in seeds.values())
    if shared is None:
        return {}
    return {
        label: {seed: area(curve.costs, curve.values, *shared) for seed, curve in seeds.items()}
        for label, seeds in curves.items()
    }


def first_crossing(
    costs_BR: npt.NDArray[np.float64], values_BR: npt.NDArray[np.float64], target_B: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return the cost at which each curve is first at its target or above, inf where it never is.

    Between two rounds the curve is interpolated linearly.

    Args:
        costs_BR: (B, R), ascending.
        values_BR: (B, R).
        target_B: (B,).

    Examples:
        >>> costs, values = np.array([[1.0, 2.0, 4.0]]), np.array([[10.0, 20.0, 40.0]])
        >>> first_crossing(costs, values, np.array([25.0]))  # a quarter of the way from 2 to 4
        array([2.5])
    """
    is_reached_BR = values_BR >= target_B[:, None]
    draw = np.arange(len(values_BR))
    at = is_reached_BR.argmax(axis=1)
    before = np.maximum(at - 1, 0)
    rise = values_BR[draw, at] - values_BR[draw, before]
    part = np.divide(target_B - values_BR[draw, before], rise, out=np.ones(len(draw)), where=(at > 0) & (rise > 0))
    crossing: npt.NDArray[np.float64] = costs_BR[draw, before] + part * (costs_BR[draw, at] - costs_BR[draw, before])
    return np.where(is_reached_BR.any(axis=1), crossing, np.inf)
