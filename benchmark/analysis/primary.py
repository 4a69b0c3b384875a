"""The primary analysis: the one comparison, declared beforehand, that anything called significant has to come from.

Declared here, before any result is seen: the area under the learning curve (AUBC) of each strategy minus that of Random
with the same query, over labelled pixels and over clicks; all of these tests are one family for Holm's correction
[Holm]. Without Random the family is all pairs of strategies. The whole budget counts, not one round of it, and both
costs, since strategies select equal numbers of regions but neither equal pixels nor equal clicks.

Seeds are blocks and the error variance is pooled over the strategies (`block_design.py`). The interval of one gain
alone takes that variance to be the same for all; claims, and the intervals that hold together, also have to hold where
it is not. Every other number of `analyse` is exploratory.

References:
    [Holm] "A simple sequentially rejective multiple test procedure", Scand. J. Statistics 6, 1979.
"""

import collections
import itertools
import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from scipy import special  # not scipy.stats, which takes seconds to import

from quadrat.benchmark.analysis.block_design import BlockDesign, ContrastFit
from quadrat.benchmark.analysis.curves import areas, common_range, curves_of
from quadrat.benchmark.analysis.measures import CLICKS, FRACTION, MIOU, Cost, Metric
from quadrat.benchmark.analysis.power import detectable_difference, seeds_needed
from quadrat.benchmark.analysis.statistics import LEVEL, MIN_SEEDS, holm
from quadrat.benchmark.results.records import Record
from quadrat.benchmark.results.trials import Results

__all__ = [
    "PRIMARY_COSTS",
    "Exclusion",
    "PrimaryAnalysis",
    "PrimaryAxis",
    "PrimaryComparison",
    "Verdict",
    "compare_areas",
    "primary_analysis",
]

PRIMARY_COSTS = (FRACTION, CLICKS)
"""The costs of the primary analysis: labelled pixels and clicks."""

Verdict = Literal["better", "worse", "open", "not tested"]
"""`better`, `worse`: significant after correction over the family. `open`: tested and not significant."""

Reason = Literal[
    "unfinished trials",
    "too few shared seeds",
    "no Random of its query",
    "nothing to compare it to",
    "no range of costs that all cover",
]


@dataclass(frozen=True, kw_only=True)
class PrimaryComparison:
    """A strategy against its baseline in the area under the curve over one cost.

    Attributes:
        label: The strategy.
        baseline: Random with its region size; the second of the pair where the suite has no Random.
        cost: On the x-axis of the curves.
        gain: Area of the strategy minus that of the baseline, points: mean mIoU gained over the budget.
        low: Lower end of the 95 % interval of the gain, not corrected; None where nothing is tested.
        high: Upper end.
        simultaneous_low: Lower end of the interval that holds together with those of the whole family: Bonferroni's,
            with the standard error of the test, so at least 95 %. Where it excludes 0 the comparison is significant.
        simultaneous_high: Its upper end.
        p_value: Two-sided; None where nothing is tested.
        adjusted_p: After Holm's correction over the whole family.
        verdict: `better` or `worse` where `adjusted_p` is below 1 - LEVEL.
        by_seed: Seed -> difference of the areas, of every seed that both have.
        seeds_needed: Planning figure for an open comparison: the seeds, in all, that would settle it with 80 % power
            if the true gain were the one observed. None where it isn't open, and where more than
            `power.MAX_SEEDS` would be needed.
    """

    label: str
    baseline: str
    cost: Cost
    gain: float
    low: float | None
    high: float | None
    simultaneous_low: float | None
    simultaneous_high: float | None
    p_value: float | None
    adjusted_p: float | None
    verdict: Verdict
    by_seed: Mapping[int, float]
    seeds_needed: int | None

    @property
    def num_seeds(self) -> int:
        """Seeds that both have."""
        return len(self.by_seed)

    @property
    def num_ahead(self) -> int:
        """Seeds in which the strategy is higher."""
        return sum(value > 0 for value in self.by_seed.values())


@dataclass(frozen=True, kw_only=True)
class PrimaryAxis:
    """What the comparisons over one cost have in common.

    Attributes:
        cost: On the x-axis of the curves.
        low: The range of costs that all finished trials cover begins here.
        high: It ends here.
        std: Standard deviation of the difference of two strategies within a seed, pooled over the strategies, points;
            None where too few trials are finished to estimate it.
        df: Its degrees of freedom.
        detectable_gain: The smallest true gain that the seeds at hand detect with 80 % power after the correction,
            points (for a strategy with every seed); None where `std` is.
    """

    cost: Cost
    low: float
    high: float
    std: float | None
    df: int
    detectable_gain: float | None


@dataclass(frozen=True, kw_only=True)
class Exclusion:
    """What the primary analysis leaves out.

    Attributes:
        label: The strategy.
        seeds: The seeds left out; empty where it's the whole strategy.
        reason: Why.
    """

    label: str
    seeds: tuple[int, ...]
    reason: Reason


@dataclass(frozen=True, kw_only=True)
class PrimaryAnalysis:
    """The primary analysis of a results folder.

    Attributes:
        metric: Of the curves.
        is_against_random: Whether strategies are compared to Random; else all pairs are.
        comparisons: By cost, then in the order of the suite.
        axes: One for each cost whose curves share a range.
        num_tests: Size of the family that Holm's correction is over.
        exclusions: What is left out, and why.
    """

    metric: Metric
    is_against_random: bool
    comparisons: tuple[PrimaryComparison, ...]
    axes: tuple[PrimaryAxis, ...]
    num_tests: int
    exclusions: tuple[Exclusion, ...]

    def over(self, cost: Cost) -> tuple[PrimaryComparison, ...]:
        """Return the comparisons over one cost."""
        return tuple(found for found in self.comparisons if found.cost.key == cost.key)

    def axis(self, cost: Cost) -> PrimaryAxis | None:
        """Return what they have in common, or None where the curves share no range of that cost."""
        return next((axis for axis in self.axes if axis.cost.key == cost.key), None)

    def find(self, label: str, cost: Cost) -> PrimaryComparison | None:
        """Return the comparison of `label` to Random over one cost, or None."""
        return next((found for found in self.over(cost) if found.label == label), None)

    @property
    def disagreements(self) -> tuple[tuple[PrimaryComparison, ...], ...]:
        """The comparisons, one for each cost, of every pair whose verdict depends on the cost."""
        by_pair: dict[tuple[str, str], list[PrimaryComparison]] = {}
        for found in self.comparisons:
            by_pair.setdefault((found.label, found.baseline), []).append(found)
        return tuple(tuple(group) for group in by_pair.values() if len({found.verdict for found in group}) > 1)


class _Fitted(NamedTuple):
    """The comparisons over one cost before correction."""

    cost: Cost
    pairs: list[tuple[str, str]]
    by_seed: list[dict[int, float]]
    fit: ContrastFit | None
    gains: list[float]
    df_per_seed: int

    def is_tested(self, place: int) -> bool:
        return self.fit is not None and len(self.by_seed[place]) >= MIN_SEEDS


def primary_analysis(results: Results, metric: Metric = MIOU) -> PrimaryAnalysis:
    """Return the primary analysis of a results folder, finished or not.

    Only finished trials enter: a curve that stops early would shorten the range that all are compared over.
    """
    done = [trial for trial in results.trials if not trial.is_full_supervision and trial.state == "done"]
    records = [record for trial in done for record in trial.records]
    is_against_random = "random" in results.strategies.values()
    blocks: Mapping[str, Hashable] = results.queries
    if is_against_random:
        pairs = list(results.baselines.items())
    else:  # queries are compared with each other too, so seeds alone are the blocks
        pairs, blocks = list(itertools.combinations(results.labels, 2)), dict.fromkeys(results.labels)
    comparisons, axes = compare_areas(records, pairs, blocks, PRIMARY_COSTS, metric)
    return PrimaryAnalysis(
        metric=metric,
        is_against_random=is_against_random,
        comparisons=comparisons,
        axes=axes,
        num_tests=sum(found.adjusted_p is not None for found in comparisons),
        exclusions=tuple(_exclusions(results, comparisons, has_range=bool(axes))),
    )


def compare_areas(
    records: Sequence[Record],
    pairs: Sequence[tuple[str, str]],
    blocks: Mapping[str, Hashable],
    costs: Sequence[Cost],
    metric: Metric,
) -> tuple[tuple[PrimaryComparison, ...], tuple[PrimaryAxis, ...]]:
    """Return the comparisons of areas over each cost, corrected as one family, and what those over a cost share.

    Args:
        records: Of finished trials.
        pairs: (first, second) labels: compared where they share a seed.
        blocks: Label -> what divides its seeds into blocks, beside the seed itself.
        costs: Those whose range all curves cover in part are used.
        metric: On the y-axis of the curves.
    """
    fitted, ranges = [], []
    for cost in costs:
        curves = curves_of(records, cost, metric)
        shared = common_range(curve for seeds in curves.values() for curve in seeds.values())
        if shared is not None:
            fitted.append(_fitted(cost, areas(curves), pairs, blocks))
            ranges.append(shared)
    comparisons = tuple(_comparisons(fitted))
    num_tests = sum(found.adjusted_p is not None for found in comparisons)
    return comparisons, tuple(_axis(found, *shared, num_tests) for found, shared in zip(fitted, ranges, strict=True))


def _fitted(
    cost: Cost,
    areas_: Mapping[str, Mapping[int, float]],
    pairs: Sequence[tuple[str, str]],
    blocks_of: Mapping[str, Hashable],
) -> _Fitted:
    """Fit the two-way layout of the areas over one cost.

    Args:
        cost: That cost.
        areas_: Label -> seed -> area.
        pairs: (first, second): compared where they share a seed.
        blocks_of: Label -> query, of the primary analysis: a block is a seed of one query, since round 0 is shared
            within it only.
    """
    by_pair = {
        pair: {seed: areas_[pair[0]][seed] - areas_[pair[1]][seed] for seed in sorted(shared)}
        for pair in pairs
        if (shared := areas_.get(pair[0], {}).keys() & areas_.get(pair[1], {}).keys())
    }
    labels = list(areas_)
    cells = [(label, (blocks_of[label], seed)) for label in labels for seed in areas_[label]]
    blocks = list(dict.fromkeys(block for _, block in cells))
    fit, gains = None, [math.fsum(by_seed.values()) / len(by_seed) for by_seed in by_pair.values()]
    if by_pair:
        design = BlockDesign.of(
            [labels.index(label) for label, _ in cells],
            [blocks.index(block) for _, block in cells],
            [(labels.index(first), labels.index(second)) for first, second in by_pair],
        )
        if design.df > 0:
            fit = design.fit(np.array([[areas_[label][seed] for label, (_, seed) in cells]]))
            gains = fit.gain_BC[0].tolist()
    num_by_block = collections.Counter(blocks_of[label] for label in labels)
    return _Fitted(
        cost=cost,
        pairs=list(by_pair),
        by_seed=list(by_pair.values()),
        fit=fit,
        gains=gains,
        df_per_seed=sum(num - 1 for num in num_by_block.values()),
    )


def _comparisons(fitted: Sequence[_Fitted]) -> Iterator[PrimaryComparison]:
    """Yield the comparisons over all costs, corrected as one family."""
    tested = [(found, place) for found in fitted for place in range(len(found.pairs)) if found.is_tested(place)]
    p_values = {(found.cost.key, place): _p_value(found, place) for found, place in tested}
    adjusted = dict(zip(p_values, holm(list(p_values.values())), strict=True))
    for found in fitted:
        for place, (first, second) in enumerate(found.pairs):
            key = (found.cost.key, place)
            gain, half = found.gains[place], _half_width(found, place)
            wide = _half_width_of_family(found, place, len(p_values))
            verdict = _verdict(gain, adjusted.get(key))
            yield PrimaryComparison(
                label=first,
                baseline=second,
                cost=found.cost,
                gain=gain,
                low=None if half is None else gain - half,
                high=None if half is None else gain + half,
                simultaneous_low=None if wide is None else gain - wide,
                simultaneous_high=None if wide is None else gain + wide,
                p_value=p_values.get(key),
                adjusted_p=adjusted.get(key),
                verdict=verdict,
                by_seed=found.by_seed[place],
                seeds_needed=_seeds_needed(found, place, len(p_values)) if verdict == "open" else None,
            )


def _p_value(found: _Fitted, place: int) -> float:
    assert found.fit is not None
    gain, error = found.gains[place], float(found.fit.claim_error_BC[0, place])
    if error == 0:  # no spread to test against
        return 1.0 if gain == 0 else 0.0
    return 2 * float(special.stdtr(found.fit.claim_df_B[0], -abs(gain) / error))


def _half_width(found: _Fitted, place: int) -> float | None:
    if found.fit is None or not found.is_tested(place):
        return None
    return float(special.stdtrit(found.fit.df, (1 + LEVEL) / 2) * found.fit.error_BC[0, place])


def _half_width_of_family(found: _Fitted, place: int, num_tests: int) -> float | None:
    if found.fit is None or not found.is_tested(place):
        return None
    quantile = special.stdtrit(found.fit.claim_df_B[0], 1 - (1 - LEVEL) / (2 * num_tests))
    return float(quantile * found.fit.claim_error_BC[0, place])


def _verdict(gain: float, adjusted_p: float | None) -> Verdict:
    if adjusted_p is None:
        return "not tested"
    if adjusted_p >= 1 - LEVEL:
        return "open"
    return "better" if gain > 0 else "worse"


def _seeds_needed(found: _Fitted, place: int, num_tests: int) -> int | None:
    assert found.fit is not None
    std = math.sqrt(2 * found.fit.variance_B[0])
    num = seeds_needed(std, found.gains[place], num_tests=num_tests, num_strategies=1 + found.df_per_seed)
    return None if num is None else max(num, len(found.by_seed[place]) + 1)


def _axis(found: _Fitted, low: float, high: float, num_tests: int) -> PrimaryAxis:
    std = None if found.fit is None else math.sqrt(2 * found.fit.variance_B[0])
    num_seeds = max((len(by_seed) for by_seed in found.by_seed), default=0)
    return PrimaryAxis(
        cost=found.cost,
        low=low,
        high=high,
        std=std,
        df=0 if found.fit is None else found.fit.df,
        detectable_gain=None
        if std is None or not num_tests
        else detectable_difference(std, num_seeds, num_tests=num_tests, num_strategies=1 + found.df_per_seed),
    )


def _exclusions(results: Results, comparisons: Sequence[PrimaryComparison], *, has_range: bool) -> Iterator[Exclusion]:
    unfinished: dict[str, list[int]] = {}
    for trial in results.trials:
        if not trial.is_full_supervision and trial.state != "done":
            unfinished.setdefault(trial.label, []).append(trial.seed)
    tested = {label for found in comparisons if found.adjusted_p is not None for label in (found.label, found.baseline)}
    for label in results.labels:
        if label in unfinished:
            yield Exclusion(label=label, seeds=tuple(unfinished[label]), reason="unfinished trials")
        if label not in tested:
            yield Exclusion(label=label, seeds=(), reason=_why_not_tested(results, label, has_range=has_range))


def _why_not_tested(results: Results, label: str, *, has_range: bool) -> Reason:
    others = [other for other in results.labels if other != label]
    if "random" in results.strategies.values():
        if label not in results.baselines and results.strategies[label] != "random":
            return "no Random of its query"
        others = [other for other in others if other in results.baselines or label in results.baselines]
    if not others:
        return "nothing to compare it to"
    return "too few shared seeds" if has_range else "no range of costs that all cover"
