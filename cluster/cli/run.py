"""The commands `run` and `trial`, and what either prints at its end."""

import shlex
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from quadrat.cluster.cli.console import command_again, filled, pasteable
from quadrat.cluster.cli.options import (
    cache_option,
    experiment_option,
    mlflow_option,
    ray_option,
    report_option,
    resource_options,
    results_option,
    run_options,
    select_trials,
    store_option,
    suite_arguments,
    trackio_option,
    trial_options,
    with_resources,
)
from quadrat.cluster.cli.places import open_suite

if TYPE_CHECKING:
    from quadrat.cluster.runner.context import RunOptions
    from quadrat.cluster.runner.driver import Outcome

__all__ = ["COMMANDS", "conclude"]


@click.command()
@suite_arguments
@results_option
@trial_options
@mlflow_option
@experiment_option
@trackio_option
@ray_option
@cache_option
@store_option
@report_option
@resource_options
def run(
    suite_name: str,
    settings: Sequence[str],
    results: Path | str | None,
    labels: Sequence[str],
    seeds: Sequence[int],
    mlflow_uri: str | None,
    experiment: str | None,
    trackio: str | None,
    ray_address: str | None,
    cache: Path | None,
    store: Path | str | None,
    report: bool,
    jobs: int | None,
    cpus: int | None,
    gpus: float | None,
    max_hours: float | None,
) -> None:
    """Run the trials of a suite on Ray, or resume them.

    Complete trials are skipped, interrupted ones resume from their last artefact. After Ctrl-C, a crash or an error,
    run the same command again.
    """
    suite, results_dir = open_suite(suite_name, with_resources(settings, jobs, cpus, gpus), results)
    trials = select_trials(suite, labels, seeds)
    options = run_options(
        results_dir,
        results,
        cache=cache,
        store=store,
        mlflow_uri=mlflow_uri,
        experiment=experiment,
        trackio=trackio,
        ray_address=ray_address,
        writes_report=report,
        max_hours=max_hours,
    )
    from quadrat.cluster.runner.driver import run_on_ray  # here: it imports what run_options has checked

    conclude(run_on_ray(suite, trials, options), options, has_report=report)


@click.command()
@suite_arguments
@click.option("label", "--strategy", metavar="LABEL", required=True, help="Label of the strategy, or full-supervision")
@click.option("--seed", type=int, required=True, help="Seed of the trial")
@results_option
@cache_option
@store_option
def trial(
    suite_name: str,
    settings: Sequence[str],
    label: str,
    seed: int,
    results: Path | str | None,
    cache: Path | None,
    store: Path | str | None,
) -> None:
    """Run one trial in the foreground, without Ray and MLflow.

    It writes the same files as `quadrat run`, and prints the traceback of a failure.
    """
    suite, results_dir = open_suite(suite_name, settings, results)
    options = run_options(results_dir, results, cache=cache, store=store, mlflow_uri="none", uses_ray=False)
    from quadrat.cluster.runner.driver import run_in_foreground  # here: it imports what run_options has checked

    outcome = run_in_foreground(suite, select_trials(suite, [label], [seed]), options)
    for failure in outcome.failures:
        click.echo(failure.traceback, err=True)
    conclude(outcome, options, has_report=False)


def conclude(outcome: "Outcome", options: "RunOptions", *, has_report: bool, exit_code: int | None = None) -> None:
    """Print the outcome of a run, write its report, log it to MLflow, and exit.

    Args:
        outcome: Of the run.
        options: Of the run.
        has_report: Whether to write the report (never of a run that was stopped).
        exit_code: Code to exit with; None for the outcome's own.
    """
    from quadrat.cluster.progress.display import short

    command = command_again()
    results_dir, remote = options.results_dir, options.remote
    shown = short(results_dir) if remote is None else remote.shown
    click.echo(f"\n{outcome.num_complete} of {outcome.num_trials} trials complete in {shown}")
    if outcome.num_fits or outcome.num_shared:
        click.echo(f"{outcome.num_fits} fits computed, {outcome.num_shared} shared")
    if outcome.failures:
        click.echo(f"{len(outcome.failures)} failed (tracebacks in {shown}/failures.jsonl):")
        for failure in outcome.failures:
            click.echo(f"  {failure.label} seed {failure.seed}, round {failure.round}: {failure.exception}")
    if outcome.stop_code is not None:
        click.echo(f"stopped; nothing is lost. To resume:\n  {command}")
    elif outcome.failures:
        click.echo(f"to run the failed trials again:\n  {command}")
    if has_report and outcome.stop_code is None and (results_dir / "records.jsonl").is_file():
        from quadrat.benchmark.reporting import write_report
        from quadrat.benchmark.results.lock import upload_report

        page = write_report(results_dir)
        if remote is not None:
            upload_report(remote, results_dir, page.parent.name)
        click.echo(f"\n{filled(_headline(results_dir))}\n\nreport    {page.absolute().as_uri()}")
    _conclude_mlflow(outcome, options, str(shown))
    sys.exit(outcome.exit_code if exit_code is None else exit_code)


def _headline(results_dir: Path) -> str:
    """Return the report's first sentence."""
    from quadrat.benchmark.reporting.summary import report_summary
    from quadrat.benchmark.results.trials import read_results

    return report_summary(read_results(results_dir)).headline


def _conclude_mlflow(outcome: "Outcome", options: "RunOptions", shown: str) -> None:
    """Log the report and the previews to MLflow, and print where to look, or how to log what is missing."""
    uri, is_complete = options.mlflow_uri, outcome.is_mlflow_complete
    if options.logs_to_mlflow and is_complete and outcome.stop_code is None:
        is_complete = _log_artifacts(options)
    if not is_complete:
        from quadrat.benchmark.tracking.logger import track_command

        again = pasteable(*track_command(shown, uri, options.experiment))
        click.echo(f"MLflow    incomplete; log it again from the files: {again}")
    elif options.logs_to_mlflow:
        own = () if options.experiment is None else ("--experiment", options.experiment)
        click.echo(f"MLflow    {pasteable('ui', shown, *own) if uri is None else _runs_page(options, uri)}")
    if options.trackio is not None:
        click.echo(f"Trackio   trackio show --project {shlex.quote(options.trackio)}")


def _runs_page(options: "RunOptions", uri: str) -> str:
    """Return the address of the suite's runs on a server; the tracking URI where it is no server."""
    from quadrat.benchmark.redaction import redact
    from quadrat.benchmark.results.folder import read_suite_json
    from quadrat.benchmark.tracking.addresses import runs_page

    name = options.experiment or read_suite_json(options.results_dir)["suite"]["name"]
    try:
        return runs_page(uri, name) or redact(uri)
    except Exception as error:  # MLflow raises what its stores raise; the records are logged already
        return f"{redact(uri)} (it does not say where the suite's page is: {type(error).__name__})"


def _log_artifacts(options: "RunOptions") -> bool:
    """Log the report and the previews to MLflow, and return whether it took them."""
    from quadrat.benchmark.redaction import redact
    from quadrat.benchmark.tracking.writer import log_artifacts

    try:
        log_artifacts(
            options.results_dir, options.mlflow_uri, warn=partial(click.echo, err=True), experiment=options.experiment
        )
    except Exception as error:  # MLflow raises what its stores raise; none of it may turn a good run into a bad one
        reason = redact(f"{type(error).__name__}: {error}").partition("\n")[0]
        click.echo(f"! MLflow does not accept the report: {reason:.160}", err=True)
        return False
    return True


COMMANDS: Final = (run, trial)
