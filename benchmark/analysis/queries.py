"""Queries compared over clicks: with which regions and label type a strategy learns most for the same clicks.

Part of the primary analysis, and for the same reason over the whole range of clicks that all curves cover: the area
under the curve of each strategy under each query minus that of the same strategy under the suite's first query. A block
is a seed of one strategy: strategies are not compared here. The error variance is pooled over strategies
(`area_tests.py`), but under one query the strategies of a seed share labels and model of round 0, so they are not
taken for independent observations of it: claims have the degrees of freedom of one strategy.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from quadrat.benchmark.analysis.area_tests import AreaComparison, AreaFit, fit_areas
from quadrat.benchmark.analysis.curves import areas, curves_of
from quadrat.benchmark.analysis.measures import CLICKS, Metric
from quadrat.benchmark.analysis.statistics import summarise
from quadrat.benchmark.results.records import Record
from quadrat.benchmark.results.trials import Query, Results
from quadrat.benchmark.storage.atomic import canonical_json

__all__ = ["QueryAnalysis", "fit_queries", "query_analysis"]


@dataclass(frozen=True, kw_only=True)
class QueryAnalysis:
    """The comparison of queries.

    Attributes:
        reference: The suite's first query, that the others are compared to.
        low: The range of clicks that all finished trials cover begins here.
        high: It ends here.
        queries: Label -> query, of every label with an area.
        methods: Label -> the label that its strategy, with its parameters, has under the reference (its own where the
            strategy is not there under it).
        areas: Label -> area under its curve, percent, mean over seeds.
        comparisons: Of each label under another query with its strategy under the reference.
    """

    reference: Query
    low: float
    high: float
    queries: Mapping[str, Query]
    methods: Mapping[str, str]
    areas: Mapping[str, float]
    comparisons: tuple[AreaComparison, ...]

    def find(self, label: str) -> AreaComparison | None:
        """Return the comparison of `label`, or None where there is none."""
        return next((found for found in self.comparisons if found.label == label), None)


def fit_queries(results: Results, records: Sequence[Record], metric: Metric) -> AreaFit | None:
    """Return the differences between a suite's queries over clicks, None where there is nothing to compare.

    Args:
        results: The results folder.
        records: Of finished trials.
        metric: On the y-axis.
    """
    if not results.has_several_queries:
        return None
    queries, methods = results.queries, _methods(results)
    reference = next(iter(queries.values()))
    pairs = [(label, methods[label]) for label in queries if queries[label] != reference and methods[label] != label]
    return fit_areas(records, pairs, methods, CLICKS, metric, dependent=methods)


def query_analysis(
    results: Results,
    records: Sequence[Record],
    metric: Metric,
    fit: AreaFit,
    comparisons: tuple[AreaComparison, ...],
) -> QueryAnalysis:
    """Return the comparison of a suite's queries.

    Args:
        results: The results folder.
        records: Of finished trials.
        metric: On the y-axis.
        fit: Of `fit_queries`.
        comparisons: What the correction made of it.
    """
    queries, methods = results.queries, _methods(results)
    found = areas(curves_of(records, CLICKS, metric))
    return QueryAnalysis(
        reference=next(iter(queries.values())),
        low=fit.low,
        high=fit.high,
        queries={label: queries[label] for label in queries if label in found},
        methods={label: methods[label] for label in queries if label in found},
        areas={label: summarise(seeds.values()).mean for label, seeds in found.items()},
        comparisons=comparisons,
    )


def _methods(results: Results) -> dict[str, str]:
    """Return label -> the label that its strategy, with its parameters, has under the first query, or its own."""
    queries = results.queries
    reference = next(iter(queries.values()))
    names: dict[str, str] = {}
    for trial in results.trials:
        names.setdefault(trial.label, canonical_json([trial.strategy, dict(trial.params)]))
    of_reference: dict[str, str] = {}
    for label, query in queries.items():
        if query == reference:
            of_reference.setdefault(names[label], label)
    return {label: of_reference.get(names[label], label) for label in queries}
