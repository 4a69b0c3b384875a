"""A cluster that changes while a suite runs: killed actors, lost nodes, new nodes, shared GPUs; all on a real Ray."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from support.fake_trials import (
    NO_DATA,
    NO_PACKAGE,
    STUDY,
    make_suite,
    num_refused,
    pids_of,
    plain_records,
    plan,
    run_options,
    times_run,
)
from support.paths import TESTS
from support.ray_nodes import add_node, ray_nodes
from support.waiting import await_

from quadrat.benchmark.results.records import read_records
from quadrat.cluster.runner.driver import Outcome, run_in_foreground, run_on_ray
from quadrat.cluster.runner.engine import Engine
from quadrat.cluster.study.driver import run_study

pytestmark = pytest.mark.cluster

SUITE = make_suite()
TRIALS = SUITE.trials()


@pytest.fixture
def nodes() -> Iterator[Any]:
    """A head node that runs no trials: the test adds those that do."""
    with ray_nodes(0) as cluster:
        yield cluster


@contextlib.contextmanager
def meanwhile(work: Callable[[], None]) -> Iterator[None]:
    """Do `work` in a thread beside the block (the driver wants the main one), and raise what it raised."""
    errors: list[BaseException] = []

    def guarded() -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)
            os.kill(os.getpid(), signal.SIGTERM)  # asks the driver to stop: the test must not hang

    thread = threading.Thread(target=guarded, daemon=True)
    thread.start()
    yield
    thread.join()
    if errors:
        raise errors[0]


def test_a_node_that_is_lost_costs_its_trial_nothing_but_the_rounds_in_flight(tmp_path: Path, nodes: Any) -> None:
    first, second = add_node(nodes, num_cpus=1), add_node(nodes, num_cpus=1)
    plan(tmp_path / "ray", TRIALS[0], what="hang", times=1)

    def lose_the_node_of_the_first_trial() -> None:
        await_(lambda: bool(read_keys(tmp_path / "ray", TRIALS[0].trial_id)))
        raylet = psutil.Process(pids_of(tmp_path / "ray", TRIALS[0])[0]).ppid()
        (lost,) = [node for node in (first, second) if node.all_processes["raylet"][0].process.pid == raylet]
        nodes.remove_node(lost, allow_graceful=False)

    with meanwhile(lose_the_node_of_the_first_trial):
        outcome = run_on_ray(SUITE, TRIALS, run_options(tmp_path / "ray", nodes.address))
    assert (outcome.exit_code, outcome.num_complete) == (0, 4)
    assert times_run(tmp_path / "ray", TRIALS[0]) == 2
    run_in_foreground(SUITE, TRIALS, run_options(tmp_path / "here"))
    assert plain_records(tmp_path / "ray") == plain_records(tmp_path / "here")


def test_a_node_that_joins_is_used_and_an_actor_that_is_killed_is_replaced(tmp_path: Path, nodes: Any) -> None:
    add_node(nodes, num_cpus=1)
    plan(tmp_path, TRIALS[0], what="hang", times=1)
    seen: list[dict[str, Any]] = []

    def grow_then_kill() -> None:
        await_(lambda: times_run(tmp_path, TRIALS[0]) == 1)
        add_node(nodes, num_cpus=1)
        others = {spec.trial_id for spec in TRIALS[1:]}
        await_(lambda: {name for name, round_ in read_keys(tmp_path) if round_ == 2} == others)
        await_(lambda: len(in_flight(tmp_path)) == 1)
        seen.extend(in_flight(tmp_path))
        os.kill(pids_of(tmp_path, TRIALS[0])[0], signal.SIGKILL)

    with meanwhile(grow_then_kill):
        outcome = run_on_ray(SUITE, TRIALS, run_options(tmp_path, nodes.address))
    assert (outcome.exit_code, outcome.num_complete) == (0, 4)
    assert [times_run(tmp_path, spec) for spec in TRIALS] == [2, 1, 1, 1]
    assert len(read_records(tmp_path)) == 12
    assert [trial["label"] for trial in seen] == [TRIALS[0].label] and seen[0]["node"]


@pytest.mark.parametrize(("engine", "count"), [(NO_DATA, 3), (NO_PACKAGE, 1)], ids=["no data", "no package"])
def test_a_broken_node_costs_no_trial_and_is_named(
    tmp_path: Path, nodes: Any, capsys: pytest.CaptureFixture[str], engine: Engine, count: int
) -> None:
    broken = add_node(nodes, num_cpus=2, resources={"broken": 1})
    add_node(nodes, num_cpus=1)
    suite = make_suite(seeds=list(range(6)), description=str(tmp_path / "refused"))
    for spec in suite.trials():
        plan(tmp_path, spec, what="pause", times=1)

    def release_once_the_node_has_raised() -> None:
        await_(lambda: num_refused(suite) >= count)
        time.sleep(2)
        (tmp_path / "plans" / "release").touch()

    with meanwhile(release_once_the_node_has_raised):
        outcome = run_on_ray(suite, suite.trials(), replace(run_options(tmp_path, nodes.address), engine=engine))
    assert (outcome.exit_code, outcome.num_complete, outcome.failures) == (0, 12, ())
    assert len(read_records(tmp_path)) == 36
    lines = [line for line in capsys.readouterr().out.splitlines() if "in this run" in line]
    assert len(lines) == 1 and f"node {broken.node_id}) gets no" in lines[0]


def test_a_broken_node_costs_no_candidate_of_a_study(tmp_path: Path, nodes: Any) -> None:
    add_node(nodes, num_cpus=2, resources={"broken": 1})
    add_node(nodes, num_cpus=1)
    refused = tmp_path / "refused"
    suite = make_suite(
        strategies=["random", "entropy-spatial"], resources={"retries": 0}, study=STUDY, description=str(refused)
    )
    outcome = run_study(suite, replace(run_options(tmp_path, nodes.address), engine=NO_DATA))
    assert num_refused(suite) >= 2
    assert [candidate.state for candidate in outcome.study.candidates] == ["done"] * 4
    assert outcome.exit_code == 0 and not (tmp_path / "study" / "failures.jsonl").exists()


def test_four_trials_of_half_a_gpu_are_in_flight_on_two_gpus(tmp_path: Path, nodes: Any) -> None:
    add_node(nodes, num_cpus=4, num_gpus=1)
    add_node(nodes, num_cpus=4, num_gpus=1)
    suite = make_suite(seeds=[0, 1, 2], resources={"cpus": 1, "gpus": 0.5, "device": "cpu"})
    trials = suite.trials()
    for spec in trials:
        plan(tmp_path, spec, what="pause", times=1)
    most = 0

    def count_then_release() -> None:
        nonlocal most
        await_(lambda: len(running(tmp_path, trials)) == 4)
        time.sleep(6)  # longer than the pool takes to resize again: a fifth would have started
        most = len(running(tmp_path, trials))
        (tmp_path / "plans" / "release").touch()

    with meanwhile(count_then_release):
        outcome = run_on_ray(suite, trials, run_options(tmp_path, nodes.address))
    assert most == 4
    assert (outcome.exit_code, outcome.num_complete) == (0, 6)


def in_flight(results_dir: Path) -> list[dict[str, Any]]:
    """Return the trials that `status.json` names as running; it is written every few seconds."""
    path = results_dir / "status.json"
    return json.loads(path.read_text())["in_flight"] if path.is_file() else []


def running(results_dir: Path, trials: list[Any]) -> list[Any]:
    return [spec for spec in trials if times_run(results_dir, spec)]


def read_keys(results_dir: Path, trial_id: str | None = None) -> list[tuple[str, int]]:
    if not (results_dir / "records.jsonl").is_file():
        return []
    keys = [record.key for record in read_records(results_dir)]
    return [key for key in keys if trial_id in (None, key[0])]


_DRIVER = """
import sys
from pathlib import Path
from support.fake_trials import ENGINE, make_suite
from quadrat.cluster.runner.driver import run_on_ray
from quadrat.cluster.runner.context import RunOptions
from quadrat.cluster.runner.ray_session import ClusterError
suite = make_suite()
options = RunOptions(results_dir=Path(sys.argv[1]), engine=ENGINE, logs_to_mlflow=False)
try:
    sys.exit(run_on_ray(suite, suite.trials(), options).exit_code)
except ClusterError as error:
    sys.exit(f"error: {error}")
"""


def test_a_driver_whose_own_ray_dies_says_so_and_the_same_command_goes_on(tmp_path: Path) -> None:
    plan(tmp_path, TRIALS[0], what="hang", times=1)
    path = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"} | {"PYTHONPATH": path}
    command = [sys.executable, "-c", _DRIVER, str(tmp_path)]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as driver:
        try:
            await_(lambda: bool(read_keys(tmp_path, TRIALS[0].trial_id)))
            own = [child for child in psutil.Process(driver.pid).children(recursive=True) if child.name() == "raylet"]
            assert len(own) == 1
            own[0].kill()
            _, text = driver.communicate(timeout=90)
        finally:
            driver.kill()
    assert driver.returncode == 1
    assert "expected Ray on this machine to go on, got no node that is alive" in text
    assert "run the same command again" in text
    outcome: Outcome = run_in_foreground(SUITE, TRIALS, run_options(tmp_path))
    assert (outcome.exit_code, outcome.num_complete) == (0, 4)
