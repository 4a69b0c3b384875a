"""Leases: one holder at a time, taken over when it dies; a holder notices that it was taken over."""

import json
import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from quadrat.benchmark.errors import ResultsError
from quadrat.benchmark.storage.lease import acquire_lease, holder_of, lease_time_s
from quadrat.benchmark.storage.remote import Remote


@pytest.fixture
def remote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Remote:
    monkeypatch.setenv("QUADRAT_LEASE_S", "1")
    return Remote(f"file://{tmp_path}/there")


def put_lease_of_another_machine(remote: Remote, **changes: object) -> None:
    """Put the lease of a process on another machine."""
    content = {"host": "node-7", "pid": 4242, "machine": "00000000", "renewed_every_s": 11.25}
    content |= {"token": "t", "renewals": 0, "released": False, "status": None}
    remote.write("driver/3", json.dumps({**content, **changes}).encode())


def test_a_released_lease_is_free(remote: Remote) -> None:
    for _ in range(3):
        with acquire_lease(remote, "driver", blocking=False) as lease:
            lease.ensure()
    assert len(remote.names("driver")) == 1


def test_a_nonblocking_request_is_refused_once_the_holder_renews_its_lease(remote: Remote) -> None:
    with (
        acquire_lease(remote, "driver"),
        pytest.raises(ResultsError, match=rf"in use by another quadrat run \(process {os.getpid()} on "),
    ):
        acquire_lease(remote, "driver", blocking=False)


def test_a_waiting_process_gets_the_lease_when_it_is_released(remote: Remote) -> None:
    first = acquire_lease(remote, "fit")
    waits = []

    def on_wait() -> None:
        waits.append(1)
        if len(waits) == 3:
            first.release()

    acquire_lease(remote, "fit", on_wait=on_wait).release()
    assert len(waits) >= 3


def test_a_lease_of_another_machine_that_is_not_renewed_is_taken_over_after_its_time(remote: Remote) -> None:
    put_lease_of_another_machine(remote)
    start_s = time.monotonic()
    with acquire_lease(remote, "driver", blocking=False):
        assert time.monotonic() - start_s >= lease_time_s()
        assert remote.names("driver") == ["driver/4"]


def test_a_lease_that_another_machine_released_is_taken_at_once(remote: Remote) -> None:
    put_lease_of_another_machine(remote, released=True)
    acquire_lease(remote, "driver", on_wait=lambda: pytest.fail("waited")).release()


def test_a_holder_whose_lease_was_taken_over_may_not_write(remote: Remote) -> None:
    lease = acquire_lease(remote, "driver")
    lease.ensure()
    generation = int(remote.names("driver")[-1].rpartition("/")[2])
    remote.write(f"driver/{generation + 1}", b"{}")  # the successor
    deadline_s = time.monotonic() + 60
    with pytest.raises(ResultsError, match="was taken over by another quadrat run"):
        while time.monotonic() < deadline_s:
            lease.ensure()
            time.sleep(0.1)
    lease.release()
    assert f"driver/{generation + 1}" in remote.names("driver")


def _hold(url: str, there: Path) -> None:
    with acquire_lease(Remote(url), "fit"):
        there.touch()
        time.sleep(600)


def test_a_lease_of_a_killed_process_of_this_machine_is_taken_over_at_once(
    remote: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUADRAT_LEASE_S", "3600")
    holder = multiprocessing.get_context("spawn").Process(target=_hold, args=(remote.url, tmp_path / "held"))
    holder.start()
    deadline_s = time.monotonic() + 60
    while not (tmp_path / "held").exists() and time.monotonic() < deadline_s:
        time.sleep(0.05)
    assert holder.pid is not None
    os.kill(holder.pid, signal.SIGKILL)
    holder.join(60)
    acquire_lease(remote, "fit").release()


@pytest.mark.parametrize("text", ["soon", "0", "-1"])
def test_an_invalid_lease_time_is_a_clear_error(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("QUADRAT_LEASE_S", text)
    with pytest.raises(ResultsError, match=f"QUADRAT_LEASE_S: expected seconds, .* got '{text}'"):
        lease_time_s()


def test_others_read_the_status_of_a_holder_until_it_releases_the_lease(remote: Remote) -> None:
    assert holder_of(remote, "driver") is None
    with acquire_lease(remote, "driver") as lease:
        holder = holder_of(remote, "driver")
        assert holder is not None
        assert (holder.pid, holder.renewed_every_s, holder.status) == (os.getpid(), 0.25, None)
        lease.set_status({"rounds": 3})
        deadline_s = time.monotonic() + 60
        while (holder := holder_of(remote, "driver")) is None or holder.status != {"rounds": 3}:
            assert time.monotonic() < deadline_s
            time.sleep(0.05)
    assert holder_of(remote, "driver") is None


def test_the_status_of_a_killed_holder_is_still_read(remote: Remote) -> None:
    put_lease_of_another_machine(remote, status={"rounds": 2})
    assert holder_of(remote, "driver") == ("node-7", 4242, 11.25, {"rounds": 2})
    put_lease_of_another_machine(remote)
    assert holder_of(remote, "driver") == ("node-7", 4242, 11.25, None)


def test_an_unreadable_lease_is_not_free(remote: Remote) -> None:
    remote.write("driver/3", b'{"host": "node')
    with pytest.raises(ResultsError, match="look again"):
        holder_of(remote, "driver")
