"""cluster/cli/README.md has every command and option of the code, and the help reads well in 80 columns."""

import click
import pytest
from click.testing import CliRunner
from support.cli_reference import commands, reference
from support.paths import ROOT

from quadrat.cluster.cli.main import cli


def test_the_reference_is_that_of_the_code() -> None:
    page = (ROOT / "cluster/cli/README.md").read_text(encoding="utf-8")
    assert page == reference(), "cd tests && python -m support.cli_reference > ../cluster/cli/README.md"


def test_every_command_is_told_in_one_line_of_80_columns() -> None:
    for group in (cli, *(command for command in cli.commands.values() if isinstance(command, click.Group))):
        shown = CliRunner().invoke(group, ["--help"], terminal_width=80)
        assert shown.exit_code == 0
        assert "..." not in shown.output.partition("Commands:")[2]


@pytest.mark.parametrize(("name", "command"), list(commands()), ids=[name for name, _ in commands()])
def test_every_option_says_what_it_means(name: str, command: click.Command) -> None:
    assert command.help
    for parameter in command.params:
        assert not isinstance(parameter, click.Option) or parameter.help, f"{name} {parameter.name}"
