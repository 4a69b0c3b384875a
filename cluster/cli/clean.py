"""The command `clean`: remove from a results folder what can be made again."""

import shutil
from pathlib import Path
from typing import Final

import click

from quadrat.cluster.cli.options import results_argument

__all__ = ["COMMANDS", "PARTS", "sizes"]

PARTS: Final = {
    "records": (
        "suite.json",
        "environment.json",
        "records.jsonl",
        "failures.jsonl",
        "selections",
        "selections.zip",
        "study",
    ),
    "previews": ("previews",),
    "report": ("report",),
    "mlflow": ("mlflow.db", "mlartifacts"),
    "store": ("store",),
    "cache": ("cache",),
}
"""What lies in a results folder, by what it is for; `records` is what cannot be made again without training."""


@click.command()
@results_argument()
@click.option(
    "--keep",
    default="records,report",
    show_default=True,
    metavar="PARTS",
    help=f"What stays, a list of {', '.join(PARTS)}; records always stay",
)
@click.option("--yes", "is_sure", is_flag=True, help="Do not ask")
def clean(results: Path | str, keep: str, is_sure: bool) -> None:
    """Remove what can be made again from a results folder.

    Keep the store of a suite that is not complete, which it resumes from. Files beside quadrat's own stay; its folders
    (store, cache, previews, report) go with all that is in them.
    """
    from quadrat.benchmark.errors import QuadratError
    from quadrat.benchmark.results.folder import read_suite_json
    from quadrat.benchmark.results.lock import lock_results
    from quadrat.cluster.cli.suite_view import show_bytes

    if not isinstance(results, Path):
        raise QuadratError(f"expected a folder, got the URL {results}: remove its files with the storage's own tools")
    kept = _parts(keep)
    read_suite_json(results)
    found = sizes(results)
    for part, num_bytes in found.items():
        click.echo(f"{'keep  ' if part in kept else 'remove'}  {part:<9} {show_bytes(num_bytes):>8}")
    gone = [part for part in found if part not in kept]
    if not gone:
        click.echo("there is nothing to remove")
        return
    if not is_sure:
        click.confirm(f"remove {', '.join(gone)} from {results}?", abort=True)
    with lock_results(results):  # not while a run writes there
        for part in gone:
            for path in _paths(results, part):
                if path.is_symlink() or path.is_file():
                    path.unlink()  # of a link, not what it leads to
                else:
                    shutil.rmtree(path)
    click.echo(f"{show_bytes(sum(found[part] for part in gone))} removed")


def sizes(folder: Path) -> dict[str, int]:
    """Return the bytes of each part of a results folder that is there, links not followed."""
    found = {part: _paths(folder, part) for part in PARTS}
    return {part: sum(map(_num_bytes, paths)) for part, paths in found.items() if paths}


def _paths(folder: Path, part: str) -> list[Path]:
    paths = [folder / name for name in PARTS[part]]
    return [path for path in paths if path.exists() or path.is_symlink()]


def _num_bytes(path: Path) -> int:
    files = [path] if path.is_symlink() or not path.is_dir() else [*path.rglob("*")]
    return sum(file.lstat().st_size for file in files if file.is_symlink() or file.is_file())


def _parts(keep: str) -> set[str]:
    """Return the parts of a list, and the records.

    Raises:
        QuadratError: When there is no such part.
    """
    from quadrat.benchmark.errors import QuadratError

    parts = {part.strip() for part in keep.split(",") if part.strip()}
    if unknown := sorted(parts - set(PARTS)):
        raise QuadratError(f"--keep: expected parts of {', '.join(PARTS)}, got '{unknown[0]}'")
    return parts | {"records"}


COMMANDS: Final = (clean,)
