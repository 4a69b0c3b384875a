"""Ray Tune as the runner of candidates: the only module that imports it. Tune's "trial" is a candidate here.

Durability lies below Tune: records in the folder of the search, artefacts in the store, candidates in the storage.
Tune's snapshots go to a temporary folder and are never restored. Tune's ASHA forgets its rungs with the driver; the
pruners of Optuna keep theirs in the storage.
"""

import os
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from ray import tune
from ray.tune.search import Searcher

from quadrat.benchmark.config.resources import Resources
from quadrat.benchmark.config.suite import Suite
from quadrat.benchmark.results.study_results import study_dir
from quadrat.cluster.runner.context import RunContext
from quadrat.cluster.runner.engine import OpenRunner
from quadrat.cluster.runner.interrupt import GRACE_S, StopRequest
from quadrat.cluster.runner.metrics import GpuMemory
from quadrat.cluster.runner.ray_session import num_slots, slots_by_node
from quadrat.cluster.runner.schedule import MAX_WORKER_DEATHS
from quadrat.cluster.study.candidate_runner import CandidateRunner
from quadrat.cluster.study.progress_channel import ProgressChannel, ProgressReporter
from quadrat.cluster.study.search import Search

__all__ = ["CandidateSource", "run_candidates"]

_T = TypeVar("_T")

_CANDIDATE: Final = "candidate"
"""Key of the candidate in Tune's configuration."""

_AVOIDED: Final = "avoided"
"""Key of the nodes on which it is not to run."""

_ROUND: Final = "round"
"""Key of a candidate's round in Tune's result."""

_SCRATCH: Final = "tune"

_TUNE_DEFAULTS: Final = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # records.jsonl is the log
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C is handled by StopRequest
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
}


def run_candidates(context: RunContext, search: Search, *, is_own: bool) -> None:
    """Run the candidates of `search` on Tune actors until it has no more, or the user asks to stop.

    Args:
        context: The run; Ray is open.
        search: Hands out candidates and takes their rounds.
        is_own: Whether Ray was started for this run alone.

    Raises:
        Exception: What `search` raised; Tune would have wrapped it.
    """
    for name, value in _TUNE_DEFAULTS.items():
        os.environ.setdefault(name, value)
    need, results_dir = context.suite.resources, context.options.results_dir
    search.find_nodes = lambda: slots_by_node(need).keys()
    channel = ProgressChannel()

    def refresh() -> None:
        received = channel.read()
        for number, progress in received.latest.items():
            search.on_progress(number, progress)
        for number, progress in received.notes:
            search.note(number, progress)
        context.refresh()

    source = CandidateSource(search, context.stop, refresh, channel.request_stop)
    scratch = study_dir(results_dir) / _SCRATCH
    actor = tune.with_parameters(
        _CandidateActor,
        suite=context.suite,
        results_dir=results_dir,
        open_runner=context.options.engine.open_runner,
        report=channel.reporter,
    )
    tuner = tune.Tuner(
        tune.with_resources(actor, partial(_resources, need)),
        tune_config=tune.TuneConfig(
            search_alg=source,
            num_samples=-1,  # until the source has no more: one that failed on a node comes again
            # As many as are in flight, so that a proposal knows of all candidates that ended before it starts. A
            # cluster that was joined may grow, hence only the user's bound there.
            max_concurrent_trials=need.max_in_flight or (num_slots(need) if is_own else None),
            reuse_actors=True,  # images, encoder and CUDA are opened once an actor
        ),
        run_config=tune.RunConfig(
            name="search",
            storage_path=str(scratch),
            stop=source,
            # In total: Tune does not reset the count after a new round.
            failure_config=tune.FailureConfig(max_failures=MAX_WORKER_DEATHS),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            verbose=0,
        ),
    )
    try:
        tuner.fit()
    except Exception as error:
        # A node that is lost while Tune tidies up changes nothing of candidates that have all ended.
        if source.error is not None or not search.is_done:
            raise
        search.display.print(
            f"! Ray Tune ended with an error after the last candidate: {type(error).__name__}: {error}"
        )
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        if source.error is not None:
            raise source.error


def _resources(need: Resources, config: dict[str, Any]) -> tune.PlacementGroupFactory:
    """Return what a candidate needs, on any node but those that it avoids."""
    bundle = {"CPU": need.cpus, "GPU": need.gpus}
    if not config[_AVOIDED]:
        return tune.PlacementGroupFactory([bundle])
    others = {"ray.io/node-id": f"!in({', '.join(config[_AVOIDED])})"}
    return tune.PlacementGroupFactory([bundle], bundle_label_selector=[others])


class _CandidateActor(tune.Trainable):  # type: ignore[misc]
    """A worker: Tune's actor around a `CandidateRunner`. A step is one round of a candidate."""

    def setup(
        self, config: dict[str, Any], suite: Suite, results_dir: Path, open_runner: OpenRunner, report: ProgressReporter
    ) -> None:
        self._runner = CandidateRunner(suite, results_dir, open_runner, report)
        self._gpu_memory = GpuMemory(suite.name)
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._runner.start(new_config[_CANDIDATE])
        return True

    def step(self) -> dict[str, Any]:
        found = self._runner.run_round()
        self._gpu_memory.update()
        return {_ROUND: found, "done": found.is_done or found.is_stopped or found.failure is not None}


class CandidateSource(Searcher, tune.Stopper):  # type: ignore[misc]
    """What Tune calls in the driver: as its searcher for candidates, and as its stopper with every round of one.

    An error of `search` is kept for after the run, out of Tune's hands, and ends the run.

    Not `ray.tune.search.optuna.OptunaSearch`, though that takes an Optuna storage too: it would propose N new
    candidates to every run, leave those of a killed one running for ever, draw again what it drew before (one sampler,
    one seed), and call a candidate complete that was pruned.

    Args:
        search: Hands out candidates and takes their rounds.
        stop: Whether the user has asked to stop.
        refresh: Brings display and status up to date.
        request_stop: Asks the candidates in flight to stop; their fits then write a checkpoint.
        clock: Monotonic seconds.

    Attributes:
        error: The first error, None as long as there was none.
    """

    def __init__(
        self,
        search: Search,
        stop: StopRequest,
        refresh: Callable[[], None],
        request_stop: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._search = search
        self._stop = stop
        self._refresh = refresh
        self._request_stop = request_stop
        self._clock = clock
        self._stops_at_s: float | None = None
        self._numbers: dict[str, int] = {}
        self.error: Exception | None = None

    def suggest(self, trial_id: str) -> Any:
        """Return the next candidate as a configuration; None when there is none before one in flight has ended."""
        candidate = None if self._must_stop else self._call(self._search.start, on_error=None)
        if candidate is None:
            return Searcher.FINISHED if self._must_stop or self._search.is_done else None
        self._numbers[trial_id] = candidate.number
        return {_CANDIDATE: candidate, _AVOIDED: sorted(self._search.avoided(candidate.number))}

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Record a round and return whether its candidate is to be stopped."""
        return self._call(lambda: self._search.on_round(result[_ROUND]), on_error=True)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Record that a candidate has failed because its actor died too often, which Tune alone knows."""
        if error:
            self._call(lambda: self._search.on_worker_died(self._numbers[trial_id]), on_error=None)

    def stop_all(self) -> bool:
        """Return whether to stop all candidates. Tune asks several times a second.

        After a request to stop, that is when no candidate is in a fit any more: those write a checkpoint first.
        """
        self._call(self._refresh, on_error=None)
        if not self._must_stop:
            return False
        if self.error is None and self._stops_at_s is None:
            self._stops_at_s = self._clock() + GRACE_S
            self._call(self._request_stop, on_error=None)
        return self.error is not None or self._clock() >= (self._stops_at_s or 0.0) or not self._search.is_in_fit

    @property
    def _must_stop(self) -> bool:
        return self.error is not None or self._stop.signal is not None

    def _call(self, call: Callable[[], _T], *, on_error: _T) -> _T:
        try:
            return call()
        except Exception as error:
            self.error = self.error or error
            return on_error

    def save(self, checkpoint_path: str) -> None:
        """Save nothing: the candidates are in the storage."""

    def __getstate__(self) -> dict[str, Any]:
        return {}  # for Tune's snapshot of its settings, which is never read
