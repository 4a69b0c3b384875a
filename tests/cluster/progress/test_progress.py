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
