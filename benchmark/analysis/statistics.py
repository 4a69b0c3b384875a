"""Statistics over seeds: pure functions from records to numbers.

Seeds are paired: all strategies of a seed share the labels and the model of round 0, so two strategies are compared by
their differences within a seed, which removes the spread that they share.

References:
    [Student] "The probable error of a mean", Biometrika 6, 1908: intervals and tests from few normal values.
    [Holm] "A simple sequentially rejective multiple test procedure", Scand. J. Statistics 6, 1979.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TypeVar

from scipy import special  # not scipy.stats, which takes seconds to import

from quadrat.benchmark.analysis.measures import Cost, Metric
from quadrat.benchmark.results.records import Record

__all__ = [
    "LEVEL",
    "MIN_SEEDS",
    "Comparison",
    "Difference",
    "Summary",
    "Values",
    "compare",
    "half_width",
    "holm",
    "holm_corrected",
    "last_shared_round",
    "paired_difference",
    "summarise",
    "values_by_seed",
]

LEVEL = 0.95
"""Confidence level of every interval; tests are at 1 - LEVEL."""

MIN_SEEDS = 3
"""Differences over fewer shared seeds are not tested: two leave one degree of freedom, and the p-value of a t-test then
depends on how close two numbers happen to be."""

Values = dict[str, dict[int, dict[int, float]]]
"""label -> round -> seed -> value."""

K = TypeVar("K")


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Mean and spread of a value over seeds.

    There is no interval of the mean: over 3 to 10 seeds of skewed values a t-interval does not cover what it says
    (results/statistics). Differences within a seed do have one, see `Difference`.

    Attributes:
        num: Number of seeds.
        mean: Their mean.
        std: Sample standard deviation (n - 1); None for one seed.
        low: Smallest value.
        high: Largest value.
    """

    num: int
    mean: float
    std: float | None
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A strategy minus a baseline, seed by seed; positive where the strategy is higher.

    Attributes:
        by_seed: The difference of every seed that both have.
        summary: Of those differences.
        half_width: Half the width of the 95 % t-interval of the mean difference; None below MIN_SEEDS.
        p_value: Two-sided paired t-test of a mean difference of zero; None below MIN_SEEDS.
    """

    by_seed: Mapping[int, float]
    summary: Summary
    half_width: float | None
    p_value: float | None

    @property
    def num_ahead(self) -> int:
        """Seeds in which the strategy is higher."""
        return sum(value > 0 for value in self.by_seed.values())


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """An exploratory difference, its p-value corrected for the comparisons made beside it.

    Claims come from the primary analysis (`primary.py`) alone: with several such families on one page the chance of a
    false one among them is above 5 %.

    Attributes:
        difference: The paired difference.
        adjusted_p: Its p-value after Holm's correction over its own family; None below MIN_SEEDS.
    """

    difference: Difference
    adjusted_p: float | None


def half_width(std: float, num: int) -> float:
    """Return half the width of the t-interval [Student] of a mean: t(num - 1) * std / sqrt(num).

    It is also the smallest mean difference that is significant with `num` paired seeds of that spread, before any
    correction for multiple comparisons.

    Args:
        std: Sample standard deviation.
        num: Number of values, at least 2.

    Examples:
        >>> round(half_width(1.0, 2), 3)
        8.985
        >>> round(half_width(1.0, 5), 3)
        1.242
    """
    return float(special.stdtrit(num - 1, (1 + LEVEL) / 2)) * std / math.sqrt(num)


def summarise(values: Iterable[float]) -> Summary:
    """Return mean and spread of at least one value.

    Examples:
        >>> summary = summarise([1.0, 2.0, 3.0])
        >>> summary.mean, summary.std
        (2.0, 1.0)
    """
    array = list(values)
    num = len(array)
    mean = math.fsum(array) / num
    std = math.sqrt(math.fsum((value - mean) ** 2 for value in array) / (num - 1)) if num > 1 else None
    return Summary(
        num=num,
        mean=mean,
        std=std,
        low=min(array),
        high=max(array),
    )


def values_by_seed(records: Iterable[Record], measure: Metric | Cost) -> Values:
    """Return label -> round -> seed -> value of `measure`; records without a value are left out."""
    values: Values = {}
    for record in records:
        value = measure.of(record)
        if value is not None:
            values.setdefault(record.label, {}).setdefault(record.round, {})[record.seed] = value
    return values


def paired_difference(values: Mapping[int, float], baseline: Mapping[int, float]) -> Difference | None:
    """Return `values` minus `baseline` over the seeds that both have, or None when they share none.

    The test is the one-sample t-test on the differences [Student]. Differences that are all equal have no spread to
    test against: p is then 1 if they are zero and 0 if not.

    Args:
        values: Seed -> value of the strategy.
        baseline: Seed -> value of the baseline.
    """
    by_seed = {seed: values[seed] - baseline[seed] for seed in sorted(values.keys() & baseline.keys())}
    if not by_seed:
        return None
    summary = summarise(by_seed.values())
    if summary.std is None or summary.num < MIN_SEEDS:
        return Difference(by_seed=by_seed, summary=summary, half_width=None, p_value=None)
    return Difference(
        by_seed=by_seed,
        summary=summary,
        half_width=half_width(summary.std, summary.num),
        p_value=_p_value(summary.mean, summary.std, summary.num),
    )


def _p_value(mean: float, std: float, num: int) -> float:
    if std == 0:
        return 1.0 if mean == 0 else 0.0
    return 2 * float(special.stdtr(num - 1, -abs(mean) / (std / math.sqrt(num))))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return Holm's adjusted p-values in the order given [Holm].

    The k-th smallest of m (k from 1) is multiplied by m - k + 1, then made non-decreasing and cut at 1. Rejecting what
    is below alpha keeps the chance of any false rejection below alpha, whatever the dependence.

    Examples:
        >>> [round(value, 6) for value in holm([0.01, 0.04, 0.03])]
        [0.03, 0.06, 0.06]
    """
    num = len(p_values)
    order = sorted(range(num), key=lambda place: p_values[place])
    raised = accumulate(((num - rank) * p_values[place] for rank, place in enumerate(order)), max)
    adjusted = dict(zip(order, raised, strict=True))
    return [min(adjusted[place], 1.0) for place in range(num)]


def compare(values: Values, baselines: Mapping[str, str], round_: int) -> dict[str, Comparison]:
    """Return the comparison of each label to its baseline at one round, Holm-corrected as one family.

    Args:
        values: Of one metric.
        baselines: Label -> label of its baseline.
        round_: The round; labels without a seed in common with their baseline there are left out.
    """
    differences: dict[str, Difference] = {}
    for label, baseline in baselines.items():
        difference = paired_difference(values.get(label, {}).get(round_, {}), values.get(baseline, {}).get(round_, {}))
        if difference is not None:
            differences[label] = difference
    return holm_corrected(differences)


def holm_corrected(differences: Mapping[K, Difference]) -> dict[K, Comparison]:
    """Return the differences as one Holm-corrected family; those over too few seeds are not tested."""
    tested = {label: found.p_value for label, found in differences.items() if found.p_value is not None}
    adjusted = dict(zip(tested, holm(list(tested.values())), strict=True))
    return {
        label: Comparison(difference=difference, adjusted_p=adjusted.get(label))
        for label, difference in differences.items()
    }


def last_shared_round(values: Values, baselines: Mapping[str, str]) -> int | None:
    """Return the last round in which any label shares a seed with its baseline, or None."""
    return max(
        (
            round_
            for label, baseline in baselines.items()
            for round_, seeds in values.get(label, {}).items()
            if seeds.keys() & values.get(baseline, {}).get(round_, {}).keys()
        ),
        default=None,
    )
