"""The schedule: order of trials, retries after an error, retries after the death of a worker."""

import pytest
from support.fake_trials import (
    make_suite,
)

from quadrat.benchmark.config.sharing import planned_round
from quadrat.benchmark.config.trial import TrialSpec
from quadrat.cluster.runner import schedule as schedule_module
from quadrat.cluster.runner.schedule import Schedule

SUITE = make_suite()
TRIALS = SUITE.trials()


def test_trials_start_in_the_order_given() -> None:
    schedule = Schedule(TRIALS, retries=1)
    assert [schedule.next() for _ in TRIALS] == TRIALS
    assert schedule.next() is None


def test_a_trial_that_would_only_wait_for_a_shared_fit_lets_others_pass() -> None:
    random_0, random_1, entropy_0, entropy_1 = TRIALS
    schedule = Schedule([random_0, entropy_0, random_1, entropy_1], retries=1)
    assert [schedule.next(), schedule.next()] == [random_0, random_1]
    schedule.on_new_round(random_1.trial_id)  # now round 0 of seed 1 is there, that of seed 0 is in training
    assert schedule.next() == entropy_1
    assert schedule.next() == entropy_0  # nothing else is left: better it waits there than here


def test_a_shared_fit_of_an_earlier_run_delays_no_trial() -> None:
    random_0, _, entropy_0, _ = TRIALS
    order = [random_0, entropy_0, TRIALS[1]]
    schedule = Schedule(order, retries=1, shared=[planned_round(random_0, 0)])
    assert [schedule.next() for _ in order] == order


def test_a_trial_that_raised_comes_back_last_and_only_as_often_as_retries_say() -> None:
    schedule = Schedule(TRIALS, retries=1)
    first = schedule.next()
    assert first is not None
    assert schedule.on_raised(first.trial_id, is_retryable=True)
    assert [schedule.next() for _ in TRIALS] == [*TRIALS[1:], first]
    assert not schedule.on_raised(first.trial_id, is_retryable=True)
    assert schedule.num_open == len(TRIALS) - 1


def test_an_error_that_the_user_must_fix_is_not_tried_again() -> None:
    schedule = Schedule(TRIALS, retries=5)
    first = schedule.next()
    assert first is not None
    assert not schedule.on_raised(first.trial_id, is_retryable=False)


def test_a_trial_whose_worker_died_comes_back_first() -> None:
    schedule = Schedule(TRIALS, retries=0)
    first, second = schedule.next(), schedule.next()
    assert first is not None and second is not None
    assert schedule.on_worker_died(first.trial_id)
    assert schedule.next() == first


def test_deaths_of_workers_count_only_until_the_next_new_round() -> None:
    schedule = Schedule(TRIALS[:1], retries=0, max_worker_deaths=2)
    for _ in range(10):
        spec = schedule.next()
        assert spec is not None
        schedule.on_new_round(spec.trial_id)
        assert schedule.on_worker_died(spec.trial_id)
    for is_tried_again in (True, False):
        spec = schedule.next()
        assert spec is not None
        assert schedule.on_worker_died(spec.trial_id) == is_tried_again
    assert schedule.num_open == 0


def test_the_round_0_of_a_trial_is_identified_once_however_many_decisions_look_at_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[str] = []

    def counted(spec: TrialSpec, round_: int) -> str:
        calls.append(spec.trial_id)
        return planned_round(spec, round_)

    monkeypatch.setattr(schedule_module, "planned_round", counted)
    trials = make_suite(seeds=list(range(20))).trials()
    schedule = Schedule(trials, retries=1)
    for _ in trials:
        schedule.next()
    for spec in trials:
        schedule.on_new_round(spec.trial_id)
    assert sorted(calls) == sorted(spec.trial_id for spec in trials)
