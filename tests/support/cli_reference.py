"""The reference of the command line: `python -m support.cli_reference > ../cluster/cli/README.md` in `tests/`."""

from collections.abc import Iterator

import click

from quadrat.cluster.cli.main import cli

INTRODUCTION = """\
# cli

The command line: a module per command or group of commands, `options.py` for what they share,
`places.py` for where results are, `main.py` to assemble
them. The text of `show`, `show --plan` and `status` is laid out in `suite_view.py`, `plan_view.py` and
`status_view.py`. A command imports what it needs when it is called, so `--help` is quick.

| exit code | means |
|---|---|
| 0 | done |
| 1 | try again, the same command goes on: trials failed for what may be a machine's reason (disk, GPU, memory), or \
cluster, storage or results could not be had. Also: what was checked or compared differs |
| 2 | mend first, any machine would meet it again: a mistake in the arguments, the suite, the data or a plugin; the \
message says what was expected |
| 75 | time is up (`--max-hours`); the same command resumes |
| 128 + n | stopped by signal n; the same command resumes |

TAB completes commands, options, suites, labels and folders after
`eval "$(_QUADRAT_COMPLETE=bash_source quadrat)"` (`zsh_source`, `fish_source`), best in the shell's start file.

The tables below are generated; a test compares them with the code:
`cd tests && python -m support.cli_reference > ../cluster/cli/README.md`.
"""


def commands(group: click.Group = cli, prefix: str = "") -> Iterator[tuple[str, click.Command]]:
    """Yield every command by name, those of subgroups as `group command`."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", command


def options_of(command: click.Command) -> Iterator[tuple[str, str]]:
    """Yield (how an option is written, its help with its default) of a command."""
    context = click.Context(command)
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            record = parameter.get_help_record(context)
            assert record is not None
            yield record


def reference() -> str:
    """Return the page: every command in a row, then every option with the commands that have it."""
    rows = ["## Commands\n", "| command | does | options |", "|---|---|---|"]
    users: dict[tuple[str, str], list[str]] = {}
    for name, command in commands():
        arguments = " ".join(
            part for part in command.collect_usage_pieces(click.Context(command)) if part != "[OPTIONS]"
        )
        options = list(options_of(command))
        for option in options:
            users.setdefault(option, []).append(name)
        flags = ", ".join(f"`{written.split()[0]}`" for written, _ in options)
        does = command.get_short_help_str(limit=200)
        rows.append(f"| {_code(f'{name} {arguments}')} | {does} | {flags} |")
    rows += ["\n## Options\n", "| option | of | meaning |", "|---|---|---|"]
    for (written, meaning), names in users.items():
        rows.append(f"| {_code(written)} | {', '.join(names)} | {_escape(meaning)} |")
    return "\n".join([INTRODUCTION, *rows]) + "\n"


def _code(text: str) -> str:
    return "`" + text.strip().replace("|", "\\|") + "`"


def _escape(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    print(reference(), end="")
