"""Packed splits: decoded images and masks in memory-mapped files, read-only.

A packed folder holds `images.bin` and `masks.bin` (raw uint8, image after image, row-major) and `meta.json` with the
sizes and the digests of both files. Processes of one machine share the pages of a mapped file. Each process checks the
digest of a file before it reads the first image or mask of it: a flipped bit in a mask would be a wrong record.
"""

import contextlib
import json
import mmap
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from quadrat.benchmark.data.statistics import SplitStatistics
from quadrat.benchmark.errors import DataError
from quadrat.benchmark.storage.digest import is_intact_once, with_digest, without_digest

__all__ = [
    "DECODING_VERSION",
    "FORMAT",
    "IMAGES",
    "MASKS",
    "META",
    "VERSION",
    "Mapped",
    "PackedImages",
    "PackedMasks",
    "PackedSplit",
    "damaged",
    "meta_content",
    "open_packed",
]

FORMAT: Final = "quadrat-packed"
"""Format tag in `meta.json`."""

VERSION: Final = 1
"""Version of fingerprints, which are over decoded images and masks."""

DECODING_VERSION: Final = 2
"""Version of how files are decoded, a part of folder names: what was packed by another one is packed again."""

_META_VERSION: Final = 3
"""Version of `meta.json`; a folder of another version is packed again. 2: with digests. 3: with statistics."""

IMAGES: Final = "images.bin"
MASKS: Final = "masks.bin"
META: Final = "meta.json"

# Bytes read through a map before its pages are released.
_KEPT_BYTES: Final = 512 * 2**20


class _Meta(NamedTuple):
    """Content of `meta.json`; see `PackedSplit` for the fields."""

    name: str
    split: str
    ids: tuple[str, ...]
    sizes: npt.NDArray[np.int32]
    classes: tuple[str, ...]
    colours: tuple[tuple[int, int, int], ...]
    fingerprint: str
    images_fingerprint: str
    digests: Mapping[str, str]
    statistics: SplitStatistics


class _PackedFile:
    """The images or the masks of a packed split, memory-mapped; pickled by path, so that processes map the same file.

    Attributes:
        path: The packed folder.
        sizes: int32 (N, 2), height and width.
    """

    def __init__(self, path: Path, meta: _Meta, name: str, channels: int) -> None:
        self.path = path
        self.sizes = meta.sizes
        self._starts = _starts(meta.sizes, channels)
        self._mapped = Mapped(path / name, int(self._starts[-1]), meta.digests[name])

    def __len__(self) -> int:
        return len(self.sizes)

    def __reduce__(self) -> tuple[type[Self], tuple[Path]]:
        return type(self), (self.path,)

    def check(self) -> None:
        """Check the digest of the file, once a process; the first read of an image or mask does it too.

        Raises:
            DataError: When it has another content than was written.
        """
        self._mapped.check()


class PackedImages(_PackedFile):
    """The images of a packed split, without any access to labels.

    Attributes:
        fingerprint: sha256 over the pixels and sizes of all images; independent of the masks.
    """

    def __init__(self, path: Path) -> None:
        """Map the images of the packed folder `path`.

        Raises:
            DataError: When the folder is damaged.
        """
        meta = _read_meta(path)
        super().__init__(path, meta, IMAGES, channels=3)
        self.fingerprint = meta.images_fingerprint

    def image(self, index: int) -> npt.NDArray[np.uint8]:
        """Return image `index` as a read-only view of the map, uint8 (H, W, 3)."""
        height, width = self.sizes[index].tolist()
        return self._mapped.bytes(self._starts[index], height * width * 3).reshape(height, width, 3)


class PackedMasks(_PackedFile):
    """The masks of a packed split, for the oracle and the evaluator only.

    Attributes:
        num_classes: Number of classes; mask values are below it, or 255 for void.
    """

    def __init__(self, path: Path) -> None:
        """Map the masks of the packed folder `path`.

        Raises:
            DataError: When the folder is damaged.
        """
        meta = _read_meta(path)
        super().__init__(path, meta, MASKS, channels=1)
        self.num_classes = len(meta.classes)

    def mask(self, index: int) -> npt.NDArray[np.uint8]:
        """Return mask `index` as a read-only view of the map, uint8 (H, W)."""
        height, width = self.sizes[index].tolist()
        return self._mapped.bytes(self._starts[index], height * width).reshape(height, width)


class PackedSplit:
    """A packed split; opening it needs neither the data set nor its root.

    Attributes:
        path: The packed folder.
        derived: Folder of arrays that are computed from it once, such as clicks: the packed folder itself. Another one
            has them computed again, where nothing that is there already is believed.
        name: Registered name of the data set.
        split: Name of the split.
        ids: Names of the N images.
        sizes: int32 (N, 2), height and width.
        classes: Names of the classes.
        colours: RGB colours of the classes.
        fingerprint: sha256 over decoded pixels, masks, ids and class names; independent of where the data is stored.
        statistics: Counts over its images.
        images: The images.
        masks: The masks.
    """

    def __init__(self, path: Path) -> None:
        """Open the packed folder `path`.

        Raises:
            DataError: When there is no packed folder at `path`, or it is damaged.
        """
        meta = _read_meta(path)
        self.path = self.derived = path
        self.name, self.split, self.ids, self.sizes = meta.name, meta.split, meta.ids, meta.sizes
        self.classes, self.colours, self.fingerprint = meta.classes, meta.colours, meta.fingerprint
        self.statistics = meta.statistics
        self.images = PackedImages(path)
        self.masks = PackedMasks(path)

    def __len__(self) -> int:
        return len(self.ids)

    def __reduce__(self) -> tuple[type[Self], tuple[Path]]:
        """Pickle by path, so that another process maps the same files."""
        return type(self), (self.path,)

    def check(self) -> None:
        """Check the digests of images and masks, once a process.

        Raises:
            DataError: When one has another content than was written.
        """
        self.images.check()
        self.masks.check()

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
        if meta.parent.name.startswith("."):  # being written
            continue
        with contextlib.suppress(DataError):  # of another version, or damaged: not what is looked for
            found = PackedSplit(meta.parent)
            if found.fingerprint == described["fingerprint"]:
                return found
    path = results_dir / described["path"]
    if not path.is_dir():
        raise DataError("the packed images are not there any more: they are a cache")
    split = PackedSplit(path)
    if split.fingerprint != described["fingerprint"]:
        raise DataError("the packed images are not those that these results were computed from")
    return split


def _starts(sizes: npt.NDArray[np.int32], channels: int) -> npt.NDArray[np.int64]:
    """Return int64 (N + 1,): the byte at which each image starts, and the length of the file."""
    return np.concatenate([[0], np.cumsum(sizes.astype(np.int64).prod(axis=1) * channels)])


class Mapped:
    """A memory-mapped file whose pages are released from time to time.

    Otherwise a pass over a pool would count the whole pool as resident memory of the process. Released pages stay in
    the page cache, so reading them again takes no disk access, and arrays returned earlier stay valid.
    """

    def __init__(self, path: Path, expected_bytes: int, digest: str) -> None:
        found_bytes = path.stat().st_size if path.is_file() else None
        if found_bytes != expected_bytes:
            raise damaged(path.parent, f"{path.name} should be {expected_bytes} bytes long, found {found_bytes}")
        with open(path, "rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        # ndarray, not np.memmap: slicing the subclass costs more than the slice itself.
        self._bytes = np.frombuffer(self._map, dtype=np.uint8)
        self._touched = 0
        self._path, self._digest, self._is_checked = path, digest, False

    def check(self) -> None:
        """Raise a `DataError` unless the file has its digest; does nothing from the second call on."""
        if not self._is_checked:
            try:
                is_intact = is_intact_once(self._path, self._digest)
            except OSError as error:
                raise damaged(self._path.parent, f"{self._path.name} can't be read ({error.strerror})") from error
            if not is_intact:
                raise damaged(self._path.parent, f"{self._path.name} has another content than was written")
            self._is_checked = True

    def bytes(self, start: int, length: int) -> npt.NDArray[np.uint8]:
        """Return `length` bytes from `start` as a read-only view."""
        self.check()
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
        content: dict[str, Any] = json.loads(file.read_bytes())
    except ValueError as error:
        raise damaged(path, f"{META} is not JSON ({error})") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT or content.get("version") != _META_VERSION:
        raise damaged(path, f"{META} does not say format {FORMAT!r}, version {_META_VERSION}")
    if without_digest(content) is None:
        raise damaged(path, f"{META} has another content than was written")
    try:
        sizes = np.array(content["sizes"], dtype=np.int32).reshape(-1, 2)
        sizes.setflags(write=False)
        return _Meta(
            name=content["name"],
            split=content["split"],
            ids=tuple(content["ids"]),
            sizes=sizes,
            classes=tuple(content["classes"]),
            colours=_colours(content["colours"]),
            fingerprint=content["fingerprint"],
            images_fingerprint=content["images_fingerprint"],
            digests={name: content["digests"][name] for name in (IMAGES, MASKS)},
            statistics=SplitStatistics.from_json(content["statistics"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise damaged(path, f"{META} lacks or garbles a field ({error!r})") from error


def meta_content(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of `meta.json`: `values` with format, version, and a digest over all of it."""
    return with_digest({"format": FORMAT, "version": _META_VERSION, **values})


def _colours(colours: Sequence[Sequence[int]]) -> tuple[tuple[int, int, int], ...]:
    return tuple((int(red), int(green), int(blue)) for red, green, blue in colours)


def damaged(path: Path, what: str) -> DataError:
    """Return the error that the packed folder `path` is damaged, and what to do."""
    return DataError(f"the packed folder {path} is damaged: {what}. Delete that folder; it is then packed again.")
