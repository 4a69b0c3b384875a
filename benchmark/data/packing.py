"""Packing of a split: decode and check every image once, and write it to a folder that all trials memory-map."""

import hashlib
import logging
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from filelock import FileLock

from quadrat.benchmark.data.dataset import Dataset, Item, items_of
from quadrat.benchmark.data.findings import class_findings, raise_errors
from quadrat.benchmark.data.inspection import Inspected, inspect_item
from quadrat.benchmark.data.packed import (
    DECODING_VERSION,
    FORMAT,
    IMAGES,
    MASKS,
    META,
    VERSION,
    PackedSplit,
    meta_content,
)
from quadrat.benchmark.data.parallel import in_order
from quadrat.benchmark.data.statistics import SplitCounter
from quadrat.benchmark.errors import DataError
from quadrat.benchmark.storage.atomic import (
    atomic_directory,
    canonical_json,
    clear_disk_errors,
    make_folders,
    remove_temporaries_of,
    write_json,
)
from quadrat.benchmark.storage.digest import new_digest

__all__ = ["check_against_data_set", "intact", "pack"]

_LOG = logging.getLogger(__name__)


def pack(
    dataset: Dataset, split: str, cache_dir: str | Path, on_progress: Callable[[int, int], None] | None = None
) -> PackedSplit:
    """Return the packed `split` of `dataset`, after packing it under `cache_dir` if it is missing.

    The folder name is a hash over names, parameters, ids and the stamps of the items (file sizes and times), so nothing
    is decoded twice. One process packs while the others wait on a file lock. The folder is renamed into place when it
    is complete, so where locks do not work the slower of two processes uses what the faster one wrote. Where it is
    there and intact, nothing is written, not even a lock. A damaged folder is replaced, and a warning says so.

    Args:
        dataset: The data set.
        split: Name of the split.
        cache_dir: The packed folder is `cache_dir/packed/<key>`.
        on_progress: Called with (images done, images in total) while packing.

    Raises:
        DataError: When the split is missing or empty, an image or mask is missing, unreadable or they disagree, or
            `cache_dir` is not a folder.
        ResultsError: When the disk is full or not writable; no partial folder is left.
    """
    items = items_of(dataset, split)
    folder = Path(cache_dir).absolute() / "packed"
    path = folder / _key(dataset, split, items)
    try:
        return _opened(path)
    except (DataError, OSError):  # not there, or damaged, or being replaced: looked at again with the lock
        pass
    with clear_disk_errors(path):
        try:
            make_folders(folder)
        except (NotADirectoryError, FileExistsError) as error:
            raise DataError(
                f"cannot pack into {folder}: there is a file in its way. Give another cache folder."
            ) from error
        lock = FileLock(folder / f".{path.name}.lock")
        lock.acquire()
    try:
        found = intact(path)
        if found is None:
            remove_temporaries_of(path)
            _write(path, dataset, split, items, on_progress)
            found = _opened(path)
        return found
    finally:
        lock.release()


def _key(dataset: Dataset, split: str, items: Sequence[Item]) -> str:
    content = {
        "version": DECODING_VERSION,
        "dataset": dataset.name,
        "params": dataset.params(),
        "split": split,
        "classes": list(dataset.classes),
        "colours": [list(colour) for colour in dataset.colours],
        "items": [[item.id, item.stamp()] for item in items],
    }
    digest = hashlib.sha256(canonical_json(content).encode()).hexdigest()
    readable = re.sub(r"[^A-Za-z0-9_.-]+", "_", f"{dataset.name}-{split}")
    return f"{readable}-{digest[:20]}"


def _opened(path: Path) -> PackedSplit:
    """Return the packed split at `path` with its digests checked."""
    found = PackedSplit(path)
    found.check()
    return found


def intact(path: Path) -> PackedSplit | None:
    """Return the packed split at `path`; None where there is none or after deleting a damaged one, with a warning.

    Only for the holder of its lock.
    """
    if not path.exists():
        return None
    try:
        return _opened(path)
    except DataError as error:
        _LOG.warning("%s It is packed again now.", error)
        # Processes that have the old files mapped keep them.
        with clear_disk_errors(path):
            shutil.rmtree(path)
        return None


def _write(
    path: Path,
    dataset: Dataset,
    split: str,
    items: Sequence[Item],
    on_progress: Callable[[int, int], None] | None,
) -> None:
    fingerprint, counter = _Fingerprint(), SplitCounter(len(dataset.classes))
    digests = {name: new_digest() for name in (IMAGES, MASKS)}
    sizes: list[list[int]] = []
    with atomic_directory(path) as temporary:
        with open(temporary / IMAGES, "wb") as images, open(temporary / MASKS, "wb") as masks:
            for (image, mask), histogram, image_digest in _inspected(dataset, items):
                sizes.append(list(mask.shape))
                counter.add(histogram, image_digest)
                fingerprint.add(image, mask)
                digests[IMAGES].update(image.data)
                digests[MASKS].update(mask.data)
                images.write(image.data)
                masks.write(mask.data)
                if on_progress is not None:
                    on_progress(len(sizes), len(items))
        statistics = counter.statistics()
        raise_errors(class_findings(dataset, split, statistics))
        values = {
            "name": dataset.name,
            "split": split,
            "classes": list(dataset.classes),
            "colours": [list(colour) for colour in dataset.colours],
            "fingerprint": fingerprint.of(dataset, items),
            "images_fingerprint": fingerprint.pixels.hexdigest(),
            "ids": [item.id for item in items],
            "sizes": sizes,
            "digests": {name: digest.hexdigest() for name, digest in digests.items()},
            "statistics": statistics.to_json(),
        }
        write_json(temporary / META, meta_content(values))


class _Fingerprint:
    """Hashes of the pixels and masks of a split, image by image."""

    def __init__(self) -> None:
        self.pixels = hashlib.sha256()
        self._labels = hashlib.sha256()

    def add(self, image: npt.NDArray[np.uint8], mask: npt.NDArray[np.uint8]) -> None:
        height, width = mask.shape
        for found, array in ((self.pixels, image), (self._labels, mask)):
            found.update(f"{height}x{width};".encode())
            found.update(array.data)

    def of(self, dataset: Dataset, items: Sequence[Item]) -> str:
        """Return the fingerprint of the split whose images have been added."""
        ids = [item.id for item in items]
        content = [FORMAT, VERSION, list(dataset.classes), ids, self.pixels.hexdigest(), self._labels.hexdigest()]
        return hashlib.sha256(canonical_json(content).encode()).hexdigest()


def _inspected(dataset: Dataset, items: Sequence[Item]) -> Iterator[Inspected]:
    return in_order(partial(inspect_item, num_classes=len(dataset.classes)), items)


def check_against_data_set(
    packed: PackedSplit, dataset: Dataset, on_progress: Callable[[int, int], None] | None = None
) -> None:
    """Check that a packed split is what the files of the data set hold, by decoding and comparing all of them.

    Its digests and its fingerprint are what it says of itself.

    Args:
        packed: The packed split.
        dataset: The data set.
        on_progress: Called with (images done, images in total).

    Raises:
        DataError: When it is not, or the data set is missing or damaged.
    """
    items = items_of(dataset, packed.split)
    fingerprint = _Fingerprint()
    is_equal = [item.id for item in items] == list(packed.ids)
    for index, ((image, mask), _, _) in enumerate(_inspected(dataset, items) if is_equal else ()):
        fingerprint.add(image, mask)
        is_equal = np.array_equal(image, packed.images.image(index)) and np.array_equal(mask, packed.masks.mask(index))
        if not is_equal:
            break
        if on_progress is not None:
            on_progress(index + 1, len(items))
    if not is_equal or fingerprint.of(dataset, items) != packed.fingerprint:
        raise DataError(
            f"expected the images and masks of {dataset.name} {packed.split} in {packed.path}, got others: that cache "
            "is wrong. Delete the folder; it is packed again"
        )
