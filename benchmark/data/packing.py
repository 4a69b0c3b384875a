"""Packing of a split: decode and check every image once, and write it to a folder that all trials memory-map."""

import hashlib
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from filelock import FileLock

from quadrat.benchmark.data.dataset import VOID, Dataset, Item, Sample, decode, items_of
from quadrat.benchmark.data.packed import FORMAT, IMAGES, MASKS, META, VERSION, PackedSplit
from quadrat.benchmark.data.parallel import in_order
from quadrat.benchmark.errors import DataError
from quadrat.benchmark.storage.atomic import (
    atomic_directory,
    canonical_json,
    clear_disk_errors,
    make_folders,
    remove_temporaries_of,
    write_json,
)

__all__ = ["pack"]


def pack(
    dataset: Dataset, split: str, cache_dir: str | Path, on_progress: Callable[[int, int], None] | None = None
) -> PackedSplit:
    """Return the packed `split` of `dataset`, after packing it under `cache_dir` if it is missing.

    The folder name is a hash over names, parameters, ids and the stamps of the items (file sizes and times), so nothing
    is decoded twice. One process packs while the others wait on a file lock. The folder is renamed into place when it
    is complete, so where locks do not work the slower of two processes uses what the faster one wrote. A damaged folder
    is replaced.

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
        found = _intact(path)
        if found is None:
            remove_temporaries_of(path)
            _write(path, dataset, split, items, on_progress)
            found = PackedSplit.open(path)
        return found
    finally:
        lock.release()


def _key(dataset: Dataset, split: str, items: Sequence[Item]) -> str:
    content = {
        "version": VERSION,
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


def _intact(path: Path) -> PackedSplit | None:
    """Return the packed split at `path`; None where there is none or after deleting a damaged one."""
    if not path.exists():
        return None
    try:
        return PackedSplit.open(path)
    except DataError:
        # It is packed again from its source; processes that have the old files mapped keep them.
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
    num_classes = len(dataset.classes)

    def read(item: Item) -> Sample:
        image, mask = decode(item, num_classes)
        return Sample(np.ascontiguousarray(image), np.ascontiguousarray(mask))

    pixels, labels = hashlib.sha256(), hashlib.sha256()
    sizes: list[list[int]] = []
    labelled = False
    with atomic_directory(path) as temporary:
        with open(temporary / IMAGES, "wb") as images, open(temporary / MASKS, "wb") as masks:
            for image, mask in in_order(read, items):
                height, width = mask.shape
                sizes.append([height, width])
                labelled = labelled or bool((mask != VOID).any())
                header = f"{height}x{width};".encode()
                pixels.update(header)
                pixels.update(image.data)
                labels.update(header)
                labels.update(mask.data)
                images.write(image.data)
                masks.write(mask.data)
                if on_progress is not None:
                    on_progress(len(sizes), len(items))
        if not labelled:
            raise DataError(
                f"split {split!r} of {dataset.name}: every pixel of its {len(items)} masks is void, so there is "
                "nothing to learn or to evaluate. Take a split whose labels are public."
            )
        ids = [item.id for item in items]
        content = [FORMAT, VERSION, list(dataset.classes), ids, pixels.hexdigest(), labels.hexdigest()]
        meta = {
            "format": FORMAT,
            "version": VERSION,
            "name": dataset.name,
            "split": split,
            "classes": list(dataset.classes),
            "colours": [list(colour) for colour in dataset.colours],
            "fingerprint": hashlib.sha256(canonical_json(content).encode()).hexdigest(),
            "images_fingerprint": pixels.hexdigest(),
            "ids": ids,
            "sizes": sizes,
        }
        write_json(temporary / META, meta)
