"""Starting Ray on a busy machine, and addresses that cannot be joined."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.fake_trials import (
    ENGINE,
    make_suite,
)
from support.ray_nodes import ray_nodes

from quadrat.cluster.runner.context import RunOptions
from quadrat.cluster.runner.driver import run_in_foreground, run_on_ray
from quadrat.cluster.runner.ray_session import ClusterError, ray_session

SUITE = make_suite()
TRIALS = SUITE.trials()


def options(results_dir: Path, address: str | None = None) -> RunOptions:
    return RunOptions(results_dir=results_dir, engine=ENGINE, logs_to_mlflow=False, ray_address=address)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The address of a cluster of two nodes of one CPU each."""
    with ray_nodes(1, 1) as cluster:
        yield cluster.address


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
