"""The command `list`: what a suite can name, and the shipped suites."""

import inspect
from typing import Final

import click

from quadrat.cluster.cli.console import make_table, print_part, reflowed, say

__all__ = ["COMMANDS", "LISTED"]

LISTED: Final = ("strategies", "signals", "profiles", "datasets", "regions", "suites")
"""The suites, and what plugins can add: `quadrat.strategies.registry.PLUGINS`, which is not imported for the help."""


@click.command(name="list")
@click.argument("what", type=click.Choice(LISTED))
@click.argument("name", required=False)
def list_(what: str, name: str | None) -> None:
    """List what a suite can name (plugins included), or the suites.

    `list strategies NAME` shows one strategy: each parameter with its default, what a study searches, its meaning.

    A plugin that cannot be imported is listed as BROKEN, with its error.
    """
    if name is not None:
        if what != "strategies":
            hint = f"; `quadrat show {name}` shows a suite" if what == "suites" else ""
            raise click.UsageError(f"list {what}: expected no name, got {name!r}{hint}")
        _show_strategy(name)
        return
    if what == "suites":
        _list_suites()
        return
    from quadrat.strategies.registry import STRATEGIES, registry_of

    registry = STRATEGIES if what == "strategies" else registry_of(what)
    table = make_table("name", "from", "")
    for plugin in registry.listing():
        summary = f"BROKEN: {plugin.error}" if plugin.error else _summary(registry.get(plugin.name))
        table.add_row(plugin.name, f"{plugin.distribution} {plugin.version}".strip(), summary)
    print_part(table)
    if what == "datasets":
        click.echo("\nYour own images: quadrat data init DIR writes manifest and suite.")


def _show_strategy(name: str) -> None:
    """Print a strategy's description, its parameters, what it needs and the sources that it names."""
    from rich.text import Text

    from quadrat.strategies.parameters import describe, references
    from quadrat.strategies.registry import STRATEGIES

    strategy = STRATEGIES.get(name)
    say(reflowed(f"{name}: {inspect.cleandoc(strategy.__doc__ or '')}") + "\n\n")
    parameters = describe(strategy)
    if parameters:
        table = make_table("name", "default", "searched", "meaning")
        for item in parameters:
            table.add_row(*map(Text, (item.name, item.default or "(must be given)", item.searched, item.meaning)))
        print_part(table)
    else:
        click.echo("It has no parameters.")
    if all(item.default is not None for item in parameters):
        needs = strategy().needs
        wanted = {"signals": needs.signals, "features": ("yes",) * needs.features, "profiles": needs.profiles}
        found = "; ".join(f"{kind}: {', '.join(names)}" for kind, names in wanted.items() if names)
        say(f"\nNeeds with these defaults: {found or 'nothing'}")
    if sources := references(strategy):
        say(f"\n{reflowed(sources)}")


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
