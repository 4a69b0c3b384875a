"""The worker: a Ray actor that holds a workbench and runs one trial after another on it."""

import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import ray

from quadrat.benchmark.config.suite import Suite
from quadrat.benchmark.config.trial import TrialSpec
from quadrat.cluster.runner.engine import OpenRunner, TrialRunner, WarmUp
from quadrat.cluster.runner.events import Event, stream

__all__ = ["Place", "TrialActor", "here"]


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a worker runs.

    Attributes:
        host: Name of the machine.
        pid: Process id there.
        node: Ray's id of the node, as its dashboard shows it; several nodes may be on one machine.
    """

    host: str
    pid: int
    node: str = ""


def here() -> Place:
    """Return where this process runs."""
    node = ray.get_runtime_context().get_node_id() if ray.is_initialized() else ""
    return Place(host=socket.gethostname(), pid=os.getpid(), node=node)


class TrialActor:
    """Runs trials of one suite in a process of its own.

    The images are mapped, the encoder is loaded and CUDA is started once, not once a trial. It is a plain class:
    `quadrat.cluster.runner.worker_pool` makes a Ray actor of it, and a test can call it as it is.

    Args:
        suite: The suite.
        results_dir: Its results folder, at the same path on all machines of the cluster.
        open_runner: Opens what the trials share; called when the first trial comes, so that a data set that is
            missing on this machine is an error of that trial and not an actor that dies without a word.
        warm_up: Called before the worker says that it is ready, so that it loads while the driver prepares.
    """

    def __init__(self, suite: Suite, results_dir: Path, open_runner: OpenRunner, warm_up: WarmUp) -> None:
        self._suite = suite
        self._results_dir = results_dir
        self._open_runner = open_runner
        self._warm_up = warm_up
        self._runner: TrialRunner | None = None

    def place(self) -> Place:
        """Return where this worker runs; that it answers says that it is ready.

        Raises:
            QuadratError: The suite's recipe is wrong.
        """
        self._warm_up(self._suite)
        return here()

    def run(self, spec: TrialSpec) -> Iterator[Event]:
        """Run a trial and yield its events. It never raises: what went wrong is the last event."""
        yield from stream(spec, self._get_runner)

    def _get_runner(self) -> TrialRunner:
        if self._runner is None:
            self._runner = self._open_runner(self._suite, self._results_dir)
        return self._runner
