"""The event loop of `quadrat run`: give trials to idle workers, and handle what workers report."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from quadrat.benchmark.config.sharing import longest_first, planned_round
from quadrat.benchmark.config.trial import TrialSpec
from quadrat.benchmark.results.folder import read_suite_json
from quadrat.benchmark.results.records import Failure, read_records_so_far
from quadrat.benchmark.trial.progress import Progress
from quadrat.cluster.runner.context import RunContext
from quadrat.cluster.runner.events import Event, Raised, failure_of
from quadrat.cluster.runner.ray_session import ray_for
from quadrat.cluster.runner.recorder import ContradictionError, Recorder
from quadrat.cluster.runner.schedule import MAX_WORKER_DEATHS, Schedule
from quadrat.cluster.runner.worker_pool import TrialEvent, TrialFinished, WorkerDied, WorkerFailedToStart, WorkerPool

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

    def run(self) -> None:
        progress = self._context.progress
        progress.activity = "waiting for workers"
        long_wait_from_s = progress.elapsed_s + _LONG_WAIT_S
        while self._schedule.num_open and self._context.stop.signal is None:
            self._pool.resize(self._schedule.num_open)
            if self._start_trials():
                long_wait_from_s = float("inf")
            for event in self._pool.poll(_POLL_S):
                if isinstance(event, TrialEvent):
                    self._on_event(event.spec, event.event)
                elif isinstance(event, TrialFinished):
                    self._schedule.on_finished(event.spec.trial_id)
                    self._recorder.finish(event.spec)
                elif isinstance(event, WorkerDied):
                    self._on_worker_died(event)
                elif isinstance(event, WorkerFailedToStart):
                    self._context.display.print(f"! a worker died before it was ready: {event.reason}")
            if progress.elapsed_s > long_wait_from_s:
                long_wait_from_s = float("inf")
                need = self._context.suite.resources
                self._context.display.print(
                    f"still waiting: no worker with {need.cpus} CPUs and {need.gpus:g} GPUs has started yet"
                )
            self._context.refresh()

    def _start_trials(self) -> bool:
        """Give each idle worker a trial, and return whether there was one to give."""
        has_started = False
        for worker in self._pool.idle:
            if (spec := self._schedule.next()) is None:
                break
            self._pool.start(worker, spec)
            assert worker.place is not None  # an idle worker has reported where it runs
            self._recorder.start(spec, worker.place.host, worker.place.node, worker.place.pid)
            has_started = True
        return has_started

    def _on_event(self, spec: TrialSpec, event: Event) -> None:
        if isinstance(event, Progress):
            self._recorder.update(event)
        elif isinstance(event, Raised):
            self._on_raised(spec, event)
        else:
            try:
                if self._recorder.record(event):
                    self._schedule.on_new_round(spec.trial_id)
            except ContradictionError as error:
                self._pool.stop_worker_of(spec)
                failure = failure_of(spec, error, num_rounds_done=event.round)
                self._on_raised(spec, Raised(failure=failure, is_retryable=False))

    def _on_raised(self, spec: TrialSpec, raised: Raised) -> None:
        if self._schedule.on_raised(spec.trial_id, is_retryable=raised.is_retryable):
            self._recorder.requeue(spec, raised.failure.exception)
        else:
            self._recorder.fail(spec, raised.failure)

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
        shared={planned_round(spec, 0) for spec in context.suite.trials() if spec.trial_id in begun},
    )
