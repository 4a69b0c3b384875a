"""Logging to MLflow during a run, in a thread, so that the run never waits for a tracking server."""

import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final

from quadrat.benchmark.redaction import redact
from quadrat.benchmark.results.records import Record
from quadrat.benchmark.tracking.client import State, default_uri
from quadrat.benchmark.tracking.writer import ResultsWriter

__all__ = ["MlflowLogger"]

_RETRY_S: Final = 30.0
_FINISH_S: Final = 30.0
"""Seconds that the end of a run waits for what has not been logged yet."""


class MlflowLogger:
    """Logs records and states to MLflow as they come, in a thread of its own.

    When the server does not answer, the user is warned once. Logging is retried every 30 s, and once more at the end.

    Args:
        results_dir: The results folder, with its suite.json.
        uri: An MLflow tracking URI, by default `default_uri(results_dir)`.
        warn: Called with a message, in the logger's thread, when the server does not accept what is logged.
        experiment: Name of the experiment, by default that of the suite.
    """

    def __init__(
        self, results_dir: Path, uri: str | None, warn: Callable[[str], None], experiment: str | None = None
    ) -> None:
        self._experiment = experiment
        self._results_dir = Path(results_dir)
        self._uri = uri or default_uri(results_dir)
        self._warn = warn
        self._has_warned = False
        self._tasks: deque[Callable[[ResultsWriter], object]] = deque()
        self._wake = threading.Event()
        self._ending = threading.Event()
        # A daemon: a server that hangs must not keep a finished run from ending.
        self._thread = threading.Thread(target=self._work, name="mlflow-logger", daemon=True)

    def start(self) -> None:
        """Start the thread. It imports MLflow, opens the store and logs what is in the files already."""
        self._put(lambda writer: writer.log_files())
        self._thread.start()

    def record(self, record: Record) -> None:
        """Log a round, soon."""
        self._put(lambda writer: writer.log_record(record))

    def state(self, trial_id: str, state: State) -> None:
        """Log the state of a trial, soon."""
        self._put(lambda writer: writer.log_state(trial_id, state))

    def candidates(self) -> None:
        """Log the candidates of the study, soon."""
        self._put(lambda writer: writer.log_candidates())

    def finish(self, wait_s: float | None = None) -> bool:
        """Wait at most `wait_s` (30 s) for what has not been logged yet, and return whether everything is."""
        self._put(lambda writer: writer.log_parents())
        self._ending.set()
        self._thread.join(_FINISH_S if wait_s is None else wait_s)
        if self._tasks:
            self._warn_once(f"{len(self._tasks)} updates were still waiting")
        return not self._tasks

    def _put(self, task: Callable[[ResultsWriter], object]) -> None:
        self._tasks.append(task)
        self._wake.set()

    def _work(self) -> None:
        """Do the tasks in their order. One that fails stays first: those behind it may build on it."""
        writer: ResultsWriter | None = None
        while True:
            while not self._tasks:
                if self._ending.is_set():
                    return
                self._wake.wait()
                self._wake.clear()
            try:
                writer = writer or ResultsWriter(self._results_dir, self._uri, self._warn, self._experiment)
                self._tasks[0](writer)
            except Exception as error:  # MLflow raises what its stores raise; none of it may stop the run
                writer = None  # what it knew of the store may be outdated
                self._warn_once(f"{type(error).__name__}: {_first_line(error)}")
                if self._ending.is_set():
                    return
                self._ending.wait(_RETRY_S)
            else:
                self._tasks.popleft()

    def _warn_once(self, reason: str) -> None:
        if not self._has_warned:
            self._has_warned = True
            self._warn(
                f"! MLflow at {redact(self._uri)} does not accept the records: {reason}\n"
                f"  The run goes on and loses nothing; `quadrat track {self._results_dir}` logs the files later"
            )


def _first_line(error: Exception) -> str:
    text = redact(str(error)).strip().partition("\n")[0]
    return text if len(text) <= 160 else text[:157] + "..."
