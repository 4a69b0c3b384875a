"""Pairwise comparisons of all strategies: tests at one round, the penalty matrix over all rounds, average ranks.

All of it is exploratory: it describes the results at hand, and each family is corrected by itself. Claims come from the
primary analysis (`primary.py`).

References:
    [BADGE] Ash et al., "Deep batch active learning by diverse, uncertain gradient lower bounds", ICLR 2020, section 4:
        the pairwise penalty matrix. Differences from theirs: round 0, which all strategies share, is left out; tests
        are Holm-corrected (the uncorrected matrix is returned too); seeds are paired; a row holds wins, not losses.
    [Friedman] "The use of ranks to avoid the assumption of normality", J. American Statistical Association 32, 1937.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from quadrat.benchmark.analysis.ranks import friedman_p, rank
from quadrat.benchmark.analysis.statistics import (
    LEVEL,
    MIN_SEEDS,
    Comparison,
    Difference,
    Values,
    holm,
    holm_corrected,
    paired_difference,
    summarise,
)

# Legend: L labels, R rounds, S seeds.

__all__ = [
    "PairwiseTests",
    "PenaltyMatrix",
    "Ranks",
    "against",
    "average_ranks",
    "pairwise_tests",
    "penalty_matrix",
    "shares_won",
]


@dataclass(frozen=True, kw_only=True)
class PairwiseTests:
    """Every pair of strategies compared at one round, Holm-corrected over the pairs.

    Attributes:
        round: The round.
        pairs: (first, second) -> first minus second. Each pair occurs once, in the order of the labels.
    """

    round: int
    pairs: Mapping[tuple[str, str], Comparison]

    @property
    def num_tests(self) -> int:
        """Pairs that are tested: those with at least `MIN_SEEDS` shared seeds."""
        return sum(found.adjusted_p is not None for found in self.pairs.values())

    @property
    def below_level(self) -> tuple[tuple[str, str], ...]:
        """The pairs whose adjusted p is below 1 - LEVEL, the higher one first."""
        return tuple(
            pair if found.difference.summary.mean > 0 else (pair[1], pair[0])
            for pair, found in self.pairs.items()
            if found.adjusted_p is not None and found.adjusted_p < 1 - LEVEL
        )


@dataclass(frozen=True, kw_only=True)
class PenaltyMatrix:
    """How often each strategy wins against each other one: is higher with an adjusted p below 1 - LEVEL.

    **Orientation**: `wins[row][column]` is the share of the rounds in which the ROW strategy wins against the COLUMN
    strategy. A high row is good; a high column is bad, and its mean is the penalty.

    Attributes:
        labels: Of rows and columns.
        rounds: The rounds that are tested: all but round 0, which the strategies share.
        wins: Holm-corrected over all pairs and rounds as one family; 0..1, None on the diagonal and for pairs without
            `MIN_SEEDS` shared seeds in any round.
        wins_uncorrected: The same at p < 0.05 for each test on its own, as in published matrices: of 20 tests between
            equal strategies one is then a win by chance.
        num_tests: Size of the family.
    """

    labels: tuple[str, ...]
    rounds: tuple[int, ...]
    wins: tuple[tuple[float | None, ...], ...]
    wins_uncorrected: tuple[tuple[float | None, ...], ...]
    num_tests: int

    @property
    def penalties(self) -> dict[str, float | None]:
        """Label -> mean of its column: how often it loses. None where it was never tested."""
        return dict(zip(self.labels, (_mean(column) for column in zip(*self.wins, strict=True)), strict=True))


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """Average ranks of strategies: 1 is the best; equal values share the mean of their ranks.

    Attributes:
        mean: Label -> mean rank over the rounds after round 0 and the seeds.
        by_seed: Label -> seed -> mean rank over the rounds.
        num_seeds: Seeds in which every label has every round: others are left out.
        p_value: Friedman's test that all labels rank alike, over seeds as blocks; None for fewer than `MIN_SEEDS` seeds
            or three labels. Its p-value is an asymptotic one: with few seeds read it as a hint.
    """

    mean: Mapping[str, float]
    by_seed: Mapping[str, Mapping[int, float]]
    num_seeds: int
    p_value: float | None


def pairwise_tests(values: Values, labels: Sequence[str], round_: int) -> PairwiseTests:
    """Return every pair of `labels` compared at one round, as one Holm-corrected family.

    Args:
        values: Of one metric.
        labels: To compare; pairs without a shared seed are left out.
        round_: The round.
    """
    found = {
        (first, second): difference
        for first, second in itertools.combinations(labels, 2)
        if (difference := _difference(values, first, second, round_)) is not None
    }
    return PairwiseTests(round=round_, pairs=holm_corrected(found))


def against(tests: PairwiseTests, baseline: str) -> dict[str, Comparison]:
    """Return label -> label minus `baseline`, of every pair with it; p stays corrected over all pairs."""
    found: dict[str, Comparison] = {}
    for (first, second), comparison in tests.pairs.items():
        if second == baseline:
            found[first] = comparison
        elif first == baseline:
            by_seed = {seed: -value for seed, value in comparison.difference.by_seed.items()}
            turned = replace(comparison.difference, by_seed=by_seed, summary=summarise(by_seed.values()))
            found[second] = replace(comparison, difference=turned)
    return found


def shares_won(values: Values, labels: Sequence[str]) -> dict[tuple[str, str], float]:
    """Return (row, column) -> share of their (seed, round) pairs after round 0 in which row is above column, 0..1.

    Equal values count for neither. Pairs that share no seed in any such round are left out.
    """
    shares: dict[tuple[str, str], float] = {}
    for row, column in itertools.permutations(labels, 2):
        mine, theirs = values.get(row, {}), values.get(column, {})
        wins = [
            mine[round_][seed] > theirs[round_][seed]
            for round_ in mine.keys() & theirs.keys()
            if round_ > 0
            for seed in mine[round_].keys() & theirs[round_].keys()
        ]
        if wins:
            shares[row, column] = sum(wins) / len(wins)
    return shares


def penalty_matrix(values: Values, labels: Sequence[str]) -> PenaltyMatrix:
    """Return the penalty matrix of `labels` over all rounds but round 0; see `PenaltyMatrix` for how it is read.

    Args:
        values: Of one metric.
        labels: Rows and columns.
    """
    rounds = sorted({round_ for label in labels for round_ in values.get(label, {}) if round_ > 0})
    tests: dict[tuple[str, str, int], Difference] = {}
    for (first, second), round_ in itertools.product(itertools.combinations(labels, 2), rounds):
        difference = _difference(values, first, second, round_)
        if difference is not None and difference.p_value is not None:
            tests[first, second, round_] = difference
    raw = [difference.p_value or 0.0 for difference in tests.values()]
    return PenaltyMatrix(
        labels=tuple(labels),
        rounds=tuple(rounds),
        wins=_wins(labels, tests, holm(raw)),
        wins_uncorrected=_wins(labels, tests, raw),
        num_tests=len(tests),
    )


def _wins(
    labels: Sequence[str], tests: Mapping[tuple[str, str, int], Difference], p_values: Sequence[float]
) -> tuple[tuple[float | None, ...], ...]:
    won: dict[tuple[str, str], int] = {}
    tested: dict[tuple[str, str], int] = {}
    for ((first, second, _), difference), p_value in zip(tests.items(), p_values, strict=True):
        is_below = p_value < 1 - LEVEL
        for row, column, is_ahead in (
            (first, second, difference.summary.mean > 0),
            (second, first, difference.summary.mean < 0),
        ):
            tested[row, column] = tested.get((row, column), 0) + 1
            won[row, column] = won.get((row, column), 0) + (is_below and is_ahead)
    return tuple(
        tuple(won[row, column] / tested[row, column] if (row, column) in tested else None for column in labels)
        for row in labels
    )


def _difference(values: Values, first: str, second: str, round_: int) -> Difference | None:
    return paired_difference(values.get(first, {}).get(round_, {}), values.get(second, {}).get(round_, {}))


def average_ranks(values: Values, labels: Sequence[str]) -> Ranks | None:
    """Return the average ranks of `labels` over all rounds but round 0, or None when no seed has them all.

    Args:
        values: Of one metric; higher is better.
        labels: At least two of them; a label without any value is not ranked.
    """
    labels = [label for label in labels if any(round_ > 0 for round_ in values.get(label, {}))]
    rounds = sorted({round_ for label in labels for round_ in values[label] if round_ > 0})
    if len(labels) < 2:
        return None
    complete = set.intersection(*(set(values[label].get(round_, {})) for label in labels for round_ in rounds))
    if not complete:
        return None
    by_seed: dict[str, dict[int, float]] = {label: {} for label in labels}
    seeds = sorted(complete)
    values_LRS = np.array([[[values[label][round_][seed] for seed in seeds] for round_ in rounds] for label in labels])
    ranks_LRS = rank(-values_LRS, axis=0)
    for label, ranks_RS in zip(labels, ranks_LRS, strict=True):
        means = (ranks_RS.sum(axis=0) / len(rounds)).tolist()
        by_seed[label] = dict(zip(seeds, means, strict=True))
    p_value = None
    if len(complete) >= MIN_SEEDS and len(labels) >= 3:
        rows = [list(by_seed[label].values()) for label in labels]
        # Where all are tied in every seed there is nothing to test.
        is_tied = all(len(set(block)) == 1 for block in zip(*rows, strict=True))
        p_value = 1.0 if is_tied else friedman_p(rows)
    return Ranks(
        mean={label: summarise(by_seed[label].values()).mean for label in labels},
        by_seed=by_seed,
        num_seeds=len(complete),
        p_value=p_value,
    )


def _mean(cells: Sequence[float | None]) -> float | None:
    found = [cell for cell in cells if cell is not None]
    return summarise(found).mean if found else None
