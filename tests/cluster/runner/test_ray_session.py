"""Starting Ray on a busy machine, and addresses that cannot be joined."""

import contextlib
import errno
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import ray
from support.fake_trials import ENGINE, make_suite, run_options
from support.ray_nodes import ray_nodes

from quadrat.cluster.runner.driver import run_in_foreground, run_on_ray
from quadrat.cluster.runner.ray_session import ClusterError, ray_session
from quadrat.cluster.runner.worker_pool import Worker, WorkerPool

SUITE = make_suite()
TRIALS = SUITE.trials()


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The address of a cluster of one node."""
    with ray_nodes(2) as cluster:
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
    ("error", "way_on"),
    [
        (
            OSError("AF_UNIX path length cannot exceed 107 bytes: /x/plasma_store"),
            "set TMPDIR to one with a short name",
        ),
        (OSError(errno.ENOSPC, "No space left on device"), "Make room in .* and in /dev/shm"),
        (ValueError("something else"), "Is the machine busy"),
    ],
)
def test_why_ray_cannot_start_is_one_sentence_with_the_way_on(
    monkeypatch: pytest.MonkeyPatch, error: Exception, way_on: str
) -> None:
    def init(**options: object) -> None:
        raise error

    monkeypatch.setattr("ray.init", init)
    with pytest.raises(ClusterError, match=way_on) as caught, ray_session("local"):
        pass
    assert "\n" not in str(caught.value)


def test_sigterm_while_ray_starts_ends_with_143_and_not_with_what_rays_handler_exits(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ended: list[str] = []

    def init(**options: object) -> None:
        # As Ray does when it has connected; the signal comes before the driver has installed its own handler again.
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(number))
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)

    monkeypatch.setattr("ray.init", init)
    monkeypatch.setattr("ray.shutdown", lambda: ended.append("shutdown"))
    outcome = run_on_ray(SUITE, TRIALS, run_options(tmp_path))
    assert outcome.exit_code == 128 + signal.SIGTERM
    assert ended == ["shutdown"]


def test_workers_of_a_ray_that_is_gone_need_no_stopping(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pool = WorkerPool(SUITE, tmp_path, ENGINE.open_runner, ENGINE.warm_up)
    pool._workers = [Worker(handle=None, readiness=None) for _ in range(2)]

    def kill(handle: object, no_restart: bool) -> None:
        raise ray.exceptions.RaySystemError("the GCS is gone")

    monkeypatch.setattr("ray.kill", kill)
    pool.stop_all()
    assert pool.idle == []


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
        run_on_ray(SUITE, TRIALS, run_options(tmp_path, address))
    assert run_in_foreground(SUITE, TRIALS, run_options(tmp_path)).exit_code == 0


@pytest.mark.cluster
@pytest.mark.slow
def test_a_cluster_is_not_told_the_password_of_an_endpoint(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from ray._raylet import GcsClient

    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://me:s3cr3t@127.0.0.1:9")
    monkeypatch.setenv("AWS_REGION", "a-region")
    assert run_on_ray(SUITE, TRIALS, run_options(tmp_path, address)).exit_code == 0
    assert "! AWS_ENDPOINT_URL: not sent to the workers" in capsys.readouterr().out
    shown = str(GcsClient(address=address).get_all_job_info())
    assert "a-region" in shown and "QUADRAT_NEEDED" in shown
    assert "s3cr3t" not in shown
