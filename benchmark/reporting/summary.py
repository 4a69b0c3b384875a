"""The summary at the top of the report and of `quadrat stats`: a headline and findings, in sentences.

Only sentences on the primary analysis say "significant"; the others are exploratory and say so.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from quadrat.benchmark.analysis.analyse import Analysis, analyse
from quadrat.benchmark.analysis.area_tests import AreaComparison
from quadrat.benchmark.analysis.label_efficiency import CostToTarget, LabelEfficiency
from quadrat.benchmark.analysis.measures import FRACTION, MIOU, Cost
from quadrat.benchmark.analysis.power import MAX_SEEDS, POWER
from quadrat.benchmark.analysis.primary import PrimaryAnalysis
from quadrat.benchmark.analysis.statistics import LEVEL, Comparison, Summary, Values, summarise, values_by_seed
from quadrat.benchmark.reporting.caveats import caveats
from quadrat.benchmark.reporting.formatting import (
    cost_interval,
    counted,
    interval,
    listed,
    mean_std,
    number,
    percent,
    signed,
)
from quadrat.benchmark.reporting.study_sentence import study_entry, study_headline
from quadrat.benchmark.reporting.tables.analysis import or_lost
from quadrat.benchmark.reporting.tables.cells import NamedTable, Table
from quadrat.benchmark.reporting.tables.primary import SHORT_TITLES, gains_table, pair_name
from quadrat.benchmark.reporting.tables.queries import named_queries, query_sentences
from quadrat.benchmark.results.trials import Results

__all__ = ["HARDLY_LEARNS", "ReportSummary", "decided_by", "pairwise_finding", "primary_headline", "report_summary"]

HARDLY_LEARNS: Final = 25.0
"""mIoU in percent of full supervision below which a recipe is said to hardly learn: a convention of ours. What labels
could add is then small, and so are the differences between strategies."""


@dataclass(frozen=True, kw_only=True)
class ReportSummary:
    """The summary of a results folder in sentences.

    Attributes:
        headline: One sentence: who differs significantly from Random, over pixels and over clicks, on which data. Of a
            study: its best candidate against the suite's own, on the report seeds; the other sentence then follows.
        answer: More: where the two costs disagree, what the seeds at hand can tell, and under which query each strategy
            is highest over clicks.
        entry: Of a study: its best candidate as an entry of a suite's `strategies`, YAML in one line; else None.
        gains: The table of the primary analysis; None where nothing can be compared.
        queries: The table of the comparison of queries with its caption; None where the suite has one.
        findings: Further sentences, exploratory, the most important first.
        caveats: Limitations of the results, and how they were tested.
        analysis: The statistics behind it, of mIoU over the cost asked for.
    """

    headline: str
    answer: tuple[str, ...]
    entry: str | None
    gains: Table | None
    queries: NamedTable | None
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
    study, headline = study_headline(results), primary_headline(results, values, found.primary)
    return ReportSummary(
        headline=headline if study is None else study,
        answer=(
            *(() if study is None else (headline,)),
            *_hardly_learns(found.full_supervision),
            *_disagreements(found.primary),
            *_power(found.primary),
            *(query_sentences(found.primary.queries) if found.primary.queries is not None else ()),
        ),
        entry=study_entry(results),
        gains=gains_table(found.primary) if found.primary.comparisons else None,
        queries=None if found.primary.queries is None else named_queries(found.primary.queries),
        findings=(
            *_differences_to_random(found),
            *((pairwise,) if pairwise else ()),
            *_random_over_rounds(results, values),
            *_full_supervision(values, found.full_supervision),
            *_costs_to_target(found),
            *_label_efficiency(found),
        ),
        caveats=caveats(results, values, found),
        analysis=found,
    )


def primary_headline(results: Results, values: Values, primary: PrimaryAnalysis) -> str:
    """Return one sentence on the primary analysis: who differs significantly from Random, over each cost.

    Args:
        results: The results folder.
        values: mIoU of its records.
        primary: The analysis.
    """
    if not values:
        return "There is no record of any strategy yet."
    if not primary.comparisons:
        if not primary.is_against_random:
            return "Random is not in this suite, and no two strategies share a finished seed."
        return "No strategy shares a finished seed with Random, so none can be compared to it."
    if not primary.num_tests:
        num = max(found.num_seeds for found in primary.comparisons)
        seeds = "One seed is" if num == 1 else f"{num} seeds are"
        whom = "any strategy against Random" if primary.is_against_random else "the strategies against each other"
        return f"{seeds} too few to test {whom}."
    where = f"On {results.title} ({results.suite['dataset']['test']})"
    parts = [f"over {SHORT_TITLES[axis.cost.key]} {_claims(primary, primary.over(axis.cost))}" for axis in primary.axes]
    if len({_claims(primary, primary.over(axis.cost)) for axis in primary.axes}) == 1:
        both = " as over ".join(SHORT_TITLES[axis.cost.key] for axis in primary.axes)
        parts = [f"over {both} {_claims(primary, primary.over(primary.axes[0].cost))}"]
    return f"{where}, {'; '.join(parts)}."


def _claims(primary: PrimaryAnalysis, comparisons: Sequence[AreaComparison]) -> str:
    """Return what is significant over one cost, the largest gain first; of a pair the better one is the subject."""
    by_claim: dict[tuple[str, str], list[str]] = {}
    for found in sorted(comparisons, key=lambda found: -abs(found.gain)):
        if found.verdict == "better":
            by_claim.setdefault(("better", found.baseline), []).append(found.label)
        elif found.verdict == "worse" and primary.is_against_random:
            by_claim.setdefault(("worse", found.baseline), []).append(found.label)
        elif found.verdict == "worse":
            by_claim.setdefault(("better", found.label), []).append(found.baseline)
    has_one_random = primary.is_against_random and len({found.baseline for found in primary.comparisons}) == 1
    parts = [
        f"{listed(labels)} {'is' if len(labels) == 1 else 'are'} significantly {verdict} than "
        f"{'Random' if has_one_random else baseline}"
        for (verdict, baseline), labels in sorted(by_claim.items(), key=lambda item: item[0][0])
    ]
    if parts:
        return ", ".join(parts)
    return (
        "no strategy differs significantly from Random"
        if primary.is_against_random
        else "no pair differs significantly"
    )


def _hardly_learns(full: Summary | None) -> Iterator[str]:
    """Yield that even all labels teach the model little, so that it matters little which are labelled."""
    if full is not None and full.mean < HARDLY_LEARNS:
        yield (
            f"Full supervision reaches {full.mean:.0f} % mIoU: this recipe hardly learns, so differences between "
            "strategies say little."
        )


def _disagreements(primary: PrimaryAnalysis) -> Iterator[str]:
    """Yield the comparisons that are significant over one cost and not over the other."""
    phrases = []
    for group in primary.disagreements:
        by_cost = ", ".join(
            f"{signed(found.gain)} over {SHORT_TITLES[found.cost.key]}"
            f"{' (significant)' if found.verdict in ('better', 'worse') else ''}"
            for found in group
        )
        phrases.append(f"{pair_name(group[0], primary)} {by_cost}")
    if phrases:
        yield f"Pixels and clicks disagree, gain in points: {'; '.join(phrases)}."


def _power(primary: PrimaryAnalysis) -> Iterator[str]:
    """Yield which gains the seeds can detect, and how many seeds would decide what is open."""
    detectable = [
        f"{axis.detectable_gain:.1f} points over {SHORT_TITLES[axis.cost.key]}"
        for axis in primary.axes
        if axis.detectable_gain is not None
    ]
    if not detectable:
        return
    num_seeds = max(found.num_seeds for found in primary.comparisons)
    text = f"{num_seeds} seeds detect a gain of {listed(detectable)} with {percent(POWER)} power"
    needed = [found.seeds_needed for found in primary.comparisons if found.verdict == "open"]
    yield f"{text}{f'. {decided_by(needed)}' if needed else '; nothing is open'}."


def decided_by(needed: Sequence[int | None]) -> str:
    """Return how many seeds would decide the open comparisons; None stands for more than MAX_SEEDS."""
    within = sorted({num for num in needed if num is not None})
    num_within, num_beyond = sum(num is not None for num in needed), needed.count(None)
    if len(needed) == 1:
        seeds = f"{within[0]} seeds" if within else f"more than {MAX_SEEDS} seeds"
        return f"One comparison is open: if the gain observed were true, {seeds} would decide it"
    opening = f"{len(needed)} comparisons are open: if the gains observed were true,"
    spans = f"{within[0]} to {within[-1]}" if len(within) > 1 else f"{within[0]}" if within else ""
    if not num_beyond:
        return f"{opening} {spans} seeds would decide them"
    if not num_within:
        return f"{opening} more than {MAX_SEEDS} seeds would decide them"
    return f"{opening} {spans} seeds would decide {num_within} of them, {num_beyond} need more than {MAX_SEEDS}"


def pairwise_finding(found: Analysis) -> str | None:
    """Return which pairs of strategies differ at the last round with p < 0.05, or None where there is no pair."""
    tests = found.pairwise
    if tests is None or not tests.num_tests:
        return None
    opening = f"Of {len(tests.pairs)} pairs at round {found.round}"
    if not tests.below_level:
        return f"{opening} none has p < 0.05 (Holm-corrected over these pairs)."
    pairs = listed([f"{higher} over {lower}" for higher, lower in tests.below_level])
    return f"{opening} {len(tests.below_level)} have p < 0.05 (Holm-corrected over these pairs): {pairs}."


def _differences_to_random(found: Analysis) -> Iterator[str]:
    ordered = sorted(found.to_random.items(), key=lambda item: -item[1].difference.summary.mean)
    if ordered:
        phrases = "; ".join(_difference(label, comparison) for label, comparison in ordered)
        yield f"Difference to Random at round {found.round}, in points: {phrases}."


def _difference(label: str, comparison: Comparison) -> str:
    difference = comparison.difference
    text = f"{label} {signed(difference.summary.mean)}"
    if difference.half_width is None:
        num = difference.summary.num
        return f"{text} (higher in {difference.num_ahead} of {counted(num, 'seed')})"
    return f"{text} ({percent(LEVEL)} interval {interval(difference)})"


def _random_over_rounds(results: Results, values: Values) -> Iterator[str]:
    """Yield whether each Random improves over the rounds: a sanity check that labels help at all."""
    for label in (label for label, name in results.strategies.items() if name == "random" and label in values):
        rounds = values[label]
        first, last = min(rounds), max(rounds)
        if first == last:
            continue
        start, end = summarise(rounds[first].values()).mean, summarise(rounds[last].values()).mean
        who = f"{label} (Random)" if results.has_several_queries else "Random"
        verb = "improves" if end > start else "does not improve"
        yield f"{who} {verb} with more labels: mIoU {start:.2f} % at round {first}, {end:.2f} % at round {last}."


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
        f"{one.label} "
        + or_lost(f"{'at most ' if one.is_at_most else ''}{number(one.cost or 0.0)}{unit}{_bounds(one, unit)}", one)
        for one in reached
    ]
    rest = f" Not reached within the budget, on the mean over seeds: {listed(missed)}." if missed else ""
    yield f"Cost to reach {target}, {what}: {'; '.join(phrases)}.{rest}"


def _label_efficiency(found: Analysis) -> Iterator[str]:
    """Yield the labels that each strategy needs to match the final mIoU of the Random with its own region size."""
    what = "labelled pixels" if found.cost.key == FRACTION.key else found.cost.title
    by_baseline: dict[str, list[LabelEfficiency]] = {}
    for one in found.label_efficiencies:
        by_baseline.setdefault(one.baseline, []).append(one)
    for baseline, group in by_baseline.items():
        who = "Random" if len(by_baseline) == 1 else baseline
        reached = sorted(
            (one for one in group if one.relative_cost is not None), key=lambda one: one.relative_cost or 0.0
        )
        phrases = [
            f"{one.label} " + or_lost(f"{number(100 * (one.relative_cost or 0))} %{_bounds(one, ' %', 100)}", one)
            for one in reached
        ]
        if reached:
            yield (
                f"Label efficiency, cost to match the final mIoU of {who} ({_targets(reached)}) in % of its {what}: "
                f"{'; '.join(phrases)}."
            )
        if missed := [one.label for one in group if one.relative_cost is None]:
            yield f"The final mIoU of {who} is not matched within the budget, on the mean over seeds: {listed(missed)}."


def _targets(reached: Sequence[LabelEfficiency]) -> str:
    """Return the targets: one, unless unfinished trials leave strategies with different seeds of the same Random."""
    return " or ".join(dict.fromkeys(f"{one.target:.2f} %" for one in reached))


def _bounds(one: CostToTarget | LabelEfficiency, unit: str, factor: float = 1.0) -> str:
    """Return the interval in brackets, or nothing."""
    if one.interval is None:
        return ""
    return f" ({cost_interval(one.interval, lambda value: number(factor * value) + unit)})"
