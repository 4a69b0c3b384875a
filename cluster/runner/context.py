"""The start of every run: lock the results folder, open progress, status and MLflow, and prepare the data.

`quadrat run` and `quadrat study` both start with the functions of this module.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from quadrat.benchmark.config.suite import Suite
from quadrat.benchmark.results.folder import check_results
from quadrat.benchmark.results.lock import ResultsLock, lock_results
from quadrat.benchmark.storage.remote import Remote
from quadrat.benchmark.tracking.logger import Loggers, MlflowLogger, TrackingLogger, TrackioLogger
from quadrat.cluster.progress.display import Display
from quadrat.cluster.progress.progress import RunProgress
from quadrat.cluster.progress.status import StatusFile, describe
from quadrat.cluster.runner.engine import Engine
from quadrat.cluster.runner.interrupt import StopRequest

__all__ = ["Locked", "RunContext", "RunOptions", "lock_folder", "open_context", "prepare", "start_logging"]


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How a suite is run; none of it can change a number.

    Attributes:
        results_dir: Results folder; all files of the run are written below it.
        engine: Prepares the folder and runs the trials.
        logs_to_mlflow: Whether records are logged to MLflow.
        mlflow_uri: Tracking URI, None for a store inside `results_dir`.
        experiment: MLflow experiment, None for that of the suite's name.
        trackio: Project of Trackio to log to as well, None to log to none.
        ray_address: The cluster to join, None to start Ray on this machine.
        remote: Remote copy of the results; `results_dir` is then the local working folder.
        until_s: When the run stops, by `time.monotonic`; None for no limit.
    """

    results_dir: Path
    engine: Engine
    logs_to_mlflow: bool = True
    mlflow_uri: str | None = None
    experiment: str | None = None
    trackio: str | None = None
    ray_address: str | None = None
    remote: Remote | None = None
    until_s: float | None = None

    @property
    def url(self) -> str | None:
        """URL of the results; None when they are in a folder alone."""
        return None if self.remote is None else self.remote.url


class Locked(NamedTuple):
    """A results folder that this process alone writes to.

    Attributes:
        lock: The lock; it also publishes files to the URL of the results.
        stop: Whether the user has asked to stop.
    """

    lock: ResultsLock
    stop: StopRequest


@dataclass(frozen=True, kw_only=True)
class RunContext:
    """What is open while the trials of a suite, or the candidates of its study, run."""

    suite: Suite
    options: RunOptions
    lock: ResultsLock
    stop: StopRequest
    progress: RunProgress
    display: Display
    status: StatusFile

    def announce(self, activity: str) -> None:
        """Print what the driver does before trials run, and show it in display and status."""
        self.progress.activity = activity
        self.display.print(activity)

    def refresh(self) -> None:
        """Bring display and status file up to date; both limit how often they do it."""
        self.display.refresh()
        self.status.update()


@contextlib.contextmanager
def lock_folder(suite: Suite, options: RunOptions) -> Iterator[Locked]:
    """Lock the results folder of a suite and take over SIGINT and SIGTERM.

    Raises:
        ResultsError: When the folder is in use, belongs to another suite, or cannot be written.
    """
    with (
        StopRequest(options.until_s) as stop,
        lock_results(options.results_dir, options.remote, stop.raise_if_requested) as lock,
    ):
        check_results(options.results_dir, suite)
        yield Locked(lock, stop)


@contextlib.contextmanager
def open_context(
    suite: Suite,
    options: RunOptions,
    locked: Locked,
    *,
    progress: RunProgress,
    display: Display,
    describe_status: Callable[[], dict[str, Any]] | None = None,
) -> Iterator[RunContext]:
    """Write a status file while the context is open.

    Args:
        suite: The suite.
        options: How it is run.
        locked: Its results folder.
        progress: Progress of the run.
        display: Shows it.
        describe_status: Returns the content of the status file; `progress` is described by default.
    """
    with StatusFile(
        describe_status or partial(describe, progress),
        suite.name,
        options.results_dir,
        url=options.url,
        on_write=locked.lock.set_status,
    ) as status:
        yield RunContext(
            suite=suite, options=options, **locked._asdict(), progress=progress, display=display, status=status
        )


def prepare(context: RunContext) -> None:
    """Open the data set, pack its images unless they are packed, and write suite.json and environment.json.

    Raises:
        DataError: When the data set is missing or contradicts itself.
        KeyboardInterrupt: When the user asked to stop meanwhile.
    """

    def on_pack(what: str, done: int, total: int) -> None:
        context.stop.raise_if_requested()
        context.progress.activity = f"{what}  {done}/{total}"
        context.refresh()

    context.announce(f"opening data set {context.suite.dataset.name}")
    context.options.engine.prepare(context.suite, context.options.results_dir, on_pack)
    context.stop.raise_if_requested()
    context.lock.publish("suite.json", "environment.json")


def start_logging(context: RunContext) -> Loggers:
    """Start to log the results folder to MLflow and Trackio, each in a thread, as the options say."""
    options, say = context.options, context.display.print
    loggers: list[TrackingLogger] = []
    if options.logs_to_mlflow:
        loggers.append(MlflowLogger(options.results_dir, options.mlflow_uri, say, options.experiment))
    if options.trackio is not None:
        loggers.append(TrackioLogger(options.results_dir, options.trackio, say))
    for logger in loggers:
        logger.start()
    return Loggers(loggers)
