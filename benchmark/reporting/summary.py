"""The summary at the top of the report and of `quadrat stats`: a headline and findings, in sentences."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from quadrat.benchmark.analysis.analyse import Analysis, analyse
from quadrat.benchmark.analysis.label_efficiency import CostToTarget, LabelEfficiency
from quadrat.benchmark.analysis.measures import FRACTION, MIOU, Cost
from quadrat.benchmark.analysis.pairwise import PairwiseTests
from quadrat.benchmark.analysis.statistics import (
    LEVEL,
    MIN_SEEDS,
    Comparison,
    Summary,
    Values,
    Verdict,
    summarise,
    values_by_seed,
)
from quadrat.benchmark.reporting.caveats import caveats, max_seeds_of_pairs
from quadrat.benchmark.reporting.formatting import interval, listed, mean_std, number, percent, signed
from quadrat.benchmark.results.trials import Results

__all__ = ["ReportSummary", "pairwise_finding", "pairwise_headline", "report_summary"]


@dataclass(frozen=True, kw_only=True)
class ReportSummary:
    """The summary of a results folder in sentences.

    Attributes:
        headline: One sentence.
        findings: Further sentences, the most important first.
        caveats: Limitations of the results, and how they were tested.
        analysis: The statistics behind it, of mIoU over the cost asked for.
    """

    headline: str
    findings: tuple[str, ...]
    caveats: tuple[str, ...]
    analysis: Analysis


def report_summary(results: Results, cost: Cost = FRACTION) -> ReportSummary:
    """Return the summary of a results folder; all of it is about mIoU.

    Args:
        results: The results folder.
        cost: The unit of areas, costs to a target and label efficiency.
    """
    values = values_by_seed(results.records, MIOU)
    found = analyse(results, cost)
    pairwise = pairwise_finding(found)
    return ReportSummary(
        headline=_headline(results, values, found),
        findings=(
            *_differences_to_random(found.to_random),
            *_areas(found),
            *((pairwise,) if pairwise else ()),
            *_random_over_rounds(results, values),
            *_full_supervision(values, found.full_supervision),
            *_costs_to_target(found),
            *_label_efficiency(found),
        ),
        caveats=caveats(results, values, found),
        analysis=found,
    )


def _headline(results: Results, values: Values, found: Analysis) -> str:
    comparisons = found.to_random
    if not values:
        return "There is no record of any strategy yet."
    is_final = found.round == results.num_rounds - 1
    when = "at the final budget" if is_final else f"at round {found.round}, the last shared so far"
    if not comparisons:
        has_random = "random" in results.strategies.values()
        if not has_random and (headline := pairwise_headline(found, when)) is not None:
            return headline
        why = "shares no finished round with another strategy" if has_random else "is not in this suite"
        return f"Random {why}, so no strategy can be compared to it."
    if better := _with_verdict(comparisons, "better"):
        verb = "is" if len(better) == 1 else "are"
        return f"{listed(better)} {verb} significantly better than Random {when}."
    if all(comparison.adjusted_p is None for comparison in comparisons.values()):
        num = max(comparison.difference.summary.num for comparison in comparisons.values())
        seeds = "One seed is" if num == 1 else f"{num} seeds are"
        return f"{seeds} too few to test any strategy against Random."
    if worse := _with_verdict(comparisons, "worse"):
        verb = "is" if len(worse) == 1 else "are"
        return f"No strategy is significantly better than Random {when}; {listed(worse)} {verb} significantly worse."
    return f"No strategy differs significantly from Random {when}."


def pairwise_headline(found: Analysis, when: str) -> str | None:
    """Return the headline of a suite without Random, or None where no two strategies share a seed.

    Args:
        found: The statistics.
        when: The round in words, such as "at the final budget".
    """
    tests = found.pairwise
    if tests is None or not tests.pairs:
        return None
    num_seeds = max_seeds_of_pairs(found)
    if num_seeds < MIN_SEEDS:
        seeds = "1 shared seed is" if num_seeds == 1 else f"{num_seeds} shared seeds are"
        return f"{seeds} too few to test the strategies against each other."
    if len(tests.pairs) == 1:
        [((first, second), comparison)] = tests.pairs.items()
        return _one_pair(first, second, comparison, when)
    if not tests.significant:
        return f"No two strategies differ significantly {when}."
    return f"{len(tests.significant)} of {len(tests.pairs)} pairs of strategies differ significantly {when}: " + (
        f"{_better_over_worse(tests)}."
    )


def pairwise_finding(found: Analysis) -> str | None:
    """Return which pairs of strategies differ significantly, or None where there is at most one pair."""
    tests = found.pairwise
    if tests is None or len(tests.pairs) < 2:
        return None
    opening = f"Pairwise comparisons at round {found.round}"
    if not tests.significant:
        return f"{opening}: none of the {len(tests.pairs)} pairs differs significantly (Holm-corrected over the pairs)."
    num_significant, num_pairs = len(tests.significant), len(tests.pairs)
    return (
        f"{opening}: {num_significant} of {num_pairs} pairs differ significantly (Holm-corrected over the pairs): "
        f"{_better_over_worse(tests)}."
    )


def _better_over_worse(tests: PairwiseTests) -> str:
    return listed([f"{better} over {worse}" for better, worse in tests.significant])


def _one_pair(first: str, second: str, comparison: Comparison, when: str) -> str:
    """Return a sentence on two strategies, the one with the higher mean named first."""
    is_turned = comparison.difference.summary.mean < 0
    ahead, behind = (second, first) if is_turned else (first, second)
    points = [-value if is_turned else value for value in comparison.difference.by_seed.values()]
    summary = summarise(points)
    if comparison.verdict == "not significant":
        num_ahead = sum(value > 0 for value in points)
        return (
            f"{ahead} and {behind} do not differ significantly {when}: {signed(summary.mean)} points for {ahead} "
            f"(higher in {num_ahead} of {summary.num} seeds)."
        )
    bounds = f"({percent(LEVEL)} interval {interval(summary)})"
    return f"{ahead} is significantly better than {behind} {when}: {signed(summary.mean)} points {bounds}."


def _with_verdict(comparisons: Mapping[str, Comparison], verdict: Verdict) -> list[str]:
    found = [label for label, comparison in comparisons.items() if comparison.verdict == verdict]
    return sorted(found, key=lambda label: -comparisons[label].difference.summary.mean)


def _differences_to_random(comparisons: Mapping[str, Comparison]) -> Iterator[str]:
    openings: tuple[tuple[Verdict, str], ...] = (
        ("better", "Significantly better than Random: "),
        ("worse", "Significantly worse than Random: "),
        ("not significant", "Not significantly different from Random: "),
    )
    for verdict, opening in openings:
        labels = _with_verdict(comparisons, verdict)
        if labels:
            yield opening + "; ".join(_difference(label, comparisons[label]) for label in labels) + "."


def _difference(label: str, comparison: Comparison) -> str:
    """Return a difference in words: with its interval where it is significant, else with the seeds that are higher."""
    difference = comparison.difference
    summary = difference.summary
    points = f"{label} {signed(summary.mean)} points"
    if comparison.verdict == "not significant" or summary.half_width is None:
        return f"{points} (higher in {difference.num_ahead} of {summary.num} seed{'s' if summary.num > 1 else ''})"
    return f"{points} ({percent(LEVEL)} interval {interval(summary)})"


def _areas(found: Analysis) -> Iterator[str]:
    """Yield the comparison of areas to Random's: over the whole budget, areas vary less than one round's values."""
    compared = [(area.label, area.comparison) for area in found.areas if area.comparison is not None]
    if not compared or found.area_range is None:
        return
    openings: tuple[tuple[Verdict, str], ...] = (
        ("better", "significantly better"),
        ("worse", "significantly worse"),
        ("not significant", "not significant"),
    )
    parts = []
    for verdict, opening in openings:
        phrases = [
            f"{label} {signed(comparison.difference.summary.mean)}"
            for label, comparison in sorted(compared, key=lambda pair: -pair[1].difference.summary.mean)
            if comparison.verdict == verdict
        ]
        if phrases:
            parts.append(f"{opening}: {', '.join(phrases)}")
    yield f"Area under the curve (mean mIoU over the budget), difference to Random in points: {'; '.join(parts)}."


def _random_over_rounds(results: Results, values: Values) -> Iterator[str]:
    """Yield whether Random improves over the rounds: a sanity check that labels help at all."""
    random = next((label for label, name in results.strategies.items() if name == "random" and label in values), None)
    if random is None:
        return
    rounds = values[random]
    first, last = min(rounds), max(rounds)
    if first == last:
        return
    start, end = summarise(rounds[first].values()).mean, summarise(rounds[last].values()).mean
    verb = "improves" if end > start else "does not improve"
    yield f"Random {verb} with more labels: mIoU {start:.2f} % at round {first}, {end:.2f} % at round {last}."


def _full_supervision(values: Values, full: Summary | None) -> Iterator[str]:
    if full is None or not values:
        return
    finals = {label: summarise(rounds[max(rounds)].values()) for label, rounds in values.items()}
    best = max(finals, key=lambda label: finals[label].mean)
    share = 100 * finals[best].mean / full.mean
    yield (
        f"Full supervision: {mean_std(full, 2)} % mIoU. Highest mean after the last round: {best} with "
        f"{mean_std(finals[best], 2)} %, that is {share:.1f} % of full supervision."
    )
    above = [label for label, final in finals.items() if final.mean > full.mean]
    if above:
        yield f"Above full supervision, the expected upper bound: {listed(above)}."


def _costs_to_target(found: Analysis) -> Iterator[str]:
    """Yield the cost at which each strategy reaches 95 % of full supervision, and the strategies that do not."""
    costs = [one for one in found.costs_to_target if one.share == 0.95]
    if not costs:
        return
    unit = " %" if found.cost.key == FRACTION.key else ""
    what = "of the pool's pixels" if found.cost.key == FRACTION.key else f"in {found.cost.title}"
    target = f"95 % of full supervision ({costs[0].target:.2f} % mIoU)"
    reached = sorted((one for one in costs if one.cost is not None), key=lambda one: one.cost or 0.0)
    missed = [
        f"{one.label} ({one.num_reaching} of {one.num_seeds} seeds reach it)" for one in costs if one.cost is None
    ]
    if not reached:
        yield f"{target} is not reached within the budget by the mean of any strategy: {listed(missed)}."
        return
    phrases = [
        f"{one.label} {'at most ' if one.is_at_most else ''}{number(one.cost or 0.0)}{unit}{_bounds(one, unit)}"
        for one in reached
    ]
    rest = f" Not reached within the budget, on the mean over seeds: {listed(missed)}." if missed else ""
    yield f"Cost to reach {target}, {what}: {'; '.join(phrases)}.{rest}"


def _label_efficiency(found: Analysis) -> Iterator[str]:
    """Yield the labels that each strategy needs to match Random's final mIoU, and the strategies that do not."""
    reached = sorted(
        (one for one in found.label_efficiencies if one.relative_cost is not None),
        key=lambda one: one.relative_cost or 0.0,
    )
    missed = [one.label for one in found.label_efficiencies if one.relative_cost is None]
    what = "labelled pixels" if found.cost.key == FRACTION.key else found.cost.title
    if reached:
        phrases = [
            f"{one.label} {number(100 * (one.relative_cost or 0))} %{_bounds(one, ' %', 100)}" for one in reached
        ]
        yield (
            f"Label efficiency, cost to match Random's final mIoU ({reached[0].target:.2f} %) in % of Random's {what}: "
            f"{'; '.join(phrases)}."
        )
    if missed:
        yield f"Random's final mIoU is not matched within the budget, on the mean over seeds: {listed(missed)}."


def _bounds(one: CostToTarget | LabelEfficiency, unit: str, factor: float = 1.0) -> str:
    """Return the interval in brackets; an end beyond the budget is named as such."""
    if one.num_seeds < 2 or one.low is None:
        return ""
    low = number(factor * one.low)
    if one.high is None:
        return f" ({low}{unit} to beyond the budget)"
    return f" ({low} to {number(factor * one.high)}{unit})"
