"""Running a study: Ray Tune runs candidates as actors, the book proposes them. Tune's "trial" becomes a candidate here.

Durability is ours and lies below Tune: records in the folder of the search, artefacts in the store, candidates in the
book. Tune's snapshots go to a scratch folder and are never restored.
"""

import contextlib
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

from ray import tune
from ray.tune.search import Searcher

from quadrat.benchmark.config.suite import Suite
from quadrat.benchmark.data import load_dataset
from quadrat.benchmark.results.candidates import (
    StudyResults,
    best_of,
    check_study,
    report_suite,
    study_dir,
    study_of,
)
from quadrat.benchmark.results.folder import check_results, lock_results
from quadrat.benchmark.tracking.logger import MlflowLogger
from quadrat.cluster.progress.status import StatusFile
from quadrat.cluster.runner.context import RunOptions
from quadrat.cluster.runner.driver import Outcome, run_on_ray
from quadrat.cluster.runner.interrupt import StopRequest
from quadrat.cluster.runner.ray_session import check_address, num_slots, ray_session, shared_log
from quadrat.cluster.runner.schedule import MAX_LOSSES
from quadrat.cluster.study.actor import CANDIDATE, TOLD, CandidateActor
from quadrat.cluster.study.context import StudyContext
from quadrat.cluster.study.storage import CandidateStorage

__all__ = ["StudyOutcome", "run_study"]

_SCRATCH: Final = "tune"

_TUNE_DEFAULTS: Final = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # our records are the log
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C is ours, see StopRequest
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
}


@dataclass(frozen=True, kw_only=True)
class StudyOutcome:
    """What came of a study.

    Attributes:
        study: Its candidates and the best of them.
        report: What came of the run on the report seeds; None when the search did not end, or left no candidate.
        stop_code: Exit code when somebody stopped the search, else None.
        num_fits: Rounds of the search whose model was trained in this run.
        num_shared: Rounds of the search that took a model that was there.
    """

    study: StudyResults
    report: Outcome | None
    stop_code: int | None
    num_fits: int
    num_shared: int

    @property
    def exit_code(self) -> int:
        """As of `quadrat run`: 0 when all is complete, 1 when something failed, 128 + signal when it was stopped."""
        if self.stop_code is not None:
            return self.stop_code
        if self.report is None or self.report.exit_code:
            return 1 if self.report is None else self.report.exit_code
        return int(any(candidate.state == "failed" for candidate in self.study.candidates))


def run_study(suite: Suite, options: RunOptions) -> StudyOutcome:
    """Search, then run the best candidates and the suite's own strategies on the report seeds.

    What is complete is skipped, what was interrupted goes on: the same call continues a study that was stopped.

    Raises:
        ResultsError: When the folder is in use, holds another suite or another study, or cannot be written.
        DataError: When the data set is missing or contradicts itself.
        ClusterError: When Ray cannot be started or joined.
    """
    study_of(suite)
    check_address(options.ray_address)
    found = _search(suite, options)
    outcome = None
    if found.reported is not None:
        outcome = run_on_ray(found.reported, found.reported.trials(), options)
    return StudyOutcome(
        study=found.study,
        report=outcome,
        stop_code=found.stop_code if outcome is None else outcome.stop_code,
        num_fits=found.num_fits,
        num_shared=found.num_shared,
    )


class _Found(NamedTuple):
    """What came of a search.

    Attributes:
        study: The candidates, and the best of them once the search has ended.
        reported: The suite that is run on the report seeds; None when somebody stopped, or no candidate is left.
        stop_code: Exit code when somebody stopped, else None.
        num_fits: Rounds whose model was trained in this run of it.
        num_shared: Rounds that took a model that was there.
    """

    study: StudyResults
    reported: Suite | None
    stop_code: int | None
    num_fits: int
    num_shared: int


def _search(suite: Suite, options: RunOptions) -> _Found:
    """Try candidates until there are as many as the study wants, and choose the best of them.

    All of it with the lock held: with results on a URL, whoever takes the lock next gets what lies there.
    """
    results_dir = options.results_dir
    with contextlib.ExitStack() as stack:
        stop = stack.enter_context(StopRequest())
        lock = stack.enter_context(lock_results(results_dir, options.remote, stop.raise_if_asked))
        check_results(results_dir, suite)
        check_study(results_dir, suite)
        book = CandidateStorage(study_dir(results_dir), suite)
        stack.callback(book.close)
        desk = StudyContext(suite, results_dir, book, stop, lock.publish)
        desk.write()
        if book.num_open:
            desk.bulletin = bulletin = stack.enter_context(
                StatusFile(desk.describe, suite.name, results_dir, url=options.url, show=lock.set_status)
            )
            with contextlib.suppress(KeyboardInterrupt):
                _prepare(suite, options, desk, stop)
                lock.publish("suite.json", "environment.json")
                stack.callback(_mirror(options, desk))
                desk.announce("joining Ray" if _is_joined(options) else "starting Ray")
                with ray_session(options.ray_address, suite.resources):
                    stop.listen()
                    bulletin.post_to(shared_log())
                    desk.activity = "waiting for workers"
                    _tune(suite, options, desk)
            desk.raise_error()
            desk.finalise()
        results = book.results()
        reported = None
        stop_code = stop.exit_code if stop.signal is not None else None
        chosen = best_of(results.candidates, results.directions, results.study.best)
        if chosen and stop_code is None:
            reported, best = report_suite(suite, chosen)
            desk.write(best)
            results = replace(results, best=tuple(best))
        return _Found(
            study=results,
            reported=reported,
            stop_code=stop_code,
            num_fits=desk.num_fits,
            num_shared=desk.num_shared,
        )


def _prepare(suite: Suite, options: RunOptions, desk: StudyContext, stop: StopRequest) -> None:
    def on_pack(split: str, done: int, total: int) -> None:
        stop.raise_if_asked()
        desk.activity = f"packing {split}  {done}/{total}"
        desk.refresh()

    desk.announce(f"opening data set {suite.dataset.name}")
    if (split := study_of(suite).test) is not None:  # said here when it is wrong, and not by every candidate
        load_dataset(suite.dataset.name, suite.dataset.root, **suite.dataset.params).items(split)
    options.engine.warm_up(suite)
    options.engine.prepare(suite, options.results_dir, on_pack)
    stop.raise_if_asked()


def _mirror(options: RunOptions, desk: StudyContext) -> Callable[[], object]:
    """Start to mirror the candidates, and return what ends it."""
    if not options.logs_to_mlflow:
        return lambda: None
    desk.mirror = MlflowLogger(options.results_dir, options.mlflow_uri, desk.say)
    desk.mirror.start()
    return desk.mirror.finish


def _is_joined(options: RunOptions) -> bool:
    """Return whether Ray is joined and not started; that of a submitted job is named by the environment."""
    return (options.ray_address or os.environ.get("RAY_ADDRESS")) not in (None, "", "local")


def _tune(suite: Suite, options: RunOptions, desk: StudyContext) -> None:
    for name, value in _TUNE_DEFAULTS.items():
        os.environ.setdefault(name, value)
    need = suite.resources
    scratch = study_dir(options.results_dir) / _SCRATCH
    actor = tune.with_parameters(
        CandidateActor, suite=suite, results_dir=options.results_dir, open_runner=options.engine.open_runner
    )
    tuner = tune.Tuner(
        tune.with_resources(actor, {"cpu": need.cpus, "gpu": need.gpus}),
        tune_config=tune.TuneConfig(
            search_alg=_Proposals(desk),
            num_samples=desk.book.num_open,
            # As many as are in flight, so that a proposal knows of all that ended before it starts. A cluster that was
            # joined may grow, hence no bound there but the user's.
            max_concurrent_trials=need.max_in_flight or (None if _is_joined(options) else num_slots(need)),
            reuse_actors=True,  # images, encoder and CUDA are opened once an actor
        ),
        run_config=tune.RunConfig(
            name="search",
            storage_path=str(scratch),
            stop=_Ear(desk),
            failure_config=tune.FailureConfig(max_failures=MAX_LOSSES),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            verbose=0,
        ),
    )
    try:
        tuner.fit()
    except tune.TuneError:
        desk.raise_error()
        raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


class _Proposals(Searcher):  # type: ignore[misc]
    """What Tune asks for candidates. Not `ray.tune.search.optuna.OptunaSearch`, though that takes a storage too.

    It would propose N new candidates to every run, leave those of a killed one running for ever, draw again what it
    drew before (one sampler, one seed), and call a candidate complete that was pruned.
    """

    def __init__(self, desk: StudyContext) -> None:
        super().__init__()
        self._desk = desk
        self._numbers: dict[str, int] = {}

    def suggest(self, trial_id: str) -> Any:
        """Return the next candidate as a configuration."""
        candidate = None if self._desk.must_stop else self._desk.start()
        if candidate is None:
            return Searcher.FINISHED
        self._numbers[trial_id] = candidate.number
        return {CANDIDATE: candidate}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Note what Tune alone knows: that an actor died too often."""
        if error:
            self._desk.lost(self._numbers[trial_id])

    def save(self, checkpoint_path: str) -> None:
        """Save nothing: the book is on the disk."""

    def __getstate__(self) -> dict[str, Any]:
        return {}  # for Tune's snapshot of its settings, which nobody reads


class _Ear(tune.Stopper):  # type: ignore[misc]
    """Hears every result before Tune does anything with it, and says who stops."""

    def __init__(self, desk: StudyContext) -> None:
        self._desk = desk

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return self._desk.hear(result[TOLD])

    def stop_all(self) -> bool:
        self._desk.refresh()  # Tune asks between any two events, several times a second
        return self._desk.must_stop

    def __getstate__(self) -> dict[str, Any]:
        return {}  # as for the proposals
