"""The packed map of regions of any shape: an id for every pixel, memory-mapped, and what is read off it once.

Beside the images of a packed split, in `regions-<kind>-r<size>-<key>/`: `ids.bin` (uint16, image after image,
row-major; 0 = in no region, 1 .. n = the regions of the image), `regions.npz` with one entry per region, and
`meta.json` with the digests of both.
"""

# Axes: N images, R regions, n regions of one image, E pairs of neighbours, H W pixels of an image, h w of a window.

import json
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from quadrat.benchmark.data.packed import META, Mapped, PackedSplit, damaged
from quadrat.benchmark.data.regions import Box
from quadrat.benchmark.errors import DataError
from quadrat.benchmark.storage.digest import is_intact_once, with_digest, without_digest

__all__ = ["IDS", "REGIONS", "RegionMap", "Shapes", "map_meta", "packed_maps"]

FORMAT: Final = "quadrat-regions"
_META_VERSION: Final = 1
IDS: Final = "ids.bin"
REGIONS: Final = "regions.npz"

Number = TypeVar("Number", bound=np.generic)


class Shapes(NamedTuple):
    """The regions of some images, one after another.

    Attributes:
        pixels: int64 (R,), area.
        row: float64 (R,), centre downwards, region sizes.
        col: float64 (R,), centre to the right, region sizes.
        box: int32 (R, 4), top, left, bottom, right of the smallest box.
        pieces: int32 (R,), 8-connected pieces.
        borders: int64 (E, 2), pairs of regions that share the side of a pixel, the smaller one first, ascending.
    """

    pixels: npt.NDArray[np.int64]
    row: npt.NDArray[np.float64]
    col: npt.NDArray[np.float64]
    box: npt.NDArray[np.int32]
    pieces: npt.NDArray[np.int32]
    borders: npt.NDArray[np.int64]


class RegionMap:
    """Regions of any shape over a pool of images, see `quadrat.benchmark.data.Layout`; read-only.

    Attributes:
        path: The packed folder.
        kind: Registered name of the kind of regions.
        region_size: Edge of a square of the intended area, pixels; the unit of `row` and `col`.
        sizes: int32 (N, 2), height and width of the images.
        num_regions: R.
        image: int32 (R,), image of a region.
        first: int64 (N + 1,): regions of image i are `first[i]` up to, not including, `first[i + 1]`.
        row: float64 (R,), centre of a region downwards: the mean of its pixels' centres, in units of the region size.
        col: float64 (R,), centre of a region to the right.
        pixels: int64 (R,), area.
        pieces: int32 (R,), number of 8-connected pieces.
        borders: int64 (E, 2), pairs of regions that share the side of a pixel, the smaller one first, ascending.
        digest: Digest of the ids, the sizes and the region size.
    """

    def __init__(self, path: Path) -> None:
        """Open the packed map at `path`.

        Raises:
            DataError: When there is none, or it is damaged.
        """
        meta = _read_meta(path)
        self.path = path
        self.kind: str = meta["kind"]
        self.region_size: int = meta["region_size"]
        self.digest: str = meta["content"]
        self.sizes = _frozen(np.array(meta["sizes"], dtype=np.int32).reshape(-1, 2))
        self.first = _frozen(np.concatenate([[0], np.cumsum(meta["num_regions"])]).astype(np.int64))
        self.num_regions = int(self.first[-1])
        shapes = _read_shapes(path, meta["digests"][REGIONS])
        if len(shapes.pixels) != self.num_regions:
            raise damaged(path, f"{REGIONS} has {len(shapes.pixels)} regions, {META} says {self.num_regions}")
        self.image = _frozen(np.repeat(np.arange(len(self.sizes)), np.diff(self.first)).astype(np.int32))
        self.row, self.col = _frozen(shapes.row), _frozen(shapes.col)
        self.pixels, self.pieces, self.borders = _frozen(shapes.pixels), _frozen(shapes.pieces), _frozen(shapes.borders)
        self._boxes = _frozen(shapes.box)
        self._starts = np.concatenate([[0], np.cumsum(self.sizes.astype(np.int64).prod(axis=1) * 2)])
        self._mapped = Mapped(path / IDS, int(self._starts[-1]), meta["digests"][IDS])

    def __reduce__(self) -> tuple[type["RegionMap"], tuple[Path]]:
        """Pickle by path, so that another process maps the same file."""
        return type(self), (self.path,)

    def check(self) -> None:
        """Check the digest of the ids, once a process; the first read does it too.

        Raises:
            DataError: When the file has another content than was written.
        """
        self._mapped.check()

    def ids(self, image: int) -> npt.NDArray[np.uint16]:
        """Return the ids of `image`, uint16 (H, W): 0 = in no region, else 1 + the region's place in the image."""
        height, width = self.sizes[image].tolist()
        return self._mapped.bytes(self._starts[image], height * width * 2).view("<u2").reshape(height, width)

    def box(self, region: int) -> Box:
        """Return the smallest box around the pixels of `region`."""
        return Box(*self._boxes[region].tolist())

    def window(self, image: int, top: int, left: int, height: int, width: int) -> npt.NDArray[np.int64]:
        """Return the region of every pixel of a window of `image`, int64 (h, w); -1 in none, and outside the image."""
        ids_hw = self._ids_in(image, top, left, height, width).astype(np.int64)
        return np.where(ids_hw > 0, ids_hw - 1 + self.first[image], -1)

    def window_mask(
        self, image: int, selected: npt.NDArray[np.bool_], top: int, left: int, height: int, width: int
    ) -> npt.NDArray[np.bool_]:
        """Return which pixels of a window lie in selected regions, bool (h, w); see `Layout`."""
        is_selected = np.concatenate([[False], selected[self.first[image] : self.first[image + 1]]])
        mask: npt.NDArray[np.bool_] = is_selected[self._ids_in(image, top, left, height, width)]
        return mask

    def values(self, region: int, map_HW: npt.NDArray[Number]) -> npt.NDArray[Number]:
        """Return the entries of a map of its image at the pixels of `region`, (pixels,)."""
        image, (top, left, bottom, right) = int(self.image[region]), self.box(region)
        is_in = self.ids(image)[top:bottom, left:right] == region - self.first[image] + 1
        values: npt.NDArray[Number] = map_HW[top:bottom, left:right][is_in]
        return values

    def class_counts(self, image: int, mask_HW: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
        """Return how many pixels of each value every region of `image` has in a mask, int64 (n, 256)."""
        num = int(self.first[image + 1] - self.first[image])
        both = self.ids(image).astype(np.int64) * 256 + mask_HW
        return np.bincount(both.ravel(), minlength=(num + 1) * 256).reshape(-1, 256)[1:]

    def _ids_in(self, image: int, top: int, left: int, height: int, width: int) -> npt.NDArray[np.uint16]:
        ids_HW = self.ids(image)
        bottom, right = min(top + height, ids_HW.shape[0]), min(left + width, ids_HW.shape[1])
        inner_top, inner_left = max(top, 0), max(left, 0)
        window = np.zeros((height, width), dtype=np.uint16)
        if inner_top < bottom and inner_left < right:
            window[inner_top - top : bottom - top, inner_left - left : right - left] = ids_HW[
                inner_top:bottom, inner_left:right
            ]
        return window


def packed_maps(pool: PackedSplit, described: Mapping[str, Any]) -> dict[str, RegionMap]:
    """Return the region maps that a results folder was computed on, by name; they lie beside the images of its pool.

    Args:
        pool: The packed pool.
        described: The pool as `suite.json` describes it; `maps` has name, path and digest of each.

    Raises:
        DataError: When one is gone (it is a cache), is damaged, or is another.
    """
    found = {}
    for one in described.get("maps", ()):
        found[one["name"]] = RegionMap(pool.path / Path(one["path"]).name)
        if found[one["name"]].digest != one["digest"]:
            raise DataError(f"the regions {one['name']} are not those that these results were computed on")
    return found


def map_meta(values: dict[str, Any]) -> dict[str, Any]:
    """Return the content of `meta.json`: `values` with format, version, and a digest over all of it."""
    return with_digest({"format": FORMAT, "version": _META_VERSION, **values})


def _read_meta(path: Path) -> dict[str, Any]:
    file = path / META
    if not file.is_file():
        raise DataError(f"there is no packed region map at {path}, which is a cache")
    try:
        content: dict[str, Any] = json.loads(file.read_bytes())
        if content.get("format") != FORMAT or content.get("version") != _META_VERSION:
            raise damaged(path, f"{META} does not say format {FORMAT!r}, version {_META_VERSION}")
        whole = without_digest(content)
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise damaged(path, f"{META} cannot be read ({error!r})") from error
    if whole is None:
        raise damaged(path, f"{META} has another content than was written")
    return whole


def _read_shapes(path: Path, digest: str) -> Shapes:
    file = path / REGIONS
    try:
        if not is_intact_once(file, digest):
            raise damaged(path, f"{REGIONS} has another content than was written")
        with np.load(file, allow_pickle=False) as arrays:
            return Shapes(**{name: arrays[name] for name in Shapes._fields})
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise damaged(path, f"{REGIONS} cannot be read ({error})") from error


def _frozen(array: npt.NDArray[Number]) -> npt.NDArray[Number]:
    array.setflags(write=False)
    return array
