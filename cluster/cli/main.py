"""The command line: `quadrat`. Each command imports what it needs when it is called, so that --help is quick."""

import itertools
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from quadrat.cluster.cli import bench, data, jobs, look, results, study, verify
from quadrat.cluster.cli.options import (
    engine_of,
    mlflow_option,
    open_suite,
    pick_trials,
    remote_of,
    results_option,
    store_option,
    suite_arguments,
    tracking_of,
)
from quadrat.cluster.runner.job_folder import leave_job_folder

if TYPE_CHECKING:
    from quadrat.cluster.runner.context import RunOptions
    from quadrat.cluster.runner.driver import Outcome

__all__ = ["Commands", "cli", "conclude", "main"]


class _UserError(click.ClickException):
    """A mistake that the user can mend: one message, no traceback."""

    exit_code = 2

    def show(self, file: Any = None) -> None:
        click.echo(f"error: {self.format_message()}", err=True)


class Commands(click.Group):
    """Commands in the order in which they are added, with `QuadratError` shown as what it is."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands, in the order in which they were added."""
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; a `QuadratError` becomes one line and exit code 2."""
        try:
            return super().invoke(ctx)
        except ValueError as error:
            from quadrat.strategies.errors import QuadratError

            if not isinstance(error, QuadratError):
                raise
            raise _UserError(str(error)) from error


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="quadrat", prog_name="quadrat")
def cli() -> None:
    """Benchmark strategies for region-based active learning in semantic segmentation.

    A SUITE is a YAML file, or the name of a shipped one (`quadrat list suites`).
    """


@cli.command()
@suite_arguments
@results_option
@click.option("labels", "--strategy", metavar="LABEL", multiple=True, help="Only the trials of this label (repeatable)")
@click.option("seeds", "--seed", type=int, multiple=True, help="Only the trials of this seed (repeatable)")
@mlflow_option
@click.option(
    "ray_address",
    "--ray",
    metavar="ADDRESS",
    help="Join this Ray cluster (host:port, or auto). Default: $RAY_ADDRESS, else start Ray here",
)
@click.option(
    "--cache",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Packed images and frozen features; suites may share it. Default: DIR/cache",
)
@store_option
@click.option("--report/--no-report", default=True, show_default=True, help="Write the report at the end")
def run(
    suite_name: str,
    settings: Sequence[str],
    results: Path | str | None,
    labels: Sequence[str],
    seeds: Sequence[int],
    mlflow_uri: str | None,
    ray_address: str | None,
    cache: Path | None,
    store: Path | str | None,
    report: bool,
) -> None:
    """Run a suite's trials on Ray, or go on with them.

    Trials that are complete are skipped, interrupted ones go on where they stopped: after Ctrl-C, a crash or an error,
    run the same command again.
    """
    from quadrat.cluster.runner.context import RunOptions
    from quadrat.cluster.runner.driver import run_on_ray

    suite, results_dir = open_suite(suite_name, settings, results)
    trials = pick_trials(suite, labels, seeds)
    logs_to_mlflow, uri = tracking_of(mlflow_uri)
    options = RunOptions(
        results_dir=results_dir,
        engine=engine_of(results, cache, store),
        remote=remote_of(results),
        logs_to_mlflow=logs_to_mlflow,
        mlflow_uri=uri,
        ray_address=ray_address,
    )
    conclude(run_on_ray(suite, trials, options), options, has_report=report)


@cli.command()
@suite_arguments
@click.option("label", "--strategy", metavar="LABEL", required=True, help="Label of the strategy, or full-supervision")
@click.option("--seed", type=int, required=True, help="Seed of the trial")
@results_option
@click.option("--cache", type=click.Path(file_okay=False, path_type=Path), metavar="DIR", help="As for run")
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
    """Run one trial in the foreground, without Ray and MLflow, into the same files as `quadrat run`."""
    from quadrat.cluster.runner.context import RunOptions
    from quadrat.cluster.runner.driver import run_in_foreground

    suite, results_dir = open_suite(suite_name, settings, results)
    options = RunOptions(
        results_dir=results_dir,
        engine=engine_of(results, cache, store),
        remote=remote_of(results),
        logs_to_mlflow=False,
    )
    outcome = run_in_foreground(suite, pick_trials(suite, [label], [seed]), options)
    for failure in outcome.failures:
        click.echo(failure.traceback, err=True)
    conclude(outcome, options, has_report=False)


def conclude(outcome: "Outcome", options: "RunOptions", *, has_report: bool, exit_code: int | None = None) -> None:
    """Say what came of a run and where to look, and exit with its code, or with `exit_code` of what it was part of."""
    from quadrat.benchmark.tracking.client import without_password
    from quadrat.cluster.progress.display import short

    command = shlex.join(["quadrat", *sys.argv[1:]])
    results_dir, remote, uri = options.results_dir, options.remote, options.mlflow_uri
    shown = short(results_dir) if remote is None else remote.url
    click.echo(f"\n{outcome.num_complete} of {outcome.num_trials} trials complete in {shown}")
    if outcome.num_fits or outcome.num_shared:
        click.echo(f"{outcome.num_fits} fits computed, {outcome.num_shared} shared")
    if outcome.failures:
        click.echo(f"{len(outcome.failures)} failed (tracebacks in {shown}/failures.jsonl):")
        for failure in outcome.failures:
            click.echo(f"  {failure.label} seed {failure.seed}, round {failure.round + 1}: {failure.exception}")
    if outcome.stop_code is not None:
        click.echo(f"stopped; nothing is lost. To go on:\n  {command}")
    elif outcome.failures:
        click.echo(f"to try them again:\n  {command}")
    if has_report and outcome.stop_code is None and (results_dir / "records.jsonl").is_file():
        from quadrat.benchmark.reporting import write_report

        page = write_report(results_dir)
        if remote is not None:
            remote.upload_folder(results_dir, page.parent.name)
        click.echo(f"report    {short(page)}")
    is_complete = outcome.is_mirror_complete
    if options.logs_to_mlflow and is_complete and outcome.stop_code is None:
        is_complete = _log_artifacts(results_dir, uri)
    if not is_complete:
        target = "" if uri is None else f" --mlflow {without_password(uri)}"
        click.echo(f"MLflow    incomplete; log the files with: quadrat track {shlex.quote(str(shown))}{target}")
    elif options.logs_to_mlflow:
        click.echo(f"MLflow    {f'quadrat ui {shlex.quote(str(shown))}' if uri is None else without_password(uri)}")
    sys.exit(outcome.exit_code if exit_code is None else exit_code)


def _log_artifacts(results_dir: Path, uri: str | None) -> bool:
    """Log report and pictures to MLflow, and return whether that succeeded."""
    from quadrat.benchmark.tracking.client import without_password
    from quadrat.benchmark.tracking.writer import log_artifacts

    try:
        log_artifacts(results_dir, uri)
    except Exception as error:  # MLflow raises what its stores raise; none of it may turn a good run into a bad one
        reason = without_password(f"{type(error).__name__}: {error}").partition("\n")[0]
        click.echo(f"! MLflow does not take the report: {reason:.160}", err=True)
        return False
    return True


_MODULES = (study, look, results, jobs, verify, data, bench)
for _command in itertools.chain.from_iterable(module.COMMANDS for module in _MODULES):
    cli.add_command(_command)


def main() -> None:
    """Run the command line."""
    leave_job_folder()
    cli(prog_name="quadrat")
