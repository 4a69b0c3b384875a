"""What lies on the driver's desk: how a suite is run, what is open at its start, what is open while trials run."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from quadrat.benchmark.config.suite import Suite
from quadrat.benchmark.config.trial import TrialSpec
from quadrat.benchmark.storage.remote import Remote
from quadrat.cluster.progress.display import Display
from quadrat.cluster.progress.progress import RunProgress
from quadrat.cluster.progress.status import StatusFile
from quadrat.cluster.runner.engine import Engine
from quadrat.cluster.runner.interrupt import StopRequest
from quadrat.cluster.runner.recorder import Recorder

__all__ = ["RunContext", "RunOptions", "RunSetup", "Work"]


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How a suite is run; none of it can change a number.

    Attributes:
        results_dir: Everything that is written lies below it.
        engine: What prepares the folder and runs the trials.
        logs_to_mlflow: Whether to log to MLflow.
        mlflow_uri: Its tracking URI, None for the store inside `results_dir`.
        ray_address: The cluster to join, None to start Ray on this machine.
        remote: Where the results are kept as well; `results_dir` is this machine's copy then.
    """

    results_dir: Path
    engine: Engine
    logs_to_mlflow: bool = True
    mlflow_uri: str | None = None
    ray_address: str | None = None
    remote: Remote | None = None

    @property
    def url(self) -> str | None:
        """URL of the results; None when they are in a folder alone."""
        return None if self.remote is None else self.remote.url


@dataclass(frozen=True, kw_only=True)
class RunSetup:
    """What is open when those who work are gathered: the data may not be yet."""

    suite: Suite
    options: RunOptions
    waiting: tuple[TrialSpec, ...]
    board: RunProgress
    display: Display
    bulletin: StatusFile
    stop: StopRequest

    def refresh(self) -> None:
        """Show the board to whoever looks, here and elsewhere."""
        self.display.refresh()
        self.bulletin.post()


@dataclass(frozen=True, kw_only=True)
class RunContext(RunSetup):
    """What is open on the driver's desk while trials run."""

    journal: Recorder


Work = Callable[[RunContext], None]
"""Runs the trials that wait."""
