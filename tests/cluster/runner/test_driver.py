"""Runs from start to end: skipped, resumed, failed and stopped trials; on a local Ray where marked `cluster`."""

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

import pytest
from support.fake_trials import REFUSED, make_suite, plain_records, plan, run_options, times_run
from support.ray_nodes import ray_nodes
from support.waiting import await_

from quadrat.benchmark.errors import ResultsError, TrainingError
from quadrat.benchmark.results.failures import read_failures
from quadrat.benchmark.results.folder import prepare_results
from quadrat.benchmark.results.lock import lock_results
from quadrat.benchmark.results.records import read_records
from quadrat.cluster.progress.display import LineDisplay
from quadrat.cluster.progress.progress import RunProgress
from quadrat.cluster.runner.driver import _warn_of_exhaustion, run_in_foreground, run_on_ray
from quadrat.cluster.runner.interrupt import StopRequest

SUITE = make_suite()
TRIALS = SUITE.trials()


def test_a_finished_trial_is_skipped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_in_foreground(SUITE, TRIALS[:2], run_options(tmp_path))
    outcome = run_in_foreground(SUITE, TRIALS, run_options(tmp_path))
    assert outcome.exit_code == 0
    assert [times_run(tmp_path, spec) for spec in TRIALS] == [1, 1, 1, 1]
    assert "2 of 4 trials are complete" in capsys.readouterr().out


def test_records_end_up_in_the_order_of_the_suite(tmp_path: Path) -> None:
    run_in_foreground(SUITE, TRIALS[::-1], run_options(tmp_path))
    assert [record.key for record in read_records(tmp_path)] == [
        (spec.trial_id, round_) for spec in TRIALS for round_ in range(3)
    ]


def test_a_failed_trial_is_recorded_the_rest_goes_on_and_the_exit_code_says_so(tmp_path: Path) -> None:
    plan(tmp_path, TRIALS[1], what="raise", times=1)
    outcome = run_in_foreground(SUITE, TRIALS, run_options(tmp_path))
    assert (outcome.exit_code, outcome.num_complete) == (1, 3)
    (failure,) = read_failures(tmp_path)
    assert (failure.label, failure.seed, failure.round) == ("random", 1, 1)


@pytest.mark.parametrize("what", ["raise", "reject"])
def test_the_exit_code_tells_what_to_try_again_from_what_to_mend_first(tmp_path: Path, what: str) -> None:
    plan(tmp_path, TRIALS[0], what="raise", times=1)
    plan(tmp_path, TRIALS[1], what=what, times=1)
    outcome = run_in_foreground(SUITE, TRIALS, run_options(tmp_path))
    assert (outcome.exit_code, len(outcome.failures)) == (1 if what == "raise" else 2, 2)


def test_a_failure_is_forgotten_once_the_trial_has_finished(tmp_path: Path) -> None:
    plan(tmp_path, TRIALS[1], what="raise", times=1)
    run_in_foreground(SUITE, TRIALS, run_options(tmp_path))
    assert run_in_foreground(SUITE, TRIALS, run_options(tmp_path)).exit_code == 0
    assert read_failures(tmp_path) == []
    assert times_run(tmp_path, TRIALS[1]) == 2
    assert len(read_records(tmp_path)) == 12


def test_a_second_driver_on_a_folder_is_refused(tmp_path: Path) -> None:
    lock = lock_results(tmp_path)
    try:
        with pytest.raises(ResultsError, match="in use by another quadrat run"):
            run_in_foreground(SUITE, TRIALS, run_options(tmp_path))
    finally:
        lock.release()
    assert run_in_foreground(SUITE, TRIALS[:1], run_options(tmp_path)).exit_code == 0


def test_the_folder_of_another_suite_is_refused_before_anything_runs(tmp_path: Path) -> None:
    run_in_foreground(SUITE, TRIALS[:1], run_options(tmp_path))
    other = make_suite(budgets=[4, 8])
    with pytest.raises(ResultsError, match="budgets"):
        run_in_foreground(other, other.trials(), run_options(tmp_path))


def test_a_budget_beyond_the_pool_is_reported_before_anything_runs(tmp_path: Path) -> None:
    split = {"fingerprint": "0" * 64, "path": "pool", "num_images": 2, "num_px": 2560, "num_regions": {"16": 10}}
    dataset = {"classes": ["one", "two"], "colours": [[0, 0, 0]] * 2, "pool": split, "test": split}
    prepare_results(tmp_path, SUITE, dataset=dataset, environment={})
    out = io.StringIO()
    _warn_of_exhaustion(tmp_path, TRIALS, LineDisplay(RunProgress(TRIALS), out))
    assert "the pool has 10 regions of 16 px, fewer than the largest budget, 16" in out.getvalue()


def test_time_that_is_up_stops_a_run_which_goes_on_later(tmp_path: Path) -> None:
    late = replace(run_options(tmp_path), until_s=time.monotonic())
    outcome = run_in_foreground(SUITE, TRIALS, late)
    assert (outcome.exit_code, outcome.num_complete, outcome.failures) == (75, 0, ())
    assert run_in_foreground(SUITE, TRIALS, run_options(tmp_path)).exit_code == 0
    assert run_in_foreground(SUITE, TRIALS, late).exit_code == 0  # nothing was left to do


def test_a_stop_has_one_reason() -> None:
    now_s = [0.0]
    stop = StopRequest(10.0, clock=lambda: now_s[0])
    assert (stop.signal, stop.exit_code) == (None, None)
    stop.raise_if_requested()
    now_s[0] = 10.0
    assert stop.exit_code is None  # nobody has looked
    with pytest.raises(KeyboardInterrupt):
        stop.raise_if_requested()
    assert (stop.signal, stop.exit_code) == (signal.SIGTERM, 75)
    before = StopRequest(10.0, clock=lambda: now_s[0] - 1)
    before.request(signal.SIGINT)
    now_s[0] = 20.0
    assert (before.signal, before.exit_code) == (signal.SIGINT, 130)


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
    outcome = run_in_foreground(SUITE, TRIALS, run_options(tmp_path))
    assert (outcome.exit_code, outcome.num_complete) == (130, 1)
    assert len(read_records(tmp_path)) == 4
    assert run_in_foreground(SUITE, TRIALS, run_options(tmp_path)).exit_code == 0
    assert len(read_records(tmp_path)) == 12


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The address of a cluster of two nodes of one CPU each."""
    with ray_nodes(1, 1) as cluster:
        yield cluster.address


@pytest.mark.cluster
def test_records_on_ray_equal_those_of_the_foreground(tmp_path: Path, address: str) -> None:
    run_in_foreground(SUITE, TRIALS, run_options(tmp_path / "here"))
    outcome = run_on_ray(SUITE, TRIALS, run_options(tmp_path / "ray", address))
    assert (outcome.exit_code, outcome.num_complete) == (0, 4)
    assert plain_records(tmp_path / "ray") == plain_records(tmp_path / "here")


@pytest.mark.cluster
def test_a_recipe_that_is_wrong_ends_the_run_as_one_clear_error_and_not_as_a_failure_of_every_trial(
    tmp_path: Path, address: str
) -> None:
    refused = replace(run_options(tmp_path, address), engine=REFUSED)
    for run in (run_on_ray, run_in_foreground):
        with pytest.raises(TrainingError, match="unknown encoder 'test_resnet'"):
            run(SUITE, TRIALS, refused)
    assert read_failures(tmp_path) == []
    assert not (tmp_path / "records.jsonl").exists()


@pytest.mark.cluster
def test_on_ray_trials_that_raise_or_lose_their_worker_do_not_stop_the_others(tmp_path: Path, address: str) -> None:
    """One run for four fates, since each run joins Ray anew: raises once, is wrong, dies once, dies every time."""
    suite = make_suite(strategies=["random", "entropy", "entropy-random"])
    trials = suite.trials()
    once, wrong, dies, dies_always = trials[:4]
    plan(tmp_path, once, what="raise", times=1)
    plan(tmp_path, wrong, what="reject", times=99)
    plan(tmp_path, dies, what="die", times=1)
    plan(tmp_path, dies_always, what="die", times=99)
    outcome = run_on_ray(suite, trials, run_options(tmp_path, address))
    assert (outcome.exit_code, outcome.num_complete) == (2, 4)  # 2: one of the failures must be mended first
    assert [times_run(tmp_path, spec) for spec in trials] == [2, 1, 2, 4, 1, 1]
    failures = {failure.trial_id: failure for failure in outcome.failures}
    assert set(failures) == {wrong.trial_id, dies_always.trial_id}
    assert "signal entropy is not finite" in failures[wrong.trial_id].traceback
    assert "its worker died 4 times in a row" in failures[dies_always.trial_id].exception
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
    tmp_path: Path, address: str, number: int, code: int
) -> None:
    plan(tmp_path, TRIALS[2], what="hang", times=1)
    command = [sys.executable, "-c", _DRIVER, str(tmp_path), address]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as driver:
        try:
            await_(lambda: times_run(tmp_path, TRIALS[2]) == 1 and times_run(tmp_path, TRIALS[3]) == 1)
            time.sleep(0.5)
            driver.send_signal(number)
            assert driver.wait(30) == code
        finally:
            driver.kill()
    outcome = run_on_ray(SUITE, TRIALS, run_options(tmp_path, address))
    assert outcome.exit_code == 0
    assert [record.key for record in read_records(tmp_path)] == [
        (spec.trial_id, round_) for spec in TRIALS for round_ in range(3)
    ]
