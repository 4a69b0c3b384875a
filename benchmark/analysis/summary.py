"""All statistics of a results folder for one cost and one metric: what the report and `quadrat stats` show."""

from collections.abc import Mapping
from dataclasses import dataclass

from quadrat.benchmark.analysis.curves import CurvePoint, Curves, areas, common_range, curves_of, mean_curve
from quadrat.benchmark.analysis.label_efficiency import SHARES, Reach, Saving, reach, saving
from quadrat.benchmark.analysis.measures import FRACTION, MIOU, Cost, Metric
from quadrat.benchmark.analysis.pairwise import (
    PairwiseTests,
    PenaltyMatrix,
    Ranks,
    average_ranks,
    pairwise_tests,
    penalty_matrix,
)
from quadrat.benchmark.analysis.power import smallest_difference
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

__all__ = ["Area", "Evidence", "Sensitivity", "evidence"]


@dataclass(frozen=True, kw_only=True)
class Area:
    """The normalised area under a strategy's curves (AUBC): the mean height of its curve over the budget.

    Attributes:
        label: The strategy.
        summary: Over the seeds, percent.
        comparison: To Random, paired by seed and Holm-corrected over the strategies; None for Random itself and where
            no seed is shared.
    """

    label: str
    summary: Summary
    comparison: Comparison | None


@dataclass(frozen=True, kw_only=True)
class Sensitivity:
    """What the seeds of a comparison to Random can tell at the last round.

    Attributes:
        label: The strategy.
        num_seeds: Seeds shared with Random.
        std: Standard deviation of the paired differences, points.
        smallest: The smallest true difference that so many seeds tell with 80 % power after the correction for all
            comparisons, points; None for fewer than two seeds.
    """

    label: str
    num_seeds: int
    std: float | None
    smallest: float | None


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What the records of a results folder say about one metric over one cost.

    Only trials that are done count towards `areas`, `reaches` and `savings`: a curve that stops early would shorten
    what all are compared over. Comparisons by round (`to_random`, `pairwise`, `penalty`, `ranks`) use every seed that
    two strategies share in a round.

    Attributes:
        cost: On the x-axis.
        metric: On the y-axis.
        unfinished: Trials that failed, are missing or stopped half-way, to be shown first: they are in no number below.
        curves: Label -> mean curve with its band, of all records.
        area_range: The costs that `areas` are taken over: what all finished trials cover. None when there is none.
        areas: The area under the curve of each strategy.
        full: Full supervision, mean and spread over seeds; None without a reference.
        reaches: What it costs each strategy to reach 90, 95 and 99 % of full supervision.
        savings: What share of Random's labels each strategy needs to get where Random ends.
        round: The last round that any strategy shares with Random (with another strategy where there is no Random);
            None when nothing can be compared.
        to_random: Label -> paired difference to Random at that round, Holm-corrected over the strategies.
        pairwise: All pairs at that round.
        penalty: The penalty matrix over all rounds but round 0.
        ranks: Average ranks; None when no seed has every strategy.
        sensitivities: The smallest difference to Random that the seeds could tell, by strategy.
    """

    cost: Cost
    metric: Metric
    unfinished: tuple[Trial, ...]
    curves: Mapping[str, tuple[CurvePoint, ...]]
    area_range: tuple[float, float] | None
    areas: tuple[Area, ...]
    full: Summary | None
    reaches: tuple[Reach, ...]
    savings: tuple[Saving, ...]
    round: int | None
    to_random: Mapping[str, Comparison]
    pairwise: PairwiseTests | None
    penalty: PenaltyMatrix
    ranks: Ranks | None
    sensitivities: tuple[Sensitivity, ...]

    def reach_of(self, label: str, share: float) -> Reach | None:
        """Return what it costs `label` to reach `share` of full supervision, or None where that is not known."""
        return next((found for found in self.reaches if found.label == label and found.share == share), None)


def evidence(results: Results, cost: Cost = FRACTION, metric: Metric = MIOU) -> Evidence:
    """Return the statistics of a results folder.

    A strategy without a finished trial leaves a gap, not an error: what can't be known is absent.

    Args:
        results: What lies in the folder.
        cost: Any of `quadrat.benchmark.analysis.measures.COSTS`.
        metric: mIoU, pixel accuracy or the IoU of a class.
    """
    values = values_by_seed(results.records, metric)
    labels = [label for label in results.labels if label in values]
    done = curves_of(_records_of(results, is_full_supervision=False), cost, metric)
    references = {
        record.seed: value
        for record in _records_of(results, is_full_supervision=True)
        if (value := metric.of(record)) is not None
    }
    round_ = last_shared_round(values, results.baselines)
    if round_ is None and len(labels) > 1:
        round_ = last_shared_round(values, {label: labels[0] for label in labels[1:]})
    to_random = {} if round_ is None else compare(values, results.baselines, round_)
    return Evidence(
        cost=cost,
        metric=metric,
        unfinished=tuple(trial for trial in results.trials if trial.state != "done"),
        curves={label: mean_curve(seeds) for label, seeds in curves_of(results.records, cost, metric).items()},
        area_range=common_range(curve for seeds in done.values() for curve in seeds.values()),
        areas=_areas(done, results.baselines),
        full=summarise(references.values()) if references else None,
        reaches=_reaches(done, references),
        savings=_savings(done, results.baselines),
        round=round_,
        to_random=to_random,
        pairwise=None if round_ is None else pairwise_tests(values, labels, round_),
        penalty=penalty_matrix(values, labels),
        ranks=average_ranks(values, labels),
        sensitivities=_sensitivities(to_random),
    )


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


def _reaches(done: Curves, references: Mapping[int, float]) -> tuple[Reach, ...]:
    found = (reach(seeds, references, share) for seeds in done.values() for share in SHARES)
    return tuple(one for one in found if one is not None)


def _savings(done: Curves, baselines: Mapping[str, str]) -> tuple[Saving, ...]:
    found = (saving(seeds, done.get(baselines.get(label, ""), {})) for label, seeds in done.items())
    return tuple(one for one in found if one is not None)


def _sensitivities(comparisons: Mapping[str, Comparison]) -> tuple[Sensitivity, ...]:
    num_tests = max(1, sum(comparison.adjusted_p is not None for comparison in comparisons.values()))
    return tuple(
        Sensitivity(
            label=label,
            num_seeds=(summary := comparison.difference.summary).num,
            std=summary.std,
            smallest=None
            if summary.std is None
            else smallest_difference(summary.std, summary.num, num_tests=num_tests),
        )
        for label, comparison in comparisons.items()
    )
