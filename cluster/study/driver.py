"""Running a study from start to end: search candidates, then run the best of them on the report seeds."""

import contextlib
from dataclasses import dataclass, replace

from quadrat.benchmark.config.candidates import best_of, report_suite, study_of
from quadrat.benchmark.config.suite import Suite
from quadrat.benchmark.results.failures import read_failures
from quadrat.benchmark.results.study_results import StudyResults, check_study, study_dir
from quadrat.cluster.progress.progress import RunProgress
from quadrat.cluster.runner.context import RunContext, RunOptions, lock_folder, open_context, prepare, start_logging
from quadrat.cluster.runner.driver import Outcome, run_on_ray
from quadrat.cluster.runner.ray_session import check_address, ray_for
from quadrat.cluster.study.search import Search
from quadrat.cluster.study.storage import CandidateStorage
from quadrat.cluster.study.tune_adapter import run_candidates

__all__ = ["StudyOutcome", "run_study"]


@dataclass(frozen=True, kw_only=True)
class StudyOutcome:
    """Result of a study.

    Attributes:
        study: Its candidates and the best of them.
        report: Outcome of the run on the report seeds; None when the search did not end, or no candidate is done.
        stop_code: Exit code when the user stopped the study, else None.
        num_fits: Rounds of the search whose model was trained in this run.
        num_shared: Rounds of the search that took a model from the store.
        reported: The suite's own strategies and the best candidates, None where there is none or the user stopped it.
        needs_mending: Whether a trial of a candidate failed that would fail on any machine.
    """

    study: StudyResults
    report: Outcome | None
    stop_code: int | None
    num_fits: int
    num_shared: int
    reported: Suite | None = None
    needs_mending: bool = False

    @property
    def exit_code(self) -> int:
        """As of `quadrat run`."""
        if self.stop_code is not None:
            return self.stop_code
        if self.report is not None and self.report.exit_code:
            return self.report.exit_code
        if self.report is None or any(candidate.state == "failed" for candidate in self.study.candidates):
            return 2 if self.needs_mending else 1
        return 0


def run_study(suite: Suite, options: RunOptions) -> StudyOutcome:
    """Search, then run the best candidates and the suite's own strategies on the report seeds.

    What is complete is skipped, what was interrupted continues: the same call continues a study that was stopped.

    Raises:
        ResultsError: When the folder is in use, holds another suite or another study, or cannot be written.
        DataError: When the data set is missing or contradicts itself.
        ClusterError: When Ray cannot be started or joined.
    """
    study_of(suite)
    check_address(options.ray_address)
    with contextlib.ExitStack() as session:  # Ray, which serves the search and the trials of the report seeds
        outcome, reported = _search(suite, options, session)
        if reported is None:
            return outcome
        report = run_on_ray(reported, reported.trials(), options)
        return replace(outcome, report=report, stop_code=report.stop_code)


def _search(suite: Suite, options: RunOptions, session: contextlib.ExitStack) -> tuple[StudyOutcome, Suite | None]:
    """Run candidates until there are as many as the study wants, and return the suite of the report seeds.

    That suite holds the best candidates beside the suite's own strategies; None when the user stopped the search, or no
    candidate is done.

    All of it with the lock held: with results on a URL, the next driver to take the lock gets the files from there.
    """
    results_dir = options.results_dir
    with contextlib.ExitStack() as stack:
        locked = stack.enter_context(lock_folder(suite, options))
        check_study(results_dir, suite)
        storage = CandidateStorage(study_dir(results_dir), suite)
        stack.callback(storage.close)
        progress = RunProgress([])
        search = Search(suite, results_dir, storage, progress=progress, publish=locked.lock.publish)
        stack.callback(lambda: search.close(locked.stop.mlflow_s))
        search.write()
        if search.num_open:
            stack.enter_context(search.display)
            locked.stop.say = search.display.print
            context = stack.enter_context(
                open_context(
                    suite,
                    options,
                    locked,
                    progress=progress,
                    display=search.display,
                    describe_status=search.describe,
                )
            )
            with contextlib.suppress(KeyboardInterrupt):
                _run(context, search, session)
            search.finalise()
        results = storage.results()
        reported: Suite | None = None
        chosen = best_of(results.candidates, results.directions, results.study.best)
        if chosen and locked.stop.exit_code is None:
            reported, best = report_suite(suite, chosen)
            search.write(best)
            results = replace(results, best=tuple(best))
        outcome = StudyOutcome(
            study=results,
            report=None,
            stop_code=locked.stop.exit_code,
            num_fits=search.num_fits,
            num_shared=search.num_shared,
            reported=reported,
            needs_mending=any(failure.needs_mending for failure in read_failures(study_dir(results_dir))),
        )
        return outcome, reported


def _run(context: RunContext, search: Search, session: contextlib.ExitStack) -> None:
    """Prepare the data, start the loggers, and run the candidates on Ray, which stays open as long as `session`."""
    suite = context.suite
    context.options.engine.check(suite)  # an unknown split is one error here, not one of every candidate
    context.options.engine.warm_up(suite)
    prepare(context)
    search.loggers = start_logging(context)
    is_own = session.enter_context(ray_for(context))
    context.progress.activity = "loading torch in the workers"
    run_candidates(context, search, is_own=is_own)
