"""The command `quadrat`; also `python -m quadrat.cluster`, where no script of that name is installed."""

import sys

from quadrat.cluster.cli.extras import explain_missing

__all__ = ["main"]


def main() -> None:
    """Run the command line; a package of an extra that is missing becomes one line and exit code 2."""
    try:
        from quadrat.cluster.cli.main import main as run_command_line  # here: it needs an extra, too

        run_command_line()
    except ModuleNotFoundError as error:
        command = next((argument for argument in sys.argv[1:2] if not argument.startswith("-")), "")
        sentence = explain_missing(error, what=f"quadrat {command}".rstrip())
        if sentence is None:
            raise
        print(f"error: {sentence}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
