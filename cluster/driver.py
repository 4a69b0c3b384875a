"""Running the trials of a suite from start to end: on Ray, or one after the other in the foreground."""

import contextlib
import functools
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from quadrat.benchmark.mirror import Mirror
from quadrat.benchmark.phases import Progress
from quadrat.benchmark.records import Failure, Record, finalise, read_failures, read_records
from quadrat.benchmark.results import ResultsLock, check_results, finished_trials, lock_results, read_suite_json
from quadrat.benchmark.spec import TrialSpec
from quadrat.benchmark.suite import Suite
from quadrat.benchmark.upstream import Upstream
from quadrat.cluster.board import Board
from quadrat.cluster.bulletin import Bulletin, describe
from quadrat.cluster.display import Display, open_display, short
from quadrat.cluster.engine import Engine
from quadrat.cluster.events import Raised, failure_of
from quadrat.cluster.interrupt import StopRequest
from quadrat.cluster.journal import ContradictionError, Journal
from quadrat.cluster.schedule import Schedule
from quadrat.cluster.workload import longest_first, shared_round

if TYPE_CHECKING:
    from quadrat.cluster.crew import Crew, Lost, Told

__all__ = ["Outcome", "RunOptions", "run_in_foreground", "run_on_ray"]

_POLL_S: Final = 0.25
_LONG_WAIT_S: Final = 30.0


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


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a run.

    Attributes:
        num_trials: Trials that were asked for.
        num_complete: Those of them that are complete now.
        failures: Those that failed in this run or an earlier one, and have not been mended since.
        stop_code: Exit code when somebody stopped the run, else None.
        is_mirror_complete: False when MLflow did not take all that it was given.
        num_fits: Models that this run trained.
        num_shared: Rounds that took the model that another trial had trained.
    """

    num_trials: int
    num_complete: int
    failures: tuple[Failure, ...]
    stop_code: int | None
    is_mirror_complete: bool
    num_fits: int = 0
    num_shared: int = 0

    @property
    def exit_code(self) -> int:
        """0 when every trial is complete, 1 when one failed, 128 + signal when the run was stopped."""
        if self.stop_code is not None:
            return self.stop_code
        return 0 if self.num_complete == self.num_trials else 1


@dataclass(frozen=True, kw_only=True)
class _Start:
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
class _Desk(_Start):
    """What is open on the driver's desk while trials run."""

    journal: Journal


_Work = Callable[[_Desk], None]
_Gather = Callable[[_Start], contextlib.AbstractContextManager[_Work]]


def run_on_ray(suite: Suite, trials: Sequence[TrialSpec], options: RunOptions) -> Outcome:
    """Run `trials` on reused Ray actors, as many at a time as the suite's resources and the cluster allow.

    Trials that are complete in the results folder are skipped, others go on from their last artefact. A trial that
    raises, or that loses its worker, is taken back by the `Schedule`, which says how often.

    Args:
        suite: The suite.
        trials: Those of its trials that are to be complete in the end.
        options: How to run.

    Raises:
        ResultsError: When the folder is in use, belongs to another suite, or cannot be written.
        DataError: When the data set is missing or contradicts itself.
        ClusterError: When Ray cannot be started or joined.
    """
    from quadrat.cluster.session import check_address

    check_address(options.ray_address)
    return _run(suite, trials, options, _ray_crew)


def run_in_foreground(suite: Suite, trials: Sequence[TrialSpec], options: RunOptions) -> Outcome:
    """Run `trials` one after another in this process, without Ray and without a second try.

    The records are the same as those of `run_on_ray`, in the same files.

    Raises:
        ResultsError: When the folder is in use, belongs to another suite, or cannot be written.
        DataError: When the data set is missing or contradicts itself.
    """
    return _run(suite, trials, options, _this_process)


def _run(suite: Suite, trials: Sequence[TrialSpec], options: RunOptions, gather: _Gather) -> Outcome:
    """Do what belongs around the trials of every run: lock, check, prepare, show, mirror, put in order.

    Whoever works is gathered first, so that workers load what they need while the driver opens the data.
    """
    results_dir = options.results_dir
    with contextlib.ExitStack() as stack:
        stop = stack.enter_context(StopRequest())
        lock = stack.enter_context(lock_results(results_dir, options.upstream, stop.raise_if_asked))
        check_results(results_dir, suite)
        complete = finished_trials(results_dir, list(trials))
        board = Board(trials, complete)
        display = stack.enter_context(open_display(board, suite.name))
        if complete:
            display.say(f"{len(complete)} of {len(trials)} trials are complete in {short(results_dir)}: skipped")
        waiting = tuple(spec for spec in trials if spec.trial_id not in complete)
        is_mirror_complete = True
        if waiting:
            bulletin = stack.enter_context(Bulletin(functools.partial(describe, board), suite.name, results_dir))
            start = _Start(
                suite=suite,
                options=options,
                waiting=waiting,
                board=board,
                display=display,
                bulletin=bulletin,
                stop=stop,
            )
            options.engine.check(suite)
            with contextlib.suppress(KeyboardInterrupt), gather(start) as work:
                _prepare(suite, options, board, display, stop)
                lock.publish("suite.json", "environment.json")
                _warn_of_exhaustion(results_dir, trials, display)
                mirror = Mirror(results_dir, options.mlflow_uri, display.say) if options.is_mirrored else None
                if mirror is not None:
                    mirror.start()
                journal = Journal(
                    results_dir,
                    _records(results_dir),
                    board=board,
                    display=display,
                    mirror=mirror,
                    publish=lock.publish,
                )
                desk = _Desk(**vars(start), journal=journal)
                try:
                    work(desk)
                finally:
                    journal.leave()
                    is_mirror_complete = mirror is None or mirror.finish()
        return _close(suite, trials, results_dir, lock, stop, board, is_mirror_complete=is_mirror_complete)


def _prepare(suite: Suite, options: RunOptions, board: Board, display: Display, stop: StopRequest) -> None:
    def on_pack(split: str, done: int, total: int) -> None:
        stop.raise_if_asked()
        board.activity = f"packing {split}  {done}/{total}"
        display.refresh()

    display.say(f"opening data set {suite.dataset.name}")
    options.engine.prepare(suite, options.results_dir, on_pack)
    stop.raise_if_asked()


def _warn_of_exhaustion(results_dir: Path, trials: Sequence[TrialSpec], display: Display) -> None:
    """Say before anything runs which budgets are larger than the pool."""
    num_regions = read_suite_json(results_dir)["dataset"]["pool"].get("num_regions", {})
    for region_size in sorted({spec.region_size for spec in trials}):
        available = num_regions.get(str(region_size))
        wanted = max(
            (budget for spec in trials if spec.region_size == region_size for budget in spec.budgets), default=0
        )
        if available is not None and wanted > available:
            display.say(
                f"! the pool has {available} regions of {region_size} px, fewer than the largest budget, {wanted}: "
                "trials will label all of them and end early"
            )


def _close(
    suite: Suite,
    trials: Sequence[TrialSpec],
    results_dir: Path,
    lock: ResultsLock,
    stop: StopRequest,
    board: Board,
    *,
    is_mirror_complete: bool,
) -> Outcome:
    """Put the records in suite order and return what came of the run."""
    if _records(results_dir):
        finalise(results_dir, {spec.trial_id: spec.num_rounds for spec in suite.trials()})
        lock.publish("records.jsonl", "failures.jsonl")
    complete = finished_trials(results_dir, list(trials))
    open_ids = {spec.trial_id for spec in trials} - complete
    return Outcome(
        num_trials=len(trials),
        num_complete=len(complete),
        failures=tuple(failure for failure in read_failures(results_dir) if failure.trial_id in open_ids),
        stop_code=stop.exit_code if stop.signal is not None else None,
        is_mirror_complete=is_mirror_complete,
        num_fits=board.num_fits,
        num_shared=board.num_shared,
    )


def _records(results_dir: Path) -> list[Record]:
    return read_records(results_dir) if (results_dir / "records.jsonl").is_file() else []


@contextlib.contextmanager
def _this_process(start: _Start) -> Iterator[_Work]:
    start.options.engine.warm_up(start.suite)
    yield _work_here


def _work_here(desk: _Desk) -> None:
    def on_progress(progress: Progress) -> None:
        desk.stop.raise_if_asked()
        desk.journal.progress(progress)
        desk.refresh()

    runner = desk.options.engine.open_runner(desk.suite, desk.options.results_dir)
    for spec in desk.waiting:
        desk.journal.start(spec)
        num_done = 0
        try:
            for record in runner(spec, on_progress):
                desk.journal.record(record)
                num_done += 1
        except Exception as error:
            desk.journal.give_up(spec, failure_of(spec, error, num_rounds_done=num_done))
        else:
            desk.journal.finish(spec)


@contextlib.contextmanager
def _ray_crew(start: _Start) -> Iterator[_Work]:
    from quadrat.cluster.crew import Crew
    from quadrat.cluster.session import ray_session, shared_log

    address = start.options.ray_address or os.environ.get("RAY_ADDRESS")
    is_own = address in (None, "", "local")
    start.board.activity = "starting Ray" if is_own else "joining Ray"
    start.display.say(start.board.activity)
    with ray_session(address, start.suite.resources):
        start.stop.listen()
        start.bulletin.post_to(shared_log())
        engine = start.options.engine
        crew = Crew(start.suite, start.options.results_dir, engine.open_runner, engine.warm_up, is_own=is_own)
        try:
            crew.resize(len(start.waiting))
            yield functools.partial(_keep_busy, crew=crew)
        finally:
            crew.dismiss_all()


def _keep_busy(desk: _Desk, crew: "Crew") -> None:
    """Give the crew trials, and take what they tell, until no trial is open or somebody asks to stop."""
    from quadrat.cluster.crew import Finished, Lost, Stillborn, Told

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
            if isinstance(event, Told):
                _hear(desk, schedule, crew, event)
            elif isinstance(event, Finished):
                schedule.finished(event.spec.trial_id)
                desk.journal.finish(event.spec)
            elif isinstance(event, Lost):
                _mourn(desk, schedule, event)
            elif isinstance(event, Stillborn):
                desk.display.say(f"! a worker died before it was ready: {event.reason}")
        if desk.board.elapsed_s > long_wait_from_s:
            long_wait_from_s = float("inf")
            need = desk.suite.resources
            desk.display.say(f"still waiting: no worker with {need.cpus} CPUs and {need.gpus:g} GPUs has started yet")
        desk.refresh()


def _schedule(desk: _Desk) -> Schedule:
    """Return the schedule of what waits: long trials first, those that would only wait for a shared fit later."""
    results_dir = desk.options.results_dir
    records = _records(results_dir)
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


def _hear(desk: _Desk, schedule: Schedule, crew: "Crew", told: "Told") -> None:
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


def _take_back(desk: _Desk, schedule: Schedule, spec: TrialSpec, raised: Raised) -> None:
    if schedule.raised(spec.trial_id, is_worth_retrying=raised.is_worth_retrying):
        desk.journal.put_back(spec, raised.failure.exception)
    else:
        desk.journal.give_up(spec, raised.failure)


def _mourn(desk: _Desk, schedule: Schedule, lost: "Lost") -> None:
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
