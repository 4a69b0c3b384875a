"""The primary analysis: areas, family, blocks and verdicts, against regressions and values worked out by hand."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from scipy import stats
from statsmodels.stats.multitest import multipletests
from support.curve_results import results_of

from quadrat.benchmark.analysis.area_tests import AreaComparison
from quadrat.benchmark.analysis.measures import CLICKS, FRACTION
from quadrat.benchmark.analysis.primary import primary_analysis

PIXELS = (1.0, 2.0, 4.0)
GAINS = {"random": 0.0, "entropy": 0.3, "core-set": -3.0, "entropy-spatial": 4.0}


def noisy_curves(
    gains: dict[str, float] = GAINS, seeds: Sequence[int] = range(5), noise: float = 0.5
) -> dict[str, dict[int, list[float]]]:
    """Return label -> seed -> mIoU: 40, 45, 50, the gain from round 1 on, a shared and an own deviation."""
    rng = np.random.default_rng(11)
    shared = {seed: rng.normal(0, 1, 3) for seed in seeds}
    return {
        label: {
            seed: (np.array([40.0, 45 + gain, 50 + gain]) + shared[seed] + rng.normal(0, noise, 3)).tolist()
            for seed in seeds
        }
        for label, gain in gains.items()
    }


def area_by_hand(curve: Sequence[float]) -> float:
    """Return the area over 1, 2, 4 % of the pixels, by trapezoids: (a + b) / 2 * 1 + (b + c) / 2 * 2 over 3."""
    a, b, c = curve
    return ((a + b) / 2 + (b + c)) / 3


def regression(curves: dict[str, dict[int, list[float]]]) -> Any:
    """Return statsmodels' regression of the areas on strategy and seed, Random being the reference."""
    rows = [(label, seed, area_by_hand(curve)) for label, seeds in curves.items() for seed, curve in seeds.items()]
    frame = pd.DataFrame(rows, columns=["label", "seed", "area"])
    return smf.ols("area ~ C(label, Treatment('random')) + C(seed)", frame).fit()


@pytest.mark.parametrize("missing", [(), (("entropy", 0), ("random", 3))], ids=["complete", "missing trials"])
def test_gains_and_intervals_are_those_of_a_regression_on_strategy_and_seed(
    missing: tuple[tuple[str, int], ...],
) -> None:
    curves = noisy_curves()
    for label, seed in missing:
        del curves[label][seed]
    found, expected = primary_analysis(results_of(curves, pixels=PIXELS)), regression(curves)
    for comparison in found.over(FRACTION):
        name = f"C(label, Treatment('random'))[T.{comparison.label}]"
        low, high = expected.conf_int().loc[name]
        assert comparison.gain == pytest.approx(expected.params[name])
        assert (comparison.low, comparison.high) == (pytest.approx(low), pytest.approx(high))
    axis = found.axis(FRACTION)
    assert axis is not None and axis.std is not None
    assert (axis.low, axis.high, axis.df) == (1.0, 4.0, expected.df_resid)
    assert axis.std == pytest.approx(math.sqrt(2 * expected.mse_resid))


def test_strategies_over_pixels_and_over_clicks_are_one_family() -> None:
    found = primary_analysis(results_of(noisy_curves(), pixels=PIXELS))
    assert [(one.label, one.cost.key) for one in found.comparisons] == [
        (label, cost)
        for cost in ("labelled-fraction", "clicks")
        for label in ("entropy", "core-set", "entropy-spatial")
    ]
    assert {one.baseline for one in found.comparisons} == {"random"}
    assert found.num_tests == 6
    expected = multipletests([one.p_value for one in found.comparisons], method="holm")[1]
    assert [one.adjusted_p for one in found.comparisons] == pytest.approx(list(expected))


def test_verdicts_are_those_of_the_corrected_p() -> None:
    found = primary_analysis(results_of(noisy_curves(), pixels=PIXELS))
    verdicts = {one.label: one.verdict for one in found.over(FRACTION)}
    assert verdicts == {"entropy": "open", "core-set": "worse", "entropy-spatial": "better"}
    for one in found.comparisons:
        assert one.adjusted_p is not None
        assert (one.verdict == "open") == (one.adjusted_p >= 0.05)


def test_a_claim_of_a_later_step_is_one_whose_interval_with_all_tests_in_mind_holds_zero() -> None:
    seen = set()
    for seed in range(20):
        rng = np.random.default_rng(seed)
        curves = noisy_curves({label: rng.normal(0, 1.5) for label in GAINS}, seeds=range(3))
        found = primary_analysis(results_of(curves, pixels=PIXELS)).comparisons
        for one in found:
            assert one.p_value is not None
            bonferroni = one.p_value * len(found) < 0.05
            assert one.is_later_step == (one.verdict != "open" and not bonferroni)
            seen.add(one.is_later_step)
    assert seen == {True, False}


def test_an_interval_that_holds_zero_is_never_a_claim() -> None:
    """The other way round there are intervals without zero that are no claim: they aren't corrected."""
    for seed in range(4):
        rng = np.random.default_rng(seed)
        curves = noisy_curves({label: rng.normal(0, 1.5) for label in GAINS}, seeds=range(3))
        for one in primary_analysis(results_of(curves, pixels=PIXELS)).comparisons:
            assert one.low is not None and one.high is not None
            if one.low <= 0 <= one.high:
                assert one.verdict == "open"


def test_one_lucky_standard_deviation_is_no_claim() -> None:
    """Differences of 1.5 with hardly any spread, beside strategies that vary by 2: a paired t-test has p < 0.001."""
    rng = np.random.default_rng(3)
    random = {seed: rng.normal(45, 2) for seed in range(3)}
    curves = {"random": {seed: [value] * 3 for seed, value in random.items()}}
    curves["entropy-random"] = {seed: [random[seed] + 1.5 + 0.01 * seed] * 3 for seed in range(3)}
    for label in ("a", "b", "c", "d", "e"):
        curves[label] = {seed: [rng.normal(45, 2)] * 3 for seed in range(3)}
    found = primary_analysis(results_of(curves, pixels=PIXELS)).find("entropy-random", FRACTION)
    assert found is not None
    assert stats.ttest_1samp(list(found.by_seed.values()), 0).pvalue < 0.001
    assert found.verdict == "open" and found.num_ahead == 3


def test_a_strategy_that_clicks_more_is_compared_over_the_clicks_that_all_spend() -> None:
    gains = {"random": 0.0, "entropy-spatial": 3.0, "entropy": 0.0}
    clicks = dict.fromkeys(gains, (1000.0, 2000.0, 4000.0)) | {"entropy-spatial": (2000.0, 4000.0, 8000.0)}
    found = primary_analysis(results_of(noisy_curves(gains), pixels=PIXELS, clicks=clicks))
    axis, by_clicks = found.axis(CLICKS), found.find("entropy-spatial", CLICKS)
    assert axis is not None and by_clicks is not None
    assert (axis.low, axis.high) == (2000.0, 4000.0)
    # From 2000 to 4000 clicks Random rises from 45 to 50, entropy-spatial from 40 to 48.
    assert by_clicks.gain == pytest.approx(44.0 - 47.5, abs=1.0)
    [(pixels, other)] = found.disagreements
    assert (pixels.label, pixels.verdict, other.verdict) == ("entropy-spatial", "better", "worse")


def test_each_region_size_has_its_own_random_and_its_own_blocks() -> None:
    curves = noisy_curves({"random r8": 0, "entropy r8": 3, "random r16": 0, "entropy r16": 2})
    sizes = {label: int(label.split("r")[-1]) for label in curves}
    found = primary_analysis(results_of(curves, pixels=PIXELS, sizes=sizes))
    assert [(one.label, one.baseline) for one in found.over(FRACTION)] == [
        ("entropy r8", "random r8"),
        ("entropy r16", "random r16"),
    ]
    assert found.num_tests == 4 + 2  # and each strategy with its 16 px, over clicks
    axis = found.axis(FRACTION)
    assert axis is not None and axis.df == 2 * (2 - 1) * (5 - 1)
    # What all strategies of one size share in a seed is that size's block.
    for seed in range(5):
        for label in ("random r8", "entropy r8"):
            curves[label][seed] = [value + 3 * seed for value in curves[label][seed]]
    shifted = primary_analysis(results_of(curves, pixels=PIXELS, sizes=sizes))
    for before, after in zip(found.comparisons, shifted.comparisons, strict=True):
        assert (after.gain, after.p_value) == (pytest.approx(before.gain), pytest.approx(before.p_value))


def test_without_random_all_pairs_are_compared() -> None:
    gains = {"entropy": 0.0, "core-set": 0.0, "entropy-spatial": 5.0}
    found = primary_analysis(results_of(noisy_curves(gains), pixels=PIXELS))
    assert not found.is_against_random and found.num_tests == 6
    assert [(one.label, one.baseline, one.verdict) for one in found.over(FRACTION)] == [
        ("entropy", "core-set", "open"),
        ("entropy", "entropy-spatial", "worse"),
        ("core-set", "entropy-spatial", "worse"),
    ]


def excluded(found: Any) -> set[tuple[str, tuple[int, ...], str]]:
    return {(one.label, one.seeds, one.reason) for one in found.exclusions}


def test_unfinished_trials_are_left_out_and_named() -> None:
    curves = noisy_curves()
    curves["entropy"][2] = curves["entropy"][2][:2]
    del curves["core-set"][0], curves["core-set"][1], curves["core-set"][4]
    found = primary_analysis(results_of(curves, pixels=PIXELS))
    assert excluded(found) == {
        ("entropy", (2,), "unfinished trials"),
        ("core-set", (0, 1, 4), "unfinished trials"),
        ("core-set", (), "too few shared seeds"),
    }
    axis = found.axis(FRACTION)
    assert axis is not None and axis.high == 4.0  # not cut at the stop of the unfinished trial
    entropy, core_set = found.find("entropy", FRACTION), found.find("core-set", FRACTION)
    assert entropy is not None and entropy.num_seeds == 4
    assert core_set is not None
    assert (core_set.verdict, core_set.low, core_set.p_value, core_set.num_seeds) == ("not tested", None, None, 2)
    assert found.num_tests == 4


@pytest.mark.parametrize("num", [1, 2])
def test_one_or_two_seeds_are_not_tested(num: int) -> None:
    found = primary_analysis(results_of(noisy_curves(seeds=range(num)), pixels=PIXELS))
    assert {one.verdict for one in found.comparisons} == {"not tested"} and found.num_tests == 0
    assert {one.reason for one in found.exclusions} == {"too few shared seeds"}
    assert [one.gain for one in found.over(FRACTION)] == pytest.approx(
        [sum(one.by_seed.values()) / num for one in found.over(FRACTION)]
    )


def test_what_can_not_be_compared_says_why() -> None:
    one_round = primary_analysis(results_of({"random": {0: [40.0]}, "entropy": {0: [41.0]}}, pixels=(1.0,)))
    assert (one_round.comparisons, one_round.axes) == ((), ())
    assert excluded(one_round) == {
        ("random", (), "no range of costs that all cover"),
        ("entropy", (), "no range of costs that all cover"),
    }
    other_size = primary_analysis(
        results_of(noisy_curves(), pixels=PIXELS, sizes={**dict.fromkeys(GAINS, 16), "entropy": 8})
    )
    assert excluded(other_size) == {("entropy", (), "no Random of its query")}
    alone = primary_analysis(results_of(noisy_curves({"random": 0.0}), pixels=PIXELS))
    assert excluded(alone) == {("random", (), "nothing to compare it to")}
    nothing = primary_analysis(results_of({"random": {}, "entropy": {}}, pixels=(1.0,), num_rounds=1, suite_seeds=(0,)))
    assert nothing.comparisons == () and {one.reason for one in nothing.exclusions} >= {"unfinished trials"}


def test_an_open_comparison_needs_more_seeds_than_it_has() -> None:
    rng = np.random.default_rng(0)
    gains = {label: rng.normal(0, 1) for label in GAINS}
    found = primary_analysis(results_of(noisy_curves(gains, seeds=range(3), noise=1.0), pixels=PIXELS))
    is_open = [one for one in found.comparisons if one.verdict == "open"]
    assert is_open
    for one in is_open:
        assert one.seeds_needed is None or 3 < one.seeds_needed <= 100
    ordered = sorted(is_open, key=lambda one: abs(one.gain))
    assert (ordered[0].seeds_needed or 101) >= (ordered[-1].seeds_needed or 101)
    assert all(one.seeds_needed is None for one in found.comparisons if one.verdict != "open")


def test_no_difference_needs_more_seeds_than_are_planned_for() -> None:
    curves = noisy_curves()
    curves["entropy"] = curves["random"]
    found = primary_analysis(results_of(curves, pixels=PIXELS)).find("entropy", FRACTION)
    assert found is not None and (found.gain, found.verdict, found.seeds_needed) == (
        pytest.approx(0.0, abs=1e-9),
        "open",
        None,
    )


def test_curves_without_noise_are_certain() -> None:
    found = primary_analysis(
        results_of(
            {label: {seed: [40.0, 45.0 + gain, 50.0 + gain] for seed in range(3)} for label, gain in GAINS.items()},
            pixels=PIXELS,
        )
    )
    by_label: dict[str, AreaComparison] = {one.label: one for one in found.over(FRACTION)}
    assert {label: one.verdict for label, one in by_label.items()} == {
        "entropy": "better",
        "core-set": "worse",
        "entropy-spatial": "better",
    }
    assert by_label["entropy"].p_value == 0.0
    # From 1 to 2 % the gain grows from 0 to 0.3, then it stays: (0.15 * 1 + 0.3 * 2) / 3.
    assert by_label["entropy"].gain == pytest.approx(0.25)


@pytest.mark.parametrize("noise", [0.1, 0.5, 1.5, 3.0])
def test_the_simultaneous_interval_leaves_out_zero_where_bonferroni_rejects_and_lies_around_the_single_one(
    noise: float,
) -> None:
    found = primary_analysis(results_of(noisy_curves(noise=noise), pixels=PIXELS))
    for one in found.comparisons:
        assert one.simultaneous_low is not None and one.simultaneous_high is not None and one.p_value is not None
        assert (one.simultaneous_low > 0 or one.simultaneous_high < 0) == (one.p_value * found.num_tests < 0.05)
        assert one.low is not None and one.high is not None
        assert one.simultaneous_low < one.low < one.high < one.simultaneous_high
