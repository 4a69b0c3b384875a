"""Trials in this process, one after another, without Ray: for a notebook or a debugger."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from quadrat.benchmark.errors import ResultsError, TrainingError
from quadrat.benchmark.redaction import redact_url

if TYPE_CHECKING:
    from quadrat.loaded import SuiteResults

__all__ = ["run", "trial"]


def run(
    suite: str | Path,
    *,
    settings: Sequence[str] = (),
    results: str | Path | None = None,
    strategies: Sequence[str] = (),
    seeds: Sequence[int] = (),
) -> "SuiteResults":
    """Run the trials of a suite that are not complete, and return its results.

    The records are those of `quadrat run`, in the same files; that command uses all cores, this function runs one trial
    at a time. A trial that fails is recorded, and the others go on. Interrupt it, and call it again to go on.

    Args:
        suite: A YAML file, or the name of a shipped suite.
        settings: Settings that override the suite, as of `--set`: `["learner.iterations=50"]`.
        results: The results folder. Default: as of `quadrat run`.
        strategies: Labels of strategies; empty for all.
        seeds: Seeds; empty for all.

    Raises:
        QuadratError: When the suite, the data or the folder is wrong.
        KeyboardInterrupt: When it was interrupted; nothing is lost.
    """
    return _run(suite, settings, results, strategies, seeds, may_fail=True)


def trial(
    suite: str | Path,
    strategy: str,
    seed: int,
    *,
    settings: Sequence[str] = (),
    results: str | Path | None = None,
) -> "SuiteResults":
    """Run one trial of a suite, or resume it, and return the suite's results.

    Args:
        suite: A YAML file, or the name of a shipped suite.
        strategy: Label of its strategy, or `full-supervision`.
        seed: Its seed.
        settings: As of `run`.
        results: As of `run`.

    Raises:
        QuadratError: When the suite, the data or the folder is wrong.
        TrainingError: When the trial failed; the message holds its traceback.
        KeyboardInterrupt: When it was interrupted; nothing is lost.
    """
    return _run(suite, settings, results, [strategy], [seed], may_fail=False)


def _run(
    suite: str | Path,
    settings: Sequence[str],
    results: str | Path | None,
    strategies: Sequence[str],
    seeds: Sequence[int],
    *,
    may_fail: bool,
) -> "SuiteResults":
    from quadrat.benchmark.results.trials import read_results
    from quadrat.cluster.cli.options import select_trials
    from quadrat.cluster.cli.places import open_suite
    from quadrat.cluster.runner.context import RunOptions
    from quadrat.cluster.runner.driver import run_in_foreground
    from quadrat.cluster.runner.engine import benchmark_engine
    from quadrat.loaded import SuiteResults

    if "://" in str(results):
        raise ResultsError(
            f"results: expected a folder, got the URL '{redact_url(str(results))}'; `quadrat run SUITE --results URL` "
            "writes there"
        )
    opened, results_dir = open_suite(str(suite), settings, None if results is None else Path(results))
    options = RunOptions(results_dir=results_dir, engine=benchmark_engine(), logs_to_mlflow=False)
    outcome = run_in_foreground(opened, select_trials(opened, strategies, seeds), options)
    if outcome.stop_code is not None:
        raise KeyboardInterrupt
    if outcome.failures and not may_fail:
        raise TrainingError("\n".join(failure.traceback for failure in outcome.failures))
    return SuiteResults(read_results(results_dir))
