"""The mirror of a run while it runs: a thread, so that the run never waits for a tracking server."""

import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final

from quadrat.benchmark.results.records import Record
from quadrat.benchmark.tracking.client import State, default_uri, without_password
from quadrat.benchmark.tracking.writer import ResultsWriter

__all__ = ["MlflowLogger"]

_TRY_AGAIN_S: Final = 30.0
_LAST_CALL_S: Final = 30.0
"""How long the end of a run waits for what is not mirrored yet."""


class MlflowLogger:
    """Mirrors records and states as they come, in a thread of its own.

    When the server does not answer, that is said once; it is tried again now and then, and a last time at the end.

    Args:
        results_dir: The results folder, its suite.json written.
        uri: An MLflow tracking URI, by default `default_uri(results_dir)`.
        warn: Told, in the mirror's thread, when the server does not take what it is given.
    """

    def __init__(self, results_dir: Path, uri: str | None, warn: Callable[[str], None]) -> None:
        self._results_dir = Path(results_dir)
        self._uri = uri or default_uri(results_dir)
        self._warn = warn
        self._has_warned = False
        self._tasks: deque[Callable[[ResultsWriter], object]] = deque()
        self._wake = threading.Event()
        self._ending = threading.Event()
        # A daemon: a server that hangs must not keep a finished run from ending.
        self._thread = threading.Thread(target=self._work, name="mlflow-mirror", daemon=True)

    def start(self) -> None:
        """Start the thread, which imports MLflow, opens the store and mirrors what is in the files already."""
        self._put(lambda writer: writer.take_files())
        self._thread.start()

    def record(self, record: Record) -> None:
        """Log a round, soon."""
        self._put(lambda writer: writer.record(record))

    def state(self, trial_id: str, state: State) -> None:
        """Log what has become of a trial, soon."""
        self._put(lambda writer: writer.state(trial_id, state))

    def candidates(self) -> None:
        """Log what has become of the candidates of a study, soon."""
        self._put(lambda writer: writer.candidates())

    def finish(self) -> bool:
        """Wait for what is not mirrored yet, but not for long, and return whether all of it is."""
        self._put(lambda writer: writer.close())
        self._ending.set()
        self._thread.join(_LAST_CALL_S)
        if self._tasks:
            self._complain(f"{len(self._tasks)} updates were still waiting")
        return not self._tasks

    def _put(self, task: Callable[[ResultsWriter], object]) -> None:
        self._tasks.append(task)
        self._wake.set()

    def _work(self) -> None:
        """Do the tasks in their order. One that fails stays at the head: those behind it may build on it."""
        writer: ResultsWriter | None = None
        while True:
            while not self._tasks:
                if self._ending.is_set():
                    return
                self._wake.wait()
                self._wake.clear()
            try:
                writer = writer or ResultsWriter(self._results_dir, self._uri)
                self._tasks[0](writer)
            except Exception as error:  # MLflow raises what its stores raise; none of it may stop the run
                writer = None  # what it knew of the store may no longer be so
                self._complain(f"{type(error).__name__}: {_first_line(error)}")
                if self._ending.is_set():
                    return
                self._ending.wait(_TRY_AGAIN_S)
            else:
                self._tasks.popleft()

    def _complain(self, reason: str) -> None:
        if not self._has_warned:
            self._has_warned = True
            self._warn(
                f"! MLflow at {without_password(self._uri)} does not take the records: {reason}\n"
                f"  The run goes on and loses nothing; `quadrat track {self._results_dir}` mirrors the files later"
            )


def _first_line(error: Exception) -> str:
    text = without_password(str(error)).strip().partition("\n")[0]
    return text if len(text) <= 160 else text[:157] + "..."
