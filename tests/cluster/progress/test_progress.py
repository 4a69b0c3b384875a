"""Estimates of the time left."""

import pytest
from support.fake_trials import (
    make_progress,
    make_record,
    make_suite,
)

from quadrat.cluster.progress.progress import RunProgress

SUITE = make_suite()
TRIALS = SUITE.trials()


def test_time_left_is_rounds_left_times_the_median_round_over_the_trials_in_flight() -> None:
    now = [0.0]
    progress = RunProgress(TRIALS, clock=lambda: now[0])
    for spec in TRIALS[:2]:
        progress.start(spec)
        progress.update(make_progress(spec, 0, "fit", 0, 3))
    assert progress.left_s() is None
    now[0] = 10.0
    for spec in TRIALS[:2]:
        progress.record(make_record(spec, 0))
    # In flight: 2 rounds each; waiting: 2 trials of 2 rounds, their round 0 is shared. 8 rounds of 10 s on 2 workers.
    assert progress.left_s() == pytest.approx(40.0)
    assert progress.num_rounds_done == 2


def test_rounds_that_come_from_the_store_say_nothing_about_time() -> None:
    now = [0.0]
    progress = RunProgress(TRIALS, clock=lambda: now[0])
    progress.start(TRIALS[0])
    now[0] = 0.001
    progress.record(make_record(TRIALS[0], 0))
    assert progress.round_s() is None


def train_round(progress: RunProgress, now: list[float], round_: int, *, fit_s: float, rest_s: float) -> None:
    """Report a round of the first trial: its fit of 10 steps, then an evaluation."""
    for done in range(11):
        progress.update(make_progress(LONG[0], round_, "fit", done, 10))
        now[0] += fit_s / 10 if done < 10 else 0.0
    progress.update(make_progress(LONG[0], round_, "evaluate", 0, 1))
    now[0] += rest_s
    progress.record(make_record(LONG[0], round_))


LONG = make_suite(budgets=range(4, 84, 4)).trials()


def test_the_time_of_a_round_follows_the_pace_of_now() -> None:
    """Twelve rounds of 10 s, then the machine is busy: after two of 100 s the median of all is 10 s still."""
    now = [0.0]
    progress = RunProgress(LONG[:1], clock=lambda: now[0])
    progress.start(LONG[0])
    for round_ in range(12):
        train_round(progress, now, round_, fit_s=8.0, rest_s=2.0)
    assert progress.round_s() == pytest.approx(10.0)
    for round_ in (12, 13):
        train_round(progress, now, round_, fit_s=80.0, rest_s=20.0)
    assert progress.round_s() == pytest.approx(100.0)
    assert progress.left_s() == pytest.approx(6 * 100.0)


def test_a_fit_in_progress_counts_by_its_pace_and_the_share_of_a_round_that_a_fit_is() -> None:
    """Half of a fit took 40 s: 80 s in all, and a round is 10 / 8 of its fit.."""
    now = [0.0]
    progress = RunProgress(LONG[:4], clock=lambda: now[0])
    for spec in LONG[:4]:
        progress.start(spec)
    train_round(progress, now, 0, fit_s=8.0, rest_s=2.0)
    assert progress.round_s() == pytest.approx(10.0)
    for spec in LONG[1:4]:
        progress.update(make_progress(spec, 0, "fit", 0, 10))
    now[0] += 4.0
    for spec in LONG[1:4]:
        progress.update(make_progress(spec, 0, "fit", 0, 10))
    assert progress.round_s() == pytest.approx(10.0)  # too early to count
    now[0] += 36.0
    for spec in LONG[1:4]:
        progress.update(make_progress(spec, 0, "fit", 5, 10))
    assert progress.round_s() == pytest.approx(100.0)  # the median of 10, 100, 100, 100
