"""Printing of tables and other rich renderables; imports rich when called."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["make_table", "print_part"]

_PIPE_COLUMNS = 200


def make_table(*columns: str) -> "Table":
    """Return an empty table without lines; long cells are folded, those of a column `name` never."""
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column == "name")
    return table


def print_part(part: object) -> None:
    """Print a renderable in the terminal's width, or 200 columns wide into a pipe, which has no width."""
    from rich.console import Console

    # No markup, no emoji: names come from suites and plugins, and "top[/x]" is one.
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console = Console(highlight=False, markup=False, emoji=False, width=_PIPE_COLUMNS)
    console.print(part)
