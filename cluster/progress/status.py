"""Status of a run: one small JSON file about its trials in flight, for other processes to read."""

import contextlib
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

from quadrat.benchmark.errors import QuadratError
from quadrat.benchmark.redaction import redact_url
from quadrat.benchmark.results.lock import driver_of
from quadrat.benchmark.storage.atomic import write_json
from quadrat.benchmark.storage.remote import is_url
from quadrat.cluster.progress.progress import Row, RunProgress

__all__ = ["STALE_S", "STATUS_NAME", "Status", "StatusFile", "describe", "describe_row", "read_status"]

STATUS_NAME: Final = "status.json"
"""Name of the file in the results folder. `records.jsonl` is authoritative; this file is deleted when the run ends."""

STALE_S: Final = 30.0
"""Age of a status file from which on its driver has probably died."""

_WRITE_EVERY_S: Final = 3.0


class StatusFile:
    """Status of a run, rewritten atomically every few seconds while the context is open.

    Args:
        describe: Returns what is written, such as `describe` of a `RunProgress`.
        suite_name: Name of the suite.
        results_dir: Its results folder, which holds the file as long as the run goes on.
        url: URL of the results, if they are kept at one.
        on_write: Called with the document each time it is written.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        describe: Callable[[], dict[str, Any]],
        suite_name: str,
        results_dir: Path,
        *,
        url: str | None = None,
        on_write: Callable[[dict[str, Any]], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._describe = describe
        self._results = redact_url(url) if url else str(results_dir)
        self._on_write = on_write
        self._clock = clock
        self._suite_name = suite_name
        self._started_at = datetime.now(UTC)
        self._paths = [results_dir / STATUS_NAME]
        self._readers: list[Callable[[dict[str, Any]], None]] = []
        self._written_s = float("-inf")

    def also_write_to(self, path: Path) -> None:
        """Write to `path` as well from now on. That copy is kept when the run ends."""
        self._paths.append(path)
        self._written_s = float("-inf")

    @contextlib.contextmanager
    def passed_to(self, read: Callable[[dict[str, Any]], None]) -> Iterator[None]:
        """Call `read` with the document too, each time it is written while the context is open."""
        self._readers.append(read)
        self._written_s = float("-inf")
        try:
            yield
        finally:
            self._readers.remove(read)

    def update(self) -> None:
        """Write the status, unless it was written less than 3 seconds ago.

        Raises:
            ResultsError: When the disk is full.
        """
        now_s = self._clock()
        if now_s - self._written_s >= _WRITE_EVERY_S:
            self._written_s = now_s
            self._write("running", self._describe())

    def _write(self, state: str, description: dict[str, Any]) -> None:
        document = {
            "schema": 1,
            "suite": self._suite_name,
            "state": state,
            "results": self._results,
            "started_at": self._started_at.isoformat(timespec="seconds"),
            "written_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "driver": {"host": socket.gethostname(), "pid": os.getpid()},
            **description,
        }
        for path in self._paths:
            write_json(path, document)
        if self._on_write is not None:
            self._on_write(document)
        for read in self._readers:
            read(document)

    def __enter__(self) -> Self:
        self.update()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Not after an error: a second one, say of a full disk, would hide the first.
        if kind is None:
            self._write("ended", {**self._describe(), "in_flight": [], "left_s": None})
        self._paths[0].unlink(missing_ok=True)


class Status(NamedTuple):
    """Status of a run as its driver wrote it last.

    Attributes:
        document: Content of the status file.
        stale_s: Age in seconds from which on the driver has probably died: it writes more often.
    """

    document: dict[str, Any]
    stale_s: float


def read_status(results: Path | str) -> Status | None:
    """Return the status of the run that writes to a results folder or URL, None when there is none.

    Raises:
        QuadratError: When a run writes to the URL but has not written its status yet.
    """
    if is_url(results):
        return _status_at(str(results))
    try:
        return Status(json.loads((Path(results) / STATUS_NAME).read_text(encoding="utf-8")), STALE_S)
    except FileNotFoundError:
        return None


def _status_at(url: str) -> Status | None:
    """Return the status that the driver of results on a URL keeps in its lease."""
    driver = driver_of(url)
    if driver is None:
        return None
    if driver.status is None:
        raise QuadratError(
            f"{url} is in use by process {driver.pid} on {driver.host}, which has not written its status yet: look "
            f"again in {driver.renewed_every_s:.0f} s"
        )
    return Status(driver.status, STALE_S + 2 * driver.renewed_every_s)


def describe(progress: RunProgress) -> dict[str, Any]:
    """Return the progress of a run as JSON-plain values."""
    round_s = progress.round_s()
    return {
        "trials": {"num": progress.num_trials, "complete": progress.num_complete, "failed": progress.num_failed},
        "rounds": {"num": progress.num_rounds, "done": progress.num_rounds_done},
        "fits": {"trained": progress.num_fits, "shared": progress.num_shared},
        "activity": progress.activity,
        "elapsed_s": round(progress.elapsed_s, 1),
        "left_s": _rounded(progress.left_s()),
        "waited_s": round(progress.waited_s, 1),
        "in_flight": [describe_row(progress, row, round_s) for row in progress.rows.values()],
    }


def describe_row(progress: RunProgress, row: Row, round_s: float | None) -> dict[str, Any]:
    """Return the progress of a trial in flight as JSON-plain values; `round_s` is that of `progress`."""
    latest = row.latest
    return {
        "trial_id": row.spec.trial_id,
        "label": row.spec.label,
        "seed": row.spec.seed,
        "host": row.host,
        "node": row.node,
        "pid": row.pid,
        "round": min(row.num_done, row.spec.num_rounds - 1),
        "num_rounds": row.spec.num_rounds,
        "phase": "opening" if latest is None else latest.phase,
        "done": 0 if latest is None else latest.done,
        "total": 0 if latest is None else latest.total,
        "miou": row.miou,
        "elapsed_s": round(progress.row_elapsed_s(row), 1),
        "left_s": _rounded(progress.row_left_at(row, round_s)),
    }


def _rounded(value_s: float | None) -> float | None:
    return None if value_s is None else round(value_s, 1)
