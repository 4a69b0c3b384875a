"""The worker of `quadrat run`: a Ray actor that runs one trial after another."""

import os
import pickle
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import ray

from quadrat.benchmark.config.suite import Suite
from quadrat.benchmark.config.trial import TrialSpec
from quadrat.benchmark.errors import described
from quadrat.cluster.runner.engine import OpenRunner, TrialRunner, WarmUp
from quadrat.cluster.runner.events import PROGRESS_EVERY_S, Event, stream
from quadrat.cluster.runner.metrics import GpuMemory

__all__ = ["Place", "Started", "TrialActor", "here"]


@dataclass(frozen=True, kw_only=True)
class Place:
    """Machine and process of a worker.

    Attributes:
        host: Name of the machine.
        pid: Process id on it.
        node: Ray's id of the node, as its dashboard shows it; one machine may hold several nodes.
    """

    host: str
    pid: int
    node: str = ""


@dataclass(frozen=True, kw_only=True)
class Started:
    """What a worker reports when it has started.

    Attributes:
        place: Where it runs.
        error: Why no trial can run there, None when one can.
    """

    place: Place
    error: Exception | None = None


def here() -> Place:
    """Return the place of this process."""
    node = ray.get_runtime_context().get_node_id() if ray.is_initialized() else ""
    return Place(host=socket.gethostname(), pid=os.getpid(), node=node)


class TrialActor:
    """Runs trials of one suite in a process of its own.

    Images are mapped, the encoder is loaded and CUDA is initialised once for all its trials. It is a plain class:
    `WorkerPool` makes a Ray actor of it, and a test can call it directly.

    Args:
        suite: The suite.
        results_dir: Its results folder, at the same path on all machines of the cluster.
        open_runner: Opens what the trials share; called for the first trial, so that a data set which is missing on
            this machine is an error of that trial rather than the death of the actor.
        warm_up: Called before the worker is ready, so that it loads modules while the driver prepares the data.
    """

    def __init__(self, suite: Suite, results_dir: Path, open_runner: OpenRunner, warm_up: WarmUp) -> None:
        self._suite = suite
        self._results_dir = results_dir
        self._open_runner = open_runner
        self._warm_up = warm_up
        self._runner: TrialRunner | None = None
        self._must_stop = False
        self._gpu_memory = GpuMemory(suite.name)

    def start(self) -> Started:
        """Load what trials need, and return where.

        An error (a package or weights that this machine lacks, a recipe that is wrong everywhere) is returned and not
        raised, so that the driver learns on which node it happened.
        """
        try:
            self._warm_up(self._suite)
        except Exception as error:  # of any kind: the driver says it
            return Started(place=here(), error=_plain(error))
        return Started(place=here())

    def run(self, spec: TrialSpec, every_s: float = PROGRESS_EVERY_S) -> Iterator[Event]:
        """Run a trial and yield its events. An error of the trial is not raised but is its last event.

        Args:
            spec: The trial.
            every_s: Progress within a phase is reported at most this often.
        """
        for event in stream(spec, self._get_runner, every_s, lambda: self._must_stop):
            self._gpu_memory.update()
            yield event

    def stop(self) -> None:
        """Have the trial in flight end at its next progress; it is called while `run` runs, in another thread."""
        self._must_stop = True

    def _get_runner(self) -> TrialRunner:
        if self._runner is None:
            self._runner = self._open_runner(self._suite, self._results_dir)
        return self._runner


def _plain(error: Exception) -> Exception:
    """Return the error without its causes, as text if it cannot be pickled: so that it reaches the driver."""
    error.__cause__ = error.__context__ = None
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # of any kind: a class that is defined in a function, a constructor with other arguments
        return RuntimeError(described(error))
    return error
