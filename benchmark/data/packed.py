"""The packed pool: decoded images and masks of a split in memory-mapped files, shared through the page cache.

A packed folder holds `images.bin` and `masks.bin` (raw uint8, image after image, row-major) and `meta.json`, which says
where each image starts. The kernel keeps one copy of a mapped file for all processes of a machine.
"""

import json
import mmap
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from quadrat.benchmark.errors import DataError

__all__ = [
    "FORMAT",
    "IMAGES",
    "MASKS",
    "META",
    "VERSION",
    "PackedImages",
    "PackedMasks",
    "PackedSplit",
    "open_packed",
]

FORMAT: Final = "quadrat-packed"
"""Written into `meta.json`, so that a foreign folder is recognised."""

VERSION: Final = 1
"""Raised when the meaning of the files changes: older packed folders are then written again."""

IMAGES: Final = "images.bin"
MASKS: Final = "masks.bin"
META: Final = "meta.json"


# Bytes that are read through a map before its pages are given back.
_KEPT_BYTES: Final = 512 * 2**20


class _Meta(NamedTuple):
    """What `meta.json` says; see `PackedSplit` for the fields."""

    name: str
    split: str
    ids: tuple[str, ...]
    sizes: npt.NDArray[np.int32]
    classes: tuple[str, ...]
    colours: tuple[tuple[int, int, int], ...]
    fingerprint: str
    images_fingerprint: str


class PackedImages:
    """The images of a packed split. There is nothing in it from which a label could be read.

    Attributes:
        path: The packed folder.
        sizes: int32 (N, 2), height and width.
        fingerprint: sha256 over the pixels and sizes of all images; a change of masks leaves it alone.
    """

    def __init__(self, path: Path) -> None:
        """Map the images of the packed folder `path`.

        Raises:
            DataError: When the folder is damaged.
        """
        meta = _read_meta(path)
        self.path = path
        self.sizes = meta.sizes
        self.fingerprint = meta.images_fingerprint
        self._starts = _starts(meta.sizes, channels=3)
        self._mapped = _Mapped(path / IMAGES, int(self._starts[-1]))

    def __len__(self) -> int:
        return len(self.sizes)

    def __reduce__(self) -> tuple[type["PackedImages"], tuple[Path]]:
        """Pickle as the path: another process maps the same file instead of receiving a copy."""
        return type(self), (self.path,)

    def image(self, index: int) -> npt.NDArray[np.uint8]:
        """Return image `index` as a read-only view of the map, uint8 (H, W, 3)."""
        height, width = self.sizes[index].tolist()
        return self._mapped.bytes(self._starts[index], height * width * 3).reshape(height, width, 3)


class PackedMasks:
    """The masks of a packed split, for the oracle and the evaluator only.

    Attributes:
        path: The packed folder.
        sizes: int32 (N, 2), height and width.
        num_classes: Number of classes; mask values are below it, or 255 for void.
    """

    def __init__(self, path: Path) -> None:
        """Map the masks of the packed folder `path`.

        Raises:
            DataError: When the folder is damaged.
        """
        meta = _read_meta(path)
        self.path = path
        self.sizes = meta.sizes
        self.num_classes = len(meta.classes)
        self._starts = _starts(meta.sizes, channels=1)
        self._mapped = _Mapped(path / MASKS, int(self._starts[-1]))

    def __len__(self) -> int:
        return len(self.sizes)

    def __reduce__(self) -> tuple[type["PackedMasks"], tuple[Path]]:
        """Pickle as the path: another process maps the same file instead of receiving a copy."""
        return type(self), (self.path,)

    def mask(self, index: int) -> npt.NDArray[np.uint8]:
        """Return mask `index` as a read-only view of the map, uint8 (H, W)."""
        height, width = self.sizes[index].tolist()
        return self._mapped.bytes(self._starts[index], height * width).reshape(height, width)


class PackedSplit:
    """A split that was packed; opening it needs neither the data set nor its root.

    Attributes:
        path: The packed folder.
        name: Registered name of the data set.
        split: Name of the split.
        ids: Names of the N images.
        sizes: int32 (N, 2), height and width.
        classes: Names of the classes.
        colours: RGB colours of the classes.
        fingerprint: sha256 over decoded pixels, masks, ids and class names: the same wherever the data lies.
        images: The images.
        masks: The masks.
    """

    def __init__(self, path: Path) -> None:
        """Open the packed folder `path`; `PackedSplit.open` does the same.

        Raises:
            DataError: When there is no packed folder at `path`, or it is damaged.
        """
        meta = _read_meta(path)
        self.path = path
        self.name, self.split, self.ids, self.sizes = meta.name, meta.split, meta.ids, meta.sizes
        self.classes, self.colours, self.fingerprint = meta.classes, meta.colours, meta.fingerprint
        self.images = PackedImages(path)
        self.masks = PackedMasks(path)

    @classmethod
    def open(cls, path: str | Path) -> "PackedSplit":
        """Return the split that was packed into the folder `path`.

        Raises:
            DataError: When there is no packed folder at `path`, or it is damaged.
        """
        return cls(Path(path))

    def __len__(self) -> int:
        return len(self.ids)

    def __reduce__(self) -> tuple[type["PackedSplit"], tuple[Path]]:
        """Pickle as the path: another process maps the same files instead of receiving a copy."""
        return type(self), (self.path,)

    @property
    def num_px(self) -> int:
        """Pixels of all images together; a packed split takes 4 bytes for each."""
        return int(self.sizes.astype(np.int64).prod(axis=1).sum())

    @property
    def commonest_size(self) -> tuple[int, int]:
        """Height and width that most images have, pixels; of equally common ones the first."""
        ((height, width),) = (size for size, _ in Counter(map(tuple, self.sizes.tolist())).most_common(1))
        return height, width


def open_packed(results_dir: Path, described: Mapping[str, Any], *, cache_dir: Path | None = None) -> PackedSplit:
    """Return the packed split that a results folder was computed from, read-only; nothing is written.

    Args:
        results_dir: The results folder.
        described: `path` (absolute, or relative to the results folder) and `fingerprint` of the split, as `suite.json`
            has them.
        cache_dir: Cache folder of another run on the same data, searched first, by fingerprint.

    Raises:
        DataError: When the folder is gone (it is a cache), is damaged, or holds other images.
    """
    for meta in sorted((cache_dir / "packed").glob(f"*/{META}")) if cache_dir is not None else ():
        found = PackedSplit.open(meta.parent)
        if found.fingerprint == described["fingerprint"]:
            return found
    path = results_dir / described["path"]
    if not path.is_dir():
        raise DataError("the packed images are not there any more: they are a cache")
    split = PackedSplit.open(path)
    if split.fingerprint != described["fingerprint"]:
        raise DataError("the packed images are not those that these results were computed from")
    return split


def _starts(sizes: npt.NDArray[np.int32], channels: int) -> npt.NDArray[np.int64]:
    """Return int64 (N + 1,): the byte at which each image starts, and the length of the file."""
    return np.concatenate([[0], np.cumsum(sizes.astype(np.int64).prod(axis=1) * channels)])


class _Mapped:
    """A file's bytes through a map, whose pages are given back from time to time.

    A pass over a pool would else end with the whole pool counted as the process's memory. The pages stay in the
    system's cache, so reading them again costs no disk, and arrays that were handed out stay valid.
    """

    def __init__(self, path: Path, expected_bytes: int) -> None:
        found_bytes = path.stat().st_size if path.is_file() else None
        if found_bytes != expected_bytes:
            raise _damaged(path.parent, f"{path.name} should be {expected_bytes} bytes long, found {found_bytes}")
        with open(path, "rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        # Plain ndarray: slicing an np.memmap makes a subclass instance each time, which costs more than the slice.
        self._bytes = np.frombuffer(self._map, dtype=np.uint8)
        self._touched = 0

    def bytes(self, start: int, length: int) -> npt.NDArray[np.uint8]:
        """Return `length` bytes from `start` as a read-only view."""
        self._touched += length
        if self._touched > _KEPT_BYTES:
            self._touched = length
            if hasattr(mmap, "MADV_DONTNEED"):  # not on Windows
                self._map.madvise(mmap.MADV_DONTNEED)
        return self._bytes[start : start + length]


def _read_meta(path: Path) -> _Meta:
    file = path / META
    if not file.is_file():
        raise DataError(f"no packed split at {path}: there is no {META} in it. `quadrat data pack` writes one.")
    try:
        plain: dict[str, Any] = json.loads(file.read_bytes())
    except ValueError as error:
        raise _damaged(path, f"{META} is not JSON ({error})") from error
    if not isinstance(plain, dict) or plain.get("format") != FORMAT or plain.get("version") != VERSION:
        raise _damaged(path, f"{META} does not say format {FORMAT!r}, version {VERSION}")
    try:
        sizes = np.array(plain["sizes"], dtype=np.int32).reshape(-1, 2)
        sizes.setflags(write=False)
        return _Meta(
            name=plain["name"],
            split=plain["split"],
            ids=tuple(plain["ids"]),
            sizes=sizes,
            classes=tuple(plain["classes"]),
            colours=_colours(plain["colours"]),
            fingerprint=plain["fingerprint"],
            images_fingerprint=plain["images_fingerprint"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(path, f"{META} lacks or garbles a field ({error!r})") from error


def _colours(plain: Sequence[Sequence[int]]) -> tuple[tuple[int, int, int], ...]:
    return tuple((int(red), int(green), int(blue)) for red, green, blue in plain)


def _damaged(path: Path, what: str) -> DataError:
    return DataError(f"the packed split {path} is damaged: {what}. Delete that folder; it is then packed again.")
