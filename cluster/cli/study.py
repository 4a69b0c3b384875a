"""The command that searches parameters: `study`."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from quadrat.cluster.cli.options import (
    engine_of,
    mlflow_option,
    open_suite,
    remote_of,
    results_option,
    store_option,
    suite_arguments,
    tracking_of,
)

if TYPE_CHECKING:
    from quadrat.cluster.runner.context import RunOptions
    from quadrat.cluster.study.driver import StudyOutcome

__all__ = ["COMMANDS"]


@click.command()
@suite_arguments
@results_option
@mlflow_option
@click.option(
    "ray_address",
    "--ray",
    metavar="ADDRESS",
    help="Join this Ray cluster (host:port, or auto). Default: $RAY_ADDRESS, else start Ray here",
)
@click.option(
    "--cache", type=click.Path(file_okay=False, path_type=Path), metavar="DIR", help="As for run. Default: DIR/cache"
)
@store_option
@click.option("--report/--no-report", default=True, show_default=True, help="Write the report at the end")
def study(
    suite_name: str,
    settings: Sequence[str],
    results: Path | str | None,
    mlflow_uri: str | None,
    ray_address: str | None,
    cache: Path | None,
    store: Path | str | None,
    report: bool,
) -> None:
    """Search the parameters of a suite's study, then report the best on other seeds.

    Candidates are judged on the study's search seeds; the best of them and the suite's own strategies are run on the
    suite's seeds, and those figures are the results. After Ctrl-C, a crash or an error, run the same command again.
    """
    from quadrat.cluster.cli.main import conclude
    from quadrat.cluster.runner.context import RunOptions
    from quadrat.cluster.study.driver import run_study

    suite, results_dir = open_suite(suite_name, settings, results)
    logs_to_mlflow, uri = tracking_of(mlflow_uri)
    options = RunOptions(
        results_dir=results_dir,
        engine=engine_of(results, cache, store),
        remote=remote_of(results),
        logs_to_mlflow=logs_to_mlflow,
        mlflow_uri=uri,
        ray_address=ray_address,
    )
    outcome = run_study(suite, options)
    _say_candidates(outcome, options)
    if outcome.report is None:
        sys.exit(outcome.exit_code)
    conclude(outcome.report, options, has_report=report, exit_code=outcome.exit_code)


def _say_candidates(outcome: "StudyOutcome", options: "RunOptions") -> None:
    """Say how many candidates there are and which is best, and how to go on where the search has not ended."""
    from quadrat.benchmark.results.candidates import study_dir
    from quadrat.cluster.progress.display import short
    from quadrat.cluster.study.context import show_params
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
        values = ", ".join(
            f"{objective} {value:.4f}" for objective, value in zip(found.study.objective, candidate.values, strict=True)
        )
        click.echo(f"best: candidate {best.candidate}  {show_params(candidate.params)}  ({values} on the search seeds)")
    folder = short(study_dir(options.results_dir))
    shown = folder if options.remote is None else f"{options.remote.url}/{folder.name}"
    for candidate in found.candidates:
        if candidate.exception is not None:
            click.echo(f"  candidate {candidate.number} failed: {candidate.exception}")
    if counts["failed"]:
        click.echo(f"tracebacks in {shown}/failures.jsonl")
    click.echo(f"search    optuna-dashboard {shlex.quote(f'sqlite:///{folder / DATABASE}')}")
    command = shlex.join(["quadrat", *sys.argv[1:]])
    if outcome.report is None and outcome.stop_code is not None:
        click.echo(f"stopped; nothing is lost. To go on:\n  {command}")
    elif counts["failed"]:
        click.echo(f"to try those that failed again:\n  {command}")


COMMANDS: Final = (study,)
