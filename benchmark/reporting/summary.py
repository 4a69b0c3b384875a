"""The answer in plain sentences: what the records say about the strategies, and what they can't tell."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from quadrat.benchmark.analysis.label_efficiency import Reach, Saving
from quadrat.benchmark.analysis.measures import FRACTION, MIOU, Cost
from quadrat.benchmark.analysis.power import POWER
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
from quadrat.benchmark.analysis.summary import Evidence, evidence
from quadrat.benchmark.reporting.comparisons import headline_of_pairs, num_seeds_of_pairs, sentence_of_pairs
from quadrat.benchmark.reporting.tables.cells import interval, mean_std, number, signed
from quadrat.benchmark.results.trials import Results

__all__ = ["ENOUGH_SEEDS", "Answer", "answer", "listed"]

ENOUGH_SEEDS = 5
"""Fewer seeds than this get a warning: comparisons of three runs are known to reverse (PEERS: nnActive, CDAL)."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The summary at the top of the report.

    Attributes:
        headline: One sentence.
        facts: Sentences that follow, the most important first.
        caveats: What can't be told, and why.
        round: The round that the comparisons are about; None when nothing can be compared.
        comparisons: Label -> comparison to Random at that round.
        evidence: The statistics behind it, of mIoU over the cost asked for.
    """

    headline: str
    facts: tuple[str, ...]
    caveats: tuple[str, ...]
    round: int | None
    comparisons: Mapping[str, Comparison]
    evidence: Evidence


def listed(items: list[str], separator: str = ", ") -> str:
    """Return `items` as words: "a", "a and b", "a, b and c"."""
    return items[0] if len(items) == 1 else f"{separator.join(items[:-1])} and {items[-1]}"


def answer(results: Results, cost: Cost = FRACTION) -> Answer:
    """Return what the records of a results folder say, in sentences; all of it is about mIoU.

    Args:
        results: What lies in the folder.
        cost: What areas, costs to reach a target and savings are counted in.
    """
    values = values_by_seed(results.records, MIOU)
    found = evidence(results, cost)
    comparisons = found.to_random
    round_ = found.round if comparisons else None
    return Answer(
        headline=_headline(results, values, comparisons, found),
        facts=(
            *_verdicts(comparisons),
            *_over_the_budget(found),
            *filter(None, (sentence_of_pairs(found),)),
            *_course(results, values),
            *_reference(values, found.full),
            *_reaching(found),
            *_savings(found),
        ),
        caveats=tuple(_caveats(results, values, comparisons, round_, found)),
        round=round_,
        comparisons=comparisons,
        evidence=found,
    )


def _headline(results: Results, values: Values, comparisons: Mapping[str, Comparison], found: Evidence) -> str:
    if not values:
        return "There is no record of any strategy yet."
    is_final = found.round == results.num_rounds - 1
    when = "at the final budget" if is_final else f"at round {found.round}, the last shared so far"
    if not comparisons:
        has_random = "random" in results.strategies.values()
        if not has_random and (headline := headline_of_pairs(found, when)) is not None:
            return headline
        why = "shares no finished round with another strategy" if has_random else "is not in this suite"
        return f"Random {why}, so no strategy can be compared to it."
    better = _with_verdict(comparisons, "better")
    if better:
        verb = "is" if len(better) == 1 else "are"
        return f"{listed(better)} {verb} better than Random {when}."
    if all(comparison.adjusted_p is None for comparison in comparisons.values()):
        num = max(comparison.difference.summary.num for comparison in comparisons.values())
        seeds = "One seed is" if num == 1 else f"{num} seeds are"
        return f"{seeds} too few to tell whether any strategy is better than Random."
    worse = _with_verdict(comparisons, "worse")
    if worse:
        verb = "is" if len(worse) == 1 else "are"
        return f"No strategy is shown to be better than Random {when}; {listed(worse)} {verb} worse."
    return f"No strategy can be told from Random {when} with these seeds."


def _with_verdict(comparisons: Mapping[str, Comparison], verdict: Verdict) -> list[str]:
    found = [label for label, comparison in comparisons.items() if comparison.verdict == verdict]
    return sorted(found, key=lambda label: -comparisons[label].difference.summary.mean)


def _verdicts(comparisons: Mapping[str, Comparison]) -> Iterator[str]:
    openings: tuple[tuple[Verdict, str], ...] = (
        ("better", "Better than Random: "),
        ("worse", "Worse than Random: "),
        ("undecided", "Can't be told from Random: "),
    )
    for verdict, opening in openings:
        labels = _with_verdict(comparisons, verdict)
        if labels:
            yield opening + "; ".join(_difference(label, comparisons[label]) for label in labels) + "."


def _difference(label: str, comparison: Comparison) -> str:
    """Return a difference in words: with its interval where it is told, with the count of seeds where it is not."""
    difference = comparison.difference
    summary = difference.summary
    points = f"{label} {signed(summary.mean)} points"
    if comparison.verdict == "undecided" or summary.half_width is None:
        return f"{points} (higher in {difference.num_ahead} of {summary.num} seed{'s' if summary.num > 1 else ''})"
    return f"{points} ({LEVEL:.0%} interval {interval(summary)})".replace("%", " %")


def _course(results: Results, values: Values) -> Iterator[str]:
    """Yield how Random fares over the rounds: a sanity check that labels help at all."""
    random = next((label for label, name in results.strategies.items() if name == "random" and label in values), None)
    if random is None:
        return
    rounds = values[random]
    first, last = min(rounds), max(rounds)
    if first == last:
        return
    start, end = summarise(rounds[first].values()).mean, summarise(rounds[last].values()).mean
    verb = "rises" if end > start else "does not rise"
    yield f"Random {verb} with more labels: mIoU {start:.2f} % at round {first}, {end:.2f} % at round {last}."


def _reference(values: Values, full: Summary | None) -> Iterator[str]:
    if full is None or not values:
        return
    finals = {label: _final(rounds) for label, rounds in values.items()}
    best = max(finals, key=lambda label: finals[label].mean)
    share = 100 * finals[best].mean / full.mean
    yield (
        f"Full supervision reaches {mean_std(full, 2)} % mIoU; the highest mean at the end of a trial is that of "
        f"{best}: {mean_std(finals[best], 2)} %, which is {share:.1f} % of full supervision."
    )
    above = [label for label, final in finals.items() if final.mean > full.mean]
    if above:
        yield f"Above full supervision, which should be the upper bound: {listed(above)}."


def _reaching(found: Evidence) -> Iterator[str]:
    """Say with what share of the pixels 95 % of full supervision is reached, by whom, and by whom it is not."""
    reaches = [one for one in found.reaches if one.share == 0.95]
    if not reaches:
        return
    unit = " %" if found.cost.key == FRACTION.key else ""
    what = "the pool's pixels labelled" if found.cost.key == FRACTION.key else found.cost.title
    arrived = sorted((one for one in reaches if one.cost is not None), key=lambda one: one.cost or 0.0)
    if arrived:
        phrases = [
            f"{one.label} with {_at_most(one)}{number(one.cost or 0.0)}{unit}{_bracket(one, unit)}" for one in arrived
        ]
        yield (
            f"95 % of full supervision ({reaches[0].target:.2f} % mIoU) is reached by "
            f"{listed(phrases, separator='; ')} of {what}."
        )
    never = [f"{one.label} ({one.num_reaching} of {one.num_seeds} seeds do)" for one in reaches if one.cost is None]
    if not arrived:
        yield f"No strategy's mean reaches 95 % of full supervision within its budget: {listed(never)}."
    elif never:
        yield f"Not reached within the budget, on the mean over seeds: {listed(never)}."


def _at_most(one: Reach) -> str:
    return "at most " if one.is_at_most else ""


def _bracket(one: Reach | Saving, unit: str, factor: float = 1.0) -> str:
    """Return the interval in brackets; an end that lies beyond the budget is said to."""
    if one.num_seeds < 2 or one.low is None:
        return ""
    low = number(factor * one.low)
    if one.high is None:
        return f" ({low}{unit} to beyond the budget)"
    return f" ({low} to {number(factor * one.high)}{unit})"


def _savings(found: Evidence) -> Iterator[str]:
    arrived = sorted((one for one in found.savings if one.ratio is not None), key=lambda one: one.ratio or 0.0)
    if arrived:
        phrases = [f"{one.label} {number(100 * (one.ratio or 0))} %{_bracket(one, ' %', 100)}" for one in arrived]
        what = "labelled pixels" if found.cost.key == FRACTION.key else found.cost.title
        yield (
            f"To get where Random ends ({arrived[0].target:.2f} % mIoU), this share of Random's {what} is enough: "
            f"{'; '.join(phrases)}."
        )
    never = [one.label for one in found.savings if one.ratio is None]
    if never:
        verb = "does" if len(never) == 1 else "do"
        yield f"{listed(never)} {verb} not get there within the budget, on the mean over seeds."


def _over_the_budget(found: Evidence) -> Iterator[str]:
    """Say who is better than Random over the whole budget: areas are steadier than one round's values."""
    judged = [(area.label, area.comparison) for area in found.areas if area.comparison is not None]
    if not judged or found.area_range is None:
        return
    parts = []
    for verdict, opening in (("better", "better than Random"), ("worse", "worse"), ("undecided", "can't be told")):
        phrases = [
            f"{label} {signed(comparison.difference.summary.mean)}"
            for label, comparison in sorted(judged, key=lambda pair: -pair[1].difference.summary.mean)
            if comparison.verdict == verdict
        ]
        if phrases:
            parts.append(f"{opening}: {', '.join(phrases)}")
    yield (
        "Over the whole budget (mean mIoU along the curve, that is the normalised area under it, against Random in "
        f"points): {'; '.join(parts)}."
    )


def _few_seeds(num: int) -> str:
    return (
        f"{num} seeds are few: the order of close strategies may turn round with other seeds. "
        f"{ENOUGH_SEEDS} or more are advised."
    )


def _final(rounds: Mapping[int, Mapping[int, float]]) -> Summary:
    return summarise(rounds[max(rounds)].values())


def _caveats(
    results: Results, values: Values, comparisons: Mapping[str, Comparison], round_: int | None, found: Evidence
) -> Iterator[str]:
    if round_ is not None and round_ < results.num_rounds - 1:
        yield (
            f"The comparison is at round {round_}, the last that a strategy shares with Random so far; "
            f"the suite goes to round {results.num_rounds - 1}."
        )
    exhausted = sorted({record.label for record in results.records if record.exhausted})
    if exhausted:
        yield (
            f"The pool ran out before the budget was spent, so trials of {listed(exhausted)} ended early: their last "
            "round has every region labelled."
        )
    if not comparisons:
        if MIN_SEEDS <= num_seeds_of_pairs(found) < ENOUGH_SEEDS:
            yield _few_seeds(num_seeds_of_pairs(found))
        return
    nums = {label: comparison.difference.summary.num for label, comparison in comparisons.items()}
    few = [label for label, num in nums.items() if num < MIN_SEEDS]
    if few:
        everyone = len(few) == len(nums)
        who = "Every strategy shares" if everyone else f"{listed(few)} share{'s' if len(few) == 1 else ''}"
        be = "is" if everyone or len(few) == 1 else "are"
        yield (
            f"{who} fewer than {MIN_SEEDS} seeds with Random and {be} not judged: an interval from two seeds rests on "
            "a single degree of freedom, and one seed gives none."
        )
    elif min(nums.values()) < ENOUGH_SEEDS:
        yield _few_seeds(min(nums.values()))
    judged = [comparison for comparison in comparisons.values() if comparison.adjusted_p is not None]
    smallest = [one.smallest for one in found.sensitivities if one.smallest is not None and one.num_seeds >= MIN_SEEDS]
    if smallest:
        ends = dict.fromkeys((f"{min(smallest):.1f}", f"{max(smallest):.1f}"))
        yield (
            f"What so many seeds can tell: a true difference to Random of {' to '.join(ends)} points at the least, "
            f"depending on the strategy, is told with {POWER:.0%} power after the correction below; smaller ones are "
            "likely to stay unseen."
        ).replace("%", " %")
    if judged:
        family = f"Holm-corrected over {len(judged)} comparisons" if len(judged) > 1 else "one comparison"
        yield (
            f"How it is decided: two-sided paired t-tests over the seeds at {100 * (1 - LEVEL):.0f} %, {family}. Pairs "
            "share round 0, so their differences carry less spread than the means in the tables. The intervals are not "
            "corrected."
        )
    if any(one.num_seeds > 1 for one in found.reaches):
        yield (
            "Costs are read off mean curves, interpolated between rounds; their intervals are bootstrap percentiles "
            f"over seeds, which are too narrow with fewer than about {ENOUGH_SEEDS} seeds."
        )
    unpaired = [label for label in results.labels if label in values and label not in comparisons]
    unpaired = [label for label in unpaired if label not in results.baselines.values()]
    if other_size := [label for label in unpaired if label not in results.baselines]:
        yield f"Not compared, for want of Random at the same region size: {listed(other_size)}."
    if unseeded := [label for label in unpaired if label in results.baselines]:
        yield f"Not compared, for want of a shared seed with Random at that round: {listed(unseeded)}."
