"""The command `study`: search a strategy's parameters, then report the best."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from quadrat.cluster.cli.console import command_again
from quadrat.cluster.cli.options import (
    cache_option,
    experiment_option,
    mlflow_option,
    ray_option,
    report_option,
    resource_options,
    results_option,
    run_options,
    store_option,
    suite_arguments,
    trackio_option,
    with_resources,
)
from quadrat.cluster.cli.places import open_suite
from quadrat.cluster.cli.run import conclude

if TYPE_CHECKING:
    from quadrat.cluster.runner.context import RunOptions
    from quadrat.cluster.study.driver import StudyOutcome

__all__ = ["COMMANDS"]


@click.command()
@suite_arguments
@results_option
@mlflow_option
@experiment_option
@trackio_option
@ray_option
@cache_option
@store_option
@report_option
@resource_options
@click.option(
    "export_path",
    "--export",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the best candidates, beside the suite's own strategies, as a suite that runs",
)
def study(
    suite_name: str,
    settings: Sequence[str],
    results: Path | str | None,
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
    export_path: Path | None,
) -> None:
    """Search a strategy's parameters, then report the best.

    The suite's key `study` says what is searched. Candidates are compared on the study's search seeds. The best and the
    suite's own strategies then run on the suite's seeds; those figures are the results. After Ctrl-C, a crash or an
    error, run the same command again.
    """
    suite, results_dir = open_suite(suite_name, with_resources(settings, jobs, cpus, gpus), results)
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
    from quadrat.cluster.study.driver import run_study  # here: it imports what run_options has checked

    outcome = run_study(suite, options)
    _print_candidates(outcome, options)
    if export_path is not None and outcome.reported is not None:
        from quadrat.benchmark.config.candidates import export_suite
        from quadrat.benchmark.storage.atomic import atomic_write

        atomic_write(export_path, export_suite(outcome.reported).encode())
        click.echo(f"exported  quadrat run {shlex.quote(str(export_path))}")
    if outcome.report is None:
        sys.exit(outcome.exit_code)
    conclude(outcome.report, options, has_report=report, exit_code=outcome.exit_code)


def _print_candidates(outcome: "StudyOutcome", options: "RunOptions") -> None:
    """Print the numbers of candidates by state, the best, failures, and how to resume an unfinished search."""
    from quadrat.benchmark.results.study_results import study_dir
    from quadrat.benchmark.storage.sqlite import sqlite_url
    from quadrat.cluster.progress.display import short
    from quadrat.cluster.study.search_display import show_params, show_values
    from quadrat.cluster.study.storage import DATABASE

    found = outcome.study
    counts = {
        state: sum(candidate.state == state for candidate in found.candidates)
        for state in ("done", "pruned", "failed", "running")
    }
    click.echo(
        f"\n{len(found.candidates)} of {found.study.candidates} candidates: "
        + ", ".join(f"{num} {state}" for state, num in counts.items() if num)
    )
    if outcome.num_fits or outcome.num_shared:
        click.echo(f"{outcome.num_fits} fits computed, {outcome.num_shared} shared in the search")
    by_number = {candidate.number: candidate for candidate in found.candidates}
    for best in found.best:
        candidate = by_number[best.candidate]
        values = show_values(found.study.objective, candidate.values)
        click.echo(f"best: candidate {best.candidate}  {show_params(candidate.params)}  ({values} on the search seeds)")
    folder = short(study_dir(options.results_dir))
    shown = folder if options.remote is None else f"{options.remote.shown}/{folder.name}"
    for candidate in found.candidates:
        if candidate.exception is not None:
            click.echo(f"  candidate {candidate.number} failed: {candidate.exception}")
    if counts["failed"]:
        click.echo(f"tracebacks in {shown}/failures.jsonl")
    click.echo(f"search    optuna-dashboard {shlex.quote(sqlite_url(folder / DATABASE))}")
    command = command_again()
    if outcome.report is None and outcome.stop_code is not None:
        click.echo(f"stopped; nothing is lost. To resume:\n  {command}")
    elif counts["failed"]:
        click.echo(f"to run the failed candidates again:\n  {command}")


COMMANDS: Final = (study,)
