"""How images are cut into regions: the interface `Layout`, and the grid of square cells, which is the default."""

# Axes: N images, R regions, n regions of one image, E pairs of neighbours, H W pixels of an image, h w of a window.

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from quadrat.benchmark.errors import DataError

__all__ = ["Box", "GridShape", "Layout", "RegionGrid"]

Number = TypeVar("Number", bound=np.generic)


class GridShape(NamedTuple):
    """Number of cell rows and columns over one image."""

    rows: int
    cols: int


class Box(NamedTuple):
    """Pixels `top <= y < bottom`, `left <= x < right` of an image."""

    top: int
    left: int
    bottom: int
    right: int


class Layout(Protocol):
    """The regions of a pool of images, of any shape: what a trial needs to know of them.

    Regions are numbered image by image. No pixel is in two regions; a pixel may be in none, and is then never offered.
    """

    @property
    def region_size(self) -> int:
        """Edge of a square region, pixels; of others the edge of a square of the intended area."""

    @property
    def sizes(self) -> npt.NDArray[np.int32]:
        """Height and width of the images, (N, 2)."""

    @property
    def num_regions(self) -> int:
        """Number of regions R."""

    @property
    def image(self) -> npt.NDArray[np.int32]:
        """Image of a region, (R,), ascending."""

    @property
    def first(self) -> npt.NDArray[np.int64]:
        """Regions of image i are `first[i]` up to, not including, `first[i + 1]`; (N + 1,)."""

    @property
    def row(self) -> npt.NDArray[Any]:
        """Where a region is, downwards, in units of the region size, (R,): a cell's row, or the centre of a shape."""

    @property
    def col(self) -> npt.NDArray[Any]:
        """Where a region is, to the right, in units of the region size, (R,): a cell's column, or a centre."""

    @property
    def pixels(self) -> npt.NDArray[np.int64]:
        """Area of a region, (R,)."""

    @property
    def borders(self) -> npt.NDArray[np.int64] | None:
        """Pairs of regions that share the side of a pixel, (E, 2); None for a grid: they follow from cells."""

    @property
    def digest(self) -> str | None:
        """Digest of all borders; None for a grid, which follows from the image sizes and the region size."""

    def box(self, region: int, /) -> Box:
        """Return the smallest box around the pixels of `region`."""

    def window(self, image: int, top: int, left: int, height: int, width: int, /) -> npt.NDArray[np.int64]:
        """Return the region of every pixel of a window of `image`, (h, w); -1 in none, and outside the image.

        Args:
            image: Index of the image.
            top: First row of the window in the image; may be negative.
            left: First column of the window in the image; may be negative.
            height: Rows of the window.
            width: Columns of the window.
        """

    def window_mask(
        self, image: int, selected: npt.NDArray[np.bool_], top: int, left: int, height: int, width: int, /
    ) -> npt.NDArray[np.bool_]:
        """Return which pixels of a window lie in selected regions, (h, w); False outside the image.

        Args:
            image: Index of the image.
            selected: bool (R,), over all regions.
            top: As for `window`.
            left: As for `window`.
            height: As for `window`.
            width: As for `window`.
        """

    def values(self, region: int, map_HW: npt.NDArray[Number], /) -> npt.NDArray[Number]:
        """Return the entries of a map of its image at the pixels of `region`, (pixels,)."""

    def class_counts(self, image: int, mask_HW: npt.NDArray[np.uint8], /) -> npt.NDArray[np.int64]:
        """Return how many pixels of each value every region of `image` has in a mask, (n, 256)."""


class RegionGrid:
    """Cells of `region_size` x `region_size` pixels over a pool of images; a cell is a region.

    Regions are numbered image by image, row-major within an image, and cover every pixel exactly once. Cells are
    clipped at the border, so `pixels` is the exact area of a region. All arrays are read-only.

    Attributes:
        region_size: Edge of a full cell, pixels.
        sizes: int32 (N, 2), height and width of the images.
        num_regions: Number of regions R.
        image: int32 (R,), image of a region.
        row: int32 (R,), cell row of a region in its image.
        col: int32 (R,), cell column of a region in its image.
        pixels: int64 (R,), area of a region.
        first: int64 (N + 1,): regions of image i are `first[i]` up to, not including, `first[i + 1]`.
        borders: None: they follow from the cells.
        digest: None: the cells follow from `sizes` and `region_size`.

    Examples:
        >>> grid = RegionGrid([(4, 6)], region_size=4)
        >>> grid.pixels
        array([16,  8])
        >>> grid.box(1)
        Box(top=0, left=4, bottom=4, right=6)
    """

    digest: str | None = None
    borders: npt.NDArray[np.int64] | None = None

    def __init__(self, sizes: npt.ArrayLike, region_size: int, *, ids: Sequence[str] | None = None) -> None:
        """Compute the regions of all images.

        Args:
            sizes: (N, 2), height and width of each image.
            region_size: Edge of a cell, pixels.
            ids: Names of the images, for error messages.

        Raises:
            DataError: When `region_size` is below 1, or above the height or width of an image.
        """
        self.sizes = _frozen(np.array(sizes, dtype=np.int32).reshape(-1, 2))
        self.region_size = int(region_size)
        if self.region_size < 1:
            raise DataError(f"region size must be at least 1 pixel, got {region_size}.")
        self._check_fit(ids)
        rows_cols_N2 = -(-self.sizes.astype(np.int64) // self.region_size)
        counts_N = rows_cols_N2.prod(axis=1)
        self.first = _frozen(np.concatenate([[0], np.cumsum(counts_N)]).astype(np.int64))
        self.num_regions = int(self.first[-1])
        image_R = np.repeat(np.arange(len(self.sizes)), counts_N)
        row_R, col_R = np.divmod(np.arange(self.num_regions) - self.first[image_R], rows_cols_N2[image_R, 1])
        height_R = np.minimum(self.region_size, self.sizes[image_R, 0] - row_R * self.region_size)
        width_R = np.minimum(self.region_size, self.sizes[image_R, 1] - col_R * self.region_size)
        self.image = _frozen(image_R.astype(np.int32))
        self.row = _frozen(row_R.astype(np.int32))
        self.col = _frozen(col_R.astype(np.int32))
        self.pixels = _frozen((height_R * width_R).astype(np.int64))

    def _check_fit(self, ids: Sequence[str] | None) -> None:
        small = np.flatnonzero(self.sizes.min(axis=1) < self.region_size)
        if small.size:
            worst = int(small[0])
            height, width = self.sizes[worst].tolist()
            name = f"image {worst}" if ids is None else repr(ids[worst])
            others = f" and {small.size - 1} more" if small.size > 1 else ""
            raise DataError(
                f"region size {self.region_size} is larger than {name} ({height} x {width} pixels, height x width)"
                f"{others}. Take a region size of at most {int(self.sizes.min())}."
            )

    def shape(self, image: int) -> GridShape:
        """Return the number of rows and columns of cells over `image`."""
        height, width = self.sizes[image].tolist()
        return GridShape(-(-height // self.region_size), -(-width // self.region_size))

    def box(self, region: int) -> Box:
        """Return the pixels of `region` in its image, clipped at the border."""
        height, width = self.sizes[self.image[region]].tolist()
        top, left = int(self.row[region]) * self.region_size, int(self.col[region]) * self.region_size
        return Box(top, left, min(top + self.region_size, height), min(left + self.region_size, width))

    def window(self, image: int, top: int, left: int, height: int, width: int) -> npt.NDArray[np.int64]:
        """Return the region of every pixel of a window of `image`, int64 (height, width); see `Layout`."""
        y, x = np.arange(top, top + height), np.arange(left, left + width)
        inside_y, inside_x = (y >= 0) & (y < self.sizes[image, 0]), (x >= 0) & (x < self.sizes[image, 1])
        row, col = y // self.region_size, x // self.region_size
        region = self.first[image] + row[:, None] * self.shape(image).cols + col
        return np.where(inside_y[:, None] & inside_x, region, -1)

    def values(self, region: int, map_HW: npt.NDArray[Number]) -> npt.NDArray[Number]:
        """Return the entries of a map of its image at the pixels of `region`, (pixels,)."""
        top, left, bottom, right = self.box(region)
        return map_HW[top:bottom, left:right].ravel()

    def class_counts(self, image: int, mask_HW: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
        """Return how many pixels of each value every region of `image` has in a mask, int64 (n, 256)."""
        rows, cols = self.shape(image)
        cell = np.arange(mask_HW.shape[0])[:, None] // self.region_size * cols
        cell = cell + np.arange(mask_HW.shape[1]) // self.region_size
        return np.bincount((cell * 256 + mask_HW).ravel(), minlength=rows * cols * 256).reshape(-1, 256)

    def window_mask(
        self, image: int, selected: npt.NDArray[np.bool_], top: int, left: int, height: int, width: int
    ) -> npt.NDArray[np.bool_]:
        """Return which pixels of a window of `image` lie in selected regions.

        Args:
            image: Index of the image.
            selected: bool (R,), over all regions of the grid.
            top: First row of the window in the image; may be negative.
            left: First column of the window in the image; may be negative.
            height: Rows of the window.
            width: Columns of the window.

        Returns:
            bool (height, width); False outside the image.
        """
        cells = selected[self.first[image] : self.first[image + 1]].reshape(self.shape(image))
        y, x = np.arange(top, top + height), np.arange(left, left + width)
        inside_y, inside_x = (y >= 0) & (y < self.sizes[image, 0]), (x >= 0) & (x < self.sizes[image, 1])
        row, col = np.where(inside_y, y // self.region_size, 0), np.where(inside_x, x // self.region_size, 0)
        mask: npt.NDArray[np.bool_] = cells[row][:, col] & inside_y[:, None] & inside_x
        return mask


def _frozen(array: npt.NDArray[Number]) -> npt.NDArray[Number]:
    array.setflags(write=False)
    return array
