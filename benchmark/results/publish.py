"""A small copy of a results folder that can be committed: `python -m quadrat.benchmark.results.publish SOURCE TARGET`.

It holds what `quadrat report`, `compare`, `verify` and a replay read. Store, cache, previews and page are not copied.
"""

import argparse
from pathlib import Path
from typing import Final

from quadrat.benchmark.errors import ResultsError
from quadrat.benchmark.results.selections import ARCHIVE, pack_selections
from quadrat.benchmark.storage.atomic import atomic_write

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
            atomic_write(target / published, (source / name).read_bytes())
    pack_selections(source, target / ARCHIVE)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path, help="results folder of `quadrat run`")
    parser.add_argument("target", type=Path, help="folder to write")
    arguments = parser.parse_args()
    publish(arguments.source, arguments.target)
