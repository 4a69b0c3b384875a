"""Printing of tables, and of command lines that can be pasted; imports rich when called."""

import os
import re
import shlex
import shutil
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

if TYPE_CHECKING:
    from rich.table import Table

__all__ = [
    "command_again",
    "filled",
    "filled_error",
    "make_table",
    "pasteable",
    "print_part",
    "reflowed",
    "say",
    "show_progress",
    "text_columns",
]

_PIPE_COLUMNS = 200
_COMMAND = re.compile(r"`[^`]*`|pip install \S+")
_NO_BREAK = "\N{NO-BREAK SPACE}"  # at which textwrap breaks no line


def pasteable(*arguments: object) -> str:
    """Return a command line of quadrat for the shell that this one was typed in.

    Without an activated environment `quadrat` is not on the PATH, and the script is named as it was called.
    """
    return shlex.join([*_program(), *map(str, arguments)])


def command_again() -> str:
    """Return the command line that goes on with what this one did: of a job, the one that sent it. No passwords."""
    from quadrat.benchmark.redaction import redact, redact_argv
    from quadrat.benchmark.results.environment import COMMAND  # here: it imports the suite

    return redact(os.environ.get(COMMAND, "")) or pasteable(*redact_argv(sys.argv[1:]))


def _program() -> list[str]:
    script = Path(sys.argv[0])
    if script.parts[-3:] == ("quadrat", "cluster", "__main__.py"):
        return [sys.executable, "-m", "quadrat.cluster"]
    found = shutil.which("quadrat")
    if script.name != "quadrat" or not script.is_file() or (found is not None and script.samefile(found)):
        return ["quadrat"]
    here = Path.cwd()
    return [str(script.relative_to(here) if script.is_relative_to(here) else script)]


def text_columns(stream: TextIO | None = None) -> int | None:
    """Return the width of the output in columns: `$COLUMNS`, else the terminal's; None into a pipe, which has none.

    Args:
        stream: By default the standard output.
    """
    if (columns := os.environ.get("COLUMNS", "")).isdigit() and int(columns) > 0:
        return int(columns)
    return shutil.get_terminal_size().columns if (stream or sys.stdout).isatty() else None


def filled(text: str, indent: str = "") -> str:
    """Return a paragraph in lines of the output's width, all but the first indented; as it is into a pipe."""
    columns = text_columns()
    if columns is None:
        return text
    return textwrap.fill(text, columns, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def filled_error(message: str, head: str) -> str:
    """Return a message in lines of the width of the standard error; a command line to paste stays in one.

    Args:
        message: Its lines are filled one by one.
        head: What is printed before it, such as "error: ".
    """
    columns = text_columns(sys.stderr)
    if columns is None:
        return message
    lines = []
    for number, line in enumerate(message.splitlines()):
        joined = re.sub(_COMMAND, lambda found: found[0].replace(" ", _NO_BREAK), line)
        if number == 0:
            joined = head + joined
        indent = " " * (len(line) - len(line.lstrip()) + 2)
        lines += textwrap.wrap(
            joined, columns, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
        )
    return "\n".join(lines).removeprefix(head).replace(_NO_BREAK, " ")


def reflowed(text: str) -> str:
    """Return a docstring with each paragraph, item and reference on one line, for `say` to fill."""
    lines: list[str] = []
    for line in text.splitlines():
        if not line.strip() or not lines or not lines[-1] or line.lstrip().startswith(("- ", "[")):
            lines.append(line.strip())
        else:
            lines[-1] += f" {line.strip()}"
    return "\n".join(lines)


def say(text: str) -> None:
    """Print lines, each that is wider than the output in several: the others are indented as its beginning, plus two.

    Lines that fit stay as they are, such as those of a table.
    """
    columns = text_columns()
    for line in text.splitlines() or [""]:
        if columns is not None and len(line) > columns:
            line = filled(line, " " * (len(line) - len(line.lstrip()) + 2))
        click.echo(line)


def show_progress(what: str, done: int, total: int) -> None:
    """Show progress on a terminal, in one line of the standard error that the next output replaces."""
    if sys.stderr.isatty():
        click.echo(f"\r\033[K{what}  {done}/{total}" if done < total else "\r\033[K", nl=False, err=True)


def make_table(*columns: str) -> "Table":
    """Return an empty table without lines; long cells are folded, those of a column `name` never."""
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column == "name")
    return table


def print_part(part: object) -> None:
    """Print a renderable in the width of `text_columns`, or 200 columns wide into a pipe without one."""
    from rich.console import Console

    # No markup, no emoji: names come from suites and plugins, and "top[/x]" is one.
    Console(highlight=False, markup=False, emoji=False, width=text_columns() or _PIPE_COLUMNS).print(part)
