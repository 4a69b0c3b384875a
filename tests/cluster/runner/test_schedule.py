"""The schedule: order of trials, retries after an error, retries after the death of a worker."""

import time

import numpy as np
import pytest
from support.fake_trials import make_suite

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


class _Reference:
    """The rule of `next` as one reads it: the first trial in order whose round 0 nobody trains, else the first."""

    def __init__(self, trials: list[TrialSpec]) -> None:
        self.order = [spec.trial_id for spec in trials]
        self.round_0 = {spec.trial_id: planned_round(spec, 0) for spec in trials}
        self.in_flight: list[str] = []
        self.trained: set[str] = set()
        self.failed_on: dict[str, set[str]] = {trial_id: set() for trial_id in self.order}

    def next(self, node: str, nodes: set[str]) -> str | None:
        may = [one for one in self.order if node not in self.failed_on[one] or self.failed_on[one] >= nodes]
        busy = {self.round_0[one] for one in self.in_flight} - self.trained
        free = [one for one in may if self.round_0[one] not in busy]
        found = next(iter(free or may), None)
        if found is not None:
            self.order.remove(found)
            self.in_flight.append(found)
        return found


def test_decisions_are_those_of_the_rule_applied_to_the_whole_queue() -> None:
    rng = np.random.default_rng(17)
    nodes = {"a", "b", "c"}
    trials = make_suite(seeds=list(range(6))).trials()
    for _ in range(6):
        schedule, reference = Schedule(trials, retries=2), _Reference(trials)
        for _ in range(200):
            node = str(rng.choice(sorted(nodes)))
            what = rng.choice(["next", "next", "round", "done", "died", "raised"])
            if what == "next" or not reference.in_flight:
                spec = schedule.next(node, nodes)
                assert (spec and spec.trial_id) == reference.next(node, nodes)
                continue
            trial_id = str(rng.choice(reference.in_flight))
            if what == "round":
                schedule.on_new_round(trial_id, node)
                reference.trained.add(reference.round_0[trial_id])
                continue
            reference.in_flight.remove(trial_id)
            if what == "done":
                schedule.on_finished(trial_id)
            elif what == "died":
                if schedule.on_worker_died(trial_id):
                    reference.order.insert(0, trial_id)
            else:
                reference.failed_on[trial_id].add(node)
                has_other = bool(nodes - reference.failed_on[trial_id])
                if schedule.on_raised(trial_id, is_retryable=True, is_of_environment=True, node=node, nodes=nodes):
                    reference.order.insert(0 if has_other else len(reference.order), trial_id)
        assert (schedule.num_waiting, schedule.num_in_flight) == (len(reference.order), len(reference.in_flight))


def test_a_trial_is_given_up_after_three_nodes_only_when_one_of_them_works() -> None:
    nodes = set("abcde")

    def num_tries(good: str | None) -> int:
        schedule = Schedule(TRIALS, retries=0)
        if good is not None:
            other = schedule.next(good, nodes)
            assert other is not None
            schedule.on_new_round(other.trial_id, good)
        for count, node in enumerate("abcde", start=1):
            spec = schedule.next(node, nodes)
            assert spec is not None
            if not schedule.on_raised(
                spec.trial_id, is_retryable=False, is_of_environment=True, node=node, nodes=nodes
            ):
                return count
        raise AssertionError("never given up")

    assert num_tries(None) == 5  # a, b and c may all lack the data
    assert num_tries("b") == 3


def test_a_node_is_bad_after_three_trials_in_a_row_and_not_for_trials_that_fail_elsewhere_too() -> None:
    nodes = {"a", "b"}

    def raise_on(node: str, count: int) -> list[str]:
        specs = [schedule.next(node, nodes) for _ in range(count)]
        for spec in specs:
            assert spec is not None
            schedule.on_raised(spec.trial_id, is_retryable=False, is_of_environment=True, node=node, nodes=nodes)
        return [spec.trial_id for spec in specs if spec is not None]

    schedule = Schedule(TRIALS, retries=0)
    failed = raise_on("a", 3)
    assert schedule.bad_nodes() == {"a"}
    assert raise_on("b", 2) == failed[:0:-1]  # the same trials, the last one first
    assert schedule.bad_nodes() == set()

    schedule = Schedule(TRIALS, retries=0)
    raise_on("a", 2)
    spec = schedule.next("a", nodes)
    assert spec is not None
    schedule.on_new_round(spec.trial_id, "a")
    raise_on("a", 1)
    assert schedule.bad_nodes() == set()


def test_a_decision_takes_less_than_a_millisecond_among_a_thousand_trials_that_wait() -> None:
    trials = make_suite(seeds=list(range(500))).trials()
    schedule = Schedule(trials, retries=1)
    nodes = {f"n{index}" for index in range(250)}
    begin_s = time.process_time()
    for index in range(len(trials)):
        assert schedule.next(f"n{index % 250}", nodes) is not None
    assert (time.process_time() - begin_s) / len(trials) < 1e-3
