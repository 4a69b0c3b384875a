"""Ray actors that each run one trial at a time; the pool grows and shrinks with the cluster's free slots."""

import contextlib
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import ray
from ray.exceptions import RayError

from quadrat.benchmark.config.suite import Suite
from quadrat.benchmark.config.trial import TrialSpec
from quadrat.benchmark.errors import QuadratError
from quadrat.benchmark.redaction import first_line, redact
from quadrat.cluster.runner.actor import Place, Started, TrialActor
from quadrat.cluster.runner.engine import OpenRunner, WarmUp
from quadrat.cluster.runner.events import PROGRESS_EVERY_S, Event, Raised, Stopped
from quadrat.cluster.runner.ray_session import ClusterError, ClusterUnavailableError, slots_by_node
from quadrat.cluster.runner.worker_death import explain_death

__all__ = [
    "PoolEvent",
    "TrialEvent",
    "TrialFinished",
    "Worker",
    "WorkerDied",
    "WorkerFailedToStart",
    "WorkerPool",
    "WorkerReady",
]

_RESIZE_EVERY_S: Final = 5.0
"""Interval at which the size of the cluster is read: it may grow or shrink while the suite runs."""

_MAX_PROGRESS_A_S: Final = 250
"""Progress events a second, of all workers together; each costs the driver about half a millisecond."""

_MAX_EXTRA: Final = 32
"""Workers that wait for nodes which are not there yet: the demand by which an autoscaling cluster grows in steps."""

_START_S: Final = 120.0
"""Time within which a worker starts, unless its cluster is full or must grow first."""

_MAX_FAILED_STARTS: Final = 3
"""Times in a row that workers may die before one is ready; then something is wrong with the installation.

A node that is lost takes all its workers with it: deaths within `_RESIZE_EVERY_S` count as one.
"""


@dataclass(eq=False, kw_only=True)
class Worker:
    """One actor and the trial that it runs.

    Attributes:
        handle: The Ray actor.
        readiness: Reference to what the worker reports when it has started; None afterwards.
        started_s: When it was made, in monotonic seconds.
        place: Where it runs, once it is ready.
        spec: The trial it runs, None when it is idle.
        events: The event stream of that trial.
        is_cut_short: Whether the trial's last event was `Raised` or `Stopped`; its stream then ends without another.
    """

    handle: Any
    readiness: Any
    started_s: float = 0.0
    place: Place | None = None
    spec: TrialSpec | None = None
    events: Any = None
    is_cut_short: bool = False


@dataclass(frozen=True, kw_only=True)
class TrialEvent:
    """A trial in flight has yielded an event.

    Attributes:
        spec: The trial.
        event: The event.
        place: Where it runs.
    """

    spec: TrialSpec
    event: Event
    place: Place


@dataclass(frozen=True, kw_only=True)
class WorkerReady:
    """A worker is ready for its first trial."""

    worker: Worker


@dataclass(frozen=True, kw_only=True)
class TrialFinished:
    """A trial is complete; its worker is idle again."""

    spec: TrialSpec


@dataclass(frozen=True, kw_only=True)
class WorkerDied:
    """A worker died while it ran a trial.

    Attributes:
        spec: The trial.
        reason: Ray's error in one line.
        detail: Ray's error in full.
        place: Where it ran.
    """

    spec: TrialSpec
    reason: str
    detail: str
    place: Place


@dataclass(frozen=True, kw_only=True)
class WorkerFailedToStart:
    """A worker cannot run trials, or died before it was ready.

    Attributes:
        reason: The error in one line.
        place: Where it would have run; None when that is not known. The node gets no more workers of this run.
    """

    reason: str
    place: Place | None = None


PoolEvent = TrialEvent | WorkerReady | TrialFinished | WorkerDied | WorkerFailedToStart


class WorkerPool:
    """Workers of one suite.

    An actor that dies is replaced by a new one rather than restarted by Ray (`max_restarts=0`), so that the pool alone
    knows which workers are alive and which trial each of them runs.

    Args:
        suite: The suite; its resources say how large a worker is and how many there may be.
        results_dir: Its results folder.
        open_runner: See `TrialActor`.
        warm_up: See `TrialActor`.
        is_own: Whether Ray was started for this run alone, so that a node that is gone will not come back.
    """

    def __init__(
        self, suite: Suite, results_dir: Path, open_runner: OpenRunner, warm_up: WarmUp, *, is_own: bool = False
    ) -> None:
        self._resources = suite.resources
        self._is_own = is_own
        self._arguments = (suite, results_dir, open_runner, warm_up)
        self._actor = ray.remote(TrialActor)
        self._workers: list[Worker] = []
        self._slots: dict[str, int] = {}
        self._resized_s = float("-inf")
        self._num_failed_starts = 0
        self._failed_start_s = float("-inf")
        self._excluded: frozenset[str] = frozenset()
        self._unfit: dict[str, Exception] = {}

    @property
    def num_slots(self) -> int:
        """Number of trials that can be in flight at a time on the nodes that are alive and in use."""
        limit = self._resources.max_in_flight
        # A limit that the user set is requested in full: that makes an autoscaling cluster grow.
        return (
            limit if limit is not None else max(1, sum(self._slots[node] for node in self._slots if self._uses(node)))
        )

    @property
    def idle(self) -> list[Worker]:
        """Workers that are ready and run no trial, on nodes in use."""
        return [
            worker
            for worker in self._workers
            if worker.place is not None and worker.spec is None and self._uses(worker.place.node)
        ]

    @property
    def nodes(self) -> set[str]:
        """Nodes in use that have a worker, or could have one: other programs may hold the slots of a node for long."""
        now_s = time.monotonic()
        found = {worker.place.node for worker in self._workers if worker.place is not None}
        if all(now_s - worker.started_s < _START_S for worker in self._workers if worker.readiness is not None):
            found |= self._slots.keys()
        return {node for node in found if self._uses(node)}

    def waiting_for(self, *, is_long: bool) -> str:
        """Return what a run without a trial in flight waits for.

        Args:
            is_long: Whether it has waited longer than loading takes.
        """
        need = f"{self._resources.cpus} CPUs and {self._resources.gpus:g} GPUs"
        if not self._slots:
            return f"waiting: no node with {need} has joined the cluster"
        if is_long and not self._is_own:
            return f"waiting: workers load torch, or other programs hold what a worker needs, {need} (see `ray status`)"
        return "loading torch in the workers"

    def exclude(self, nodes: Iterable[str]) -> None:
        """Give these nodes no further trial, and all others some."""
        idle = self.idle
        self._excluded = frozenset(nodes)
        for worker in idle:
            if worker.place is not None and not self._uses(worker.place.node):
                self._stop(worker)

    def _uses(self, node: str) -> bool:
        return node not in self._excluded and node not in self._unfit

    def resize(self, num_wanted: int) -> None:
        """Start workers until there are `num_wanted` or the cluster is full; stop what is idle beyond `num_wanted`.

        When a cluster that was joined is full, some more are started, which wait there: an autoscaler adds nodes for
        them, and nodes that join for another reason are used at once. They are stopped when they are not wanted.

        Raises:
            ClusterError: When Ray was started for this run and its node is gone.
        """
        now_s = time.monotonic()
        if now_s - self._resized_s >= _RESIZE_EVERY_S:
            self._slots, self._resized_s = slots_by_node(self._resources), now_s
            if self._is_own and not self._slots:
                raise ClusterUnavailableError(
                    "expected Ray on this machine to go on, got no node that is alive: it was killed or has run out of "
                    "memory. Nothing is lost: run the same command again to go on"
                )
        # What killed a worker before it was ready would kill its successor as well: not at once again.
        may_start = now_s - self._failed_start_s >= _RESIZE_EVERY_S
        num_slots = self.num_slots + self._num_extra()
        for _ in range((min(num_wanted, num_slots) - len(self._workers)) * may_start):
            self._start_worker()
        num_surplus = max(0, len(self._workers) - num_wanted)
        if num_surplus:
            waiting = [worker for worker in self._workers if worker.readiness is not None]
            for worker in [*waiting, *self.idle][:num_surplus]:
                self._stop(worker)

    def _num_extra(self) -> int:
        """Return how many workers are started beyond the slots of the nodes that are there."""
        if self._is_own or self._resources.max_in_flight is not None:
            return 0
        is_full = sum(worker.place is not None for worker in self._workers) >= sum(self._slots.values())
        return _MAX_EXTRA if is_full else 0

    def move(self, worker: Worker) -> None:
        """Replace an idle worker by one on another node."""
        assert worker.place is not None
        self._stop(worker)
        self._start_worker(without=worker.place.node)

    def _start_worker(self, without: str | None = None) -> None:
        """Start a worker on any node in use except `without`."""
        avoided = sorted({*self._excluded, *self._unfit, *([without] if without else [])})
        handle = self._actor.options(
            num_cpus=self._resources.cpus,
            num_gpus=self._resources.gpus,
            max_restarts=0,
            max_task_retries=0,
            max_concurrency=2,  # `stop` is called while `run` runs
            label_selector={"ray.io/node-id": f"!in({', '.join(avoided)})"} if avoided else None,
        ).remote(*self._arguments)
        self._workers.append(Worker(handle=handle, readiness=handle.start.remote(), started_s=time.monotonic()))

    def start(self, worker: Worker, spec: TrialSpec) -> None:
        """Start a trial on an idle worker."""
        worker.spec, worker.is_cut_short = spec, False
        # The name is what Ray's dashboard and `ray list tasks` show.
        name = f"{spec.label} seed {spec.seed}"
        every_s = max(PROGRESS_EVERY_S, len(self._workers) / _MAX_PROGRESS_A_S)
        worker.events = worker.handle.run.options(name=name, num_returns="streaming").remote(spec, every_s)

    def poll(self, timeout_s: float) -> Iterator[PoolEvent]:
        """Yield the events since the last call, after waiting at most `timeout_s` for one.

        Raises:
            ClusterError: When worker after worker dies before it is ready.
            QuadratError: When trials can run on no node, as where the suite's recipe is wrong.
        """
        waiting = {
            reference: worker
            for worker in self._workers
            if (reference := worker.readiness or worker.events) is not None
        }
        if not waiting:
            time.sleep(timeout_s)
            return
        # Wait for the first reference, then take all that are ready by then.
        ray.wait(list(waiting), num_returns=1, timeout=timeout_s, fetch_local=False)
        ready, _ = ray.wait(list(waiting), num_returns=len(waiting), timeout=0, fetch_local=False)
        for reference in ready:
            yield from self._read(waiting[reference])

    def _read(self, worker: Worker) -> Iterator[PoolEvent]:
        if worker not in self._workers:  # stopped since it was waited for
            return
        if worker.readiness is not None:
            yield from self._on_ready(worker)
            return
        assert worker.spec is not None and worker.place is not None  # it runs a trial
        spec, place = worker.spec, worker.place
        try:
            event = ray.get(next(worker.events))
        except StopIteration:
            worker.spec, worker.events = None, None
            if not self._uses(place.node):
                self._stop(worker)
            if not worker.is_cut_short:
                yield TrialFinished(spec=spec)
        except RayError as error:
            self._stop(worker)
            if worker.is_cut_short:  # its trial has ended with an event that was read: it may run elsewhere by now
                return
            yield WorkerDied(spec=spec, reason=_reason(error), detail=str(error), place=place)
        else:
            worker.is_cut_short = isinstance(event, Raised | Stopped)
            yield TrialEvent(spec=spec, event=event, place=place)

    def _on_ready(self, worker: Worker) -> Iterator[WorkerReady | WorkerFailedToStart]:
        try:
            started: Started = ray.get(worker.readiness)
        except RayError as error:
            self._stop(worker)
            now_s = time.monotonic()
            self._num_failed_starts += now_s - self._failed_start_s >= _RESIZE_EVERY_S
            self._failed_start_s = now_s
            if any(other.place is not None for other in self._workers):
                yield WorkerFailedToStart(reason=_reason(error))
            elif self._num_failed_starts >= _MAX_FAILED_STARTS:
                cause = explain_death(error) or (
                    f"{type(error).__name__}: {first_line(error)}. Every node needs quadrat and the suite's plugins, "
                    "the same versions as here"
                )
                raise ClusterError(
                    f"expected workers to start, got {self._num_failed_starts} in a row that died before they were "
                    f"ready, the last: {cause}"
                ) from error
            return
        self._num_failed_starts = 0
        if started.error is not None:
            self._stop(worker)
            yield from self._on_unfit(started.place, started.error)
            return
        worker.place, worker.readiness = started.place, None
        if self._uses(started.place.node):
            yield WorkerReady(worker=worker)
        else:  # its node was excluded while it started
            self._stop(worker)

    def _on_unfit(self, place: Place, error: Exception) -> Iterator[WorkerFailedToStart]:
        """Give a node on which no trial can run no more workers; raise its error when that holds for every node."""
        is_known = place.node in self._unfit
        self._unfit[place.node] = error
        if not self.nodes and not any(map(self._uses, self._slots)):
            if isinstance(error, QuadratError):
                raise error
            raise ClusterError(
                f"expected a node on which trials can run, got none, the last {place.host} (node {place.node}) with "
                f"{type(error).__name__}: {error}. Every node needs quadrat and the suite's plugins, in the versions "
                "that are installed here"
            ) from error
        if not is_known:
            yield WorkerFailedToStart(reason=redact(f"{type(error).__name__}: {error}"), place=place)

    def _stop(self, worker: Worker) -> None:
        self._workers.remove(worker)
        # A worker that Ray calls unavailable may still be alive; its successor must not share a GPU with it.
        ray.kill(worker.handle, no_restart=True)

    def stop_worker_of(self, spec: TrialSpec) -> None:
        """Stop the worker that runs `spec`; its further events are dropped."""
        for worker in [worker for worker in self._workers if worker.spec == spec]:
            self._stop(worker)

    def request_stop(self) -> None:
        """Ask the workers that run a trial to end it at its next progress; the last event of each is `Stopped`."""
        for worker in self._workers:
            if worker.spec is not None:
                worker.handle.stop.remote()

    def stop_all(self) -> None:
        """Stop all workers at once. Their trials continue from the store when they are run again."""
        for worker in list(self._workers):
            with contextlib.suppress(RayError, RuntimeError):  # Ray itself is gone, and its workers with it
                self._stop(worker)


def _reason(error: RayError) -> str:
    return redact(explain_death(error) or f"{type(error).__name__}: {first_line(error)}")
