"""A small copy of a results folder that can be committed: `python -m quadrat.benchmark.results.publish SOURCE TARGET`.

It holds what `quadrat report`, `compare`, `verify` and a replay read. Store, cache, previews and page are not copied.
Absolute paths of this machine are replaced: folders of the packed images by their names in `cache/packed`, paths in the
command by the name of their option.
"""

import argparse
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from quadrat.benchmark.errors import ResultsError
from quadrat.benchmark.results.selections import ARCHIVE, pack_selections
from quadrat.benchmark.storage.atomic import atomic_write, write_json

__all__ = ["CURVES", "GAINS", "publish"]

_REQUIRED: Final = ("records.jsonl", "suite.json", "environment.json")
_OPTIONAL: Final = ("failures.jsonl", "study/study.json")
CURVES: Final = "learning-curves.svg"
GAINS: Final = "gains.svg"
"""Names of the figures in a published folder."""
_FIGURES_OF_REPORT: Final = {
    "report/files/learning-curves-labelled-fraction.svg": CURVES,
    "report/files/gains.svg": GAINS,
}


def publish(source: Path, target: Path) -> None:
    """Write the publishable files of the results folder `source` to the folder `target`.

    These are records, suite, environment, failures and study where there are any, all selections in one zip file, and
    the figures of mIoU by labelled share and of the gains if `quadrat report` has been run.

    Raises:
        ResultsError: When `source` is no results folder.
    """
    for name in _REQUIRED:
        if not (source / name).is_file():
            raise ResultsError(f"expected a finished results folder with {name}, got {source}")
    names = {name: name for name in (*_REQUIRED, *_OPTIONAL)} | _FIGURES_OF_REPORT
    for name, published in names.items():
        if (source / name).is_file():
            if name in _WITHOUT_PATHS:
                write_json(target / published, _WITHOUT_PATHS[name](json.loads((source / name).read_bytes())))
            else:
                atomic_write(target / published, (source / name).read_bytes())
    pack_selections(source, target / ARCHIVE)


def _suite_without_paths(document: dict[str, Any]) -> dict[str, Any]:
    for split in ("pool", "test"):
        described = document.get("dataset", {}).get(split, {})
        if Path(described.get("path", "")).is_absolute():
            described["path"] = f"cache/packed/{Path(described['path']).name}"
    return document


def _environment_without_paths(document: dict[str, Any]) -> dict[str, Any]:
    command = document.get("command")
    return {**document, "command": _command_without_paths(command)} if command else document


def _command_without_paths(command: str) -> str:
    """Return a command with each absolute path replaced by its option, in capitals, or else by its last part.

    Examples:
        >>> _command_without_paths("quadrat run /home/me/my.yaml --cache /scratch/me --results=/home/me/out")
        'quadrat run my.yaml --cache CACHE --results=RESULTS'
    """
    words = command.split(" ")
    for place, word in enumerate(words):
        option, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
        if Path(value).is_absolute():
            before = option or (words[place - 1] if place else "")
            name = before.removeprefix("--").upper() if before.startswith("--") else Path(value).name
            words[place] = f"{option}{equals}{name}"
    return " ".join(words)


_WITHOUT_PATHS: Final[Mapping[str, Callable[[dict[str, Any]], dict[str, Any]]]] = {
    "suite.json": _suite_without_paths,
    "environment.json": _environment_without_paths,
}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path, help="results folder of `quadrat run`")
    parser.add_argument("target", type=Path, help="folder to write")
    arguments = parser.parse_args()
    publish(arguments.source, arguments.target)
