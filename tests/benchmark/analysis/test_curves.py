"""Learning curves: their points, bands and areas, against sums done by hand."""

import numpy as np
import pytest
from support.fake_results import make_record

from quadrat.benchmark.analysis.curves import Curve, area, areas, common_range, curves_of, first_crossing, mean_curve
from quadrat.benchmark.analysis.measures import CLICKS, DIVERSITY, FRACTION, MIOU, REGIONS, VOID_SHARE, class_iou


def curve(costs: tuple[float, ...], values: tuple[float, ...], label: str = "a", seed: int = 0) -> Curve:
    return Curve(label=label, seed=seed, rounds=tuple(range(len(costs))), costs=costs, values=values)


def test_curves_are_sorted_by_round_whatever_the_order_of_the_records() -> None:
    records = [make_record(round=1, regions=20, miou=0.5), make_record(round=0, regions=10, miou=0.25)]
    found = curves_of(records, REGIONS, MIOU)["random"][0]
    assert (found.rounds, found.costs, found.values) == ((0, 1), (10, 20), (25.0, 50.0))


def test_a_round_without_the_metric_is_left_out_of_the_curve() -> None:
    records = [make_record(iou=(None, 0.5)), make_record(round=1, iou=(0.25, 0.5))]
    assert curves_of(records, REGIONS, class_iou(("a", "b"), 0))["random"][0].rounds == (1,)


def test_a_mean_curve_has_the_spread_of_each_round() -> None:
    curves = {0: curve((10, 20), (30, 40)), 1: curve((12, 24), (34, 40)), 2: curve((14,), (38,))}
    first, second = mean_curve(curves)
    assert (first.round, first.cost, first.value.num, first.value.mean, first.value.std) == (0, 12.0, 3, 34.0, 4.0)
    assert (second.cost, second.value.num, second.value.std) == (22.0, 2, 0.0)


def test_the_area_is_the_sum_of_trapezoids_over_the_width() -> None:
    found = ((0, 1, 3), (10, 20, 40))
    assert area(*found) == area(*found, 0, 3) == pytest.approx((15 * 1 + 30 * 2) / 3)
    assert area(*found, 0.5, 2) == pytest.approx(((15 + 20) / 2 * 0.5 + (20 + 30) / 2 * 1) / 1.5)
    assert area((5, 9), (7, 7)) == 7.0
    assert area((5,), (7,)) == 7.0  # a single round has no width


def test_rounds_of_equal_cost_add_no_width_to_an_area() -> None:
    assert area((100, 150, 200, 200, 200), (10, 20, 30, 40, 50)) == pytest.approx((15 * 50 + 25 * 50) / 100)
    assert area((1, 1, 2), (40, 60, 70)) == pytest.approx((60 + 70) / 2)
    assert area((1, 2, 2, 3), (0, 10, 30, 50)) == pytest.approx((5 * 1 + 40 * 1) / 2)
    assert area((1, 2, 2, 3), (0, 10, 30, 50), 1, 2) == pytest.approx(5)
    assert area((1, 2, 2, 3), (0, 10, 30, 50), 2, 3) == pytest.approx(40)


def test_areas_are_taken_over_the_costs_that_all_curves_cover() -> None:
    curves = {"a": {0: curve((0, 10), (0, 100))}, "b": {0: curve((2, 4), (50, 50), label="b")}}
    assert common_range([curves["a"][0], curves["b"][0]]) == (2, 4)
    assert areas(curves) == {"a": {0: pytest.approx(30.0)}, "b": {0: pytest.approx(50.0)}}


def test_curves_without_a_stretch_in_common_have_no_area() -> None:
    assert areas({"a": {0: curve((0, 1), (1, 1))}, "b": {0: curve((1, 2), (1, 1), label="b")}}) == {}
    assert areas({}) == {}
    assert common_range([]) is None


def crossing(costs: tuple[float, ...], values: tuple[float, ...], target: float) -> float:
    return float(first_crossing(np.array([costs], float), np.array([values], float), np.array([target]))[0])


@pytest.mark.parametrize(
    ("target", "expected"),
    [(25, 2.5), (20, 2.0), (40, 4.0), (10, 1.0), (5, 1.0), (40.1, np.inf)],
)
def test_a_crossing_is_interpolated_between_rounds(target: float, expected: float) -> None:
    assert crossing((1, 2, 4), (10, 20, 40), target) == pytest.approx(expected)


def test_the_first_crossing_counts_where_a_curve_falls_again() -> None:
    assert crossing((1, 2, 4, 8), (10, 30, 10, 40), 20) == pytest.approx(1.5)


def test_a_cost_that_stands_still_is_crossed_where_it_stands() -> None:
    assert crossing((5, 5), (10, 20), 15) == 5.0


def test_every_cost_can_be_the_axis() -> None:
    record = make_record(regions=10, labelled_fraction=0.04, clicks=60, images_opened=5)
    assert curves_of([record], CLICKS, MIOU)["random"][0].costs == (60,)
    assert curves_of([record], FRACTION, MIOU)["random"][0].costs == (4.0,)


def test_label_diversity_is_the_entropy_of_the_labelled_classes_in_percent_of_the_largest() -> None:
    assert DIVERSITY.of(make_record(class_px=(5, 5, 5, 5))) == pytest.approx(100.0)
    assert DIVERSITY.of(make_record(class_px=(8, 8, 0, 0))) == pytest.approx(50.0)  # ln 2 / ln 4
    assert DIVERSITY.of(make_record(class_px=(9, 0, 0, 0))) == 0.0
    assert DIVERSITY.of(make_record(class_px=(0, 0))) is None  # all labelled pixels are void


def test_the_share_of_void_is_of_what_was_labelled() -> None:
    assert VOID_SHARE.of(make_record(labelled_px=2560, void_px=640)) == pytest.approx(25.0)
    assert VOID_SHARE.of(make_record(labelled_px=0, void_px=0)) is None
