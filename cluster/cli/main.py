"""The command line `quadrat`, assembled from the modules of this folder."""

import errno
import itertools
import signal
import sys
from typing import Any

import click

from quadrat.cluster.cli import (
    bench,
    clean,
    data,
    doctor,
    jobs,
    leaderboard,
    listing,
    results,
    run,
    show,
    study,
    ui,
    verify,
    view,
)
from quadrat.cluster.cli.console import filled_error
from quadrat.cluster.cli.extras import MissingExtraError
from quadrat.cluster.runner.job_folder import leave_job_folder

__all__ = ["Commands", "cli", "main"]


class _UserError(click.ClickException):
    """What must be mended first: one message, no traceback, exit code 2."""

    exit_code = 2

    def show(self, file: Any = None) -> None:
        click.echo(f"error: {filled_error(self.format_message(), 'error: ')}", err=True)


class _TransientError(_UserError):
    """What another try may not meet: exit code 1."""

    exit_code = 1


def _filled(error: click.ClickException) -> click.ClickException:
    """Return an error of click with its message in lines of the terminal's width; one that prints itself as it is."""
    message = filled_error(error.format_message(), "Error: ")
    if type(error).show is click.UsageError.show and isinstance(error, click.UsageError):
        return click.UsageError(message, error.ctx)
    return click.ClickException(message) if type(error) is click.ClickException else error


class Commands(click.Group):
    """Group of commands in the order in which they are added; the user's mistakes are shown without a traceback."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands, in the order in which they were added."""
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; turn a `QuadratError` or a missing extra into a message and exit code 2 (1 if it may pass)."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:  # a second one, or one where nothing was begun; click's own code would be 1
            click.echo("stopped", err=True)
            sys.exit(128 + signal.SIGINT)
        except click.ClickException as error:
            raise _filled(error) from None
        except MissingExtraError as error:
            raise _UserError(str(error)) from error
        except OSError as error:  # of this command's own output: writers of results say it themselves
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise
            raise _TransientError(
                f"cannot write {error.filename or 'the output of this command'}: {error.strerror}. Free some space and "
                "run the same command again; what is recorded stays"
            ) from error
        except ValueError as error:
            from quadrat.benchmark.errors import TransientError
            from quadrat.benchmark.redaction import redact
            from quadrat.strategies.errors import QuadratError

            if not isinstance(error, QuadratError):
                raise
            shown = _TransientError if isinstance(error, TransientError) else _UserError
            raise shown(redact(str(error))) from error


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="quadrat", prog_name="quadrat")
def cli() -> None:
    """Benchmark strategies for region-based active learning in semantic segmentation.

    A SUITE is a YAML file, or the name of a shipped one (`quadrat list suites`).
    """


_MODULES = (run, study, show, listing, doctor, results, leaderboard, view, ui, jobs, verify, clean, data, bench)
for _command in itertools.chain.from_iterable(module.COMMANDS for module in _MODULES):
    cli.add_command(_command)


def main() -> None:
    """Run the command line."""
    leave_job_folder()
    cli(prog_name="quadrat")
