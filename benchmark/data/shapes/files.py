"""Regions from files: masks of SAM, superpixels of another tool, or anything else that gives each pixel an id."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from quadrat.benchmark.data.shapes.kind import RegionKind
from quadrat.benchmark.errors import DataError
from quadrat.benchmark.storage.digest import digest_of_file_once

__all__ = ["Files"]

SUFFIXES: Final = (".png", ".npz")

_ARRAY: Final = "ids"
"""Name of the array in an npz file; a file with a single array may call it otherwise."""


@dataclass(frozen=True, kw_only=True)
class Files(RegionKind):
    """One file of ids for each image: `folder/<id of the image>.png` or `.npz`.

    A grey PNG of 8 or 16 bits holds ids; one of three channels R + 256 G + 256^2 B, as COCO's panoptic format does; a
    fourth one counts 256^3. An npz file holds one array of integers (H, W). Id 0 is no region.
    """

    name: ClassVar[str] = "files"
    has_size: ClassVar[bool] = False

    folder: str = ""
    """Folder of the files; a map and its trials are known by what the files hold, not by this path."""

    def __post_init__(self) -> None:
        if not isinstance(self.folder, str) or not self.folder:
            raise DataError(
                f"regions: files: expected params.folder, a folder with a .png or .npz of ids for each image, got "
                f"{self.folder!r}"
            )

    def contents(self) -> dict[str, str]:
        """Return a digest over names and contents of all maps in the folder.

        Raises:
            DataError: The folder is missing, or has no map.
        """
        folder = self._folder()
        files = sorted(path for path in folder.rglob("*") if path.suffix in SUFFIXES and path.is_file())
        if not files:
            raise DataError(f"regions: files: expected .png or .npz files of ids in {folder}, got none")
        found = hashlib.sha256()
        for path in files:
            found.update(f"{path.relative_to(folder).as_posix()} {digest_of_file_once(path)};".encode())
        return {"folder": found.hexdigest()}

    def cut(self, image: npt.NDArray[np.uint8], *, region_size: int, id: str) -> npt.NDArray[np.integer[Any]]:
        """Return the ids of the image's file.

        Raises:
            DataError: There is no file, there are two, or it holds no ids.
        """
        folder = self._folder()
        there = [path for path in (folder / f"{id}{suffix}" for suffix in SUFFIXES) if path.is_file()]
        if len(there) != 1:
            names = " and ".join(f"{id}{suffix}" for suffix in SUFFIXES)
            raise DataError(
                f"regions: files: expected one of {names} in {folder}, got {'both' if there else 'neither'}",
                kind="region map missing",
            )
        return _read_png(there[0]) if there[0].suffix == ".png" else _read_npz(there[0])

    def _folder(self) -> Path:
        folder = Path(self.folder).expanduser()
        if not folder.is_dir():
            raise DataError(f"regions: files: expected a folder at {folder}, got none; set regions.params.folder")
        return folder


def _read_png(path: Path) -> npt.NDArray[np.integer[Any]]:
    try:
        with Image.open(path) as picture:
            mode, values = picture.mode, np.asarray(picture)
    except (OSError, ValueError, SyntaxError) as error:
        raise DataError(f"{path}: expected a PNG of region ids, got {error}", kind="region map unreadable") from error
    if mode in ("L", "I", "I;16", "P"):  # a palette counts by its indices
        return values.astype(np.int64)
    if mode in ("RGB", "RGBA"):
        channels = values.astype(np.int64)
        ids: npt.NDArray[np.int64] = (channels << (8 * np.arange(channels.shape[2]))).sum(axis=2)
        return ids
    raise DataError(
        f"{path}: expected region ids as grey of 8 or 16 bits, RGB or RGBA, got mode {mode}",
        kind="region map unreadable",
    )


def _read_npz(path: Path) -> npt.NDArray[np.integer[Any]]:
    try:
        with np.load(path, allow_pickle=False) as file:
            name = _ARRAY if _ARRAY in file.files else (file.files or [_ARRAY])[0]
            if name != _ARRAY and len(file.files) > 1:
                raise ValueError(f"the arrays {', '.join(file.files)}")
            array: npt.NDArray[Any] = file[name]
    except Exception as error:  # zipfile and zlib raise many kinds, all of them on a damaged file
        raise DataError(
            f"{path}: expected an npz file with one array of region ids, '{_ARRAY}', got {error}",
            kind="region map unreadable",
        ) from error
    return array
