"""Leases: mutual exclusion between machines that have only object storage in common.

A lease is a file `<name>/<generation>`. To take it, a process creates generation n + 1, which only one can. The holder
renews it by rewriting the file every few seconds, and may put its run status in it. When renewals stop, a waiting
process creates the next generation.

No clock says whether a lease is still held: one that stands still while the machine sleeps or is paused would say so
for too long. `Lease.ensure` reads the lease back and looks for the holder's own token in its newest generation. Clocks
of two machines are never compared either: who waits measures on its own clock for how long the file has not changed,
and that clock stands still while it sleeps, so that two processes which wake up together do not rob each other.
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

from quadrat.benchmark.errors import ResultsError, UnavailableError
from quadrat.benchmark.storage.atomic import is_process_gone, machine_id
from quadrat.benchmark.storage.remote import ChangedError, Remote

__all__ = ["Holder", "Lease", "acquire_lease", "holder_of", "lease_time_s"]

_DEFAULT_S: Final = 45.0
_POLL_S: Final = 1.0
_RENEWALS: Final = 4
"""Renewals within the time after which a holder counts as dead."""
_READS: Final = 3


def lease_time_s() -> float:
    """Return the seconds without renewal after which a holder counts as dead: `$QUADRAT_LEASE_S`, by default 45.

    Raises:
        ResultsError: When the variable does not hold a number above 0.
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
    """Holder of a lease.

    Attributes:
        host: Its machine.
        pid: Its process there.
        renewed_every_s: Seconds between two renewals of its file.
        status: Its run status as of the last renewal; None until it has set one.
    """

    host: str
    pid: int
    renewed_every_s: float
    status: dict[str, Any] | None


class Lease:
    """A held lease, renewed by a thread; a context manager that releases it. Made by `acquire_lease`.

    Args:
        remote: The storage.
        name: Name of the lease.
        generation: Number of this holder's file.
        content: Content of that file.
        lease_s: See `lease_time_s`.
    """

    def __init__(self, remote: Remote, name: str, generation: int, content: dict[str, Any], lease_s: float) -> None:
        self._remote = remote
        self._name = name
        self._generation = generation
        self._content = content
        self._lease_s = lease_s
        self._is_lost = False
        self._renewing = threading.Lock()
        self._ending = threading.Event()
        # A daemon: it must not keep a crashed process alive, and a dead process renews nothing.
        self._thread = threading.Thread(target=self._renew_regularly, name=f"lease-{name}", daemon=True)
        self._thread.start()

    def ensure(self) -> None:
        """Check on the storage that the lease is still held; called before every attempt of a write that needs it.

        Raises:
            ResultsError: When another process has taken it over because renewals had stopped for too long, or the
                storage cannot be reached.
        """
        if not self._is_lost:
            self._is_held(self._remote.read(self._file))
        self.raise_if_lost()

    def raise_if_lost(self) -> None:
        """Raise the error of `ensure` when the last renewal or check has found the lease lost; asks no storage."""
        if self._is_lost:
            raise UnavailableError(
                f"{self._remote.shown} was taken over by another quadrat run, after this one had been out of touch for "
                f"{self._lease_s:g} s (suspended, paused, or without network). Nothing is lost: leave the results to "
                "the other run"
            )

    def set_status(self, status: dict[str, Any]) -> None:
        """Write `status`, JSON-plain, with the next renewal; others read it with `holder_of`."""
        self._content["status"] = status

    def release(self) -> None:
        """Release the lease, so that the next holder need not wait for it to expire."""
        self._ending.set()
        with self._renewing:
            self._write({**self._content, "released": True})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.release()
        except ResultsError:
            if error is None:  # else the first error is what the user has to know; the lease expires by itself
                raise

    def _renew_regularly(self) -> None:
        while not self._ending.wait(self._lease_s / _RENEWALS):
            try:
                self._renew()
            except ResultsError:
                continue  # `ensure` meets it again, in a thread whose errors reach the user

    def _renew(self) -> None:
        with self._renewing:
            if self._ending.is_set():
                return
            self._content["renewals"] += 1
            self._write(self._content)

    def _write(self, content: dict[str, Any]) -> None:
        """Write this holder's file, unless another process has taken over."""
        there = self._remote.read_version(self._file)
        if self._is_lost or not self._is_held(there.data):
            return
        try:
            self._remote.replace(self._file, json.dumps(content).encode(), there.version)
        except ChangedError:  # deleted by the next holder between the two calls
            self._is_held(self._remote.read(self._file))

    def _is_held(self, content: bytes | None) -> bool:
        """Return whether `content` of this holder's file has its token and no newer one exists; a loss is noted."""
        is_mine = _parse(content).get("token") == self._content["token"]
        if not is_mine or _newest(self._remote, self._name) > self._generation:
            self._is_lost = True
            self._ending.set()
        return not self._is_lost

    @property
    def _file(self) -> str:
        return f"{self._name}/{self._generation}"


def acquire_lease(
    remote: Remote,
    name: str,
    *,
    on_wait: Callable[[], None] | None = None,
    blocking: bool = True,
) -> Lease:
    """Return the lease once it is free, was released, or its holder has died.

    Args:
        remote: The storage.
        name: Name of the lease.
        on_wait: Called about once a second while another process holds it.
        blocking: Whether to wait for a holder that is alive; False raises as soon as it has renewed its lease.

    Raises:
        ResultsError: When the storage cannot be reached; when not blocking, also when the holder is alive.
    """
    lease_s = lease_time_s()
    seen: tuple[int, bytes | None] | None = None
    seen_s = time.monotonic()
    while True:
        generation, content = _read(remote, name)
        holder = _parse(content)
        if seen != (generation, content):
            is_alive = seen is not None and seen[0] == generation and bool(holder) and not holder.get("released")
            if is_alive and not blocking:
                raise UnavailableError(
                    f"{remote.shown} is in use by another quadrat run (process {holder['pid']} on {holder['host']}); "
                    "wait until it ends, stop it, or give another --results"
                )
            seen, seen_s = (generation, content), time.monotonic()
        is_free = generation == 0 or _is_released_or_dead(holder) or time.monotonic() - seen_s > lease_s
        if is_free and (lease := _create(remote, name, generation + 1, lease_s)) is not None:
            return lease
        if not is_free:
            if on_wait is not None:
                on_wait()
            time.sleep(min(_POLL_S, lease_s / 8))


def holder_of(remote: Remote, name: str) -> Holder | None:
    """Return the holder of a lease, also one that was killed; None when the lease is free.

    Raises:
        ResultsError: When the storage cannot be reached, or the file is not a lease.
    """
    for _ in range(_READS):
        generation, content = _read(remote, name)
        if generation == 0:
            return None
        if value := _parse(content):  # else taken over, or rewritten, while it was read
            if value.get("released"):
                return None
            return Holder(value["host"], value["pid"], value["renewed_every_s"], value["status"])
    raise ResultsError(
        f"expected a lease in {remote.shown}/{name}, got files that change hands or are damaged: look again"
    )


def _create(remote: Remote, name: str, generation: int, lease_s: float) -> Lease | None:
    """Return the lease of that generation, or None when another process was faster."""
    content = {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "machine": machine_id(),
        "token": secrets.token_hex(8),
        "renewals": 0,
        "renewed_every_s": lease_s / _RENEWALS,
        "released": False,
        "status": None,
    }
    data = json.dumps(content).encode()
    if not remote.create(f"{name}/{generation}", data) or remote.read(f"{name}/{generation}") != data:
        return None
    generations = _generations(remote, name)
    if max(generations, default=generation) > generation:  # ours was taken, released and deleted before we created it
        remote.delete(f"{name}/{generation}")
        return None
    for old in generations:
        if old < generation:
            remote.delete(f"{name}/{old}")
    return Lease(remote, name, generation, content, lease_s)


def _generations(remote: Remote, name: str) -> list[int]:
    numbers = (path.rpartition("/")[2] for path in remote.names(name))
    return [int(number) for number in numbers if number.isdigit()]


def _newest(remote: Remote, name: str) -> int:
    """Return the newest generation, 0 when there is none."""
    return max(_generations(remote, name), default=0)


def _read(remote: Remote, name: str) -> tuple[int, bytes | None]:
    """Return the newest generation and its content; None when it was deleted in between."""
    generation = _newest(remote, name)
    return generation, remote.read(f"{name}/{generation}") if generation else None


def _parse(content: bytes | None) -> dict[str, Any]:
    """Return the content of a lease; empty when the file is gone or incomplete."""
    try:
        value = json.loads(content) if content else {}
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _is_released_or_dead(holder: dict[str, Any]) -> bool:
    """Return whether the holder has released the lease, or was a process of this machine that no longer runs."""
    if holder.get("released"):
        return True
    return holder.get("machine") == machine_id() and is_process_gone(int(holder["pid"]))
