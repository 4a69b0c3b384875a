"""Packing of region maps: every image is cut once, checked, and written beside the packed split."""

# Axes: H W pixels of an image, n regions of it, E pairs of neighbours.

import hashlib
import io
import logging
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from filelock import FileLock

from quadrat.benchmark.data.packed import META, PackedSplit
from quadrat.benchmark.data.parallel import in_order
from quadrat.benchmark.data.shapes.clicks import boxes_of
from quadrat.benchmark.data.shapes.kind import RegionKind
from quadrat.benchmark.data.shapes.region_map import IDS, REGIONS, RegionMap, Shapes, map_meta
from quadrat.benchmark.errors import DataError
from quadrat.benchmark.storage.atomic import (
    atomic_directory,
    canonical_json,
    clear_disk_errors,
    remove_temporaries_of,
    write_json,
)
from quadrat.benchmark.storage.digest import digest_of_file

__all__ = ["MAX_ID", "MAX_REGIONS", "Cut", "check_against_images", "check_ids", "cut_image", "pack_regions"]

_LOG = logging.getLogger(__name__)

_VERSION: Final = 1
"""Version of what is read off a map; maps of another one are packed again."""

MAX_REGIONS: Final = 2**16 - 1
"""Regions of one image, so that packed ids take 2 bytes."""

MAX_ID: Final = 2**31 - 1
"""Largest id that a map may hold before it is renumbered."""


class Cut(NamedTuple):
    """The regions of one image.

    Attributes:
        ids: uint16 (H, W), 0 = in no region, 1 .. n in the order of the ids that the kind gave.
        shapes: What is read off them; `borders` counts regions of this image from 0.
    """

    ids: npt.NDArray[np.uint16]
    shapes: Shapes


def pack_regions(
    split: PackedSplit, kind: RegionKind, region_size: int, on_progress: Callable[[int, int], None] | None = None
) -> RegionMap:
    """Return the region map of a packed split, after cutting its images if that has not been done.

    The folder's name is a hash of the images' fingerprint, the kind with its version, parameters and the content of
    files that these name, and the region size. One process cuts while the others wait on a file lock. A damaged map is
    replaced, and a warning says so.

    Args:
        split: The packed split.
        kind: How images are cut.
        region_size: Edge of a square of the intended area, pixels.
        on_progress: Called with (images done, images in all) while cutting.

    Raises:
        DataError: When a map is missing, unreadable, of another size than its image, or holds what is no region.
        ResultsError: When the disk is full or not writable.
    """
    path = split.path / f"regions-{re.sub(r'[^A-Za-z0-9_.-]+', '_', kind.name)}-r{region_size}-{_key(split, kind)}"
    if (found := _intact(path)) is not None:
        return found
    with clear_disk_errors(path), FileLock(path.with_name(f".{path.name}.lock")):
        if (found := _intact(path)) is not None:
            return found
        if path.exists():
            _LOG.warning("%s is damaged: the images are cut again", path)
            shutil.rmtree(path)  # processes that have the old files mapped keep them
        remove_temporaries_of(path)
        _write(path, split, kind, region_size, on_progress)
    return RegionMap(path)


def _key(split: PackedSplit, kind: RegionKind) -> str:
    contents = kind.contents()
    content = {
        "version": _VERSION,
        "images": split.images.fingerprint,
        "ids": list(split.ids),
        "kind": [kind.name, kind.version],
        "params": kind.params() | {name: {"content": digest} for name, digest in contents.items()},
    }
    return hashlib.sha256(canonical_json(content).encode()).hexdigest()[:20]


def _intact(path: Path) -> RegionMap | None:
    try:
        found = RegionMap(path)
        found.check()
    except (DataError, OSError):  # not there, or damaged, or being replaced
        return None
    return found


def _write(
    path: Path,
    split: PackedSplit,
    kind: RegionKind,
    region_size: int,
    on_progress: Callable[[int, int], None] | None,
) -> None:
    num_regions: list[int] = []
    shapes: list[Shapes] = []
    content = hashlib.sha256(f"{region_size};".encode())

    def cut(index: int) -> Cut:
        return cut_image(kind, split.images.image(index), region_size=region_size, id=split.ids[index])

    with atomic_directory(path) as temporary:
        with open(temporary / IDS, "wb") as file:
            for done, found in enumerate(in_order(cut, range(len(split))), start=1):
                height, width = found.ids.shape
                data = np.ascontiguousarray(found.ids, dtype="<u2").data
                content.update(f"{height}x{width};".encode())
                content.update(data)
                file.write(data)
                before = sum(num_regions)
                shapes.append(found.shapes._replace(borders=found.shapes.borders + before))
                num_regions.append(len(found.shapes.pixels))
                if on_progress is not None:
                    on_progress(done, len(split))
        buffer = io.BytesIO()
        arrays: dict[str, Any] = {
            name: np.concatenate([getattr(one, name) for one in shapes]) for name in Shapes._fields
        }
        np.savez(buffer, **arrays)
        (temporary / REGIONS).write_bytes(buffer.getvalue())
        values = {
            "kind": kind.name,
            "params": kind.params(),
            "region_size": region_size,
            "sizes": split.sizes.tolist(),
            "num_regions": num_regions,
            "content": content.hexdigest()[:32],
            "digests": {name: digest_of_file(temporary / name) for name in (IDS, REGIONS)},
        }
        write_json(temporary / META, map_meta(values))


def check_against_images(
    found: RegionMap, split: PackedSplit, kind: RegionKind, on_progress: Callable[[int, int], None] | None = None
) -> None:
    """Check that a packed map is what cutting the images of its split again gives.

    Args:
        found: The packed map.
        split: The packed split.
        kind: How images are cut.
        on_progress: Called with (images done, images in all).

    Raises:
        DataError: When it is not.
    """

    def is_equal(index: int) -> bool:
        image = split.images.image(index)
        cut = cut_image(kind, image, region_size=found.region_size, id=split.ids[index])
        return np.array_equal(cut.ids, found.ids(index))

    for index, is_same in enumerate(in_order(is_equal, range(len(split)))):
        if not is_same:
            raise DataError(
                f"expected the regions of image {split.ids[index]!r} in {found.path}, got others: that cache is wrong. "
                "Delete the folder; the images are cut again"
            )
        if on_progress is not None:
            on_progress(index + 1, len(split))


def cut_image(kind: RegionKind, image: npt.NDArray[np.uint8], *, region_size: int, id: str) -> Cut:
    """Return the regions of one image, checked.

    Args:
        kind: How images are cut.
        image: uint8 (H, W, 3).
        region_size: Edge of a square of the intended area, pixels.
        id: Name of the image.

    Raises:
        DataError: As `check_ids`, or as the kind.
    """
    ids = check_ids(kind.cut(image, region_size=region_size, id=id), image.shape[:2], f"regions of image {id!r}")
    return Cut(ids, _shapes(ids, region_size))


def check_ids(ids: npt.NDArray[Any], size: Sequence[int], name: str) -> npt.NDArray[np.uint16]:
    """Return ids as 1 .. n in ascending order, uint16 (H, W), after checking that they are regions of an image.

    Args:
        ids: What a kind of regions gave for one image.
        size: Height and width of the image.
        name: Of the map in messages.

    Raises:
        DataError: When the map has another size than the image; when an id is no integer, negative or above `MAX_ID`;
            when no pixel is in a region, a region has one pixel, or there are more than `MAX_REGIONS`.
    """
    ids = np.asarray(ids)
    height, width = (int(side) for side in size)
    if ids.shape != (height, width):
        raise DataError(
            f"{name}: expected ids of {height} x {width} pixels (height x width), as the image, got an array of "
            f"{' x '.join(map(str, ids.shape))}. Make the map at the size of its image, without interpolation",
            kind="region map of another size than its image",
        )
    if ids.dtype.kind not in "iu" and not (ids.dtype.kind == "f" and np.array_equal(ids, np.trunc(ids))):
        raise DataError(f"{name}: expected whole numbers, got {ids.dtype}", kind="region ids that are none")
    if ids.min() < 0 or ids.max() > MAX_ID:
        raise DataError(
            f"{name}: expected ids from 0 (in no region) to {MAX_ID}, got {ids.min()} to {ids.max()}",
            kind="region ids that are none",
        )
    values, inverse, counts = np.unique(ids, return_inverse=True, return_counts=True)
    has_void = int(values[0] == 0)
    if len(values) == has_void:
        raise DataError(
            f"{name}: expected at least one region, got id 0 (in no region) everywhere", kind="image without a region"
        )
    if len(values) - has_void > MAX_REGIONS:
        raise DataError(
            f"{name}: expected at most {MAX_REGIONS} regions in an image, got {len(values) - has_void}",
            kind="too many regions",
        )
    specks = np.flatnonzero(counts[has_void:] == 1)
    if specks.size:
        value = int(values[has_void + specks[0]])
        y, x = (int(place[0]) for place in np.nonzero(ids == value))
        more = f" and {specks.size - 1} more" if specks.size > 1 else ""
        raise DataError(
            f"{name}: expected regions of at least 2 pixels, got one of 1 pixel: id {value} at row {y}, column {x}"
            f"{more}. Join them to a neighbour, or give them id 0",
            kind="regions of one pixel",
        )
    return (inverse.reshape(height, width) + 1 - has_void).astype(np.uint16)


def _shapes(ids: npt.NDArray[np.uint16], region_size: int) -> Shapes:
    import cv2  # here: reading a suite needs none

    region_HW = ids.astype(np.int64) - 1
    num = int(region_HW.max()) + 1
    pixels = np.bincount(ids.ravel(), minlength=num + 1)
    centres = []
    for axis in (0, 1):  # a pixel's centre is half a pixel from its corner, so a centre is never on the image's edge
        place = np.arange(ids.shape[axis]) + 0.5
        weights = np.broadcast_to(place[:, None] if axis == 0 else place, ids.shape)
        total = np.bincount(ids.ravel(), weights=weights.ravel(), minlength=num + 1)
        centres.append(total[1:] / pixels[1:] / region_size)
    boxes = boxes_of(region_HW, num)
    pieces = [
        cv2.connectedComponents((region_HW[rows, cols] == region).view(np.uint8), connectivity=8)[0] - 1
        for region, (rows, cols) in enumerate(boxes)
    ]
    return Shapes(
        pixels=pixels[1:].astype(np.int64),
        row=centres[0],
        col=centres[1],
        box=np.array([(rows.start, cols.start, rows.stop, cols.stop) for rows, cols in boxes], dtype=np.int32),
        pieces=np.array(pieces, dtype=np.int32),
        borders=_borders(region_HW),
    )


def _borders(region_HW: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the pairs of regions that share the side of a pixel, int64 (E, 2), the smaller first, ascending."""
    found = []
    for here, there in ((region_HW[:-1], region_HW[1:]), (region_HW[:, :-1], region_HW[:, 1:])):
        differs = (here != there) & (here >= 0) & (there >= 0)
        pairs = np.stack([here[differs], there[differs]], axis=1)
        found.append(np.sort(pairs, axis=1))
    pairs_E2: npt.NDArray[np.int64] = np.unique(np.concatenate(found), axis=0)
    return pairs_E2
