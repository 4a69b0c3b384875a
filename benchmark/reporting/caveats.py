"""Caveats of a results folder in sentences: limitations of its comparisons, and how they were tested."""

from collections.abc import Iterator, Mapping

from quadrat.benchmark.analysis.analyse import Analysis
from quadrat.benchmark.analysis.primary import PrimaryAnalysis
from quadrat.benchmark.analysis.statistics import LEVEL, MIN_SEEDS, Comparison, Values
from quadrat.benchmark.reporting.formatting import listed, percent
from quadrat.benchmark.results.trials import Results

__all__ = ["ENOUGH_SEEDS", "caveats"]

ENOUGH_SEEDS = 5
"""Fewer seeds than this get a warning: comparisons of three runs are known to reverse (PEERS: nnActive, CDAL)."""


def caveats(results: Results, values: Values, found: Analysis) -> tuple[str, ...]:
    """Return the caveats, the most important first.

    Args:
        results: The results folder.
        values: mIoU of its records.
        found: Its statistics.
    """
    return (
        *results.dataset.get("warnings", ()),  # of the data set, as the run found them
        *_incomplete(results, found),
        *_few_seeds(found.primary),
        *_full_supervision(results),
        *_methods(found),
        *_not_compared(results, values, found.to_random),
    )


def _incomplete(results: Results, found: Analysis) -> Iterator[str]:
    if found.to_random and found.round is not None and found.round < results.num_rounds - 1:
        yield (
            f"The comparison is at round {found.round}, the last that a strategy shares with Random so far; "
            f"the suite goes to round {results.num_rounds - 1}."
        )
    exhausted = sorted({record.label for record in results.records if record.exhausted})
    if exhausted:
        yield (
            f"The pool ran out before the budget was spent, so trials of {listed(exhausted)} ended early: their last "
            "round has every region labelled."
        )


def _few_seeds(primary: PrimaryAnalysis) -> Iterator[str]:
    few = [excluded.label for excluded in primary.exclusions if excluded.reason == "too few shared seeds"]
    if few:
        yield (
            f"Not tested, since fewer than {MIN_SEEDS} finished seeds are shared with what "
            f"{'it is' if len(few) == 1 else 'they are'} compared to: {listed(few)}."
        )
    nums = [found.num_seeds for found in primary.comparisons if found.adjusted_p is not None]
    if nums and min(nums) < ENOUGH_SEEDS:
        yield (
            f"{min(nums)} seeds are few: the order of close strategies may change with other seeds. "
            f"{ENOUGH_SEEDS} or more are advised."
        )


def _full_supervision(results: Results) -> Iterator[str]:
    """Yield that full supervision is no upper bound where it was trained no longer than a few percent of the labels."""
    full = {record.steps for record in results.full_supervision}
    others = {record.steps for record in results.records}
    if full and others and max(full) <= max(others):
        yield (
            f"Full supervision was trained for {max(full):,} iterations, no longer than the strategies' models: it is "
            "no upper bound (a suite gives it its own length: full_supervision: {iterations: N})."
        )


def _methods(found: Analysis) -> Iterator[str]:
    if found.primary.num_tests:
        whom = "each strategy against Random" if found.primary.is_against_random else "all pairs of strategies"
        yield (
            f"Primary analysis, decided beforehand: area under the curve of {whom} over labelled pixels and over "
            "clicks, seeds as blocks, variance pooled over the strategies; Holm-corrected over all "
            f"{found.primary.num_tests} tests at the {percent(1 - LEVEL)} level. Nothing else here is called "
            "significant: the rest is exploratory."
        )
    intervals = [one.interval for one in found.costs_to_target] + [one.interval for one in found.label_efficiencies]
    if any(interval is not None for interval in intervals):
        yield (
            "Costs are read off mean curves, interpolated between rounds; their 95 % intervals hold the costs at which "
            "the paired t-test does not reject the target, and are open where the data set no bound."
        )


def _not_compared(results: Results, values: Values, comparisons: Mapping[str, Comparison]) -> Iterator[str]:
    if not comparisons:
        return
    unpaired = [label for label in results.labels if label in values and label not in comparisons]
    unpaired = [label for label in unpaired if label not in results.baselines.values()]
    if other_size := [label for label in unpaired if label not in results.baselines]:
        yield f"Not compared, since the suite has no Random at the same region size: {listed(other_size)}."
    if unseeded := [label for label in unpaired if label in results.baselines]:
        yield f"Not compared, since no seed is shared with Random at that round: {listed(unseeded)}."
