"""The event loop of `quadrat run`: give trials to idle workers, and handle what workers report."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Final

from quadrat.benchmark.config.sharing import longest_first, planned_round
from quadrat.benchmark.config.trial import TrialSpec
from quadrat.benchmark.results.failures import Failure
from quadrat.benchmark.results.folder import read_suite_json
from quadrat.benchmark.results.records import read_records_so_far
from quadrat.benchmark.trial.progress import Progress
from quadrat.cluster.runner.actor import Place
from quadrat.cluster.runner.context import RunContext
from quadrat.cluster.runner.events import Event, Raised, Stopped, failure_of
from quadrat.cluster.runner.interrupt import GRACE_S
from quadrat.cluster.runner.node_failures import MAX_NODE_FAILURES
from quadrat.cluster.runner.ray_session import ray_for
from quadrat.cluster.runner.recorder import ContradictionError, Recorder
from quadrat.cluster.runner.schedule import MAX_WORKER_DEATHS, Schedule
from quadrat.cluster.runner.worker_pool import (
    PoolEvent,
    TrialEvent,
    TrialFinished,
    Worker,
    WorkerDied,
    WorkerFailedToStart,
    WorkerPool,
)

__all__ = ["ray_workers"]

_POLL_S: Final = 0.25
_LONG_WAIT_S: Final = 30.0


@contextlib.contextmanager
def ray_workers(context: RunContext, waiting: Sequence[TrialSpec]) -> Iterator[Callable[[Recorder], None]]:
    """Start or join Ray, start workers for `waiting`, and yield the function that runs these trials on them."""
    with ray_for(context) as is_own:
        engine = context.options.engine
        pool = WorkerPool(context.suite, context.options.results_dir, engine.open_runner, engine.warm_up, is_own=is_own)
        try:
            pool.resize(len(waiting))
            yield lambda recorder: _Dispatcher(context, waiting, recorder, pool).run()
        finally:
            pool.stop_all()


class _Dispatcher:
    """Runs trials on a worker pool until none is open or the user asks to stop."""

    def __init__(self, context: RunContext, waiting: Sequence[TrialSpec], recorder: Recorder, pool: WorkerPool) -> None:
        self._context = context
        self._recorder = recorder
        self._pool = pool
        self._schedule = _schedule(context, waiting)
        self._excluded: dict[str, str] = {}  # host of each node
        self._stopped: set[str] = set()

    def run(self) -> None:
        progress, said = self._context.progress, ""
        long_wait_from_s = progress.elapsed_s + _LONG_WAIT_S
        while self._schedule.num_open and self._context.stop.signal is None:
            # First of all trials are started: an idle worker on another node may be the one that a trial waits for.
            self._start_trials()
            self._pool.resize(self._schedule.num_open)
            for event in self._pool.poll(_POLL_S):
                self._on_pool_event(event)
            progress.activity = ""
            if self._schedule.num_in_flight:
                long_wait_from_s = progress.elapsed_s + _LONG_WAIT_S
            elif self._schedule.num_open and not self._pool.idle:
                progress.activity = self._pool.waiting_for(is_long=progress.elapsed_s > long_wait_from_s)
                if progress.activity != said:
                    said = progress.activity
                    self._context.display.print(said)
            self._context.refresh()
        if self._schedule.num_in_flight:
            self._stop_trials()

    def _stop_trials(self) -> None:
        """Ask the trials in flight to stop, and wait for the checkpoints of those in a fit.

        What another phase computes has no checkpoint: nothing is gained by waiting for it.
        """
        progress = self._context.progress
        until_s = progress.elapsed_s + GRACE_S
        self._pool.request_stop()
        while progress.elapsed_s < until_s and any(
            row.latest is not None and row.latest.phase == "fit" and trial_id not in self._stopped
            for trial_id, row in progress.rows.items()
        ):
            for event in self._pool.poll(_POLL_S):
                self._on_pool_event(event)
            self._context.refresh()

    def _on_pool_event(self, event: PoolEvent) -> None:
        if isinstance(event, TrialEvent):
            self._on_event(event.spec, event.event, event.place)
        elif isinstance(event, TrialFinished):
            self._schedule.on_finished(event.spec.trial_id)
            self._recorder.finish(event.spec)
        elif isinstance(event, WorkerDied):
            self._on_worker_died(event)
        elif isinstance(event, WorkerFailedToStart):
            where = "a worker died before it was ready"
            if event.place is not None:
                where = f"{event.place.host} (node {event.place.node}) gets no trials in this run"
            self._context.display.print(f"! {where}: {event.reason}")

    def _start_trials(self) -> None:
        """Give each idle worker a trial that may run on its node; move workers to trials that wait for another node."""
        nodes = self._pool.nodes
        still_idle: list[Worker] = []
        for worker in self._pool.idle:
            assert worker.place is not None  # an idle worker has reported where it runs
            if (spec := self._schedule.next(worker.place.node, nodes)) is None:
                still_idle.append(worker)
            else:
                self._pool.start(worker, spec)
                self._recorder.start(spec, worker.place.host, worker.place.node, worker.place.pid)
        for worker in still_idle[: self._schedule.num_waiting]:
            self._pool.move(worker)

    def _on_event(self, spec: TrialSpec, event: Event, place: Place) -> None:
        if isinstance(event, Progress):
            self._recorder.update(event)
        elif isinstance(event, Raised):
            self._on_raised(spec, event, place)
        elif isinstance(event, Stopped):
            self._stopped.add(spec.trial_id)
        else:
            try:
                if self._recorder.record(event):
                    self._schedule.on_new_round(spec.trial_id, place.node)
            except ContradictionError as error:
                self._pool.stop_worker_of(spec)
                failure = failure_of(spec, error, num_rounds_done=event.round)
                self._on_raised(spec, Raised(failure=failure, is_retryable=False), place)

    def _on_raised(self, spec: TrialSpec, raised: Raised, place: Place) -> None:
        failure = replace(raised.failure, host=place.host, node=place.node)
        if self._schedule.on_raised(
            spec.trial_id,
            is_retryable=raised.is_retryable,
            is_of_environment=raised.is_of_environment,
            node=place.node,
            nodes=self._pool.nodes,
        ):
            self._recorder.requeue(spec, f"{failure.exception} (on {place.host}, node {place.node})")
        else:
            self._recorder.fail(spec, failure)
        self._exclude_bad_nodes(failure)

    def _exclude_bad_nodes(self, last: Failure) -> None:
        """Exclude nodes on which trial after trial raises, unless no other is left: then the error is the suite's."""
        bad = self._schedule.bad_nodes()
        if bad == self._excluded.keys() or (bad > self._excluded.keys() and not self._pool.nodes - bad):
            return
        for node in bad - self._excluded.keys():
            self._context.display.print(
                f"! {last.host} (node {node}) gets no more trials in this run: {MAX_NODE_FAILURES} in a row failed "
                f"there, the last with {last.exception}"
            )
        for node in self._excluded.keys() - bad:
            self._context.display.print(
                f"{self._excluded[node]} (node {node}) gets trials again: what failed there has failed elsewhere too"
            )
        self._excluded = {node: self._excluded.get(node, last.host) for node in bad}
        self._pool.exclude(bad)

    def _on_worker_died(self, event: WorkerDied) -> None:
        spec = event.spec
        if self._schedule.on_worker_died(spec.trial_id):
            self._recorder.requeue(spec, event.reason)
            return
        failure = Failure(
            trial_id=spec.trial_id,
            label=spec.label,
            seed=spec.seed,
            round=self._context.progress.rows[spec.trial_id].num_done,
            exception=f"its worker died {MAX_WORKER_DEATHS + 1} times in a row without finishing a round: "
            f"{event.reason}",
            traceback=event.detail,
            host=event.place.host,
            node=event.place.node,
        )
        self._recorder.fail(spec, failure)


def _schedule(context: RunContext, waiting: Sequence[TrialSpec]) -> Schedule:
    """Return the schedule of the trials that wait, long ones first."""
    results_dir = context.options.results_dir
    records = read_records_so_far(results_dir)
    begun = {record.trial_id for record in records}
    ordered = longest_first(
        waiting,
        num_images=int(read_suite_json(results_dir)["dataset"]["pool"]["num_images"]),
        done=[record.key for record in records],
    )
    return Schedule(
        ordered,
        retries=context.suite.resources.retries,
        shared={planned_round(spec, 0) for spec in context.suite.trials() if spec.trial_id in begun} if begun else (),
    )
