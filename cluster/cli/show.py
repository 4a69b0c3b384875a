"""The command `show`: what a suite resolves to, before anything runs."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from quadrat.cluster.cli.console import pasteable, print_part
from quadrat.cluster.cli.options import results_option, suite_arguments
from quadrat.cluster.cli.places import local_copy, open_suite

if TYPE_CHECKING:
    from quadrat.benchmark.config.suite import Suite

__all__ = ["COMMANDS"]


@click.command()
@suite_arguments
@results_option
@click.option(
    "--plan", "is_planned", is_flag=True, help="Measure the recipe here (about a minute) and estimate its hours"
)
@click.option(
    "--devices", type=click.IntRange(min=1), help="With --plan: GPUs (CPU cores of a suite without GPU) to run on"
)
@click.option("--json", "is_json", is_flag=True, help="With --plan: print the plan as one JSON object")
def show(
    suite_name: str,
    settings: Sequence[str],
    results: Path | str | None,
    is_planned: bool,
    devices: int | None,
    is_json: bool,
) -> None:
    """Show a suite's trials, budgets, work and disk; run nothing.

    With --plan, measure its recipe on this machine and estimate hours, memory and disk.
    """
    from quadrat.cluster.cli.suite_view import render_suite

    if (devices is not None or is_json) and not is_planned:
        raise click.UsageError("--devices and --json: expected with --plan; add it")
    if isinstance(results, str):
        local_copy(results)
    suite, results_dir = open_suite(suite_name, settings, results)
    if not is_json:
        for part in render_suite(suite, results_dir):
            print_part(part)
        if not is_planned:  # not in a table, whose lines could not be pasted
            click.echo(f"\nhours, memory and disk here:\n  {_plan_command(suite_name, settings, results)}")
    if is_planned:
        _plan(suite, results_dir, devices, is_json=is_json)


def _plan_command(suite_name: str, settings: Sequence[str], results: Path | str | None) -> str:
    """Return the command line that plans the same suite."""
    from quadrat.benchmark.redaction import redact

    options = [word for setting in settings for word in ("--set", setting)]
    options += [] if results is None else ["--results", redact(str(results))]
    return pasteable("show", suite_name, *options, "--plan")


def _plan(suite: "Suite", results_dir: Path, devices: int | None, *, is_json: bool) -> None:
    """Measure the suite's recipe on this machine, and print the estimate for the whole suite."""
    from quadrat.benchmark.planning.estimate import estimate, trials_in_flight
    from quadrat.benchmark.planning.extent import data_extent
    from quadrat.benchmark.planning.measure import local_devices, measure
    from quadrat.benchmark.planning.work import count_work
    from quadrat.cluster.cli.plan_view import as_json, render_plan

    extent = data_extent(suite, results_dir)
    work = count_work(suite, extent)
    device, num_here = local_devices(suite)
    measured = measure(
        suite,
        extent,
        work,
        device,
        lambda phase: click.echo(f"measuring: {phase}", err=True),
        in_flight=trials_in_flight(suite, work, devices or num_here, is_gpu=device == "cuda"),
    )
    plan = estimate(suite, extent, measured, devices or num_here)
    if is_json:
        click.echo(json.dumps(as_json(suite, extent, work, measured, plan)))
        return
    for part in render_plan(suite, extent, work, measured, plan):
        print_part(part)


COMMANDS: Final = (show,)
