"""Caveats of a results folder in sentences: limitations of its comparisons, and how they were tested."""

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Final

from quadrat.benchmark.analysis.analyse import Analysis
from quadrat.benchmark.analysis.primary import PrimaryAnalysis
from quadrat.benchmark.analysis.statistics import LEVEL, MIN_SEEDS, Comparison, Values
from quadrat.benchmark.reporting.formatting import listed, percent
from quadrat.benchmark.results.records import Record
from quadrat.benchmark.results.trials import Results

__all__ = ["ENOUGH_SEEDS", "caveats"]

VOID_DIFFERS: Final = 5.0
"""Points between the largest and the smallest share of void above which strategies differ in it."""

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
        *_void(results),
        *_classes_of_the_mean(results),
        *_incomplete(results, found),
        *_few_seeds(results, found.primary),
        *_full_supervision(results),
        *_methods(found),
        *_not_compared(results, values, found.to_random),
    )


def _void(results: Results) -> Iterator[str]:
    """Yield the share of void in what each strategy labelled, where strategies differ: results may follow from it."""
    finals: dict[str, list[Record]] = {}
    for trial in results.trials:
        if not trial.is_full_supervision and trial.state == "done":
            finals.setdefault(trial.label, []).append(trial.records[-1])
    shares = {label: fmean(100 * one.void_px / one.labelled_px for one in group) for label, group in finals.items()}
    if not shares or max(shares.values()) - min(shares.values()) < VOID_DIFFERS:
        return
    ordered = sorted(shares, key=lambda label: -shares[label])
    parts = [f"{label} {shares[label]:.0f} %{_wholly(finals[label])}" for label in ordered]
    way_out = (
        " Regions that are known beforehand not to be part of the task can be left out: void_regions: withhold."
        if results.suite.get("void_regions", "offer") == "offer"
        else ""
    )
    yield (
        "Strategies differ in how much void they labelled, pixels that cost like others and teach nothing; results may "
        f"follow from it: {', '.join(parts)}.{way_out}"
    )


def _wholly(records: Sequence[Record]) -> str:
    """Return the share of regions that are void all over, in brackets, where records have it."""
    found = [100 * one.void_regions / one.regions for one in records if one.void_regions is not None]
    return f" ({fmean(found):.0f} % of its regions are wholly void)" if found and max(found) >= 0.5 else ""


def _classes_of_the_mean(results: Results) -> Iterator[str]:
    """Yield which classes the mIoU leaves out, and where records of an older schema may count one as 0."""
    records = [*results.records, *results.full_supervision]
    if any(record.test_classes is None for record in records):
        yield (
            "These records were written as schema 2, whose mIoU counts a class that the test set lacks as 0 once a "
            "pixel is predicted as it; some class has no IoU above 0 in any of them, so that its part is not known."
        )
        return
    lacking = [name for place, name in enumerate(results.classes) if any(one.iou[place] is None for one in records)]
    if lacking:
        num = len(results.classes)
        yield (
            f"mIoU is the mean over {num - len(lacking)} of {num} classes: the test set has no pixel of "
            f"{listed(lacking)}."
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


def _few_seeds(results: Results, primary: PrimaryAnalysis) -> Iterator[str]:
    """Yield who is not tested for want of seeds, but for Random, and that few seeds tell little."""
    few = [excluded.label for excluded in primary.exclusions if excluded.reason == "too few shared seeds"]
    few = [label for label in few if label not in results.baselines.values()]
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
            f"{found.primary.num_tests} tests{_of_queries(found.primary)} at the {percent(1 - LEVEL)} level. Nothing "
            "else here is called significant: the rest is exploratory."
        )
    intervals = [one.interval for one in found.costs_to_target] + [one.interval for one in found.label_efficiencies]
    if any(interval is not None for interval in intervals):
        yield (
            "Costs are read off mean curves, interpolated between rounds; their 95 % intervals hold the costs at which "
            "the paired t-test does not reject the target, and are open where the data set no bound."
        )


def _of_queries(primary: PrimaryAnalysis) -> str:
    found = primary.queries
    num = 0 if found is None else sum(one.adjusted_p is not None for one in found.comparisons)
    if found is None or not num:
        return ""
    return (
        f", {num} of which compare queries: the area over clicks of a strategy under each query with that of the same "
        f"strategy under {found.reference}, a seed of a strategy as block,"
    )


def _not_compared(results: Results, values: Values, comparisons: Mapping[str, Comparison]) -> Iterator[str]:
    if not comparisons:
        return
    unpaired = [label for label in results.labels if label in values and label not in comparisons]
    unpaired = [label for label in unpaired if label not in results.baselines.values()]
    if other_size := [label for label in unpaired if label not in results.baselines]:
        same = (
            "region size" if len({query.labels for query in results.queries.values()}) == 1 else "size and label type"
        )
        yield f"Not compared, since the suite has no Random at the same {same}: {listed(other_size)}."
    if unseeded := [label for label in unpaired if label in results.baselines]:
        yield f"Not compared, since no seed is shared with Random at that round: {listed(unseeded)}."
