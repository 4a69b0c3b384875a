"""Running the trials of a suite from start to end: on Ray, or one after the other in the foreground."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from quadrat.benchmark.config.suite import Suite
from quadrat.benchmark.config.trial import TrialSpec, cuts
from quadrat.benchmark.results.failures import Failure, read_failures
from quadrat.benchmark.results.folder import finished_trials, read_suite_json
from quadrat.benchmark.results.records import finalise, read_records_so_far
from quadrat.benchmark.results.selections import put_aside, selection_path
from quadrat.benchmark.tracking.logger import MLFLOW
from quadrat.benchmark.trial.progress import Progress
from quadrat.cluster.progress.display import Display, open_display, short
from quadrat.cluster.progress.progress import RunProgress
from quadrat.cluster.runner.context import (
    Locked,
    RunContext,
    RunOptions,
    lock_folder,
    open_context,
    prepare,
    start_logging,
)
from quadrat.cluster.runner.events import ERRORS, failure_of
from quadrat.cluster.runner.recorder import Recorder

__all__ = ["Outcome", "run_in_foreground", "run_on_ray"]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Result of a run.

    Attributes:
        num_trials: Trials that were requested.
        num_complete: Requested trials that are complete now.
        failures: Failures of requested trials, in this run or an earlier one, that no later run has resolved.
        stop_code: Exit code when the user stopped the run, else None.
        is_mlflow_complete: False when MLflow did not accept all that was logged.
        num_fits: Rounds recorded in this run whose model was trained for them.
        num_shared: Rounds recorded in this run that took a model which another trial had trained.
    """

    num_trials: int
    num_complete: int
    failures: tuple[Failure, ...]
    stop_code: int | None
    is_mlflow_complete: bool
    num_fits: int = 0
    num_shared: int = 0

    @property
    def exit_code(self) -> int:
        """0 when every trial is complete, 128 + signal when the run was stopped, else 2 or 1.

        2 when a trial failed that would fail on any machine: mend it first. 1 when the same command may complete all.
        """
        if self.stop_code is not None:
            return self.stop_code
        if self.num_complete == self.num_trials:
            return 0
        return 2 if any(failure.needs_mending for failure in self.failures) else 1


_RunTrials = Callable[[Recorder], None]
"""Runs the trials that wait, until all are complete or have failed, or the user asks to stop."""

_OpenWorkers = Callable[[RunContext, Sequence[TrialSpec]], contextlib.AbstractContextManager[_RunTrials]]
"""Starts what will run the trials that wait."""


def run_on_ray(suite: Suite, trials: Sequence[TrialSpec], options: RunOptions) -> Outcome:
    """Run `trials` on reused Ray actors, as many at a time as the suite's resources and the cluster allow.

    Trials that are complete in the results folder are skipped, others continue from their last artefact. A trial that
    raises, or whose worker dies, is tried again as often as the `Schedule` allows.

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
    """Run `trials` one after another in this process, without Ray and without retries.

    The records are the same as those of `run_on_ray`, in the same files.

    Raises:
        ResultsError: When the folder is in use, belongs to another suite, or cannot be written.
        DataError: When the data set is missing or contradicts itself.
    """
    return _run(suite, trials, options, _this_process)


def _run(suite: Suite, trials: Sequence[TrialSpec], options: RunOptions, open_workers: _OpenWorkers) -> Outcome:
    """Run `trials` on the workers that `open_workers` starts.

    Workers are started before the data is opened, so that they load what they need meanwhile.
    """
    results_dir = options.results_dir
    with contextlib.ExitStack() as stack:
        locked = stack.enter_context(lock_folder(suite, options))
        complete, gaps = _complete(trials, options)
        progress = RunProgress(trials, complete)
        display = stack.enter_context(open_display(progress, suite.name))
        locked.stop.say = display.print
        for (trial_id, round_), gap in gaps.items():
            display.print(f"! the selection of round {round_} of {trial_id} {gap}: it is made again")
            put_aside(selection_path(results_dir, trial_id, round_))
        if complete:
            display.print(f"{len(complete)} of {len(trials)} trials are complete in {short(results_dir)}: skipped")
        waiting = tuple(spec for spec in trials if spec.trial_id not in complete)
        is_mlflow_complete = True
        if waiting:
            context = stack.enter_context(open_context(suite, options, locked, progress=progress, display=display))
            options.engine.check(suite)
            with contextlib.suppress(KeyboardInterrupt), open_workers(context, waiting) as run_trials:
                prepare(context)
                _warn_of_data(results_dir, display)
                _warn_of_exhaustion(results_dir, trials, display)
                loggers = start_logging(context)
                recorder = Recorder(
                    results_dir,
                    {record.key: record for record in read_records_so_far(results_dir)},
                    progress=progress,
                    display=display,
                    loggers=loggers,
                    publish=locked.lock.publish,
                )
                try:
                    run_trials(recorder)
                finally:
                    recorder.interrupt()
                    is_mlflow_complete = MLFLOW not in loggers.finish(locked.stop.mlflow_s)
        return _close(suite, trials, options, locked, progress, is_mlflow_complete=is_mlflow_complete)


def _complete(trials: Sequence[TrialSpec], options: RunOptions) -> tuple[set[str], Mapping[tuple[str, int], str]]:
    """Return the trials with all their records and selections, and the gaps in the selections of recorded rounds.

    A power cut may take a selection and leave its record: their fsyncs are apart.
    """
    results_dir = options.results_dir
    asked = {spec.trial_id for spec in trials}
    records = [record for record in read_records_so_far(results_dir) if record.trial_id in asked]
    gaps = options.engine.find_gaps(results_dir, records, options.remote)
    return finished_trials(results_dir, trials, records) - {trial_id for trial_id, _ in gaps}, gaps


def _warn_of_data(results_dir: Path, display: Display) -> None:
    """Print what was found wrong with pool and test set when they were packed, before any trial runs."""
    for warning in read_suite_json(results_dir)["dataset"].get("warnings", ()):
        display.print(f"! {warning}")


def _warn_of_exhaustion(results_dir: Path, trials: Sequence[TrialSpec], display: Display) -> None:
    """Print which budgets are larger than the pool, before any trial runs."""
    pool = read_suite_json(results_dir)["dataset"]["pool"]
    maps = {found["name"]: found for found in pool.get("maps", ())}
    for region_size, regions in cuts(trials):
        size, here = str(region_size), maps.get(regions.map_name(region_size), {})
        available = pool.get("num_regions", {}).get(size) if regions.is_grid else here.get("num_regions")
        if available is not None and trials[0].void_regions == "withhold":
            available -= pool.get("void_regions", {}).get(size, 0) if regions.is_grid else here["void_regions"]
        same = [spec for spec in trials if (spec.region_size, spec.regions) == (region_size, regions)]
        wanted = max((budget for spec in same for budget in spec.budgets), default=0)
        if available is not None and wanted > available:
            kind = "" if regions.is_grid else f" ({regions.title})"
            display.print(
                f"! the pool has {available} regions of {region_size} px{kind}, fewer than the largest budget, "
                f"{wanted}: trials will label all of them and end early"
            )


def _close(
    suite: Suite,
    trials: Sequence[TrialSpec],
    options: RunOptions,
    locked: Locked,
    progress: RunProgress,
    *,
    is_mlflow_complete: bool,
) -> Outcome:
    """Put the records in suite order and return the outcome of the run."""
    results_dir = options.results_dir
    if (results_dir / "records.jsonl").is_file():
        finalise(results_dir, {spec.trial_id: spec.num_rounds for spec in suite.trials()})
        locked.lock.publish("records.jsonl", "failures.jsonl")
    complete, _ = _complete(trials, options)
    open_ids = {spec.trial_id for spec in trials} - complete
    return Outcome(
        num_trials=len(trials),
        num_complete=len(complete),
        failures=tuple(failure for failure in read_failures(results_dir) if failure.trial_id in open_ids),
        stop_code=locked.stop.exit_code,
        is_mlflow_complete=is_mlflow_complete,
        num_fits=progress.num_fits,
        num_shared=progress.num_shared,
    )


@contextlib.contextmanager
def _this_process(context: RunContext, waiting: Sequence[TrialSpec]) -> Iterator[_RunTrials]:
    suite, engine = context.suite, context.options.engine
    engine.warm_up(suite)

    def run_trials(recorder: Recorder) -> None:
        def on_progress(progress: Progress) -> None:
            context.stop.raise_if_requested()
            recorder.update(progress)
            context.refresh()

        runner = engine.open_runner(suite, context.options.results_dir)
        for spec in waiting:
            recorder.start(spec)
            num_done = 0
            try:
                for record in runner(spec, on_progress):
                    recorder.record(record)
                    num_done += 1
            except ERRORS as error:
                recorder.fail(spec, failure_of(spec, error, num_rounds_done=num_done))
            else:
                recorder.finish(spec)

    yield run_trials
