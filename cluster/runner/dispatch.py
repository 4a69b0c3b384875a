"""Giving trials to a crew of Ray actors, and hearing what they tell, until no trial is open."""

import contextlib
import functools
import os
from collections.abc import Iterator
from typing import Final

from quadrat.benchmark.config.sharing import longest_first, shared_round
from quadrat.benchmark.config.trial import TrialSpec
from quadrat.benchmark.results.folder import read_suite_json
from quadrat.benchmark.results.records import Failure, read_records_so_far
from quadrat.benchmark.trial.round import Progress
from quadrat.cluster.runner.context import RunContext, RunSetup, Work
from quadrat.cluster.runner.events import Raised, failure_of
from quadrat.cluster.runner.ray_session import ray_session, shared_log
from quadrat.cluster.runner.recorder import ContradictionError
from quadrat.cluster.runner.schedule import Schedule
from quadrat.cluster.runner.worker_pool import TrialEvent, TrialFinished, WorkerDied, WorkerFailedToStart, WorkerPool

__all__ = ["ray_workers"]

_POLL_S: Final = 0.25
_LONG_WAIT_S: Final = 30.0


@contextlib.contextmanager
def ray_workers(start: RunSetup) -> Iterator[Work]:
    """Hire workers, who load what they need at once, and give back what has them work through the trials."""
    address = start.options.ray_address or os.environ.get("RAY_ADDRESS")
    is_own = address in (None, "", "local")
    start.board.activity = "starting Ray" if is_own else "joining Ray"
    start.display.say(start.board.activity)
    with ray_session(address, start.suite.resources):
        start.stop.listen()
        start.bulletin.post_to(shared_log())
        engine = start.options.engine
        crew = WorkerPool(start.suite, start.options.results_dir, engine.open_runner, engine.warm_up, is_own=is_own)
        try:
            crew.resize(len(start.waiting))
            yield functools.partial(_keep_busy, crew=crew)
        finally:
            crew.dismiss_all()


def _keep_busy(desk: RunContext, crew: WorkerPool) -> None:
    """Give the crew trials, and take what they tell, until no trial is open or somebody asks to stop."""
    schedule = _schedule(desk)
    desk.board.activity = "waiting for workers"
    long_wait_from_s = desk.board.elapsed_s + _LONG_WAIT_S
    while schedule.num_open and desk.stop.signal is None:
        crew.resize(schedule.num_open)
        for worker in crew.idle:
            if (spec := schedule.next()) is None:
                break
            crew.start(worker, spec)
            long_wait_from_s = float("inf")
            assert worker.place is not None  # idle workers are those that have told where they are
            desk.journal.start(spec, worker.place.host, worker.place.node, worker.place.pid)
        for event in crew.poll(_POLL_S):
            if isinstance(event, TrialEvent):
                _hear(desk, schedule, crew, event)
            elif isinstance(event, TrialFinished):
                schedule.finished(event.spec.trial_id)
                desk.journal.finish(event.spec)
            elif isinstance(event, WorkerDied):
                _mourn(desk, schedule, event)
            elif isinstance(event, WorkerFailedToStart):
                desk.display.say(f"! a worker died before it was ready: {event.reason}")
        if desk.board.elapsed_s > long_wait_from_s:
            long_wait_from_s = float("inf")
            need = desk.suite.resources
            desk.display.say(f"still waiting: no worker with {need.cpus} CPUs and {need.gpus:g} GPUs has started yet")
        desk.refresh()


def _schedule(desk: RunContext) -> Schedule:
    """Return the schedule of what waits: long trials first, those that would only wait for a shared fit later."""
    results_dir = desk.options.results_dir
    records = read_records_so_far(results_dir)
    begun = {record.trial_id for record in records}
    ordered = longest_first(
        desk.waiting,
        num_images=int(read_suite_json(results_dir)["dataset"]["pool"]["num_images"]),
        done=[record.key for record in records],
    )
    return Schedule(
        ordered,
        retries=desk.suite.resources.retries,
        shared={shared_round(spec) for spec in desk.suite.trials() if spec.trial_id in begun},
    )


def _hear(desk: RunContext, schedule: Schedule, crew: WorkerPool, told: TrialEvent) -> None:
    spec, event = told.spec, told.event
    if isinstance(event, Progress):
        desk.journal.progress(event)
    elif isinstance(event, Raised):
        _take_back(desk, schedule, spec, event)
    else:
        try:
            if desk.journal.record(event):
                schedule.got_ahead(spec.trial_id)
        except ContradictionError as error:
            crew.drop(spec)
            failure = failure_of(spec, error, num_rounds_done=event.round)
            _take_back(desk, schedule, spec, Raised(failure=failure, is_worth_retrying=False))


def _take_back(desk: RunContext, schedule: Schedule, spec: TrialSpec, raised: Raised) -> None:
    if schedule.raised(spec.trial_id, is_worth_retrying=raised.is_worth_retrying):
        desk.journal.put_back(spec, raised.failure.exception)
    else:
        desk.journal.give_up(spec, raised.failure)


def _mourn(desk: RunContext, schedule: Schedule, lost: WorkerDied) -> None:
    if schedule.lost(lost.spec.trial_id):
        desk.journal.put_back(lost.spec, lost.reason)
        return
    failure = Failure(
        trial_id=lost.spec.trial_id,
        label=lost.spec.label,
        seed=lost.spec.seed,
        round=desk.board.rows[lost.spec.trial_id].num_done,
        exception=f"its worker died again and again without finishing a round in between: {lost.reason}",
        traceback=lost.detail,
    )
    desk.journal.give_up(lost.spec, failure)
