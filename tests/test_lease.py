"""Leases: one holder at a time, taken over when it dies, noticed by a holder that was taken for dead."""

import json
import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from quadrat.benchmark.errors import ResultsError
from quadrat.benchmark.lease import acquire_lease, holder_of, lease_time_s
from quadrat.benchmark.upstream import Upstream


@pytest.fixture
def upstream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Upstream:
    monkeypatch.setenv("QUADRAT_LEASE_S", "1")
    return Upstream(f"file://{tmp_path}/there")


def put_foreign(upstream: Upstream, **changes: object) -> None:
    """Put the lease of a process on another machine."""
    content = {"host": "node-7", "pid": 4242, "machine": "00000000", "token": "t", "beat": 0, "released": False}
    upstream.write("driver/3", json.dumps({**content, **changes}).encode())


def test_a_lease_that_was_given_back_is_free(upstream: Upstream) -> None:
    for _ in range(3):
        with acquire_lease(upstream, "driver", is_patient=False) as lease:
            lease.ensure()
    assert len(upstream.names("driver")) == 1


def test_who_may_not_wait_is_refused_as_soon_as_the_holder_shows_that_it_lives(upstream: Upstream) -> None:
    with (
        acquire_lease(upstream, "driver"),
        pytest.raises(ResultsError, match=rf"in use by another quadrat run \(process {os.getpid()} on "),
    ):
        acquire_lease(upstream, "driver", is_patient=False)


def test_who_waits_gets_it_when_the_holder_gives_it_back(upstream: Upstream) -> None:
    first = acquire_lease(upstream, "fit")
    waits = []

    def on_wait() -> None:
        waits.append(1)
        if len(waits) == 3:
            first.release()

    acquire_lease(upstream, "fit", on_wait=on_wait).release()
    assert len(waits) >= 3


def test_a_holder_on_another_machine_that_shows_no_life_is_succeeded_after_its_time(upstream: Upstream) -> None:
    put_foreign(upstream)
    start_s = time.monotonic()
    with acquire_lease(upstream, "driver", is_patient=False):
        assert time.monotonic() - start_s >= lease_time_s()
        assert upstream.names("driver") == ["driver/4"]


def test_a_holder_on_another_machine_that_gave_it_back_is_succeeded_at_once(upstream: Upstream) -> None:
    put_foreign(upstream, released=True)
    acquire_lease(upstream, "driver", on_wait=lambda: pytest.fail("waited")).release()


def test_a_holder_that_was_taken_for_dead_may_not_go_on_writing(upstream: Upstream) -> None:
    lease = acquire_lease(upstream, "driver")
    lease.ensure()
    generation = int(upstream.names("driver")[-1].rpartition("/")[2])
    upstream.write(f"driver/{generation + 1}", b"{}")  # the successor
    deadline_s = time.monotonic() + 60
    with pytest.raises(ResultsError, match="was taken over by another quadrat run"):
        while time.monotonic() < deadline_s:
            lease.ensure()
            time.sleep(0.1)
    lease.release()
    assert f"driver/{generation + 1}" in upstream.names("driver")


def _hold(url: str, there: Path) -> None:
    with acquire_lease(Upstream(url), "fit"):
        there.touch()
        time.sleep(600)


def test_a_killed_holder_of_this_machine_is_succeeded_without_waiting_for_its_time(
    upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUADRAT_LEASE_S", "3600")
    holder = multiprocessing.get_context("spawn").Process(target=_hold, args=(upstream.url, tmp_path / "held"))
    holder.start()
    deadline_s = time.monotonic() + 60
    while not (tmp_path / "held").exists() and time.monotonic() < deadline_s:
        time.sleep(0.05)
    assert holder.pid is not None
    os.kill(holder.pid, signal.SIGKILL)
    holder.join(60)
    acquire_lease(upstream, "fit").release()


@pytest.mark.parametrize("text", ["soon", "0", "-1"])
def test_a_lease_time_that_is_none_is_a_clear_error(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("QUADRAT_LEASE_S", text)
    with pytest.raises(ResultsError, match=f"QUADRAT_LEASE_S: expected seconds, .* got '{text}'"):
        lease_time_s()


def test_what_a_holder_shows_is_read_by_others_until_it_gives_the_lease_back(upstream: Upstream) -> None:
    assert holder_of(upstream, "driver") is None
    with acquire_lease(upstream, "driver") as lease:
        holder = holder_of(upstream, "driver")
        assert holder is not None
        assert (holder.pid, holder.beats_every_s, holder.notice) == (os.getpid(), 0.25, None)
        lease.show({"rounds": 3})
        deadline_s = time.monotonic() + 60
        while (holder := holder_of(upstream, "driver")) is None or holder.notice != {"rounds": 3}:
            assert time.monotonic() < deadline_s
            time.sleep(0.05)
    assert holder_of(upstream, "driver") is None


def test_what_a_holder_showed_that_was_killed_is_still_there(upstream: Upstream) -> None:
    put_foreign(upstream, notice={"rounds": 2}, beats_every_s=11.25)
    assert holder_of(upstream, "driver") == ("node-7", 4242, 11.25, {"rounds": 2})
    put_foreign(upstream)  # of an older quadrat, that shows nothing
    assert holder_of(upstream, "driver") == ("node-7", 4242, None, None)


def test_a_lease_that_cannot_be_read_is_not_taken_for_a_free_one(upstream: Upstream) -> None:
    upstream.write("driver/3", b'{"host": "node')
    with pytest.raises(ResultsError, match="look again"):
        holder_of(upstream, "driver")
