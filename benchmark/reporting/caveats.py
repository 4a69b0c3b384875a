"""Caveats of a results folder in sentences: limitations of its comparisons, and how they were tested."""

from collections.abc import Iterator, Mapping

from quadrat.benchmark.analysis.analyse import Analysis
from quadrat.benchmark.analysis.power import POWER
from quadrat.benchmark.analysis.statistics import LEVEL, MIN_SEEDS, Comparison, Values
from quadrat.benchmark.reporting.formatting import listed, percent
from quadrat.benchmark.results.trials import Results

__all__ = ["ENOUGH_SEEDS", "caveats", "max_seeds_of_pairs"]

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
        *_incomplete(results, found),
        *_few_seeds(found),
        *_methods(found),
        *_not_compared(results, values, found.to_random),
    )


def max_seeds_of_pairs(found: Analysis) -> int:
    """Return the largest number of seeds that a pair of strategies shares; 0 where there is no pair."""
    pairs = found.pairwise.pairs if found.pairwise is not None else {}
    return max((comparison.difference.summary.num for comparison in pairs.values()), default=0)


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


def _few_seeds(found: Analysis) -> Iterator[str]:
    nums = {label: comparison.difference.summary.num for label, comparison in found.to_random.items()}
    few = [label for label, num in nums.items() if num < MIN_SEEDS]
    if few:
        everyone = len(few) == len(nums)
        who = "Every strategy shares" if everyone else f"{listed(few)} share{'s' if len(few) == 1 else ''}"
        be = "is" if everyone or len(few) == 1 else "are"
        yield (
            f"{who} fewer than {MIN_SEEDS} seeds with Random and {be} not tested: an interval from two seeds has a "
            "single degree of freedom, and one seed gives none."
        )
        return
    fewest = min(nums.values(), default=max_seeds_of_pairs(found))
    if MIN_SEEDS <= fewest < ENOUGH_SEEDS:
        yield (
            f"{fewest} seeds are few: the order of close strategies may change with other seeds. "
            f"{ENOUGH_SEEDS} or more are advised."
        )


def _methods(found: Analysis) -> Iterator[str]:
    if not found.to_random:
        return
    detectable = [one for one in found.detectable_differences if one.num_seeds >= MIN_SEEDS]
    smallest = [one.smallest for one in detectable if one.smallest is not None]
    if smallest:
        ends = dict.fromkeys((f"{min(smallest):.1f}", f"{max(smallest):.1f}"))
        yield (
            f"Smallest detectable difference: a true difference to Random of {' to '.join(ends)} points, depending on "
            f"the strategy, is detected with {percent(POWER)} power after the correction below; smaller ones are "
            "likely to be missed."
        )
    num_tests = sum(comparison.adjusted_p is not None for comparison in found.to_random.values())
    if num_tests:
        family = f"Holm-corrected over {num_tests} comparisons" if num_tests > 1 else "one comparison"
        yield (
            f"Tests: two-sided paired t-tests over the seeds at the {percent(1 - LEVEL)} level, {family}. All "
            "strategies of a seed share round 0, so their differences vary less than the means in the tables. The "
            "intervals are not corrected."
        )
    if any(one.num_seeds > 1 for one in found.costs_to_target):
        yield (
            "Costs are read off mean curves, interpolated between rounds; their intervals are bootstrap percentiles "
            f"over seeds, which are too narrow with fewer than about {ENOUGH_SEEDS} seeds."
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
