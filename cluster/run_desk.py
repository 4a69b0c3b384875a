"""What lies on the driver's desk: how a suite is run, what is open at its start, what is open while trials run."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from quadrat.benchmark.spec import TrialSpec
from quadrat.benchmark.suite import Suite
from quadrat.benchmark.upstream import Upstream
from quadrat.cluster.board import Board
from quadrat.cluster.bulletin import Bulletin
from quadrat.cluster.display import Display
from quadrat.cluster.engine import Engine
from quadrat.cluster.interrupt import StopRequest
from quadrat.cluster.journal import Journal

__all__ = ["RunDesk", "RunOptions", "RunStart", "Work"]


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How a suite is run; none of it can change a number.

    Attributes:
        results_dir: Everything that is written lies below it.
        engine: What prepares the folder and runs the trials.
        is_mirrored: Whether MLflow mirrors the records.
        mlflow_uri: Where it does so, None for the store inside `results_dir`.
        ray_address: The cluster to join, None to start Ray on this machine.
        upstream: Where the results are kept as well; `results_dir` is this machine's copy then.
    """

    results_dir: Path
    engine: Engine
    is_mirrored: bool = True
    mlflow_uri: str | None = None
    ray_address: str | None = None
    upstream: Upstream | None = None

    @property
    def url(self) -> str | None:
        """URL of the results; None when they are in a folder alone."""
        return None if self.upstream is None else self.upstream.url


@dataclass(frozen=True, kw_only=True)
class RunStart:
    """What is open when those who work are gathered: the data may not be yet."""

    suite: Suite
    options: RunOptions
    waiting: tuple[TrialSpec, ...]
    board: Board
    display: Display
    bulletin: Bulletin
    stop: StopRequest

    def refresh(self) -> None:
        """Show the board to whoever looks, here and elsewhere."""
        self.display.refresh()
        self.bulletin.post()


@dataclass(frozen=True, kw_only=True)
class RunDesk(RunStart):
    """What is open on the driver's desk while trials run."""

    journal: Journal


Work = Callable[[RunDesk], None]
"""Runs the trials that wait."""
