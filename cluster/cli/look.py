"""Commands that only look: `show`, `list` and `doctor`."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from quadrat.cluster.cli.options import local_copy, open_suite, results_option, suite_arguments

if TYPE_CHECKING:
    from rich.table import Table

    from quadrat.benchmark.config.suite import Suite

__all__ = ["COMMANDS"]

_GROUPS: Final = {
    "strategies": ("quadrat.strategies", "strategy"),
    "signals": ("quadrat.signals", "signal"),
    "profiles": ("quadrat.profiles", "profile"),
    "datasets": ("quadrat.datasets", "dataset"),
}


@click.command()
@suite_arguments
@results_option
@click.option(
    "--plan", "is_planned", is_flag=True, help="Measure the recipe here, a minute or so, and say how long it takes"
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
    """Show what a suite resolves to: its trials, its budgets, its work and disk; with --plan, its hours and memory."""
    from quadrat.cluster.cli.suite_view import render

    if (devices is not None or is_json) and not is_planned:
        raise click.UsageError("--devices and --json: expected with --plan; add it")
    if isinstance(results, str):
        local_copy(results)
    suite, results_dir = open_suite(suite_name, settings, results)
    if not is_json:
        for part in render(suite, results_dir):
            _print(part)
    if is_planned:
        _plan(suite, results_dir, devices, is_json=is_json)


def _plan(suite: "Suite", results_dir: Path, devices: int | None, *, is_json: bool) -> None:
    """Measure the suite's recipe on this machine and print what follows from it."""
    from quadrat.benchmark.planning.estimate import estimate
    from quadrat.benchmark.planning.measure import devices_at_hand, measure
    from quadrat.benchmark.planning.work import count_work, data_extent
    from quadrat.cluster.cli.plan_view import as_json, render_plan

    extent = data_extent(suite, results_dir)
    work = count_work(suite, extent)
    device, num_here = devices_at_hand(suite)
    measured = measure(suite, extent, work, device, lambda phase: click.echo(f"measuring: {phase}", err=True))
    plan = estimate(suite, extent, measured, devices or num_here)
    if is_json:
        click.echo(json.dumps(as_json(suite, extent, work, measured, plan)))
        return
    for part in render_plan(extent, work, measured, plan):
        _print(part)


@click.command(name="list")
@click.argument("what", type=click.Choice([*_GROUPS, "suites"]))
def list_(what: str) -> None:
    """List what can be named in a suite, plugins included; what is broken says why."""
    if what == "suites":
        _list_suites()
        return
    from quadrat.strategies.registry import Registry

    group, kind = _GROUPS[what]
    table = _table("name", "from", "")
    for plugin in Registry(group=group, kind=kind).listing():
        summary = f"BROKEN: {plugin.error}" if plugin.error else _first_line(group, kind, plugin.name)
        table.add_row(plugin.name, f"{plugin.distribution} {plugin.version}".strip(), summary)
    _print(table)


def _first_line(group: str, kind: str, name: str) -> str:
    from quadrat.strategies.registry import Registry

    value = Registry(group=group, kind=kind).get(name)
    text = getattr(value, "summary", value.__doc__) or ""
    line = str(text).strip().partition("\n")[0]
    return f"SEES LABELS: {line}" if getattr(value, "sees_labels", False) else line


def _list_suites() -> None:
    from quadrat.benchmark.config.suite import load_suite, shipped_suites
    from quadrat.benchmark.errors import QuadratError

    table = _table("name", "trials", "")
    for name, path in shipped_suites().items():
        try:
            suite = load_suite(path)
        except QuadratError as error:  # it may name a plugin that is broken here; the others can be run
            table.add_row(name, "", f"BROKEN: {error}")
        else:
            table.add_row(name, str(len(suite.trials())), suite.description)
    _print(table)


@click.command()
@results_option
def doctor(results: Path | str | None) -> None:
    """Check what runs depend on: versions, devices, weights, plugins, Ray, and the results folder's disk."""
    from quadrat.cluster.cli.doctor import examine
    from quadrat.cluster.cli.options import remote_of, results_root

    is_well = True
    if (remote := remote_of(results)) is not None:
        remote.check()
    folder = results_root() if results is None or isinstance(results, str) else results
    for finding in examine(folder.absolute()):
        mark = "ok  " if finding.is_well else "BAD "
        is_well &= finding.is_well
        click.echo(f"{click.style(mark, fg='green' if finding.is_well else 'red')} {finding.name:<10} {finding.text}")
    sys.exit(0 if is_well else 1)


def _table(*columns: str) -> "Table":
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", show_header=True)
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column == "name")
    return table


def _print(part: object) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    # A pipe has no width: nothing is cut or folded for it.
    (console if console.is_terminal else Console(highlight=False, width=200)).print(part)


COMMANDS: Final = (show, list_, doctor)
