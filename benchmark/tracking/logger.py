"""Logging during a run, in a thread for each store, so that the run never waits for a tracking server."""

import shlex
import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Protocol

from quadrat.benchmark.redaction import first_line, redact
from quadrat.benchmark.results.records import Record
from quadrat.benchmark.tracking.addresses import default_uri
from quadrat.benchmark.tracking.client import State
from quadrat.benchmark.tracking.trackio_writer import TrackioWriter
from quadrat.benchmark.tracking.writer import ResultsWriter

__all__ = ["MLFLOW", "TRACKIO", "Loggers", "MlflowLogger", "TrackingLogger", "TrackioLogger", "Writer", "track_command"]

MLFLOW: Final = "MLflow"
TRACKIO: Final = "Trackio"
_RETRY_S: Final = 30.0
_FINISH_S: Final = 30.0
"""Seconds that the end of a run waits for what has not been logged yet."""


class Writer(Protocol):
    """Writes a results folder to what shows it. All of it is looked up before it is written: twice changes nothing."""

    def log_files(self) -> int:
        """Log everything in the files, and return the number of trials that have run."""

    def log_record(self, record: Record) -> None:
        """Log a round."""

    def log_state(self, trial_id: str, state: State) -> None:
        """Log the state of a trial."""

    def log_candidates(self) -> None:
        """Log the candidates of the study, if there is one."""

    def log_parents(self) -> None:
        """Log what can be said of several trials together once no more of them run."""


class TrackingLogger:
    """Logs records and states as they come, in a thread of its own.

    When the server does not answer, the user is warned once. Logging is retried every 30 s, and once more at the end.

    Args:
        open_writer: Opens the store; called in the thread, and again after an error.
        name: Of what it logs to.
        where: Names the store in messages.
        again: The command that logs the files later.
        warn: Called with a message, in the logger's thread, when the server does not accept what is logged.
    """

    def __init__(
        self, open_writer: Callable[[], Writer], warn: Callable[[str], None], *, name: str, where: str, again: str
    ) -> None:
        self.name = name
        self._open_writer = open_writer
        self._where = where
        self._again = again
        self._warn = warn
        self._has_warned = False
        self._tasks: deque[Callable[[Writer], object]] = deque()
        self._wake = threading.Event()
        self._ending = threading.Event()
        # A daemon: a server that hangs must not keep a finished run from ending.
        self._thread = threading.Thread(target=self._work, name="tracking-logger", daemon=True)

    def start(self) -> None:
        """Start the thread. It opens the store and logs what is in the files already."""
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

    def _put(self, task: Callable[[Writer], object]) -> None:
        self._tasks.append(task)
        self._wake.set()

    def _work(self) -> None:
        """Do the tasks in their order. One that fails stays first: those behind it may build on it."""
        writer: Writer | None = None
        while True:
            while not self._tasks:
                if self._ending.is_set():
                    return
                self._wake.wait()
                self._wake.clear()
            try:
                writer = writer or self._open_writer()
                self._tasks[0](writer)
            except Exception as error:  # a store raises what it likes; none of it may stop the run
                writer = None  # what it knew of the store may be outdated
                self._warn_once(f"{type(error).__name__}: {first_line(error)}")
                if self._ending.is_set():
                    return
                self._ending.wait(_RETRY_S)
            else:
                self._tasks.popleft()

    def _warn_once(self, reason: str) -> None:
        if not self._has_warned:
            self._has_warned = True
            self._warn(
                f"! {self._where} does not accept the records: {reason}\n"
                f"  The run goes on and loses nothing; `{self._again}` logs the files later"
            )


def track_command(results: Path | str, uri: str | None, experiment: str | None) -> list[str]:
    """Return the arguments of `quadrat` that log a results folder again to where it was to be logged; no password."""
    where = [] if uri is None else ["--mlflow", redact(uri)]
    return ["track", str(results), *where, *([] if experiment is None else ["--experiment", experiment])]


class MlflowLogger(TrackingLogger):
    """Logs to MLflow.

    Args:
        results_dir: The results folder, with its suite.json.
        uri: An MLflow tracking URI, by default `default_uri(results_dir)`.
        warn: See `TrackingLogger`.
        experiment: Name of the experiment, by default that of the suite.
    """

    def __init__(
        self, results_dir: Path, uri: str | None, warn: Callable[[str], None], experiment: str | None = None
    ) -> None:
        own = uri or default_uri(results_dir)
        super().__init__(
            lambda: ResultsWriter(Path(results_dir), own, warn, experiment),
            warn,
            name=MLFLOW,
            where=f"MLflow at {redact(own)}",
            again=shlex.join(["quadrat", *track_command(results_dir, uri, experiment)]),
        )


class TrackioLogger(TrackingLogger):
    """Logs to Trackio on this machine.

    Args:
        results_dir: The results folder, with its suite.json.
        project: Trackio's project.
        warn: See `TrackingLogger`.
    """

    def __init__(self, results_dir: Path, project: str, warn: Callable[[str], None]) -> None:
        super().__init__(
            lambda: TrackioWriter(Path(results_dir), project, warn),
            warn,
            name=TRACKIO,
            where=TRACKIO,
            again=shlex.join(["quadrat", "track", str(results_dir), "--mlflow", "none", "--trackio", project]),
        )


class Loggers:
    """Several loggers as one.

    Args:
        loggers: The loggers, which have been started.
    """

    def __init__(self, loggers: Sequence[TrackingLogger]) -> None:
        self._loggers = tuple(loggers)

    def record(self, record: Record) -> None:
        """Log a round, soon."""
        for logger in self._loggers:
            logger.record(record)

    def state(self, trial_id: str, state: State) -> None:
        """Log the state of a trial, soon."""
        for logger in self._loggers:
            logger.state(trial_id, state)

    def candidates(self) -> None:
        """Log the candidates of the study, soon."""
        for logger in self._loggers:
            logger.candidates()

    def finish(self, wait_s: float | None = None) -> tuple[str, ...]:
        """Wait at most `wait_s` (30 s) each for what has not been logged yet; return the names of what lacks some."""
        return tuple([logger.name for logger in self._loggers if not logger.finish(wait_s)])
