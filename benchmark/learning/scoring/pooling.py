"""Exact means over regions of maps given per pixel or per cell.

Axes: B images, r c rows and columns of an image's region grid, y x rows and columns of a map, d its channels.

A map is constant on each of its cells (squares of `stride` pixels), so the mean over a region is a sum over cells
weighted by the area that cell and region share. For axis-parallel rectangles that area is a product, so all regions of
an image take two small matrix products: rows_ry @ map_yxd @ columns_xc. Regions of other shapes are pooled by
`shape_pooling`.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from quadrat.benchmark.data import Layout, RegionGrid
from quadrat.benchmark.learning.scoring.shape_pooling import ShapePooling

__all__ = ["Pooling", "RegionPooling", "overlap", "pooling", "region_means"]


class Pooling(Protocol):
    """Means over the regions of some images of equal size."""

    def __call__(self, map_Byxd: Tensor, indices: Sequence[int], stride: int) -> Tensor:
        """Return the mean of a map over every region of these images, (regions, d), image by image.

        Args:
            map_Byxd: (B, y, x, d); may reach beyond the image at the bottom and the right.
            indices: The images, B consecutive ones of the pool.
            stride: Pixels of a cell of the map.
        """


def pooling(layout: Layout, device: torch.device) -> Pooling:
    """Return what pools over the regions of `layout` on `device`."""
    return RegionPooling(layout, device) if isinstance(layout, RegionGrid) else ShapePooling(layout, device)


class RegionPooling:
    """Means over the regions of a grid; keeps the overlap weights of each image size and stride."""

    def __init__(self, grid: RegionGrid, device: torch.device) -> None:
        self._region_size = grid.region_size
        self._sizes = grid.sizes
        self._device = device
        self._weights: dict[tuple[int, int, int], Tensor] = {}

    def __call__(self, map_Byxd: Tensor, indices: Sequence[int], stride: int) -> Tensor:
        """Return the mean of a map over every region of these images, (regions, d); see `Pooling`."""
        height, width = (int(side) for side in self._sizes[indices[0]])
        rows_ry = self._overlap(height, stride, map_Byxd.shape[1])
        columns_cx = self._overlap(width, stride, map_Byxd.shape[2])
        return region_means(map_Byxd, rows_ry, columns_cx).flatten(0, 2)

    def _overlap(self, length: int, stride: int, num_cells: int) -> Tensor:
        key = (length, stride, num_cells)
        if key not in self._weights:
            share = overlap(length, self._region_size, stride, num_cells)
            self._weights[key] = torch.from_numpy(share).float().to(self._device)
        return self._weights[key]


def overlap(length: int, region_size: int, stride: int, num_cells: int) -> NDArray[np.float64]:
    """Return the share of each region's extent that each cell covers, along one axis.

    Args:
        length: Pixels of the image along the axis; the last region is clipped to it.
        region_size: Pixels of a region.
        stride: Pixels of a cell.
        num_cells: Cells of the map; those beyond the image (padding) get 0.

    Returns:
        (regions, num_cells); every row sums to 1.

    Examples:
        >>> overlap(length=10, region_size=6, stride=4, num_cells=3).round(3).tolist()
        [[0.667, 0.333, 0.0], [0.0, 0.5, 0.5]]
    """
    region_start = np.arange(0, length, region_size)[:, None]
    region_stop = np.minimum(region_start + region_size, length)
    cell_start = np.arange(num_cells)[None, :] * stride
    shared_px = np.minimum(region_stop, cell_start + stride) - np.maximum(region_start, cell_start)
    share: NDArray[np.float64] = np.clip(shared_px, 0, None) / (region_stop - region_start)
    return share


def region_means(map_Byxd: Tensor, rows_ry: Tensor, columns_cx: Tensor) -> Tensor:
    """Return the mean of a map over every region of an image, (B, r, c, d).

    Complexity: O(B r y x d + B r c x d).

    Args:
        map_Byxd: (B, y, x, d); d = 1 for a signal.
        rows_ry: `overlap` along the height, (r, y).
        columns_cx: `overlap` along the width, (c, x).
    """
    strips_Brxd = torch.tensordot(map_Byxd, rows_ry, dims=([1], [1])).permute(0, 3, 1, 2)
    means_Brcd: Tensor = torch.tensordot(strips_Brxd, columns_cx, dims=([2], [1])).permute(0, 1, 3, 2)
    return means_Brcd
