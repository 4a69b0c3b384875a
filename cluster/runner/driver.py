"""Running the trials of a suite from start to end: on Ray, or one after the other in the foreground."""

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from quadrat.benchmark.config.suite import Suite
from quadrat.benchmark.config.trial import TrialSpec
from quadrat.benchmark.results.folder import ResultsLock, check_results, finished_trials, lock_results, read_suite_json
from quadrat.benchmark.results.records import Failure, finalise, read_failures, read_records_so_far
from quadrat.benchmark.tracking.logger import MlflowLogger
from quadrat.benchmark.trial.round import Progress
from quadrat.cluster.progress.display import Display, open_display, short
from quadrat.cluster.progress.progress import RunProgress
from quadrat.cluster.progress.status import StatusFile, describe
from quadrat.cluster.runner.context import RunContext, RunOptions, RunSetup, Work
from quadrat.cluster.runner.events import failure_of
from quadrat.cluster.runner.interrupt import StopRequest
from quadrat.cluster.runner.recorder import Recorder

__all__ = ["Outcome", "run_in_foreground", "run_on_ray"]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a run.

    Attributes:
        num_trials: Trials that were asked for.
        num_complete: Those of them that are complete now.
        failures: Those that failed in this run or an earlier one, and have not been mended since.
        stop_code: Exit code when somebody stopped the run, else None.
        is_mirror_complete: False when MLflow did not take all that it was given.
        num_fits: Rounds recorded in this run whose model was trained for them.
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


_Gather = Callable[[RunSetup], contextlib.AbstractContextManager[Work]]


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
    from quadrat.cluster.runner.dispatch import ray_workers
    from quadrat.cluster.runner.ray_session import check_address

    check_address(options.ray_address)
    return _run(suite, trials, options, ray_workers)


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
        lock = stack.enter_context(lock_results(results_dir, options.remote, stop.raise_if_asked))
        check_results(results_dir, suite)
        complete = finished_trials(results_dir, list(trials))
        board = RunProgress(trials, complete)
        display = stack.enter_context(open_display(board, suite.name))
        if complete:
            display.say(f"{len(complete)} of {len(trials)} trials are complete in {short(results_dir)}: skipped")
        waiting = tuple(spec for spec in trials if spec.trial_id not in complete)
        is_mirror_complete = True
        if waiting:
            bulletin = stack.enter_context(
                StatusFile(
                    functools.partial(describe, board), suite.name, results_dir, url=options.url, show=lock.set_status
                )
            )
            start = RunSetup(
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
                mirror = MlflowLogger(results_dir, options.mlflow_uri, display.say) if options.logs_to_mlflow else None
                if mirror is not None:
                    mirror.start()
                journal = Recorder(
                    results_dir,
                    read_records_so_far(results_dir),
                    board=board,
                    display=display,
                    mirror=mirror,
                    publish=lock.publish,
                )
                desk = RunContext(**vars(start), journal=journal)
                try:
                    work(desk)
                finally:
                    journal.leave()
                    is_mirror_complete = mirror is None or mirror.finish()
        return _close(suite, trials, results_dir, lock, stop, board, is_mirror_complete=is_mirror_complete)


def _prepare(suite: Suite, options: RunOptions, board: RunProgress, display: Display, stop: StopRequest) -> None:
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
    board: RunProgress,
    *,
    is_mirror_complete: bool,
) -> Outcome:
    """Put the records in suite order and return what came of the run."""
    if read_records_so_far(results_dir):
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


@contextlib.contextmanager
def _this_process(start: RunSetup) -> Iterator[Work]:
    start.options.engine.warm_up(start.suite)
    yield _work_here


def _work_here(desk: RunContext) -> None:
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
