"""Leases: one holder at a time, taken over when it dies, noticed by a holder that was taken for dead."""

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


def put_foreign(remote: Remote, **changes: object) -> None:
    """Put the lease of a process on another machine."""
    content = {"host": "node-7", "pid": 4242, "machine": "00000000", "renewed_every_s": 11.25}
    content |= {"token": "t", "renewals": 0, "released": False, "status": None}
    remote.write("driver/3", json.dumps({**content, **changes}).encode())


def test_a_lease_that_was_given_back_is_free(remote: Remote) -> None:
    for _ in range(3):
        with acquire_lease(remote, "driver", blocking=False) as lease:
            lease.ensure()
    assert len(remote.names("driver")) == 1


def test_who_may_not_wait_is_refused_as_soon_as_the_holder_shows_that_it_lives(remote: Remote) -> None:
    with (
        acquire_lease(remote, "driver"),
        pytest.raises(ResultsError, match=rf"in use by another quadrat run \(process {os.getpid()} on "),
    ):
        acquire_lease(remote, "driver", blocking=False)


def test_who_waits_gets_it_when_the_holder_gives_it_back(remote: Remote) -> None:
    first = acquire_lease(remote, "fit")
    waits = []

    def on_wait() -> None:
        waits.append(1)
        if len(waits) == 3:
            first.release()

    acquire_lease(remote, "fit", on_wait=on_wait).release()
    assert len(waits) >= 3


def test_a_holder_on_another_machine_that_shows_no_life_is_succeeded_after_its_time(remote: Remote) -> None:
    put_foreign(remote)
    start_s = time.monotonic()
    with acquire_lease(remote, "driver", blocking=False):
        assert time.monotonic() - start_s >= lease_time_s()
        assert remote.names("driver") == ["driver/4"]


def test_a_holder_on_another_machine_that_gave_it_back_is_succeeded_at_once(remote: Remote) -> None:
    put_foreign(remote, released=True)
    acquire_lease(remote, "driver", on_wait=lambda: pytest.fail("waited")).release()


def test_a_holder_that_was_taken_for_dead_may_not_go_on_writing(remote: Remote) -> None:
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


def test_a_killed_holder_of_this_machine_is_succeeded_without_waiting_for_its_time(
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
def test_a_lease_time_that_is_none_is_a_clear_error(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("QUADRAT_LEASE_S", text)
    with pytest.raises(ResultsError, match=f"QUADRAT_LEASE_S: expected seconds, .* got '{text}'"):
        lease_time_s()


def test_what_a_holder_shows_is_read_by_others_until_it_gives_the_lease_back(remote: Remote) -> None:
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


def test_what_a_holder_showed_that_was_killed_is_still_there(remote: Remote) -> None:
    put_foreign(remote, status={"rounds": 2})
    assert holder_of(remote, "driver") == ("node-7", 4242, 11.25, {"rounds": 2})
    put_foreign(remote)
    assert holder_of(remote, "driver") == ("node-7", 4242, 11.25, None)


def test_a_lease_that_cannot_be_read_is_not_taken_for_a_free_one(remote: Remote) -> None:
    remote.write("driver/3", b'{"host": "node')
    with pytest.raises(ResultsError, match="look again"):
        holder_of(remote, "driver")
