"""The bulletin: where a run is, for others to read while it runs."""

import json
import os
import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from quadrat.benchmark.storage.atomic import write_json
from quadrat.cluster.progress.progress import Row, RunProgress

__all__ = ["BULLETIN_NAME", "StatusFile", "describe", "describe_row", "read_status"]

BULLETIN_NAME: Final = "board.json"
"""Its name in the results folder. Truth is in the records; this file is gone when the run has ended."""

_POST_EVERY_S: Final = 3.0


class StatusFile:
    """Writes where a run is to small files, every few seconds and each time whole; a context manager.

    Args:
        say: Returns what is written, such as `describe` of a board.
        suite_name: Name of the suite.
        results_dir: Its results folder, where the file is as long as the run goes on.
        url: Where the results are kept as well.
        show: Called with what is written.
    """

    def __init__(
        self,
        say: Callable[[], dict[str, Any]],
        suite_name: str,
        results_dir: Path,
        *,
        url: str | None = None,
        show: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        self._say = say
        self._place = url or str(results_dir)
        self._show = show
        self._suite_name = suite_name
        self._started_at = datetime.now(UTC)
        self._paths = [results_dir / BULLETIN_NAME]
        self._posted_s = float("-inf")

    def post_to(self, path: Path) -> None:
        """Write to `path` as well, from now on; that file stays when the run has ended."""
        self._paths.append(path)
        self._posted_s = float("-inf")

    def post(self) -> None:
        """Write where the run is, unless that was done a moment ago.

        Raises:
            ResultsError: When the disk is full.
        """
        now_s = time.monotonic()
        if now_s - self._posted_s >= _POST_EVERY_S:
            self._posted_s = now_s
            self._write("running", self._say())

    def _write(self, state: str, said: dict[str, Any]) -> None:
        document = {
            "schema": 1,
            "suite": self._suite_name,
            "state": state,
            "results": self._place,
            "started_at": self._started_at.isoformat(timespec="seconds"),
            "written_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "driver": {"host": socket.gethostname(), "pid": os.getpid()},
            **said,
        }
        for path in self._paths:
            write_json(path, document)
        if self._show is not None:
            self._show(document)

    def __enter__(self) -> Self:
        self.post()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Not when something is wrong: a second error, of a full disk say, would hide the first one.
        if kind is None:
            self._write("ended", {**self._say(), "in_flight": [], "left_s": None})
        self._paths[0].unlink(missing_ok=True)


def read_status(results_dir: Path) -> dict[str, Any] | None:
    """Return what the driver of a results folder wrote last, None when there is none."""
    try:
        document: dict[str, Any] = json.loads((results_dir / BULLETIN_NAME).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return document


def describe(board: RunProgress) -> dict[str, Any]:
    """Return what a board says, JSON-plain."""
    return {
        "trials": {"num": board.num_trials, "complete": board.num_complete, "failed": board.num_failed},
        "rounds": {"num": board.num_rounds, "done": board.num_rounds_done},
        "activity": board.activity,
        "elapsed_s": round(board.elapsed_s, 1),
        "left_s": _rounded(board.left_s()),
        "waited_s": round(board.waited_s, 1),
        "in_flight": [describe_row(board, row) for row in board.rows.values()],
    }


def describe_row(board: RunProgress, row: Row) -> dict[str, Any]:
    """Return what is said of a trial in flight, JSON-plain."""
    progress = row.progress
    return {
        "trial_id": row.spec.trial_id,
        "label": row.spec.label,
        "seed": row.spec.seed,
        "host": row.host,
        "node": row.node,
        "pid": row.pid,
        "round": min(row.num_done, row.spec.num_rounds - 1),
        "num_rounds": row.spec.num_rounds,
        "phase": "opening" if progress is None else progress.phase,
        "done": 0 if progress is None else progress.done,
        "total": 0 if progress is None else progress.total,
        "miou": row.miou,
        "elapsed_s": round(board.row_elapsed_s(row), 1),
        "left_s": _rounded(board.row_left_s(row)),
    }


def _rounded(value_s: float | None) -> float | None:
    return None if value_s is None else round(value_s, 1)
