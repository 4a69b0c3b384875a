"""Arrays with one entry per region, computed once from a packed split and cached beside it."""

import io
import logging
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt
from filelock import FileLock

from quadrat.benchmark.data.dataset import VOID
from quadrat.benchmark.data.packed import PackedSplit
from quadrat.benchmark.data.parallel import in_order
from quadrat.benchmark.data.regions import Layout, RegionGrid
from quadrat.benchmark.storage.atomic import atomic_write, clear_disk_errors

__all__ = ["cache_key", "cached", "class_counts", "void_regions"]

_LOG = logging.getLogger(__name__)

_VOID_VERSION: Final = 1
"""Version of `void_regions`; what another one cached is computed again."""

_COUNTS_VERSION: Final = 1
"""Version of `class_counts`."""

Kind = TypeVar("Kind", bound=np.generic)


def cache_key(layout: Layout) -> str:
    """Return what tells files about one layout from those about another, beside the packed split of its images."""
    size = f"r{layout.region_size}"
    return size if layout.digest is None else f"{size}-{layout.digest}"


def cached(
    path: Path,
    name: str,
    layout: Layout,
    kind: type[Kind],
    compute: Callable[[], npt.NDArray[Kind]],
    *,
    entry: tuple[int, ...] = (),
) -> npt.NDArray[Kind]:
    """Return an array of one entry per region, (R, ...): from the file `path`, else computed and written to it.

    One process computes while the others wait on a file lock.

    Args:
        path: File of the cache, `.npz`.
        name: Of the array in the file, and in messages.
        layout: The regions.
        kind: Type of the entries.
        compute: Returns the array.
        entry: Shape of an entry.

    Raises:
        ResultsError: When the disk is full.
    """
    shape = (layout.num_regions, *entry)
    if (found := _load(path, name, shape, kind)) is not None:
        return found
    with clear_disk_errors(path), FileLock(path.with_suffix(".lock")):
        if (found := _load(path, name, shape, kind)) is not None:
            return found
        if path.is_file():
            _LOG.warning("%s is damaged: the %s are counted again", path, name)
        array = compute()
        buffer = io.BytesIO()
        named: dict[str, Any] = {name: array}
        np.savez(buffer, **named)
        atomic_write(path, buffer.getvalue())
    return array


def _load(path: Path, name: str, shape: tuple[int, ...], kind: type[Kind]) -> npt.NDArray[Kind] | None:
    """Return the array of a file, whose checksum numpy's zip reader checks; None when missing or damaged."""
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            array: npt.NDArray[Kind] = file[name]
    except (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error):
        return None
    return array if array.shape == shape and array.dtype == np.dtype(kind) else None


def void_regions(split: PackedSplit, layout: Layout) -> npt.NDArray[np.bool_]:
    """Return which regions are wholly void, bool (R,), cached beside the packed split.

    It is read off the masks: for the oracle, and for suites that say beforehand that such regions are not offered.

    Raises:
        ResultsError: When the disk is full.
    """

    def of_image(index: int) -> npt.NDArray[np.bool_]:
        if not isinstance(layout, RegionGrid):
            counts = layout.class_counts(index, split.masks.mask(index))
            has_none: npt.NDArray[np.bool_] = counts[:, VOID] == counts.sum(axis=1)
            return has_none
        # Per cell and column: whether any row has a class; then per cell: whether any column has.
        has_class: npt.NDArray[np.bool_] = split.masks.mask(index) != VOID
        for axis in (0, 1):
            has_class = np.logical_or.reduceat(has_class, np.arange(0, has_class.shape[axis], layout.region_size), axis)
        is_void: npt.NDArray[np.bool_] = ~has_class.reshape(-1)
        return is_void

    path = split.derived / f"void-v{_VOID_VERSION}-{cache_key(layout)}.npz"
    return cached(
        path, "void regions", layout, np.bool_, lambda: np.concatenate(list(in_order(of_image, range(len(split)))))
    )


def class_counts(split: PackedSplit, layout: Layout) -> npt.NDArray[np.int32]:
    """Return the pixels of each class in every region, int32 (R, C), void in none; cached beside the packed split.

    It is read off the masks: for the oracle only.

    Raises:
        ResultsError: When the disk is full.
    """
    num_classes = len(split.classes)

    def of_image(index: int) -> npt.NDArray[np.int32]:
        return layout.class_counts(index, split.masks.mask(index))[:, :num_classes].astype(np.int32)

    return cached(
        split.derived / f"classes-v{_COUNTS_VERSION}-{cache_key(layout)}.npz",
        "classes of regions",
        layout,
        np.int32,
        lambda: np.concatenate(list(in_order(of_image, range(len(split))))),
        entry=(num_classes,),
    )
