"""Leases: who may write somewhere on a storage without locks, for as long as it shows that it is alive.

A lease is a file `<name>/<generation>`; whoever puts generation n + 1, which one only can, has it. Its holder rewrites
the file every few seconds, and may leave a status in it for whoever looks. When the rewriting stops, whoever waits puts
the next generation. Nobody compares clocks of two machines: who waits measures on its own clock how long the file has
stayed the same.
"""

import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

from quadrat.benchmark.errors import ResultsError
from quadrat.benchmark.storage.atomic import is_process_gone, machine_id
from quadrat.benchmark.storage.remote import Remote

__all__ = ["Holder", "Lease", "acquire_lease", "holder_of", "lease_time_s"]

_DEFAULT_S: Final = 45.0
_POLL_S: Final = 1.0
_BEATS: Final = 4
"""Times that a holder rewrites its file within the time after which it would count as dead."""

_READS: Final = 3


def lease_time_s() -> float:
    """Return after how many silent seconds a holder counts as dead: `$QUADRAT_LEASE_S`, by default 45.

    Raises:
        ResultsError: When the variable holds no such number.
    """
    text = os.environ.get("QUADRAT_LEASE_S", "")
    try:
        value = float(text) if text else _DEFAULT_S
    except ValueError:
        value = 0.0
    if value <= 0:
        raise ResultsError(f"QUADRAT_LEASE_S: expected seconds, a number above 0, got '{text}'")
    return value


class Holder(NamedTuple):
    """Who holds a lease.

    Attributes:
        host: Its machine.
        pid: Its process there.
        renewed_every_s: Seconds between two renewals of its file.
        status: Its run status as last written, None when it has written none.
    """

    host: str
    pid: int
    renewed_every_s: float
    status: dict[str, Any] | None


class Lease:
    """A lease that is held; a context manager that gives it back. Made by `acquire_lease`.

    Args:
        remote: The storage.
        name: What is leased.
        generation: Number of the file that is ours.
        content: What is in it.
        lease_s: See `lease_time_s`.
    """

    def __init__(self, remote: Remote, name: str, generation: int, content: dict[str, Any], lease_s: float) -> None:
        self._upstream = remote
        self._name = name
        self._generation = generation
        self._content = content
        self._lease_s = lease_s
        self._shown_s = time.monotonic()
        self._is_lost = False
        self._beating = threading.Lock()
        self._ending = threading.Event()
        # A daemon: it must not keep a process alive that has crashed, and a dead process shows no life.
        self._thread = threading.Thread(target=self._beat_on, name=f"lease-{name}", daemon=True)
        self._thread.start()

    def ensure(self) -> None:
        """Make sure that the lease is still ours; called before what only its holder may write.

        Raises:
            ResultsError: When another process has taken it over: this one was silent for too long.
        """
        if not self._is_lost and time.monotonic() - self._shown_s > self._lease_s / 2:
            self._beat()
        if self._is_lost:
            raise ResultsError(
                f"{self._upstream.url} was taken over by another quadrat run, after this one had been out of touch for "
                f"{self._lease_s:g} s (paused, or without network). Nothing is lost: leave the results to the other run"
            )

    def set_status(self, status: dict[str, Any]) -> None:
        """Write `status`, JSON-plain, with the next renewal; others read it by `holder_of`."""
        self._content["status"] = status

    def release(self) -> None:
        """Give the lease back, so that the next one need not wait."""
        self._ending.set()
        with self._beating:
            if not self._is_lost:
                content = {**self._content, "released": True}
                self._upstream.write(f"{self._name}/{self._generation}", json.dumps(content).encode())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _beat_on(self) -> None:
        while not self._ending.wait(self._lease_s / _BEATS):
            try:
                self._beat()
            except ResultsError:
                continue  # `ensure` meets it again, in the thread that can tell the user

    def _beat(self) -> None:
        with self._beating:
            if self._ending.is_set():
                return
            if max(_generations(self._upstream, self._name), default=0) > self._generation:
                self._is_lost = True
                self._ending.set()
                return
            self._content["beat"] += 1
            self._upstream.write(f"{self._name}/{self._generation}", json.dumps(self._content).encode())
            self._shown_s = time.monotonic()


def acquire_lease(
    remote: Remote,
    name: str,
    *,
    on_wait: Callable[[], None] | None = None,
    blocking: bool = True,
) -> Lease:
    """Return the lease, when it is free or its holder has died; wait for it as long as its holder lives.

    Args:
        remote: The storage.
        name: What is leased.
        on_wait: Called about once a second while somebody else holds it.
        blocking: False refuses instead of waiting, as soon as the holder has shown that it lives.

    Raises:
        ResultsError: When the storage cannot be reached; when not patient, also when the holder lives.
    """
    lease_s = lease_time_s()
    seen: tuple[int, bytes | None] | None = None
    seen_s = time.monotonic()
    while True:
        generation = max(_generations(remote, name), default=0)
        content = remote.read(f"{name}/{generation}") if generation else None
        if seen is not None and not blocking and seen[0] == generation and seen[1] != content and _holder(content):
            raise _held(remote, content)
        if seen != (generation, content):
            seen, seen_s = (generation, content), time.monotonic()
        is_free = generation == 0 or _is_released_or_dead(content) or time.monotonic() - seen_s > lease_s
        if is_free and (lease := _try(remote, name, generation + 1, lease_s)) is not None:
            return lease
        if not is_free:
            if on_wait is not None:
                on_wait()
            time.sleep(min(_POLL_S, lease_s / 8))


def holder_of(remote: Remote, name: str) -> Holder | None:
    """Return who holds a lease, or did until it was killed; None when nobody does.

    Raises:
        ResultsError: When the storage cannot be reached, or what lies there is no lease.
    """
    for _ in range(_READS):
        generation = max(_generations(remote, name), default=0)
        content = remote.read(f"{name}/{generation}") if generation else None
        if generation == 0:
            return None
        try:
            value = json.loads(content or b"")
        except ValueError:  # taken over, or rewritten, while it was read
            continue
        if value.get("released"):
            return None
        return Holder(value["host"], value["pid"], value["renewed_every_s"], value["status"])
    raise ResultsError(
        f"expected a lease in {remote.url}/{name}, got files that change hands or are damaged: look again"
    )


def _try(remote: Remote, name: str, generation: int, lease_s: float) -> Lease | None:
    content = {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "machine": machine_id(),
        "token": secrets.token_hex(8),
        "beat": 0,
        "renewed_every_s": lease_s / _BEATS,
        "released": False,
        "status": None,
    }
    if not remote.create(f"{name}/{generation}", json.dumps(content).encode()):
        return None
    generations = _generations(remote, name)
    if max(generations, default=generation) > generation:  # ours was taken, given back and cleaned up before we put it
        remote.delete(f"{name}/{generation}")
        return None
    for old in generations:
        if old < generation:
            remote.delete(f"{name}/{old}")
    return Lease(remote, name, generation, content, lease_s)


def _generations(remote: Remote, name: str) -> list[int]:
    numbers = (path.rpartition("/")[2] for path in remote.names(name))
    return [int(number) for number in numbers if number.isdigit()]


def _holder(content: bytes | None) -> dict[str, Any] | None:
    """Return what a lease says; None when it is gone, given back, or half there."""
    try:
        value = json.loads(content) if content else None
    except ValueError:
        return None
    return value if isinstance(value, dict) and not value.get("released") else None


def _is_released_or_dead(content: bytes | None) -> bool:
    """Return whether the holder is known to be gone: it said so, or it was a process of this machine that is dead."""
    try:
        value = json.loads(content) if content else {}
    except ValueError:
        return False
    if value.get("released"):
        return True
    return value.get("machine") == machine_id() and is_process_gone(int(value["pid"]))


def _held(remote: Remote, content: bytes | None) -> ResultsError:
    holder = _holder(content) or {}
    return ResultsError(
        f"{remote.url} is in use by another quadrat run (process {holder.get('pid')} on {holder.get('host')}); wait "
        "until it ends, stop it, or give another --results"
    )
