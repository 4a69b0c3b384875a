"""The command `list`: what a suite can name, and the shipped suites."""

from typing import Final

import click

from quadrat.cluster.cli.console import make_table, print_part

__all__ = ["COMMANDS", "REGISTRIES"]

REGISTRIES: Final = {
    "strategies": ("quadrat.strategies", "strategy"),
    "signals": ("quadrat.signals", "signal"),
    "profiles": ("quadrat.profiles", "profile"),
    "datasets": ("quadrat.datasets", "dataset"),
}
"""Entry point group and kind by what is listed."""


@click.command(name="list")
@click.argument("what", type=click.Choice([*REGISTRIES, "suites"]))
def list_(what: str) -> None:
    """List what a suite can name (plugins included), or the suites.

    A plugin that cannot be imported is listed as BROKEN, with its error.
    """
    if what == "suites":
        _list_suites()
        return
    from quadrat.strategies.registry import Registry

    group, kind = REGISTRIES[what]
    registry = Registry(group=group, kind=kind)
    table = make_table("name", "from", "")
    for plugin in registry.listing():
        summary = f"BROKEN: {plugin.error}" if plugin.error else _summary(registry.get(plugin.name))
        table.add_row(plugin.name, f"{plugin.distribution} {plugin.version}".strip(), summary)
    print_part(table)
    if what == "datasets":
        click.echo("\nYour own images: quadrat data init DIR writes manifest and suite.")


def _summary(plugin: object) -> str:
    """Return the first line of a plugin's summary or docstring."""
    text = getattr(plugin, "summary", plugin.__doc__) or ""
    line = str(text).strip().partition("\n")[0]
    return f"SEES LABELS: {line}" if getattr(plugin, "sees_labels", False) else line


def _list_suites() -> None:
    from quadrat.benchmark.config.suite import load_suite, shipped_suites
    from quadrat.benchmark.errors import QuadratError

    table = make_table("name", "trials", "")
    for name, path in shipped_suites().items():
        try:
            suite = load_suite(path)
        except QuadratError as error:  # it may name a plugin that is broken here; the others can be run
            table.add_row(name, "", f"BROKEN: {error}")
        else:
            table.add_row(name, str(len(suite.trials())), suite.description)
    print_part(table)


COMMANDS: Final = (list_,)
