"""Exact means over regions of any shape of maps given per pixel or per cell.

A pixel lies in at most one region, so a region's mean is a sum over the cells that share pixels with it, each weighted
by its share of the region's pixels. The weights of an image are a sparse matrix (regions, cells), ordered by region,
with little more than an entry a cell, since most cells lie in one region. Sums are in a fixed order, so equal maps give
equal bits: on a CPU in float64 for pixels and by a sparse product for cells, on a GPU by a segmented sum.
"""

# Axes: B images, y x rows and columns of a map, d its channels, n regions of an image, K weights, H W pixels.

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from quadrat.benchmark.data import Layout

__all__ = ["ShapePooling", "Weights", "shared_pixels"]


class Weights(NamedTuple):
    """Pixels that regions and cells share, ordered by region, then by cell.

    Attributes:
        region: int64 (K,), counted from 0.
        cell: int64 (K,), row-major.
        pixels: int64 (K,), at least 1.
    """

    region: NDArray[np.int64]
    cell: NDArray[np.int64]
    pixels: NDArray[np.int64]


class ShapePooling:
    """Means over the regions of a layout of any shape; an image's weights are computed when they are needed."""

    def __init__(self, layout: Layout, device: torch.device) -> None:
        self._layout = layout
        self._device = device
        self._last: tuple[int, NDArray[np.int64]] | None = None

    def __call__(self, map_Byxd: Tensor, indices: Sequence[int], stride: int) -> Tensor:
        """Return the mean of a map over every region of these images, (regions, d), image by image.

        Args:
            map_Byxd: (B, y, x, d); may reach beyond the image at the bottom and the right.
            indices: The images, B consecutive ones of the pool.
            stride: Pixels of a cell of the map.
        """
        return torch.cat(
            [self._means(map_yxd, image, stride) for map_yxd, image in zip(map_Byxd, indices, strict=True)]
        )

    def _means(self, map_yxd: Tensor, image: int, stride: int) -> Tensor:
        height, width = self._layout.sizes[image].tolist()
        first, end = self._layout.first[image : image + 2].tolist()
        if self._last is None or self._last[0] != image:  # several maps of an image come one after the other
            self._last = image, self._layout.window(image, 0, 0, height, width) - first
        region_HW = self._last[1]
        pixels_n = self._layout.pixels[first:end]
        if stride == 1 and map_yxd.device.type == "cpu":
            return _means_of_pixels(map_yxd[:height, :width], region_HW, pixels_n)
        weights = shared_pixels(region_HW, stride, map_yxd.shape[1])
        map_Cd = map_yxd.flatten(0, 1)
        share_K = torch.from_numpy(weights.pixels / pixels_n[weights.region])
        if map_Cd.device.type == "cpu":
            place_2K = torch.from_numpy(np.stack([weights.region, weights.cell]))
            matrix = torch.sparse_coo_tensor(
                place_2K,
                share_K.to(map_Cd.dtype),
                (end - first, len(map_Cd)),
                is_coalesced=True,
                check_invariants=False,
            )
            products_nd: Tensor = torch.sparse.mm(matrix, map_Cd)
            return products_nd
        # A segment is added up by one thread, in order; index_add adds in any order.
        values_Kd = map_Cd[torch.from_numpy(weights.cell).to(self._device)].double()
        values_Kd *= share_K.to(self._device)[:, None]
        lengths_n = torch.from_numpy(np.bincount(weights.region, minlength=end - first)).to(self._device)
        means_nd: Tensor = torch.segment_reduce(values_Kd, "sum", lengths=lengths_n, axis=0)
        return means_nd.to(map_Cd.dtype)


def _extremes(padded: NDArray[np.int64], stride: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the smallest and the largest region of every cell; row by row, several times faster than over blocks."""
    found = []
    for extreme in (np.minimum, np.maximum):
        of_rows = functools.reduce(extreme, (padded[step::stride] for step in range(stride)))
        found.append(functools.reduce(extreme, (of_rows[:, step::stride] for step in range(stride))))
    return found[0], found[1]


def _means_of_pixels(map_HWd: Tensor, region_HW: NDArray[np.int64], pixels_n: NDArray[np.int64]) -> Tensor:
    place = (region_HW + 1).clip(min=0).ravel()  # 0: in no region
    sums = [
        np.bincount(place, weights=map_HW.numpy().ravel(), minlength=len(pixels_n) + 1)[1:]
        for map_HW in map_HWd.unbind(dim=2)
    ]
    return torch.from_numpy(np.stack(sums, axis=1) / pixels_n[:, None]).to(map_HWd.dtype)


def shared_pixels(region_HW: NDArray[np.int64], stride: int, num_columns: int) -> Weights:
    """Return how many pixels each region and each cell share, where they share any.

    Args:
        region_HW: int64 (H, W), region of every pixel, counted from 0; below 0 in none.
        stride: Pixels of a cell.
        num_columns: Cells of a row of the map, which may reach beyond the image.

    Examples:
        Two cells of 2 x 2 pixels; the left one lies in region 0 alone, the right one half in region 1.

        >>> shared_pixels(np.array([[0, 0, 0, 1], [0, 0, 0, 1]]), stride=2, num_columns=2)
        Weights(region=array([0, 0, 1]), cell=array([0, 1, 1]), pixels=array([4, 2, 2]))
    """
    height, width = region_HW.shape
    rows, cols = -(-height // stride), -(-width // stride)
    padded = np.full((rows * stride, cols * stride), -1, dtype=np.int64)
    padded[:height, :width] = np.maximum(region_HW, -1)
    blocks = padded.reshape(rows, stride, cols, stride)
    cell_rc = np.arange(rows)[:, None] * num_columns + np.arange(cols)
    low, high = _extremes(padded, stride)
    is_whole = low == high
    # The pixels of a cell in the order of their regions: where the region changes, another pair begins.
    mixed = np.sort(blocks.swapaxes(1, 2)[~is_whole].reshape(-1, stride * stride), axis=1)
    is_first = np.ones(mixed.shape, dtype=np.bool_)
    is_first[:, 1:] = mixed[:, 1:] != mixed[:, :-1]
    first = np.flatnonzero(is_first)
    count = np.diff(np.append(first, mixed.size))
    region_of_pair, cell_of_pair = mixed.ravel()[first], cell_rc[~is_whole][first // (stride * stride)]
    is_pair, is_region = region_of_pair >= 0, is_whole & (low >= 0)
    region = np.concatenate([low[is_region], region_of_pair[is_pair]])
    cell = np.concatenate([cell_rc[is_region], cell_of_pair[is_pair]])
    pixels = np.concatenate([np.full(is_region.sum(), stride * stride), count[is_pair]])
    order = np.argsort(region * (rows * num_columns) + cell)
    return Weights(region[order], cell[order], pixels[order])
