"""Statistics over seeds, against published data, scipy and values worked out by hand."""

import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests
from support.fake_results import make_record

from quadrat.benchmark.analysis.measures import FRACTION, MIOU, class_iou
from quadrat.benchmark.analysis.statistics import (
    compare,
    half_width,
    holm,
    last_shared_round,
    paired_difference,
    summarise,
    values_by_seed,
)
from quadrat.benchmark.results.records import Record
from quadrat.benchmark.seeds import rng

# Extra hours of sleep with a second drug over a first, ten patients [Student, Biometrika 6, 1908, p. 20].
STUDENTS_SLEEP = (1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4)


def test_summary_of_four_values_is_the_one_worked_out_by_hand() -> None:
    summary = summarise([1.0, 2.0, 3.0, 6.0])
    assert summary.num == 4
    assert summary.mean == 3.0
    assert summary.std == pytest.approx((14 / 3) ** 0.5)
    assert (summary.low, summary.high) == (1.0, 6.0)


def test_one_seed_has_no_spread() -> None:
    summary = summarise([0.4])
    assert summary.std is None


def test_half_width_uses_the_tabled_quantiles_of_student() -> None:
    assert half_width(1.0, 2) == pytest.approx(12.7062 / 2**0.5, rel=1e-5)
    assert half_width(1.0, 5) == pytest.approx(2.77645 / 5**0.5, rel=1e-5)


def test_students_sleep_data_give_the_published_t_test() -> None:
    difference = paired_difference(dict(enumerate(STUDENTS_SLEEP)), dict.fromkeys(range(10), 0.0))
    assert difference is not None
    assert difference.summary.mean == pytest.approx(1.58)
    assert difference.summary.std == pytest.approx(1.2300, abs=1e-4)
    assert difference.p_value == pytest.approx(0.00283, abs=1e-5)
    assert difference.half_width == pytest.approx(2.262157 * 1.2300 / 10**0.5, abs=1e-4)  # t(0.975, 9) from a table


def test_paired_test_equals_scipys() -> None:
    ours, baseline = [0.31, 0.36, 0.33, 0.40], [0.30, 0.31, 0.34, 0.33]
    difference = paired_difference(dict(enumerate(ours)), dict(enumerate(baseline)))
    assert difference is not None
    assert difference.p_value == pytest.approx(stats.ttest_rel(ours, baseline).pvalue)


def test_a_difference_is_positive_where_the_strategy_is_higher() -> None:
    difference = paired_difference({0: 5.0, 1: 4.0}, {0: 3.0, 1: 4.5})
    assert difference is not None
    assert difference.by_seed == {0: 2.0, 1: -0.5}
    assert difference.num_ahead == 1


def test_only_seeds_that_both_have_are_paired() -> None:
    difference = paired_difference({0: 5.0, 1: 4.0, 7: 100.0}, {1: 3.0, 0: 3.0, 2: -100.0})
    assert difference is not None
    assert difference.by_seed == {0: 2.0, 1: 1.0}
    assert paired_difference({0: 5.0}, {1: 5.0}) is None


def test_differences_without_spread_are_certain_unless_they_are_zero() -> None:
    values = {0: 1.0, 1: 2.0, 2: 4.0}
    same = paired_difference(values, values)
    shifted = paired_difference({seed: value + 1 for seed, value in values.items()}, values)
    assert same is not None and same.p_value == 1.0
    assert shifted is not None and shifted.p_value == 0.0


def test_holm_gives_the_adjusted_values_worked_out_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_holm_is_that_of_statsmodels_in_any_order_and_with_ties() -> None:
    draw = rng(0, "holm")
    for num in (1, 2, 7, 40):
        p_values = draw.uniform(0, 0.2, num).round(2).tolist()
        assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1])


def test_holm_corrects_over_all_labels_that_are_compared() -> None:
    random = {0: 40.0, 1: 41.0, 2: 42.0}
    near = {0: 41.0, 1: 42.2, 2: 43.1}  # differences 1.0, 1.2, 1.1: p about 0.003
    noise = {0: 41.0, 1: 40.0, 2: 42.5}
    values = {"random": {0: random}, "near": {0: near}, "noise": {0: noise}}
    found = compare(values, {"near": "random", "noise": "random"}, 0)
    assert found["near"].adjusted_p == pytest.approx(2 * (found["near"].difference.p_value or 0))


def test_two_seeds_are_never_tested() -> None:
    values = {"random": {0: {0: 40.0, 1: 41.0}}, "high": {0: {0: 60.0, 1: 61.000001}}}
    found = compare(values, {"high": "random"}, 0)["high"]
    assert (found.adjusted_p, found.difference.p_value, found.difference.half_width) == (None, None, None)


def test_labels_without_a_shared_seed_are_left_out_of_the_comparison() -> None:
    values = {"random": {0: {0: 40.0}}, "other": {0: {1: 50.0}}}
    assert compare(values, {"other": "random", "absent": "random"}, 0) == {}


def test_last_shared_round_needs_a_seed_in_common() -> None:
    values = {"random": {0: {0: 1.0, 1: 1.0}, 1: {0: 2.0}}, "other": {0: {0: 1.0}, 1: {1: 2.0}, 2: {0: 3.0}}}
    assert last_shared_round(values, {"other": "random"}) == 0
    assert last_shared_round(values, {}) is None


def test_values_are_percent_by_label_round_and_seed() -> None:
    records = [make_record(miou=0.25), make_record(label="entropy", seed=3, round=2, miou=0.5)]
    assert values_by_seed(records, MIOU) == {"random": {0: {0: 25.0}}, "entropy": {2: {3: 50.0}}}
    assert values_by_seed(records[:1], FRACTION) == {"random": {0: {0: pytest.approx(4.0)}}}


def test_an_absent_class_is_left_out_not_counted_as_zero() -> None:
    records: list[Record] = [make_record(iou=(0.5, None)), make_record(seed=1, iou=(0.5, 0.2))]
    assert values_by_seed(records, class_iou(("a", "b"), 1)) == {"random": {0: {1: 20.0}}}
