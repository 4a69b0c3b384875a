"""All statistics of a results folder for one cost and one metric: what the report and `quadrat stats` show."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypedDict

from quadrat.benchmark.analysis.curves import CurvePoint, Curves, areas, common_range, curves_of, mean_curve
from quadrat.benchmark.analysis.label_efficiency import (
    SHARES,
    CostToTarget,
    LabelEfficiency,
    cost_to_target,
    label_efficiency,
)
from quadrat.benchmark.analysis.measures import FRACTION, MIOU, Cost, Metric
from quadrat.benchmark.analysis.pairwise import (
    PairwiseTests,
    PenaltyMatrix,
    Ranks,
    average_ranks,
    pairwise_tests,
    penalty_matrix,
    shares_won,
)
from quadrat.benchmark.analysis.primary import PrimaryAnalysis, primary_analysis
from quadrat.benchmark.analysis.statistics import (
    Comparison,
    Summary,
    compare,
    last_shared_round,
    summarise,
    values_by_seed,
)
from quadrat.benchmark.results.records import Record
from quadrat.benchmark.results.trials import Results, Trial

__all__ = ["Analysis", "Area", "analyse", "over_cost"]


@dataclass(frozen=True, kw_only=True)
class Area:
    """The normalised area under a strategy's curves (AUBC): the mean height of its curve over the budget.

    Attributes:
        label: The strategy.
        summary: Over the seeds, percent.
        comparison: To Random, paired by seed and Holm-corrected over the strategies, exploratory; None for Random
            itself and where no seed is shared.
    """

    label: str
    summary: Summary
    comparison: Comparison | None


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """The statistics of a results folder for one metric over one cost.

    What may be called significant is in `primary`; all else is exploratory: it describes these results, and of as many
    tests some come out low by chance.

    Only trials that are done enter `primary`, `areas`, `costs_to_target` and `label_efficiencies`: a curve that stops
    early would shorten the range that all are compared over. Comparisons by round (`to_random`, `pairwise`, `penalty`,
    `ranks`) use every seed that two strategies share in a round.

    Attributes:
        cost: On the x-axis.
        metric: On the y-axis.
        primary: The pre-declared comparison of areas over pixels and clicks, the same whatever `cost` is.
        unfinished: Trials that failed, are missing or stopped half-way; to be shown first.
        curves: Label -> mean curve with its band, of all records.
        area_range: The range of costs that `areas` are taken over: the one that all finished trials cover, or None.
        areas: The area under the curve of each strategy.
        full_supervision: Mean and spread over seeds; None without a finished trial of it.
        costs_to_target: Cost at which each strategy reaches 90, 95 and 99 % of full supervision.
        label_efficiencies: Labels that each strategy needs to match Random's final value, relative to Random's.
        round: The last round that any strategy shares with Random (with another strategy where there is no Random);
            None when nothing can be compared.
        to_random: Label -> paired difference to Random at that round, Holm-corrected over the strategies.
        pairwise: All pairs at that round.
        penalty: The penalty matrix over all rounds but round 0.
        shares_won: (row, column) -> share of the (seed, round) pairs after round 0 in which the row is higher.
        ranks: Average ranks; None when no seed has every strategy.
    """

    cost: Cost
    metric: Metric
    primary: PrimaryAnalysis
    unfinished: tuple[Trial, ...]
    curves: Mapping[str, tuple[CurvePoint, ...]]
    area_range: tuple[float, float] | None
    areas: tuple[Area, ...]
    full_supervision: Summary | None
    costs_to_target: tuple[CostToTarget, ...]
    label_efficiencies: tuple[LabelEfficiency, ...]
    round: int | None
    to_random: Mapping[str, Comparison]
    pairwise: PairwiseTests | None
    penalty: PenaltyMatrix
    shares_won: Mapping[tuple[str, str], float]
    ranks: Ranks | None

    def cost_to_target(self, label: str, share: float) -> CostToTarget | None:
        """Return the cost at which `label` reaches `share` of full supervision, or None where that is not known."""
        return next((found for found in self.costs_to_target if found.label == label and found.share == share), None)


def analyse(results: Results, cost: Cost = FRACTION, metric: Metric = MIOU) -> Analysis:
    """Return the statistics of a results folder.

    A strategy without a finished trial leaves gaps and raises no error.

    Args:
        results: The results folder.
        cost: Any of `quadrat.benchmark.analysis.measures.COSTS`.
        metric: mIoU, pixel accuracy or the IoU of a class.
    """
    values = values_by_seed(results.records, metric)
    labels = [label for label in results.labels if label in values]
    full = _full_supervision(results, metric)
    round_ = last_shared_round(values, results.baselines)
    if round_ is None and len(labels) > 1:
        round_ = last_shared_round(values, {label: labels[0] for label in labels[1:]})
    to_random = {} if round_ is None else compare(values, results.baselines, round_)
    return Analysis(
        **_over(results, cost, metric),
        metric=metric,
        primary=primary_analysis(results, metric),
        unfinished=tuple(trial for trial in results.trials if trial.state != "done"),
        full_supervision=summarise(full.values()) if full else None,
        round=round_,
        to_random=to_random,
        pairwise=None if round_ is None else pairwise_tests(values, labels, round_),
        penalty=penalty_matrix(values, labels),
        shares_won=shares_won(values, labels),
        ranks=average_ranks(values, labels),
    )


def over_cost(found: Analysis, results: Results, cost: Cost) -> Analysis:
    """Return the statistics over another cost; what does not depend on the cost is taken from `found`.

    Args:
        found: What `analyse` returned for these results.
        results: The results folder.
        cost: The other cost.
    """
    return replace(found, **_over(results, cost, found.metric))


class _OverCost(TypedDict):
    """The fields of an `Analysis` that depend on the cost."""

    cost: Cost
    curves: Mapping[str, tuple[CurvePoint, ...]]
    area_range: tuple[float, float] | None
    areas: tuple[Area, ...]
    costs_to_target: tuple[CostToTarget, ...]
    label_efficiencies: tuple[LabelEfficiency, ...]


def _over(results: Results, cost: Cost, metric: Metric) -> _OverCost:
    done = curves_of(_records_of(results, is_full_supervision=False), cost, metric)
    return {
        "cost": cost,
        "curves": {label: mean_curve(seeds) for label, seeds in curves_of(results.records, cost, metric).items()},
        "area_range": common_range(curve for seeds in done.values() for curve in seeds.values()),
        "areas": _areas(done, results.baselines),
        "costs_to_target": _costs_to_target(done, _full_supervision(results, metric)),
        "label_efficiencies": _label_efficiencies(done, results.baselines),
    }


def _full_supervision(results: Results, metric: Metric) -> dict[int, float]:
    return {
        record.seed: value
        for record in _records_of(results, is_full_supervision=True)
        if (value := metric.of(record)) is not None
    }


def _records_of(results: Results, *, is_full_supervision: bool) -> list[Record]:
    trials = [
        trial for trial in results.trials if trial.is_full_supervision == is_full_supervision and trial.state == "done"
    ]
    return [record for trial in trials for record in trial.records]


def _areas(done: Curves, baselines: Mapping[str, str]) -> tuple[Area, ...]:
    found = areas(done)
    comparisons = compare({label: {0: seeds} for label, seeds in found.items()}, baselines, 0)
    return tuple(
        Area(label=label, summary=summarise(seeds.values()), comparison=comparisons.get(label))
        for label, seeds in found.items()
    )


def _costs_to_target(done: Curves, full: Mapping[int, float]) -> tuple[CostToTarget, ...]:
    found = (cost_to_target(seeds, full, share) for seeds in done.values() for share in SHARES)
    return tuple(one for one in found if one is not None)


def _label_efficiencies(done: Curves, baselines: Mapping[str, str]) -> tuple[LabelEfficiency, ...]:
    found = (label_efficiency(seeds, done.get(baselines.get(label, ""), {})) for label, seeds in done.items())
    return tuple(one for one in found if one is not None)
