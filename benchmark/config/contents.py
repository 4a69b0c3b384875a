"""Digests of the files that a suite names by a path: what they hold can change a number, where they lie cannot."""

import functools
import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from quadrat.benchmark.data.shapes import RegionKind
from quadrat.benchmark.errors import QuadratError, TrainingError
from quadrat.benchmark.learning.recipe import Recipe
from quadrat.strategies import Strategy, load

if TYPE_CHECKING:
    from quadrat.benchmark.config.suite import Suite

__all__ = ["WEIGHTS", "contents_of", "paths_of", "weights_sha256"]

WEIGHTS: Final = "learner.weights"
"""Key of the weight file among the files of a trial; a strategy's is `params.<name>`, that of maps `regions.<name>`."""


def contents_of(recipe: Recipe, strategy: Strategy | None, regions: RegionKind) -> dict[str, str]:
    """Return the digest of every file that a trial depends on, by the dotted key that names its path.

    A file that is not here, as on a laptop that submits a suite, is left out: the trial is then known by the path, and
    running it is refused.

    Args:
        recipe: May name a weight file.
        strategy: May name files in its parameters; None for full supervision.
        regions: May name a folder of maps.
    """
    found = {}
    try:
        if (weights := weights_sha256(recipe)) is not None:
            found[WEIGHTS] = weights
    except TrainingError:
        pass  # not here
    try:
        contents = strategy.contents() if strategy is not None else {}
    except QuadratError:
        contents = {}  # not here
    try:
        maps = regions.contents()
    except QuadratError:
        maps = {}  # not here
    return (
        found
        | {f"params.{name}": digest for name, digest in contents.items()}
        | {f"regions.{name}": digest for name, digest in maps.items()}
    )


def paths_of(suite: "Suite") -> dict[str, Path]:
    """Return the paths that a suite names, as they are written there, by the key that names them.

    A strategy that reads files (it has `contents`) has them in those parameters that are written as paths.
    """
    found = {"dataset.root": suite.dataset.root} if isinstance(suite.dataset.root, Path) else {}
    if suite.learner.has_weight_file:
        found[WEIGHTS] = Path(suite.learner.weights)
    for entry in suite.strategies:
        strategy = load(entry.name, **entry.params)
        if type(strategy).contents is not Strategy.contents:
            written = {name: value for name, value in strategy.params().items() if isinstance(value, str | Path)}
            paths = {name: Path(value) for name, value in written.items() if len(Path(value).parts) > 1}
            found |= {f"strategies: {entry.label}: params.{name}": path for name, path in paths.items()}
    return found


def weights_sha256(recipe: Recipe) -> str | None:
    """Return the hash of the weight file that a recipe names, None where it names none.

    Raises:
        TrainingError: When the file is not there.
    """
    if not recipe.has_weight_file:
        return None
    path = Path(recipe.weights).expanduser()
    try:
        found = os.stat(path)
        return _sha256(path, found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
    except OSError as error:
        raise TrainingError(
            f"learner.weights: expected 'imagenet', 'packaged', 'none' or a weight file, got '{recipe.weights}' "
            f"({error.strerror})"
        ) from error


@functools.cache
def _sha256(path: Path, device: int, inode: int, size: int, mtime_ns: int) -> str:
    """Return the hash of a file, read once a process unless the file changes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
