"""Objectives of a study against values computed by hand."""

import pytest
from support.fake_results import make_record

from quadrat.benchmark.analysis.objective import cost_or_penalty, value_of
from quadrat.benchmark.config.study import direction_of, needs_full_supervision
from quadrat.benchmark.results.records import Record


def curve(seed: int, *rounds: tuple[int, float]) -> list[Record]:
    return [
        make_record(
            seed=seed,
            round=number,
            labelled_px=px,
            labelled_fraction=px / 1000,
            miou=miou,
            seconds={"select": 0.5 * number, "fit": 9.0},
        )
        for number, (px, miou) in enumerate(rounds)
    ]


def test_the_area_is_over_labelled_pixels_and_averaged_over_seeds() -> None:
    # Seed 0: (0.2 + 0.4) / 2 over 100 px and (0.4 + 0.6) / 2 over 200 px: (30 + 100) / 300; seed 1 is flat.
    records = [*curve(0, (100, 0.2), (200, 0.4), (400, 0.6)), *curve(1, (3, 0.5), (4, 0.5), (90, 0.5))]
    assert value_of("area", records) == pytest.approx((130 / 300 + 0.5) / 2)


def test_after_round_0_the_running_area_is_the_miou() -> None:
    assert value_of("area", [*curve(0, (100, 0.2)), *curve(1, (100, 0.4))]) == pytest.approx(0.3)


def test_rows_in_another_order_give_the_same_value() -> None:
    records = curve(0, (100, 0.2), (200, 0.4), (400, 0.3))
    assert value_of("area", records[::-1]) == value_of("area", records)


def test_the_cost_of_95_percent_is_interpolated_on_the_mean_curve() -> None:
    records = [*curve(0, (100, 0.3), (200, 0.4), (400, 0.7)), *curve(1, (100, 0.3), (200, 0.6), (400, 0.7))]
    full = [make_record(seed=0, miou=0.6), make_record(seed=1, miou=0.66)]
    # 95 % of 0.63 is 0.5985; the mean curve has 0.5 at 20 % and 0.7 at 40 %: 0.2 + 0.2 * 0.0985 / 0.2
    assert value_of("cost-95", records, full) == pytest.approx(0.2985)


def test_a_curve_that_reaches_it_in_round_0_costs_round_0() -> None:
    assert cost_or_penalty([0.1, 0.2], [0.9, 0.95], target=0.5) == 0.1


def test_the_first_crossing_counts_when_a_curve_falls_again() -> None:
    assert cost_or_penalty([0.1, 0.2, 0.3], [0.2, 0.6, 0.1], target=0.4) == pytest.approx(0.15)


def test_a_curve_that_misses_the_target_ranks_behind_one_that_reaches_it_and_by_what_it_lacks() -> None:
    last_moment = cost_or_penalty([0.5, 1.0], [0.1, 0.5], target=0.5)
    near, far = (cost_or_penalty([0.1, 0.2], [0.1, best], target=0.5) for best in (0.45, 0.25))
    assert (near, far) == (pytest.approx(1.1), pytest.approx(1.5))
    assert last_moment < near < far


def test_select_seconds_are_summed_over_rounds_and_averaged_over_seeds() -> None:
    records = [*curve(0, (1, 0.1), (2, 0.1), (3, 0.1)), *curve(1, (1, 0.1), (2, 0.1))]
    assert value_of("select-seconds", records) == pytest.approx((1.5 + 0.5) / 2)


def test_only_the_area_is_to_be_large_and_only_cost_95_needs_full_supervision() -> None:
    assert [direction_of(name) for name in ("area", "cost-95", "select-seconds")] == [
        "maximize",
        "minimize",
        "minimize",
    ]
    assert [needs_full_supervision(name) for name in ("area", "cost-95", "select-seconds")] == [False, True, False]
