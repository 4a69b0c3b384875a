"""Queries compared over clicks: with which regions and label type a strategy learns most for the same clicks.

Declared beforehand, like the primary analysis, and for the same reason over the whole range of clicks that all curves
cover: the area under the curve of each strategy under each query minus that of the same strategy under the suite's
first query. These tests are a family of their own for Holm's correction. A block is a seed of one strategy, and the
error variance is pooled over all of them (`block_design.py`): queries of a strategy share seeds, strategies are not
compared here.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from quadrat.benchmark.analysis.curves import areas, curves_of
from quadrat.benchmark.analysis.measures import CLICKS, MIOU, Metric
from quadrat.benchmark.analysis.primary import PrimaryComparison, compare_areas
from quadrat.benchmark.analysis.statistics import summarise
from quadrat.benchmark.results.trials import Query, Results
from quadrat.benchmark.storage.atomic import canonical_json

__all__ = ["QueryAnalysis", "query_analysis"]


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
    comparisons: tuple[PrimaryComparison, ...]

    def find(self, label: str) -> PrimaryComparison | None:
        """Return the comparison of `label`, or None where there is none."""
        return next((found for found in self.comparisons if found.label == label), None)


def query_analysis(results: Results, metric: Metric = MIOU) -> QueryAnalysis | None:
    """Return the comparison of a suite's queries over clicks, None where it has one or no clicks that all curves cover.

    Only finished trials enter, as in the primary analysis.
    """
    if not results.has_several_queries:
        return None
    queries = results.queries
    reference = next(iter(queries.values()))
    names: dict[str, str] = {}
    for trial in results.trials:
        names.setdefault(trial.label, canonical_json([trial.strategy, dict(trial.params)]))
    of_reference: dict[str, str] = {}
    for label, query in queries.items():
        if query == reference:
            of_reference.setdefault(names[label], label)
    methods = {label: of_reference.get(names[label], label) for label in queries}
    done = [trial for trial in results.trials if not trial.is_full_supervision and trial.state == "done"]
    records = [record for trial in done for record in trial.records]
    pairs = [(label, methods[label]) for label in queries if queries[label] != reference and methods[label] != label]
    comparisons, axes = compare_areas(records, pairs, methods, (CLICKS,), metric)
    if not axes:
        return None
    found = areas(curves_of(records, CLICKS, metric))
    return QueryAnalysis(
        reference=reference,
        low=axes[0].low,
        high=axes[0].high,
        queries={label: queries[label] for label in queries if label in found},
        methods={label: methods[label] for label in queries if label in found},
        areas={label: summarise(seeds.values()).mean for label, seeds in found.items()},
        comparisons=comparisons,
    )
