"""Differences between areas under learning curves: fitted in one layout a cost, tested and corrected as one family.

Which areas are compared is declared in `primary.py` and `queries.py`. Blocks are fixed and the error variance is pooled
over the strategies (`block_design.py`). The interval of one gain alone takes that variance to be the same for all;
claims, and the intervals that hold together, also have to hold where it is not.
"""

import collections
import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import special  # not scipy.stats, which takes seconds to import

from quadrat.benchmark.analysis.block_design import BlockDesign, ContrastFit
from quadrat.benchmark.analysis.curves import areas, common_range, curves_of
from quadrat.benchmark.analysis.measures import Cost, Metric
from quadrat.benchmark.analysis.power import detectable_difference, seeds_needed
from quadrat.benchmark.analysis.statistics import LEVEL, MIN_SEEDS, holm
from quadrat.benchmark.results.records import Record

__all__ = ["AreaAxis", "AreaComparison", "AreaFit", "Verdict", "corrected", "fit_areas"]

Verdict = Literal["better", "worse", "open", "not tested"]
"""`better`, `worse`: significant after correction over the family. `open`: tested and not significant."""


@dataclass(frozen=True, kw_only=True)
class AreaComparison:
    """A strategy against its baseline in the area under the curve over one cost.

    Attributes:
        label: The strategy.
        baseline: What it is compared to, see `primary.py` and `queries.py`.
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
        seeds_needed: Planning figure for an open comparison: the seeds, in all, that would decide it with 80 % power
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
    def is_later_step(self) -> bool:
        """Whether it is significant though its simultaneous interval holds 0.

        Holm's correction compares the smallest p-value with all tests in mind, and each further one with one test less;
        the intervals have all tests in mind throughout.
        """
        if self.simultaneous_low is None or self.simultaneous_high is None:
            return False
        return self.verdict in ("better", "worse") and self.simultaneous_low <= 0 <= self.simultaneous_high

    @property
    def num_ahead(self) -> int:
        """Seeds in which the strategy is higher."""
        return sum(value > 0 for value in self.by_seed.values())


@dataclass(frozen=True, kw_only=True)
class AreaAxis:
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
class AreaFit:
    """The differences over one cost, before correction.

    Attributes:
        cost: On the x-axis of the curves.
        low: The range of costs that all trials cover begins here.
        high: It ends here.
        pairs: (first, second) labels, of each difference.
        by_seed: Seed -> difference, of each pair.
        fit: None where no degree of freedom is left for the error.
        gains: Mean difference, of each pair.
        claim_df: Bound of the degrees of freedom for claims.
        df_per_seed: By how much the degrees of freedom grow with every seed.
    """

    cost: Cost
    low: float
    high: float
    pairs: Sequence[tuple[str, str]]
    by_seed: Sequence[Mapping[int, float]]
    fit: ContrastFit | None
    gains: Sequence[float]
    claim_df: float
    df_per_seed: int

    def is_tested(self, place: int) -> bool:
        """Return whether there is a test for the pair at `place`: an error variance and enough seeds."""
        return self.fit is not None and len(self.by_seed[place]) >= MIN_SEEDS

    @property
    def num_tests(self) -> int:
        """Tests that it adds to a family."""
        return sum(map(self.is_tested, range(len(self.pairs))))


def fit_areas(
    records: Sequence[Record],
    pairs: Sequence[tuple[str, str]],
    blocks: Mapping[str, Hashable],
    cost: Cost,
    metric: Metric,
    *,
    dependent: Mapping[str, Hashable] | None = None,
) -> AreaFit | None:
    """Fit the two-way layout of the areas over one cost; None where the curves share no range of it.

    Args:
        records: Of finished trials.
        pairs: (first, second) labels: compared where they share a seed.
        blocks: Label -> what divides its seeds into blocks, beside the seed itself.
        cost: On the x-axis.
        metric: On the y-axis.
        dependent: Label -> group of labels, where the blocks of several groups may be no independent observations of
            the error. Claims then have the degrees of freedom that the largest group has alone.
    """
    curves = curves_of(records, cost, metric)
    shared = common_range(curve for seeds in curves.values() for curve in seeds.values())
    if shared is None:
        return None
    areas_ = areas(curves)
    by_pair = {
        pair: {seed: areas_[pair[0]][seed] - areas_[pair[1]][seed] for seed in sorted(both)}
        for pair in pairs
        if (both := areas_.get(pair[0], {}).keys() & areas_.get(pair[1], {}).keys())
    }
    cells = [(label, seed) for label in areas_ for seed in areas_[label]]
    design = _design(cells, blocks, list(by_pair)) if by_pair else None
    fit, gains = None, [math.fsum(by_seed.values()) / len(by_seed) for by_seed in by_pair.values()]
    if design is not None and design.df > 0:
        fit = design.fit(np.array([[areas_[label][seed] for label, seed in cells]]))
        gains = fit.gain_BC[0].tolist()
    claim_df, groups = math.inf, dependent or {}
    if dependent is not None:
        parts = [[cell for cell in cells if groups[cell[0]] == group] for group in set(groups.values())]
        claim_df = max((_design(part, blocks, []).df for part in parts if part), default=0)
    num_by_block = collections.Counter(blocks[label] for label in areas_)
    per_block = [num - 1 for num in num_by_block.values()]
    return AreaFit(
        cost=cost,
        low=shared[0],
        high=shared[1],
        pairs=list(by_pair),
        by_seed=list(by_pair.values()),
        fit=fit,
        gains=gains,
        claim_df=claim_df,
        df_per_seed=sum(per_block) if dependent is None else max(per_block, default=0),
    )


def _design(
    cells: Sequence[tuple[str, int]], blocks_of: Mapping[str, Hashable], pairs: Sequence[tuple[str, str]]
) -> BlockDesign:
    labels = {label: place for place, label in enumerate(dict.fromkeys(label for label, _ in cells))}
    block_of_cell = [(blocks_of[label], seed) for label, seed in cells]
    blocks = {block: place for place, block in enumerate(dict.fromkeys(block_of_cell))}
    return BlockDesign.of(
        [labels[label] for label, _ in cells],
        [blocks[block] for block in block_of_cell],
        [(labels[first], labels[second]) for first, second in pairs],
    )


def corrected(*groups: Sequence[AreaFit]) -> list[tuple[tuple[AreaComparison, ...], tuple[AreaAxis, ...]]]:
    """Return the comparisons of each group, and what those over a cost share; all groups are one family for Holm."""
    places = [(fit, place) for fits in groups for fit in fits for place in range(len(fit.pairs))]
    tested = [(fit, place) for fit, place in places if fit.is_tested(place)]
    p_values = [_p_value(fit, place) for fit, place in tested]
    adjusted = {(id(fit), place): p for (fit, place), p in zip(tested, holm(p_values), strict=True)}
    num_tests = len(tested)
    return [
        (
            tuple(
                _comparison(fit, place, adjusted.get((id(fit), place)), num_tests)
                for fit in fits
                for place in range(len(fit.pairs))
            ),
            tuple(_axis(fit, num_tests) for fit in fits),
        )
        for fits in groups
    ]


def _comparison(found: AreaFit, place: int, adjusted_p: float | None, num_tests: int) -> AreaComparison:
    first, second = found.pairs[place]
    gain, half = found.gains[place], _half_width(found, place)
    wide = _half_width_of_family(found, place, num_tests)
    verdict = _verdict(gain, adjusted_p)
    return AreaComparison(
        label=first,
        baseline=second,
        cost=found.cost,
        gain=gain,
        low=None if half is None else gain - half,
        high=None if half is None else gain + half,
        simultaneous_low=None if wide is None else gain - wide,
        simultaneous_high=None if wide is None else gain + wide,
        p_value=None if adjusted_p is None else _p_value(found, place),
        adjusted_p=adjusted_p,
        verdict=verdict,
        by_seed=found.by_seed[place],
        seeds_needed=_seeds_needed(found, place, num_tests) if verdict == "open" else None,
    )


def _p_value(found: AreaFit, place: int) -> float:
    assert found.fit is not None
    gain, error = found.gains[place], float(found.fit.claim_error_BC[0, place])
    if error == 0:  # no spread to test against
        return 1.0 if gain == 0 else 0.0
    return 2 * float(special.stdtr(_claim_df(found), -abs(gain) / error))


def _claim_df(found: AreaFit) -> float:
    assert found.fit is not None
    return min(float(found.fit.claim_df_B[0]), found.claim_df)


def _half_width(found: AreaFit, place: int) -> float | None:
    if found.fit is None or not found.is_tested(place):
        return None
    return float(special.stdtrit(found.fit.df, (1 + LEVEL) / 2) * found.fit.error_BC[0, place])


def _half_width_of_family(found: AreaFit, place: int, num_tests: int) -> float | None:
    if found.fit is None or not found.is_tested(place):
        return None
    quantile = special.stdtrit(_claim_df(found), 1 - (1 - LEVEL) / (2 * num_tests))
    return float(quantile * found.fit.claim_error_BC[0, place])


def _verdict(gain: float, adjusted_p: float | None) -> Verdict:
    if adjusted_p is None:
        return "not tested"
    if adjusted_p >= 1 - LEVEL:
        return "open"
    return "better" if gain > 0 else "worse"


def _seeds_needed(found: AreaFit, place: int, num_tests: int) -> int | None:
    assert found.fit is not None
    std = math.sqrt(2 * found.fit.variance_B[0])
    num = seeds_needed(std, found.gains[place], num_tests=num_tests, num_strategies=1 + found.df_per_seed)
    return None if num is None else max(num, len(found.by_seed[place]) + 1)


def _axis(found: AreaFit, num_tests: int) -> AreaAxis:
    std = None if found.fit is None else math.sqrt(2 * found.fit.variance_B[0])
    num_seeds = max((len(by_seed) for by_seed in found.by_seed), default=0)
    return AreaAxis(
        cost=found.cost,
        low=found.low,
        high=found.high,
        std=std,
        df=0 if found.fit is None else found.fit.df,
        detectable_gain=None
        if std is None or not num_tests
        else detectable_difference(std, num_seeds, num_tests=num_tests, num_strategies=1 + found.df_per_seed),
    )
