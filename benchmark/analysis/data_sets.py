"""Tests over data sets: is a strategy better than Random, with a data set as one value?

Declared beforehand, so that it may be called significant: the gain over Random in the area under the curve, over
labelled pixels and over clicks, of every ranked strategy. Settings on one data set share images and are no independent
evidence, so a data set is one value, the mean of its settings [Demsar]. The test is Wilcoxon's signed-rank test,
exact, of each strategy against Random [Benavoli], with Holm's correction over strategies and costs.

References:
    [Demsar] "Statistical comparisons of classifiers over multiple data sets", JMLR 7, 2006: ranks over data sets,
        Friedman's test, Wilcoxon's signed-rank test of two methods.
    [Benavoli] Benavoli, Corani, Mangili, "Should we really use post-hoc tests based on mean-ranks?", JMLR 17, 2016:
        Wilcoxon's test of each pair, corrected, and not a test of mean ranks, which depends on the other methods.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

import numpy as np

from quadrat.benchmark.analysis.measures import FRACTION, PRIMARY_COSTS, Cost
from quadrat.benchmark.analysis.ranks import friedman_p, rank
from quadrat.benchmark.analysis.setting_areas import SettingAreas
from quadrat.benchmark.analysis.settings import Entry
from quadrat.benchmark.analysis.statistics import LEVEL, holm

__all__ = ["LeaderboardTest", "LeaderboardTests", "data_sets_needed", "tests_over_data_sets"]


@dataclass(frozen=True, kw_only=True)
class LeaderboardTest:
    """An entry against Random over data sets.

    Attributes:
        entry: The entry.
        cost: Of the areas.
        gain: Mean over data sets of the gain, points; that of a data set is the mean of its settings.
        p_value: Wilcoxon's signed-rank test over data sets, exact, two-sided.
        adjusted_p: After Holm's correction over all entries and both costs.
        verdict: `better` or `worse` where `adjusted_p` is below 1 - LEVEL, else `open`.
    """

    entry: Entry
    cost: Cost
    gain: float
    p_value: float
    adjusted_p: float
    verdict: Literal["better", "worse", "open"]


@dataclass(frozen=True, kw_only=True)
class LeaderboardTests:
    """The analysis over data sets that was declared beforehand; nothing else here may be called significant.

    Attributes:
        tests: One for each ranked entry but Random and each cost; empty where nothing can be tested.
        num_tests: Size of the family, also where it can't be tested; 0 without Random among the ranked.
        data_sets: Those that have ranked settings.
        num_needed: Data sets from which on the smallest p-value possible is below 5 % after the correction.
        friedman_p: Key of the cost -> p-value of Friedman's test that all ranked entries rank alike, data sets as
            blocks; exploratory, and empty where nothing is tested or fewer than three are ranked.
    """

    tests: tuple[LeaderboardTest, ...]
    num_tests: int
    data_sets: tuple[str, ...]
    num_needed: int
    friedman_p: Mapping[str, float]


def data_sets_needed(num_tests: int) -> int:
    """Return the data sets from which on one of `num_tests` exact tests can be below 5 % after Holm's correction.

    The smallest p-value of Wilcoxon's signed-rank test over n differences is that all have one sign: 2 / 2^n.

    Examples:
        >>> data_sets_needed(1), data_sets_needed(2), data_sets_needed(14)
        (6, 7, 10)
    """
    num = 1
    while num_tests * 2.0 ** (1 - num) >= 1 - LEVEL:
        num += 1
    return num


def tests_over_data_sets(
    by_cost: Mapping[str, Mapping[str, SettingAreas]], ranked: Sequence[Entry], settings: Sequence[str]
) -> LeaderboardTests:
    """Return the tests of every ranked entry against Random; none where too few data sets could pass any.

    Args:
        by_cost: Key of the cost -> name of the setting -> its areas.
        ranked: The entries; without Random among them nothing is tested.
        settings: Names of settings in which every entry shares a seed with Random.
    """
    random = next((entry for entry in ranked if entry.strategy == "random"), None)
    others = [entry for entry in ranked if entry.strategy != "random"] if random is not None else []
    of_settings = {key: [of_cost[name] for name in settings] for key, of_cost in by_cost.items()}
    data_sets = sorted({found.setting.data_set for found in of_settings[FRACTION.key]})
    num_tests = len(others) * len(PRIMARY_COSTS)
    needed = data_sets_needed(num_tests) if num_tests else 0
    if not num_tests or len(data_sets) < needed:
        return LeaderboardTests(
            tests=(), num_tests=num_tests, data_sets=tuple(data_sets), num_needed=needed, friedman_p={}
        )
    gains = {
        (entry, cost.key): [_gain_on(of_settings[cost.key], entry, data_set) for data_set in data_sets]
        for cost in PRIMARY_COSTS
        for entry in others
    }
    p_values = {key: _signed_rank_p(values) for key, values in gains.items()}
    adjusted = dict(zip(p_values, holm(list(p_values.values())), strict=True))
    tests = tuple(
        LeaderboardTest(
            entry=entry,
            cost=cost,
            gain=fmean(gains[entry, cost.key]),
            p_value=p_values[entry, cost.key],
            adjusted_p=adjusted[entry, cost.key],
            verdict=_verdict(gains[entry, cost.key], adjusted[entry, cost.key]),
        )
        for cost in PRIMARY_COSTS
        for entry in others
    )
    return LeaderboardTests(
        tests=tests,
        num_tests=num_tests,
        data_sets=tuple(data_sets),
        num_needed=needed,
        friedman_p={cost.key: _friedman_p([gains[entry, cost.key] for entry in others]) for cost in PRIMARY_COSTS}
        if len(others) >= 2
        else {},
    )


def _gain_on(of_settings: Sequence[SettingAreas], entry: Entry, data_set: str) -> float:
    return fmean(fmean(found.gains(entry).values()) for found in of_settings if found.setting.data_set == data_set)


def _signed_rank_p(values: Sequence[float]) -> float:
    if not any(values):
        return 1.0
    from scipy import stats  # here: it takes seconds to import

    return float(stats.wilcoxon(values, method="exact").pvalue)


def _friedman_p(gains: Sequence[Sequence[float]]) -> float:
    """Return the p-value of Friedman's test; Random's gain over itself is 0 on every data set."""
    return friedman_p([*gains, [0.0] * len(gains[0])])


def _verdict(gains: Sequence[float], adjusted_p: float) -> Literal["better", "worse", "open"]:
    if adjusted_p >= 1 - LEVEL:
        return "open"
    # The sign of the ranked sum, which is what the test looks at.
    ranks = rank(np.abs(gains))
    return "better" if float(np.sum(np.sign(gains) * ranks)) > 0 else "worse"
