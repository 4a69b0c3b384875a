"""The primary analysis: the comparisons, declared beforehand, that anything called significant has to come from.

Declared here, before any result is seen: the area under the learning curve (AUBC) of each strategy minus that of Random
with the same query, over labelled pixels and over clicks; and, where a suite has several queries, their comparison over
clicks (`queries.py`). All of these tests are one family for Holm's correction [Holm]. Without Random the first part is
all pairs of strategies. The whole budget counts, not one round of it, and both costs, since strategies select equal
numbers of regions but neither equal pixels nor equal clicks.

Seeds are blocks. How a comparison is fitted and tested: `area_tests.py`. Every other number of `analyse` is
exploratory.

References:
    [Holm] "A simple sequentially rejective multiple test procedure", Scand. J. Statistics 6, 1979.
"""

import itertools
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from quadrat.benchmark.analysis.area_tests import AreaAxis, AreaComparison, corrected, fit_areas
from quadrat.benchmark.analysis.measures import MIOU, PRIMARY_COSTS, Cost, Metric
from quadrat.benchmark.analysis.queries import QueryAnalysis, fit_queries, query_analysis
from quadrat.benchmark.results.trials import Results

__all__ = ["Exclusion", "PrimaryAnalysis", "primary_analysis"]

Reason = Literal[
    "unfinished trials",
    "too few shared seeds",
    "no Random of its query",
    "nothing to compare it to",
    "no range of costs that all cover",
]


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
        num_tests: Size of the family that Holm's correction is over, with those of the queries.
        exclusions: What is left out, and why.
        queries: The comparison of queries over clicks; None where the suite has one, or no clicks that all cover.
    """

    metric: Metric
    is_against_random: bool
    comparisons: tuple[AreaComparison, ...]
    axes: tuple[AreaAxis, ...]
    num_tests: int
    exclusions: tuple[Exclusion, ...]
    queries: QueryAnalysis | None

    def over(self, cost: Cost) -> tuple[AreaComparison, ...]:
        """Return the comparisons over one cost."""
        return tuple(found for found in self.comparisons if found.cost.key == cost.key)

    def axis(self, cost: Cost) -> AreaAxis | None:
        """Return what they have in common, or None where the curves share no range of that cost."""
        return next((axis for axis in self.axes if axis.cost.key == cost.key), None)

    def find(self, label: str, cost: Cost) -> AreaComparison | None:
        """Return the comparison of `label` to Random over one cost, or None."""
        return next((found for found in self.over(cost) if found.label == label), None)

    @property
    def disagreements(self) -> tuple[tuple[AreaComparison, ...], ...]:
        """The comparisons, one for each cost, of every pair whose verdict depends on the cost."""
        by_pair: dict[tuple[str, str], list[AreaComparison]] = {}
        for found in self.comparisons:
            by_pair.setdefault((found.label, found.baseline), []).append(found)
        return tuple(tuple(group) for group in by_pair.values() if len({found.verdict for found in group}) > 1)


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
    fits = [fit for cost in PRIMARY_COSTS if (fit := fit_areas(records, pairs, blocks, cost, metric)) is not None]
    query_fit = fit_queries(results, records, metric)
    query_fits = [] if query_fit is None else [query_fit]
    (comparisons, axes), (of_queries, _) = corrected(fits, query_fits)
    return PrimaryAnalysis(
        metric=metric,
        is_against_random=is_against_random,
        comparisons=comparisons,
        axes=axes,
        num_tests=sum(fit.num_tests for fit in (*fits, *query_fits)),
        exclusions=tuple(_exclusions(results, comparisons, has_range=bool(axes))),
        queries=None if query_fit is None else query_analysis(results, records, metric, query_fit, of_queries),
    )


def _exclusions(results: Results, comparisons: Sequence[AreaComparison], *, has_range: bool) -> Iterator[Exclusion]:
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
