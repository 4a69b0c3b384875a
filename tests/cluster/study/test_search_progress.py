"""Time left of a search, on a clock that stands still unless it is moved."""

import pytest
from support.fake_trials import make_progress, make_suite

from quadrat.cluster.study.search_progress import SearchProgress

SPECS = make_suite(strategies=["random"], seeds=[10, 11]).trials()  # three rounds
ROUNDS = [(spec.trial_id, round_) for round_ in range(3) for spec in SPECS]
FIT_S = 10.0


class _Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def run_round(timing: SearchProgress, clock: _Clock, number: int, round_: int, *, trains: bool = True) -> None:
    """Run a round of both seeds, each in 10 s, or take both from the store in no time."""
    for spec in SPECS:
        if trains:
            timing.update(number, make_progress(spec, round_, "fit", 0, 3))
            clock.now_s += FIT_S
    keys = [(spec.trial_id, round_) for spec in SPECS]
    timing.record(number, keys, frozenset(keys if trains else ()))


def test_the_time_left_is_exact_where_all_rounds_take_as_long() -> None:
    clock = _Clock()
    timing = SearchProgress(clock)
    timing.start(0, ROUNDS)
    assert timing.left_s(3) is None
    run_round(timing, clock, 0, 0)
    # Two rounds of two seeds, then three candidates that share round 0 of the first.
    assert timing.left_s(3) == pytest.approx(4 * FIT_S + 3 * 4 * FIT_S)
    run_round(timing, clock, 0, 1)
    run_round(timing, clock, 0, 2)
    timing.end(0)
    timing.start(1, ROUNDS)
    run_round(timing, clock, 1, 0, trains=False)
    assert timing.candidate_left_s(1) == pytest.approx(4 * FIT_S)
    assert timing.left_s(2) == pytest.approx(3 * 4 * FIT_S)
    run_round(timing, clock, 1, 1)
    timing.end(1)  # pruned: those to come count as the mean of four rounds and two
    timing.start(2, ROUNDS)
    run_round(timing, clock, 2, 0, trains=False)
    assert timing.left_s(1) == pytest.approx(4 * FIT_S + 3 * FIT_S)


def test_two_candidates_in_flight_halve_the_rest() -> None:
    clock = _Clock()
    timing = SearchProgress(clock)
    for number in (0, 1):
        timing.start(number, ROUNDS)
    run_round(timing, clock, 0, 0)  # 20 s in which the other trains as much
    run_round(timing, clock, 1, 0, trains=False)
    timing.record(1, [], frozenset((spec.trial_id, 0) for spec in SPECS))
    assert timing.round_s() == pytest.approx(FIT_S)
    assert timing.left_s(0) == pytest.approx(4 * FIT_S)
    assert timing.left_s(2) == pytest.approx((4 + 4 + 2 * 4) * FIT_S / 2)


def test_a_fit_in_progress_counts_in_part_and_what_arrives_late_does_not() -> None:
    clock = _Clock()
    timing = SearchProgress(clock)
    timing.start(0, ROUNDS)
    clock.now_s += 600.0  # its worker loads torch: that is the time of no round
    assert timing.update(0, make_progress(SPECS[0], 0, "fit", 0, 2))
    clock.now_s += 4.5
    assert timing.update(0, make_progress(SPECS[0], 0, "fit", 1, 2))  # 0.45 of a round in 4.5 s
    assert timing.round_s() == pytest.approx(FIT_S)
    assert timing.candidate_left_s(0) == pytest.approx((0.55 + 4) * FIT_S)
    clock.now_s += 15.5
    timing.record(0, [(spec.trial_id, 0) for spec in SPECS], frozenset((spec.trial_id, 0) for spec in SPECS))
    assert not timing.update(0, make_progress(SPECS[1], 0, "score", 3, 3))
    assert timing.candidate_left_s(0) == pytest.approx(4 * FIT_S)
