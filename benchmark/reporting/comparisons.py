"""What is said of strategies among themselves: all pairs, and the headline of a suite that has no Random."""

from quadrat.benchmark.analysis.pairwise import PairwiseTests
from quadrat.benchmark.analysis.statistics import LEVEL, MIN_SEEDS, Comparison, summarise
from quadrat.benchmark.analysis.summary import Evidence
from quadrat.benchmark.reporting.tables.cells import interval, signed

__all__ = ["headline_of_pairs", "num_seeds_of_pairs", "sentence_of_pairs"]


def headline_of_pairs(found: Evidence, when: str) -> str | None:
    """Return the headline where nothing is compared to Random, or None where no two strategies share a seed.

    Args:
        found: The statistics.
        when: The round in words, such as "at the final budget".
    """
    tests = found.pairwise
    if tests is None or not tests.pairs:
        return None
    num_seeds = num_seeds_of_pairs(found)
    if num_seeds < MIN_SEEDS:
        seeds = "1 shared seed is" if num_seeds == 1 else f"{num_seeds} shared seeds are"
        return f"{seeds} too few to tell the strategies apart."
    if len(tests.pairs) == 1:
        [((first, second), comparison)] = tests.pairs.items()
        return _of_one_pair(first, second, comparison, when)
    if not tests.told_apart:
        return f"No two strategies can be told apart {when} with these seeds."
    return f"{len(tests.told_apart)} of {len(tests.pairs)} pairs can be told apart {when}: {_told(tests)}."


def sentence_of_pairs(found: Evidence) -> str | None:
    """Return who can be told from whom among all pairs, or None where there is at most one."""
    tests = found.pairwise
    if tests is None or len(tests.pairs) < 2:
        return None
    pairs, when = len(tests.pairs), f"at round {found.round}"
    if not tests.told_apart:
        return f"Among all {pairs} pairs, no two strategies can be told apart {when} (Holm-corrected over the pairs)."
    num_told = len(tests.told_apart)
    return f"{num_told} of {pairs} pairs can be told apart {when} (Holm-corrected): {_told(tests)}; the others can't."


def num_seeds_of_pairs(found: Evidence) -> int:
    """Return the seeds that the pair with the most of them shares; 0 where there is no pair."""
    pairs = found.pairwise.pairs if found.pairwise is not None else {}
    return max((comparison.difference.summary.num for comparison in pairs.values()), default=0)


def _told(tests: PairwiseTests) -> str:
    phrases = [f"{better} over {worse}" for better, worse in tests.told_apart]
    return phrases[0] if len(phrases) == 1 else f"{', '.join(phrases[:-1])} and {phrases[-1]}"


def _of_one_pair(first: str, second: str, comparison: Comparison, when: str) -> str:
    """Return a sentence on two strategies, the one with the higher mean named first."""
    is_turned = comparison.difference.summary.mean < 0
    ahead, behind = (second, first) if is_turned else (first, second)
    points = [-value if is_turned else value for value in comparison.difference.by_seed.values()]
    summary = summarise(points)
    if comparison.verdict == "undecided":
        num_ahead = sum(value > 0 for value in points)
        return (
            f"{ahead} and {behind} can't be told apart {when}: {signed(summary.mean)} points for {ahead} "
            f"(higher in {num_ahead} of {summary.num} seeds)."
        )
    bounds = f"({LEVEL:.0%} interval {interval(summary)})".replace("%", " %")
    return f"{ahead} is better than {behind} {when}: {signed(summary.mean)} points {bounds}."
