"""Learning curves over any cost: their points, the band of their mean, and the area under them.

A curve belongs to one label and one seed. Between two rounds nothing was measured; where a value there is needed it is
interpolated linearly in the cost.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from quadrat.benchmark.analysis.measures import Cost, Metric
from quadrat.benchmark.analysis.statistics import Summary, summarise
from quadrat.benchmark.results.records import Record

__all__ = ["Curve", "CurvePoint", "Curves", "area", "areas", "common_range", "curves_of", "mean_curve"]


@dataclass(frozen=True, kw_only=True)
class Curve:
    """The learning curve of one trial.

    Attributes:
        label: What its strategy is called.
        seed: Its seed.
        rounds: The rounds that have both cost and value, ascending.
        costs: What was spent after each; never falls.
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
        value: Mean, spread and half the width of the confidence interval of the metric over the seeds.
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
    """Return the mean over seeds at every round that any of them has, with its confidence band.

    The band is pointwise: 95 % for each round, not for the curve as a whole.

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
    """Return the costs that all `curves` cover, lowest and highest, or None when they share no stretch."""
    ends = [(curve.costs[0], curve.costs[-1]) for curve in curves]
    if not ends:
        return None
    low, high = max(low for low, _ in ends), min(high for _, high in ends)
    return (low, high) if low < high else None


def area(curve: Curve, low: float, high: float) -> float:
    """Return the area under a curve between two costs, by trapezoids, divided by `high - low`.

    So it has the unit of the metric: the mean height of the curve over the budget (AUBC, as in nnActive).

    Args:
        curve: It covers `low` to `high`.
        low: Cost to begin at.
        high: Cost to end at.

    Examples:
        >>> curve = Curve(label="a", seed=0, rounds=(0, 1, 2), costs=(0, 1, 3), values=(10, 20, 40))
        >>> area(curve, 0, 3)  # (15 * 1 + 30 * 2) / 3
        25.0
    """
    costs, values = np.array(curve.costs, dtype=float), np.array(curve.values, dtype=float)
    inside = (costs > low) & (costs < high)
    x = np.array([low, *costs[inside], high])
    y = np.array([np.interp(low, costs, values), *values[inside], np.interp(high, costs, values)])
    return float(np.trapezoid(y, x) / (high - low))


def areas(curves: Curves) -> dict[str, dict[int, float]]:
    """Return label -> seed -> normalised area over the costs that all curves cover; empty when they share none.

    One range for all, since a strategy that buys regions full of clicks goes further on that axis than the others:
    areas over different ranges can't be compared.
    """
    shared = common_range(curve for seeds in curves.values() for curve in seeds.values())
    if shared is None:
        return {}
    return {label: {seed: area(curve, *shared) for seed, curve in seeds.items()} for label, seeds in curves.items()}
