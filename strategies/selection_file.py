"""The file of one round's selection: written by a run, read by replays, verification and figures.

A run keeps ``selections/<trial>/round-<n>.npz``. Published results may hold the same names in one ``selections.zip``,
which is read like a folder: ``results/camvid/selections.zip/<trial>`` is the path of a trial's selections.
"""

from __future__ import annotations

import fnmatch
import glob
import io
import re
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quadrat.strategies.errors import QuadratError
from quadrat.strategies.pool import Coordinates, Selection

__all__ = ["Place", "SelectionFile", "folders_matching", "read_place", "round_name", "rounds_in", "trials_in"]

Place = Path | zipfile.Path
"""A file or folder, on the disk or inside a zip file."""

# RuntimeError: a flipped bit that says "encrypted" or another version of zip
_DAMAGED = (OSError, ValueError, KeyError, EOFError, RuntimeError, MemoryError, zipfile.BadZipFile, zlib.error)
_MAX_UNCHECKED = 64 * 2**20
_MAX_RATIO = 100
"""Compressed content over the first number of bytes may be this many times as large as its file, not more."""
_ROUND = re.compile(r"round-(\d+)\.npz")


@dataclass(frozen=True, kw_only=True)
class SelectionFile:
    """One round's selection as arrays: enough to replay it by region, or by image, row and column.

    Attributes:
        regions: int64 (B,), row numbers of the pool in the order selected.
        potential: float64 (B,), the objective each region had; NaN where the strategy has none.
        image: int32 (B,), image of each region.
        row: int32 (B,), its row in the grid of that image; float64 for regions of any shape: the row of its centre in
            region sizes, every bit of it, so that a replay finds the region.
        col: int32 or float64 (B,), its column.
        region_size: Edge of a region, pixels; of regions of any shape, the unit of their centres.
        score_s: Seconds of the scoring pass before the selection.
        select_s: Seconds that the strategy took.
    """

    regions: NDArray[np.int64]
    potential: NDArray[np.float64]
    image: NDArray[np.int32]
    row: Coordinates
    col: Coordinates
    region_size: int
    score_s: float = 0.0
    select_s: float = 0.0

    @property
    def selection(self) -> Selection:
        """The selection as a strategy returned it."""
        return Selection(regions=self.regions, potential=self.potential)

    @property
    def has_cells(self) -> bool:
        """Whether the regions are cells of a grid, not of any shape."""
        return self.row.dtype.kind != "f"

    def to_bytes(self) -> bytes:
        """Return the content of the file: uncompressed npz, equal bytes for equal arrays."""
        buffer = io.BytesIO()
        np.savez(buffer, **asdict(self))
        return buffer.getvalue()

    @classmethod
    def read(cls, path: Place) -> SelectionFile:
        """Return what the file at ``path`` holds.

        Raises:
            QuadratError: The file is damaged, or lacks an array.
        """
        try:
            content = io.BytesIO(read_place(path))
            _check_size(path, zipfile.ZipFile(content).infolist(), content.getbuffer().nbytes)
            with np.load(content, allow_pickle=False) as file:
                # The seconds may be missing: another tool that publishes a selection has none.
                wanted = [field.name for field in fields(cls) if field.default is MISSING or field.name in file.files]
                arrays = {name: file[name] for name in wanted}
        except _DAMAGED as error:
            raise _damaged(path, error) from error
        if problem := _problem(arrays):
            raise QuadratError(f"{path}: expected a selection, got {problem}")
        scalars: dict[str, Any] = {"region_size": int, "score_s": float, "select_s": float}
        return cls(**{name: scalars.get(name, np.asarray)(array) for name, array in arrays.items()})


def read_place(path: Place) -> bytes:
    """Return the bytes of a file, on the disk or inside a zip file.

    Raises:
        QuadratError: The zip file is damaged, encrypted or compressed in an unknown way, or the file is far larger
            than a selection of its compressed size can be (a "zip bomb", which would fill the memory).
    """
    if isinstance(path, Path):
        return path.read_bytes()
    try:
        info = path.root.getinfo(path.at)
        _check_size(path, [info], info.compress_size)
        return path.read_bytes()
    except _DAMAGED as error:
        raise _damaged(path, error) from error


def _damaged(path: Place, error: Exception) -> QuadratError:
    names = ", ".join(SelectionFile.__dataclass_fields__)
    return QuadratError(f"{path}: expected a selection with the arrays {names}, got {error}")


def _check_size(path: Place, entries: Sequence[zipfile.ZipInfo], num_packed: int) -> None:
    """Refuse content that claims to be far larger than it is compressed; `zipfile` reads no more than it claims."""
    num_bytes = sum(entry.file_size for entry in entries)
    if num_bytes > max(_MAX_UNCHECKED, _MAX_RATIO * num_packed):
        raise QuadratError(
            f"{path}: expected a selection, got {num_bytes / 2**20:,.0f} MiB compressed to {num_packed / 2**20:,.1f}: "
            "no selection compresses so well, and unpacking it would fill the memory"
        )


def _problem(arrays: Mapping[str, NDArray[Any]]) -> str | None:
    """Return what is wrong with the arrays of a selection, None where nothing is."""
    kinds = {"regions": "iu", "potential": "f", "image": "iu", "row": "iuf", "col": "iuf", "region_size": "iu"}
    for name, array in arrays.items():
        kind = kinds.get(name, "iuf")
        shape = arrays["regions"].shape[:1] if name in ("regions", "potential", "image", "row", "col") else ()
        if array.dtype.kind not in kind or array.shape != shape:
            whole = "whole numbers" if kind == "iu" else "numbers"
            return f"{name} of {array.dtype} {array.shape}, not {whole} of shape {shape}"
        if name != "potential" and not (np.isfinite(array).all() and (array >= 0).all()):
            return f"{name} below 0 or not finite"
    if len(np.unique(arrays["regions"])) < len(arrays["regions"]):
        return "a region twice"
    return None if arrays["region_size"] > 0 else "a region_size of 0"


def round_name(round_: int) -> str:
    """Return the file name of a round's selection."""
    return f"round-{round_}.npz"


def rounds_in(folder: Place) -> dict[int, Place]:
    """Return round -> file for every selection in a trial's folder, by round; empty where there is no such folder."""
    files = folder.iterdir() if folder.is_dir() else ()
    found = ((_ROUND.fullmatch(file.name), file) for file in files)
    return dict(sorted((int(match[1]), file) for match, file in found if match is not None))


def folders_matching(pattern: str) -> list[Place]:
    """Return the folders that a path or a pattern (``*``) names, sorted; a zip file in the path is read as a folder.

    Raises:
        QuadratError: The zip file is damaged.
    """
    archive, dot_zip, inside = pattern.partition(".zip/")
    if dot_zip:
        return [
            folder
            for path in sorted(glob.glob(archive + ".zip"))
            for folder in trials_in(path)
            if folder.is_dir() and fnmatch.fnmatchcase(folder.name, inside.strip("/"))
        ]
    if not glob.has_magic(pattern) or Path(pattern).is_dir():
        return [Path(pattern)]
    return [path for path in sorted(map(Path, glob.glob(pattern))) if path.is_dir()]


def trials_in(archive: Path | str) -> list[zipfile.Path]:
    """Return the folders at the top of a zip file of selections, by name.

    Raises:
        QuadratError: The zip file is damaged.
    """
    try:
        return sorted(zipfile.Path(archive).iterdir(), key=lambda folder: folder.name)
    except _DAMAGED as error:
        raise QuadratError(f"{archive}: expected a zip file of selections, got {error}") from error
