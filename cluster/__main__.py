"""The command `quadrat`; also `python -m quadrat.cluster`, where no script of that name is installed."""

import os
import sys

from quadrat.cluster.cli.extras import explain_missing

__all__ = ["main"]


def main() -> None:
    """Run the command line; a package of an extra that is missing becomes one line and exit code 2."""
    _open_missing_streams()
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


def _open_missing_streams() -> None:
    """Open the null device for standard streams that the caller has closed (`>&-`), and for child processes.

    Otherwise the next file that is opened, such as `records.jsonl`, gets the stream's number, and what a library prints
    goes into it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # gets the lowest free number: this one
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w", encoding="utf-8"))


if __name__ == "__main__":
    main()
