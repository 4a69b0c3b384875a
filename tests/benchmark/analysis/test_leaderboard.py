"""The leaderboard against values that were computed by hand, by enumeration and by simulation."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
from support.curve_results import results_of

from quadrat.benchmark.analysis.data_sets import data_sets_needed
from quadrat.benchmark.analysis.leaderboard import Leaderboard, Score, leaderboard
from quadrat.benchmark.errors import ResultsError
from quadrat.benchmark.results.trials import Results

PIXELS, CLICKS = "labelled-fraction", "clicks"


def on(data_set: str, results: Results) -> Results:
    """Return the results as those of another data set."""
    dataset = {
        **results.dataset,
        "title": data_set,
        "pool": {"fingerprint": data_set},
        "test": {"fingerprint": data_set},
    }
    return replace(results, dataset=dataset)


def flat(data_set: str, values: Mapping[str, Sequence[float]]) -> Results:
    """Return results whose curves are level: label -> area by seed."""
    curves = {label: {seed: (value, value) for seed, value in enumerate(of)} for label, of in values.items()}
    return on(data_set, results_of(curves, pixels=(1, 3)))


@pytest.fixture(scope="module")
def found() -> Leaderboard:
    # Areas are means of two values over pixels. Over clicks x spends twice as much in round 1, so its curve is cut
    # at 3,000: seed 1 goes from 20 to 32 at 5,000, which is 26 at 3,000.
    first = results_of(
        {"random": {0: (10, 20), 1: (20, 30)}, "x": {0: (20, 20), 1: (20, 32)}},
        pixels=(1, 3),
        clicks={"random": (1000, 3000), "x": (1000, 5000)},
        full_supervision={0: 40, 1: 52},
    )
    return leaderboard({"a": on("first", first), "b": flat("second", {"random": [10], "x": [8]})})


def score(found: Leaderboard, name: str, cost: str) -> Score:
    return next(line.scores[cost] for line in found.standings if line.name == name)


def test_gains_and_relative_areas_are_means_over_settings(found: Leaderboard) -> None:
    over_pixels, over_clicks = score(found, "x", PIXELS), score(found, "x", CLICKS)
    assert over_pixels.gain == pytest.approx(((5 + 1) / 2 + -2) / 2)
    assert over_clicks.gain == pytest.approx(((5 - 2) / 2 + -2) / 2)
    assert over_pixels.of_random == pytest.approx((100 * 23 / 20 + 80) / 2)
    assert over_clicks.of_random == pytest.approx((100 * 21.5 / 20 + 80) / 2)
    assert over_pixels.of_full == pytest.approx(100 * 23 / 46)  # the second has no full supervision
    assert score(found, "random", PIXELS).gain == 0 and score(found, "random", CLICKS).of_random == 100


def test_ranks_and_shares_won(found: Leaderboard) -> None:
    entries = {line.name: line.entry for line in found.standings}
    assert score(found, "x", PIXELS).rank == score(found, "random", PIXELS).rank == 1.5
    assert score(found, "x", CLICKS).rank == (1.5 + 2) / 2  # ahead in one of two seeds, then behind
    assert found.shares_won[PIXELS][entries["x"], entries["random"]] == (1 + 0) / 2
    assert found.shares_won[CLICKS][entries["x"], entries["random"]] == (0.5 + 0) / 2
    assert found.shares_won[CLICKS][entries["random"], entries["x"]] == 0.75
    assert score(found, "x", PIXELS).rank_low is None  # two settings are not resampled


def test_a_tie_counts_half_and_shares_a_rank() -> None:
    found = leaderboard({"a": flat("first", {"random": [10, 10], "x": [10, 12]})})
    entries = {line.name: line.entry for line in found.standings}
    assert found.shares_won[PIXELS][entries["x"], entries["random"]] == 0.75
    assert score(found, "x", PIXELS).rank == (1.5 + 1) / 2


def test_the_spread_of_a_mean_rank_is_that_of_all_resamples() -> None:
    wins = (True, False, False, True, False)
    folders = {
        str(place): flat(f"set {place}", {"random": [10], "x": [11 if won else 9]}) for place, won in enumerate(wins)
    }
    ranks = [1 if won else 2 for won in wins]
    resamples = sorted(np.mean(draw) for draw in itertools.product(ranks, repeat=5))
    found = score(leaderboard(folders), "x", PIXELS)
    assert (found.rank_low, found.rank_high) == tuple(np.quantile(resamples, [0.025, 0.975]))


def test_the_order_of_the_folders_changes_nothing() -> None:
    folders = {str(n): flat(f"set {n}", {"random": [10, 11], "x": [9 + n, 12], "y": [10.5, 10]}) for n in range(4)}
    there, back = leaderboard(folders), leaderboard(dict(reversed(folders.items())))
    assert there.standings == back.standings and there.shares_won == back.shares_won


def test_the_largest_table_without_a_gap_is_ranked() -> None:
    both = {"random": [10], "x": [11]}
    folders = {
        "a": flat("first", {**both, "y": [12], "z": [13]}),
        "b": flat("second", {**both, "y": [12]}),
        "c": flat("third", both),
    }
    found = leaderboard(folders)  # 2 x 3 cells, as many as 3 x 2, in more settings
    assert [found.name(entry) for entry in found.ranked] == ["random", "x"]
    assert found.ranked_settings == ("first, 16 px", "second, 16 px", "third, 16 px")
    assert [line.name for line in found.standings] == ["x", "random", "z", "y"]  # the others by their gain
    asked = leaderboard(folders, ["random", "x", "y", "z"])
    assert asked.ranked_settings == ("first, 16 px",)
    assert score(asked, "z", PIXELS).rank == 1 and score(asked, "random", PIXELS).rank == 4


def test_entries_are_ranked_where_they_share_a_seed() -> None:
    apart = results_of({"random": {0: (10, 10)}, "x": {1: (11, 11)}}, pixels=(1, 3), suite_seeds=[0, 1])
    found = leaderboard({"a": on("first", apart), "b": flat("second", {"random": [10], "x": [12]})})
    assert found.ranked_settings == ("second, 16 px",)
    assert score(found, "x", PIXELS).gain == 2


def test_oracle_strategies_are_shown_and_not_ranked() -> None:
    found = leaderboard({"a": flat("first", {"random": [10], "x": [11], "oracle-error": [20]})})
    assert [found.name(entry) for entry in found.ranked] == ["random", "x"]
    assert score(found, "oracle-error", PIXELS).gain == 10


def test_a_strategy_that_nobody_ran_is_named() -> None:
    with pytest.raises(ResultsError, match="expected a strategy, one of random, x, got y"):
        leaderboard({"a": flat("first", {"random": [10], "x": [11]})}, ["y"])


def test_an_entry_is_named_by_what_differs_from_the_usual_one() -> None:
    def tuned(data_set: str, params: Mapping[str, float]) -> Results:
        results = flat(data_set, {"entropy-spatial": [11]})
        return replace(results, trials=tuple(replace(trial, params=params) for trial in results.trials))

    usual = {"cutoff": 1.5, "norm": 2}
    found = leaderboard(
        {
            "a": tuned("first", usual),
            "b": tuned("second", usual),
            "c": tuned("second", {"cutoff": 3.8297123, "norm": 2}),
            "d": tuned("first", {"cutoff": 1.5}),
        }
    )
    names = {line.name for line in found.standings}
    assert names == {"entropy-spatial", "entropy-spatial (cutoff 3.83)", "entropy-spatial (without norm)"}


def test_entries_that_nearly_agree_have_names_of_their_own() -> None:
    def tuned(cutoff: float) -> Results:
        results = flat("first", {"entropy-spatial": [11]})
        return replace(results, trials=tuple(replace(trial, params={"cutoff": cutoff}) for trial in results.trials))

    names = [line.name for line in leaderboard({str(value): tuned(value) for value in (1.5, 3.8297, 3.8298)}).standings]
    assert sorted(names) == ["entropy-spatial", "entropy-spatial (cutoff 3.8297)", "entropy-spatial (cutoff 3.8298)"]


# ------------------------------------------------------------------------------------------------ over data sets


def sets_where_x_is_ahead(num: int) -> dict[str, Results]:
    return {str(n): flat(f"set {n:02d}", {"random": [10], "x": [11 + n / 10]}) for n in range(num)}


def test_too_few_data_sets_are_not_tested_however_clear_they_are() -> None:
    tests = leaderboard(sets_where_x_is_ahead(6)).tests
    assert tests.tests == () and tests.num_tests == 2 and tests.num_needed == 7


def test_the_exact_p_of_seven_data_sets_with_one_sign() -> None:
    tests = leaderboard(sets_where_x_is_ahead(7)).tests.tests
    assert [test.p_value for test in tests] == [2 / 2**7] * 2
    assert [test.adjusted_p for test in tests] == [4 / 2**7] * 2  # Holm over two tests
    assert [test.verdict for test in tests] == ["better"] * 2
    assert tests[0].gain == pytest.approx(1.3)


def test_settings_on_one_data_set_are_one_value() -> None:
    folders = sets_where_x_is_ahead(6)
    for size in (8, 32, 64):  # three more settings, no new data set
        results = results_of(
            {"random": {0: (10, 10)}, "x": {0: (12, 12)}}, pixels=(1, 3), sizes={"random": size, "x": size}
        )
        folders[f"size {size}"] = on("set 00", results)
    tests = leaderboard(folders).tests
    assert len(tests.data_sets) == 6 and tests.tests == ()


@pytest.mark.parametrize("num_tests", [1, 2, 6, 14, 30])
def test_the_data_sets_needed_are_those_whose_smallest_p_can_pass(num_tests: int) -> None:
    num = data_sets_needed(num_tests)

    def smallest(of: int) -> float:
        """Of all signs of `of` differences, two have the most extreme sum of ranks."""
        return 2 / 2**of

    assert num_tests * smallest(num) < 0.05 <= num_tests * smallest(num - 1)


@pytest.mark.slow
def test_without_an_effect_a_false_claim_is_made_in_at_most_five_percent() -> None:
    rng = np.random.default_rng(17)
    claims, num = 0, 100
    for _ in range(num):
        folders = {
            str(n): flat(f"set {n}", {label: [rng.normal(50, 3)] for label in ("random", "x", "y", "z")})
            for n in range(8)
        }
        tests = leaderboard(folders).tests
        assert len(tests.tests) == 6
        claims += any(test.verdict != "open" for test in tests.tests)
    assert claims / num <= 0.05 + 2 * (0.05 * 0.95 / num) ** 0.5
