"""The leaderboard in sentences: what can be said over data sets, who is ranked, limitations.

Only the analysis over data sets that was declared beforehand says "significantly"; the rest says that it is
exploratory.
"""

from collections.abc import Iterator, Mapping, Sequence

from quadrat.benchmark.analysis.data_sets import LeaderboardTest
from quadrat.benchmark.analysis.leaderboard import Leaderboard
from quadrat.benchmark.analysis.measures import PRIMARY_COSTS
from quadrat.benchmark.analysis.settings import Setting
from quadrat.benchmark.analysis.statistics import LEVEL
from quadrat.benchmark.reporting.formatting import counted, listed, p_value, percent, signed
from quadrat.benchmark.reporting.tables.primary import SHORT_TITLES
from quadrat.benchmark.results.environment import device_of
from quadrat.benchmark.results.trials import Results

__all__ = ["leaderboard_caveats", "leaderboard_headline", "leaderboard_ranks"]

_MOST: int = 6
"""Strategies whose mean ranks are in a sentence."""


def leaderboard_headline(found: Leaderboard) -> str:
    """Return what was found over data sets, or why nothing can be tested."""
    tests = found.tests
    if not found.found.settings:
        return "No results folder has a finished trial of a strategy."
    if tests.tests:
        parts = [f"over {SHORT_TITLES[cost.key]} {_claims(found, cost.key)}" for cost in PRIMARY_COSTS]
        return f"Over {len(tests.data_sets)} data sets, {'; '.join(parts)}."
    if not found.ranked:
        return "No two strategies have a setting in common, so nothing is ranked or tested; all of this is exploratory."
    if not tests.num_tests:
        return "Random is not among the ranked strategies, so nothing is tested; all of this is exploratory."
    num = len(tests.data_sets)
    return (
        f"Nothing can be tested over data sets: the ranked strategies are on {num} ({listed(tests.data_sets)}), and "
        f"{tests.num_needed} are needed before {tests.num_tests} corrected comparisons with Random can have p < 0.05. "
        "All of this is exploratory."
    )


def _claims(found: Leaderboard, cost_key: str) -> str:
    by_verdict: dict[str, list[str]] = {}
    for test in sorted(found.tests.tests, key=lambda test: -abs(test.gain)):
        if test.cost.key == cost_key and test.verdict != "open":
            by_verdict.setdefault(test.verdict, []).append(found.name(test.entry))
    parts = [
        f"{listed(names)} {'is' if len(names) == 1 else 'are'} significantly {verdict} than Random"
        for verdict, names in sorted(by_verdict.items())
    ]
    return ", ".join(parts) or "no ranked strategy differs significantly from Random"


def leaderboard_ranks(found: Leaderboard, *, with_means: bool = True) -> tuple[str, ...]:
    """Return who is ranked where, and the mean ranks over each cost.

    Args:
        found: The comparison.
        with_means: Whether to name the mean ranks, which the table has as well.
    """
    return tuple(_ranks(found, with_means=with_means))


def _ranks(found: Leaderboard, *, with_means: bool) -> Iterator[str]:
    if not found.ranked_settings:
        return
    num_data_sets = len({one.data_set for one in found.found.settings if one.name in found.ranked_settings})
    orders = {}
    parts = []
    for cost in PRIMARY_COSTS:
        ranks = {line.name: rank for line in found.standings if (rank := line.scores[cost.key].rank) is not None}
        order = orders[cost.key] = sorted(ranks, key=lambda name: (ranks[name], name))
        shown = ", ".join(f"{name} {ranks[name]:.2f}" for name in order[:_MOST])
        rest = f" and {len(order) - _MOST} more" if len(order) > _MOST else ""
        parts.append(f"over {SHORT_TITLES[cost.key]} {shown}{rest}")
    means = f" Mean rank, 1 is best: {'; '.join(parts)}." if with_means else ""
    yield (
        f"Ranked: {len(found.ranked)} strategies in {counted(len(found.ranked_settings), 'setting')} on "
        f"{counted(num_data_sets, 'data set')}, of {len(found.standings)} strategies in "
        f"{counted(len(found.found.settings), 'setting')}.{means}"
    )
    firsts = {cost.key: orders[cost.key][0] for cost in PRIMARY_COSTS}
    if len(set(firsts.values())) > 1:
        lowest = listed([f"{firsts[cost.key]} over {SHORT_TITLES[cost.key]}" for cost in PRIMARY_COSTS])
        yield f"Pixels and clicks disagree: the lowest mean rank is that of {lowest}."


def leaderboard_caveats(found: Leaderboard, folders: Mapping[str, Results]) -> tuple[str, ...]:
    """Return limitations and methods, the most important first.

    Args:
        found: The comparison.
        folders: Name -> contents of a results folder.
    """
    return (
        *found.found.left_out,
        *_alike(found),
        *_machines(found.found.settings, folders),
        *_methods(found),
        "Settings, trials and records are as their folders state them; quadrat verify DIR recomputes rounds.",
    )


def _alike(found: Leaderboard) -> Iterator[str]:
    """Yield how many ranked settings are on one data set: they are no independent evidence."""
    ranked = [one for one in found.found.settings if one.name in found.ranked_settings]
    for data_set in dict.fromkeys(one.data_set for one in ranked):
        num = sum(one.data_set == data_set for one in ranked)
        if num > 1:
            yield (
                f"{num} of {len(ranked)} ranked settings are on {data_set}: they share images, so they are no "
                "independent evidence, and the spread of mean ranks is too narrow."
            )


def _machines(settings: Sequence[Setting], folders: Mapping[str, Results]) -> Iterator[str]:
    """Yield where folders of several versions or devices are pooled: an equal seed is then not an equal model."""
    for setting in settings:
        environments = [one for name in setting.folders for one in folders[name].environments]
        commits = {str(one.get("commit") or "unknown")[:12] for one in environments}
        devices = {device_of(one) or "unknown" for one in environments}
        parts = [
            f"{counted(len(group), kind)} ({listed(sorted(group))})"
            for kind, group in (("commit", commits), ("device", devices))
            if len(group) > 1
        ]
        if parts:
            yield (
                f"{setting.name} pools {len(setting.folders)} folders of {' and '.join(parts)}: a seed has the same "
                "first regions in all, but not the same model."
            )


def _methods(found: Leaderboard) -> Iterator[str]:
    if found.tests.tests:
        smallest = min(found.tests.tests, key=lambda test: test.adjusted_p)
        friedman = "; ".join(
            f"{p_value(found.tests.friedman_p[cost.key])} over {SHORT_TITLES[cost.key]}"
            for cost in PRIMARY_COSTS
            if cost.key in found.tests.friedman_p
        )
        yield (
            "Decided beforehand: gain of every ranked strategy over Random in the area under the curve, a data set as "
            "one value (the mean of its settings), Wilcoxon's signed-rank test, exact, Holm-corrected over all "
            f"{found.tests.num_tests} tests at the {percent(1 - LEVEL)} level; smallest p {_test(found, smallest)}. "
            "That holds for folders chosen without a look at their results, and not for folders that are added until "
            "a test passes." + (f" Exploratory: p of Friedman's test {friedman}." if friedman else "")
        )
    if found.is_asked:
        yield (
            "The ranked strategies were named by hand (--strategy): what is said of them holds as it is where that was "
            "decided before a look at results."
        )
    elif found.ranked:
        yield (
            "Ranked are the strategies of most settings, as many as make the largest table without a gap; results play "
            "no part in it. --strategy ranks others."
        )


def _test(found: Leaderboard, test: LeaderboardTest) -> str:
    return (
        f"{p_value(test.adjusted_p)} ({found.name(test.entry)}, {signed(test.gain)} over {SHORT_TITLES[test.cost.key]})"
    )
