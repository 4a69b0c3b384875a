"""Scheduling: what is tried again, what is given up, what is written; on a local Ray where the test says `cluster`."""

import contextlib
import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console
from support.fake_trials import (
    ENGINE,
    REFUSED,
    make_progress,
    make_record,
    make_suite,
    open_fake,
    plan,
    times_run,
)
from support.paths import TESTS

from quadrat.benchmark.config.sharing import planned_round
from quadrat.benchmark.errors import ResultsError, TrainingError
from quadrat.benchmark.results.folder import lock_results
from quadrat.benchmark.results.records import Record, read_failures, read_records, without_timings
from quadrat.benchmark.storage.atomic import write_json
from quadrat.cluster.progress.display import LineDisplay, draw
from quadrat.cluster.progress.progress import RunProgress, num_fits
from quadrat.cluster.runner.context import RunOptions
from quadrat.cluster.runner.driver import _warn_of_exhaustion, run_in_foreground, run_on_ray
from quadrat.cluster.runner.events import Raised, stream
from quadrat.cluster.runner.interrupt import StopRequest
from quadrat.cluster.runner.ray_session import ClusterError, ray_session
from quadrat.cluster.runner.recorder import ContradictionError, Recorder
from quadrat.cluster.runner.schedule import Schedule

SUITE = make_suite()
TRIALS = SUITE.trials()


# ------------------------------------------------------------------------------------------- the schedule, without Ray


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
    assert schedule.on_raised(first.trial_id, is_worth_retrying=True)
    assert [schedule.next() for _ in TRIALS] == [*TRIALS[1:], first]
    assert not schedule.on_raised(first.trial_id, is_worth_retrying=True)
    assert schedule.num_open == len(TRIALS) - 1


def test_an_error_that_the_user_must_fix_is_not_tried_again() -> None:
    schedule = Schedule(TRIALS, retries=5)
    first = schedule.next()
    assert first is not None
    assert not schedule.on_raised(first.trial_id, is_worth_retrying=False)


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


# ------------------------------------------------------------------------------------------------ what a worker streams


def test_the_stream_of_a_trial_ends_with_what_it_raised(tmp_path: Path) -> None:
    plan(tmp_path, TRIALS[0], what="raise", times=1)
    events = list(stream(TRIALS[0], lambda: open_fake(SUITE, tmp_path)))
    assert [event.round for event in events if isinstance(event, Record)] == [0]
    raised = events[-1]
    assert isinstance(raised, Raised) and raised.is_worth_retrying
    assert raised.failure.round == 1
    assert "RuntimeError: the GPU fell off the bus" in raised.failure.exception
    assert "in _misbehave" in raised.failure.traceback


def test_a_runner_that_cannot_be_opened_fails_the_trial(tmp_path: Path) -> None:
    def broken() -> None:
        raise OSError("no such device")

    (event,) = stream(TRIALS[0], broken)  # type: ignore[arg-type]
    assert isinstance(event, Raised) and "no such device" in event.failure.exception


def test_progress_within_a_phase_is_reported_a_few_times_a_second_at_most() -> None:
    def run(spec: object, on_progress: object) -> Iterator[Record]:
        for step in range(20_000):
            on_progress(make_progress(TRIALS[0], 0, "fit", step, 20_000))  # type: ignore[operator]
        yield make_record(TRIALS[0], 0)

    start = time.monotonic()
    events = list(stream(TRIALS[0], lambda: run))  # type: ignore[arg-type, return-value]
    assert len(events) <= 3 + (time.monotonic() - start) / 0.4
    assert isinstance(events[-1], Record)


# ---------------------------------------------------------------------------------------------- progress and displays


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


def test_round_0_is_trained_once_for_all_strategies_of_a_seed() -> None:
    assert num_fits(TRIALS) == (2 + 4 * 2, 4 * 3)
    with_reference = make_suite(full_supervision=True).trials()
    assert num_fits(with_reference) == (2 + 2 + 4 * 2, 2 + 4 * 3)


def test_elsewhere_than_in_a_terminal_every_round_is_a_line() -> None:
    text = io.StringIO()
    progress = RunProgress(TRIALS)
    display = LineDisplay(progress, text)
    progress.start(TRIALS[0])
    progress.record(make_record(TRIALS[0], 0))
    display.round_done(make_record(TRIALS[0], 0))
    assert "random  seed 0  round 1/3  4 regions (4.0 %)  mIoU 20.0 %" in text.getvalue()
    assert "[1/12 rounds" in text.getvalue()


def test_the_table_shows_trial_phase_and_what_is_left() -> None:
    progress = RunProgress(TRIALS)
    progress.start(TRIALS[0], "node-1")
    progress.start(TRIALS[1], "node-2")
    progress.update(make_progress(TRIALS[0], 1, "fit", 2, 3))
    progress.update(make_progress(TRIALS[1], 0, "wait", 0, 0))
    console = Console(width=120, file=io.StringIO(), record=True)
    console.print(draw(progress, "fake"))
    text = console.export_text()
    for expected in ("random", "1/3", "2/3", "waiting for a shared fit", "node-2", "0/4 trials", "0/12 rounds"):
        assert expected in text


# ---------------------------------------------------------------------------------------------- runs in the foreground


def options(results_dir: Path, address: str | None = None) -> RunOptions:
    return RunOptions(results_dir=results_dir, engine=ENGINE, logs_to_mlflow=False, ray_address=address)


def plain(results_dir: Path) -> list[dict[str, object]]:
    return [without_timings(record) for record in read_records(results_dir)]


def test_a_finished_trial_is_skipped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_in_foreground(SUITE, TRIALS[:2], options(tmp_path))
    outcome = run_in_foreground(SUITE, TRIALS, options(tmp_path))
    assert outcome.exit_code == 0
    assert [times_run(tmp_path, spec) for spec in TRIALS] == [1, 1, 1, 1]
    assert "2 of 4 trials are complete" in capsys.readouterr().out


def test_records_end_up_in_the_order_of_the_suite(tmp_path: Path) -> None:
    run_in_foreground(SUITE, TRIALS[::-1], options(tmp_path))
    assert [record.key for record in read_records(tmp_path)] == [
        (spec.trial_id, round_) for spec in TRIALS for round_ in range(3)
    ]


def test_a_failed_trial_is_recorded_the_rest_goes_on_and_the_exit_code_says_so(tmp_path: Path) -> None:
    plan(tmp_path, TRIALS[1], what="raise", times=1)
    outcome = run_in_foreground(SUITE, TRIALS, options(tmp_path))
    assert (outcome.exit_code, outcome.num_complete) == (1, 3)
    (failure,) = read_failures(tmp_path)
    assert (failure.label, failure.seed, failure.round) == ("random", 1, 1)


def test_a_failure_is_forgotten_once_the_trial_has_finished(tmp_path: Path) -> None:
    plan(tmp_path, TRIALS[1], what="raise", times=1)
    run_in_foreground(SUITE, TRIALS, options(tmp_path))
    assert run_in_foreground(SUITE, TRIALS, options(tmp_path)).exit_code == 0
    assert read_failures(tmp_path) == []
    assert times_run(tmp_path, TRIALS[1]) == 2
    assert len(read_records(tmp_path)) == 12


def test_a_second_driver_on_a_folder_is_refused(tmp_path: Path) -> None:
    lock = lock_results(tmp_path)
    try:
        with pytest.raises(ResultsError, match="in use by another quadrat run"):
            run_in_foreground(SUITE, TRIALS, options(tmp_path))
    finally:
        lock.release()
    assert run_in_foreground(SUITE, TRIALS[:1], options(tmp_path)).exit_code == 0


def test_the_folder_of_another_suite_is_refused_before_anything_runs(tmp_path: Path) -> None:
    run_in_foreground(SUITE, TRIALS[:1], options(tmp_path))
    other = make_suite(budgets=[4, 8])
    with pytest.raises(ResultsError, match="budgets"):
        run_in_foreground(other, other.trials(), options(tmp_path))


def test_a_round_that_comes_out_with_other_numbers_is_an_error_and_the_first_record_stays(tmp_path: Path) -> None:
    first = make_record(TRIALS[0], 0)
    progress = RunProgress(TRIALS)
    display = LineDisplay(progress, io.StringIO())
    recorder = Recorder(tmp_path, [], progress=progress, display=display, mlflow=None)
    recorder.start(TRIALS[0])
    assert recorder.record(first)
    assert not recorder.record(make_record(TRIALS[0], 0, seconds={"fit": 99.0}))
    with pytest.raises(ContradictionError, match=r"other miou \(miou: 0\.2 before, 0\.9 now\)"):
        recorder.record(make_record(TRIALS[0], 0, miou=0.9))
    assert read_records(tmp_path) == [first]


def test_a_pool_that_runs_out_is_reported(tmp_path: Path) -> None:
    progress, out = RunProgress(TRIALS), io.StringIO()
    recorder = Recorder(tmp_path, [], progress=progress, display=LineDisplay(progress, out), mlflow=None)
    recorder.start(TRIALS[0])
    recorder.record(make_record(TRIALS[0], 0, exhausted=True))
    assert "the pool is exhausted, all 4 regions are labelled before the budget is spent" in out.getvalue()


def test_a_budget_beyond_the_pool_is_reported_before_anything_runs(tmp_path: Path) -> None:
    write_json(tmp_path / "suite.json", {"schema": 1, "dataset": {"pool": {"num_regions": {"16": 10}}}})
    out = io.StringIO()
    _warn_of_exhaustion(tmp_path, TRIALS, LineDisplay(RunProgress(TRIALS), out))
    assert "the pool has 10 regions of 16 px, fewer than the largest budget, 16" in out.getvalue()


def test_the_first_signal_sets_a_flag_and_the_second_one_interrupts() -> None:
    with StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert (stop.signal, stop.exit_code) == (signal.SIGINT, 130)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)


def test_ctrl_c_leaves_a_folder_that_the_same_call_completes(tmp_path: Path) -> None:
    plan(tmp_path, TRIALS[1], what="hang", times=1)
    timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    outcome = run_in_foreground(SUITE, TRIALS, options(tmp_path))
    assert (outcome.exit_code, outcome.num_complete) == (130, 1)
    assert len(read_records(tmp_path)) == 4
    assert run_in_foreground(SUITE, TRIALS, options(tmp_path)).exit_code == 0
    assert len(read_records(tmp_path)) == 12


# ------------------------------------------------------------------------------------------------------- runs on Ray


@pytest.fixture(scope="module")
def cluster() -> Iterator[object]:
    """Two nodes of one CPU each, whose workers can import the fakes."""
    from ray.cluster_utils import Cluster

    paths = [str(TESTS), os.environ.get("PYTHONPATH", "")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(path for path in paths if path))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        nodes.add_node(num_cpus=1)
        yield nodes
        nodes.shutdown()


@pytest.mark.cluster
def test_records_on_ray_equal_those_of_the_foreground(tmp_path: Path, cluster: object) -> None:
    run_in_foreground(SUITE, TRIALS, options(tmp_path / "here"))
    outcome = run_on_ray(SUITE, TRIALS, options(tmp_path / "ray", cluster.address))  # type: ignore[attr-defined]
    assert (outcome.exit_code, outcome.num_complete) == (0, 4)
    assert plain(tmp_path / "ray") == plain(tmp_path / "here")


@pytest.mark.cluster
def test_a_recipe_that_is_wrong_ends_the_run_as_one_clear_error_and_not_as_a_failure_of_every_trial(
    tmp_path: Path, cluster: object
) -> None:
    refused = replace(options(tmp_path, cluster.address), engine=REFUSED)  # type: ignore[attr-defined]
    for run in (run_on_ray, run_in_foreground):
        with pytest.raises(TrainingError, match="unknown encoder 'test_resnet'"):
            run(SUITE, TRIALS, refused)
    assert read_failures(tmp_path) == []
    assert not (tmp_path / "records.jsonl").exists()


@pytest.mark.cluster
def test_on_ray_trials_that_raise_or_lose_their_worker_do_not_stop_the_others(tmp_path: Path, cluster: object) -> None:
    """One run for four fates, since each run joins Ray anew: raises once, is wrong, dies once, dies every time."""
    suite = make_suite(strategies=["random", "entropy", "entropy-random"])
    trials = suite.trials()
    once, wrong, dies, dies_always = trials[:4]
    plan(tmp_path, once, what="raise", times=1)
    plan(tmp_path, wrong, what="reject", times=99)
    plan(tmp_path, dies, what="die", times=1)
    plan(tmp_path, dies_always, what="die", times=99)
    outcome = run_on_ray(suite, trials, options(tmp_path, cluster.address))  # type: ignore[attr-defined]
    assert (outcome.exit_code, outcome.num_complete) == (1, 4)
    assert [times_run(tmp_path, spec) for spec in trials] == [2, 1, 2, 4, 1, 1]
    failures = {failure.trial_id: failure for failure in outcome.failures}
    assert set(failures) == {wrong.trial_id, dies_always.trial_id}
    assert "signal entropy is not finite" in failures[wrong.trial_id].traceback
    assert "its worker died again and again" in failures[dies_always.trial_id].exception
    keys = [record.key for record in read_records(tmp_path)]
    assert len(keys) == len(set(keys)) == 4 * 3 + 2


_DRIVER = """
import sys
from pathlib import Path
from support.fake_trials import ENGINE, make_suite
from quadrat.cluster.runner.driver import run_on_ray
from quadrat.cluster.runner.context import RunOptions
suite = make_suite()
options = RunOptions(results_dir=Path(sys.argv[1]), engine=ENGINE, logs_to_mlflow=False, ray_address=sys.argv[2])
sys.exit(run_on_ray(suite, suite.trials(), options).exit_code)
"""


@pytest.mark.cluster
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_a_driver_that_is_stopped_or_killed_is_continued_by_the_same_command(
    tmp_path: Path, cluster: object, number: int, code: int
) -> None:
    plan(tmp_path, TRIALS[2], what="hang", times=1)
    command = [sys.executable, "-c", _DRIVER, str(tmp_path), cluster.address]  # type: ignore[attr-defined]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as driver:
        try:
            _await(lambda: times_run(tmp_path, TRIALS[2]) == 1 and times_run(tmp_path, TRIALS[3]) == 1)
            time.sleep(0.5)
            driver.send_signal(number)
            assert driver.wait(30) == code
        finally:
            driver.kill()
    outcome = run_on_ray(SUITE, TRIALS, options(tmp_path, cluster.address))  # type: ignore[attr-defined]
    assert outcome.exit_code == 0
    assert [record.key for record in read_records(tmp_path)] == [
        (spec.trial_id, round_) for spec in TRIALS for round_ in range(3)
    ]


def _await(condition: object, timeout_s: float = 60.0) -> None:
    until_s = time.monotonic() + timeout_s
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < until_s, "waited too long"
        time.sleep(0.1)


@pytest.mark.parametrize(("num_slow", "num_tries"), [(2, 3), (3, 3)])
def test_a_machine_that_is_too_busy_to_start_ray_in_time_has_two_more_tries(
    monkeypatch: pytest.MonkeyPatch, num_slow: int, num_tries: int
) -> None:
    tries = []

    def init(**options: object) -> SimpleNamespace:
        tries.append(options["address"])
        if len(tries) <= num_slow:
            raise Exception("The current node timed out during startup.")  # as Ray does
        return SimpleNamespace(address_info={"session_dir": "/tmp/ray/session"})

    monkeypatch.setattr("ray.init", init)
    with contextlib.ExitStack() as stack:
        if num_slow == num_tries:
            stack.enter_context(pytest.raises(ClusterError, match=r"timed out during startup.* Is the machine busy"))
        stack.enter_context(ray_session("local"))
    assert tries == ["local"] * num_tries


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("127.0.0.1:9", "expected a Ray cluster at 127.0.0.1:9, got: .*refused"),
        ("ray://127.0.0.1:10001", "expected host:port of a cluster's head node, .* got 'ray://127.0.0.1:10001'"),
        ("node-1", "expected host:port of a cluster's head node, .* got 'node-1'"),
    ],
)
def test_a_cluster_that_cannot_be_joined_is_a_clear_error_in_seconds(
    tmp_path: Path, address: str, message: str
) -> None:
    with pytest.raises(ClusterError, match=message):
        run_on_ray(SUITE, TRIALS, options(tmp_path, address))
    assert run_in_foreground(SUITE, TRIALS, options(tmp_path)).exit_code == 0
