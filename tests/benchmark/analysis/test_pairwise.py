"""The penalty matrix and ranks: orientation, correction and round 0, against matrices worked out by hand."""

import pytest
from scipy import stats

from quadrat.benchmark.analysis.pairwise import against, average_ranks, pairwise_tests, penalty_matrix, shares_won
from quadrat.benchmark.analysis.statistics import Values

SHARED = {0: 30.0, 1: 31.0, 2: 32.0}
LOW = {0: 40.0, 1: 41.0, 2: 42.0}
HIGH = {0: 45.0, 1: 46.1, 2: 46.9}  # about 5 above LOW, differences 5, 5.1, 4.9: p = 0.0001
NEAR = {0: 41.0, 1: 40.0, 2: 42.5}  # differences to LOW 1, -1, 0.5


def test_a_row_holds_how_often_its_strategy_is_better_than_that_of_the_column() -> None:
    values: Values = {"high": {0: SHARED, 1: HIGH, 2: NEAR}, "low": {0: SHARED, 1: LOW, 2: LOW}}
    matrix = penalty_matrix(values, ["high", "low"])
    assert matrix.rounds == (1, 2)
    assert matrix.wins == ((None, 0.5), (0.0, None))  # in round 1 of two
    assert matrix.penalties == {"high": 0.0, "low": 0.5}  # the mean of a column: how often it is worse


def test_the_order_of_labels_turns_the_matrix_and_nothing_else() -> None:
    values: Values = {"high": {1: HIGH}, "low": {1: LOW}}
    assert penalty_matrix(values, ["low", "high"]).wins == ((None, 0.0), (1.0, None))


def test_round_0_which_all_share_is_not_tested() -> None:
    values: Values = {"high": {0: HIGH}, "low": {0: LOW}}
    matrix = penalty_matrix(values, ["high", "low"])
    assert matrix.num_tests == 0
    assert matrix.wins == ((None, None), (None, None))


def test_holm_is_over_all_pairs_and_rounds() -> None:
    # Differences 1.0, 1.3, 1.6 have p = 0.0176: below 0.05 alone, not times 3 (three tests, the others far from it).
    slight = {seed: LOW[seed] + step for seed, step in zip(LOW, (1.0, 1.3, 1.6), strict=True)}
    p_value = stats.ttest_1samp([1.0, 1.3, 1.6], 0).pvalue
    assert 0.0167 < p_value < 0.05
    values: Values = {"slight": {1: slight, 2: NEAR, 3: NEAR}, "low": {1: LOW, 2: LOW, 3: LOW}}
    matrix = penalty_matrix(values, ["slight", "low"])
    assert matrix.num_tests == 3
    assert matrix.wins == ((None, 0.0), (0.0, None))
    assert matrix.wins_uncorrected == ((None, pytest.approx(1 / 3)), (0.0, None))


def test_pairs_with_two_seeds_are_not_tested() -> None:
    values: Values = {"high": {1: {0: 45.0, 1: 46.1}}, "low": {1: {0: 40.0, 1: 41.0}}}
    assert penalty_matrix(values, ["high", "low"]).wins == ((None, None), (None, None))


def test_pairs_below_the_level_name_the_higher_one_first() -> None:
    values: Values = {"low": {1: LOW}, "near": {1: NEAR}, "high": {1: HIGH}}
    found = pairwise_tests(values, ["low", "near", "high"], 1)
    assert set(found.pairs) == {("low", "near"), ("low", "high"), ("near", "high")}
    # Three tests: low against high has p = 0.0001, near against high 0.009 and low against near 0.6.
    assert found.below_level == (("high", "low"), ("high", "near"))


def test_ranks_worked_out_by_hand() -> None:
    values: Values = {
        "a": {0: {0: 1.0, 1: 1.0}, 1: {0: 50.0, 1: 50.0}, 2: {0: 60.0, 1: 60.0}},
        "b": {0: {0: 1.0, 1: 1.0}, 1: {0: 40.0, 1: 50.0}, 2: {0: 50.0, 1: 70.0}},
        "c": {0: {0: 9.0, 1: 9.0}, 1: {0: 30.0, 1: 30.0}, 2: {0: 40.0, 1: 40.0}},
    }
    ranks = average_ranks(values, ["a", "b", "c"])
    assert ranks is not None
    assert ranks.by_seed == {"a": {0: 1.0, 1: 1.75}, "b": {0: 2.0, 1: 1.25}, "c": {0: 3.0, 1: 3.0}}
    assert ranks.mean == {"a": 1.375, "b": 1.625, "c": 3.0}
    assert (ranks.num_seeds, ranks.p_value) == (2, None)


def test_friedmans_statistic_worked_out_by_hand() -> None:
    rows = [(1.0, 2.0, 3.0)] * 5 + [(2.0, 1.0, 3.0)]
    values: Values = {
        name: {1: {seed: -row[index] for seed, row in enumerate(rows)}} for index, name in enumerate("abc")
    }
    ranks = average_ranks(values, ["a", "b", "c"])
    assert ranks is not None
    # Rank sums 7, 11, 18: 12 / (6 * 3 * 4) * (49 + 121 + 324) - 3 * 6 * 4 = 10.333 with two degrees of freedom.
    assert ranks.p_value == pytest.approx(stats.chi2.sf(12 / 72 * (49 + 121 + 324) - 72, 2))


def test_strategies_that_are_equal_everywhere_rank_alike() -> None:
    same = {1: dict.fromkeys(range(3), 50.0)}
    ranks = average_ranks({"a": same, "b": same, "c": same}, ["a", "b", "c"])
    assert ranks is not None
    assert ranks.mean == {"a": 2.0, "b": 2.0, "c": 2.0}
    assert ranks.p_value == 1.0


def test_seeds_without_every_strategy_are_not_ranked() -> None:
    values: Values = {"a": {1: {0: 1.0, 1: 2.0}}, "b": {1: {0: 2.0}}}
    ranks = average_ranks(values, ["a", "b", "absent"])
    assert ranks is not None and ranks.num_seeds == 1
    assert average_ranks({"a": {1: {0: 1.0}}, "b": {1: {1: 1.0}}}, ["a", "b"]) is None
    assert average_ranks({"a": {1: {0: 1.0}}}, ["a"]) is None


def test_differences_to_any_baseline_are_the_pairs_turned_towards_it() -> None:
    values: Values = {"low": {1: LOW}, "near": {1: NEAR}, "high": {1: HIGH}}
    tests = pairwise_tests(values, ["low", "near", "high"], 1)
    found = against(tests, "near")  # the second of one pair, the first of the other
    assert list(found) == ["low", "high"]
    assert found["low"].difference.by_seed == {0: -1.0, 1: 1.0, 2: -0.5}
    assert found["high"].difference.by_seed == pytest.approx({0: 4.0, 1: 6.1, 2: 4.4})
    assert found["low"].difference.summary.mean == pytest.approx(-0.5 / 3)
    assert found["high"].difference.summary.mean == pytest.approx(14.5 / 3)
    # t-tests have two sides, and Holm's correction is over all three pairs: the smallest times 3, the next times 2.
    p_value = stats.ttest_1samp([-4.0, -6.1, -4.4], 0).pvalue
    assert found["high"].adjusted_p == pytest.approx(2 * p_value)
    assert against(tests, "high")["near"].adjusted_p == found["high"].adjusted_p


def test_shares_won_count_seeds_and_rounds_after_round_0() -> None:
    values: Values = {
        "a": {0: HIGH, 1: {0: 5.0, 1: 5.0}, 2: {0: 5.0, 1: 5.0, 2: 9.0}},
        "b": {0: LOW, 1: {0: 4.0, 1: 5.0}, 2: {0: 6.0, 1: 4.0}},  # a is above, equal; below, above
        "c": {0: LOW},
    }
    assert shares_won(values, ["a", "b", "c"]) == {("a", "b"): 0.5, ("b", "a"): 0.25}
