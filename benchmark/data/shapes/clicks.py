"""Annotation cost of regions of any shape in clicks: the terms of `quadrat.benchmark.data.clicks` inside an outline.

The outline of a region is given, as a superpixel's is in [Cai2021b], so it costs nothing. Inside it an annotator clicks

- *components*: once to name each 8-connected component of one label inside the region,
- *crossings*: once where a border between labels meets the outline, that is each change of label between pixels that
  follow each other along the outline (straight on, or diagonally around a concave corner),
- *vertices*: once for each polygon vertex on a pixel of the region that has no side on the outline.

On a square these are the counts of the rectangle tool.

References:
    [Cai2021b] Cai, Xu, Liew, Foo, "Revisiting superpixels for active learning in semantic segmentation with realistic
        annotation costs", CVPR 2021: superpixels are given, polygons inside a region are drawn by clicks.
"""

# Axes: H W pixels of an image, n regions of it, V vertices.

from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["boxes_of", "count_clicks_of_shapes"]

_SIDES: Final = ((0, 1), (1, 0))
"""Steps (down, right) to the neighbours that a pixel shares a side with; the other two are the same pairs."""


def count_clicks_of_shapes(
    mask: npt.NDArray[np.uint8], region_HW: npt.NDArray[np.integer], vertices: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Return components + crossings + vertices of every region of one image, int64 (n,).

    Args:
        mask: uint8 (H, W), class ids and void.
        region_HW: (H, W), region of each pixel, counted from 0; -1 in none.
        vertices: int64 (V, 2), x and y of polygon vertices.

    Examples:
        A square of 4 pixels inside the left region: two components, four vertices, no crossing.

        >>> mask, region = np.zeros((8, 16), dtype=np.uint8), np.repeat([[0] * 8 + [1] * 8], 8, axis=0)
        >>> mask[2:6, 2:6] = 1
        >>> count_clicks_of_shapes(mask, region, np.array([[2, 2], [5, 2], [5, 5], [2, 5]]))
        array([6, 1])
    """
    # A frame of no region: the border of the image is an outline too.
    framed = np.pad(region_HW.astype(np.int64), 1, constant_values=-1)
    num_regions = int(framed.max()) + 1
    return _components(mask, framed, num_regions) + _along_outline(mask, framed, vertices, num_regions)


def _components(mask: npt.NDArray[np.uint8], framed: npt.NDArray[np.int64], num_regions: int) -> npt.NDArray[np.int64]:
    """Return the number of 8-connected components of equal label in each region, int64 (n,).

    Each region is counted in its own box: two regions may hold touching components of one label.
    """
    import cv2  # here: reading a suite needs none

    count = np.zeros(num_regions, dtype=np.int64)
    region_HW = framed[1:-1, 1:-1]
    for region, (rows, cols) in enumerate(boxes_of(region_HW, num_regions)):
        is_in = region_HW[rows, cols] == region
        labels = mask[rows, cols]
        for value in np.flatnonzero(np.bincount(labels[is_in], minlength=256)).tolist():
            has_value = (is_in & (labels == value)).view(np.uint8)
            count[region] += cv2.connectedComponents(has_value, connectivity=8)[0] - 1  # without the background
    return count


def boxes_of(region_HW: npt.NDArray[np.int64], num_regions: int) -> list[tuple[slice, slice]]:
    """Return rows and columns of the smallest box around each region, in the order of their numbers.

    Args:
        region_HW: (H, W), region of each pixel, counted from 0; -1 in none. Every region has a pixel.
        num_regions: n.
    """
    bounds = []
    for axis in (0, 1):
        length = region_HW.shape[axis]
        place = np.broadcast_to(np.arange(length)[:, None] if axis == 0 else np.arange(length), region_HW.shape)
        low, high = np.full(num_regions + 1, length), np.zeros(num_regions + 1, dtype=np.int64)
        np.minimum.at(low, region_HW, place)
        np.maximum.at(high, region_HW, place + 1)
        bounds.append([slice(first, last) for first, last in zip(low.tolist(), high.tolist(), strict=True)])
    return list(zip(bounds[0][:-1], bounds[1][:-1], strict=True))


def _along_outline(
    mask: npt.NDArray[np.uint8],
    framed: npt.NDArray[np.int64],
    vertices: npt.NDArray[np.int64],
    num_regions: int,
) -> npt.NDArray[np.int64]:
    """Return crossings + vertices of each region, int64 (n,): what depends on which pixels lie on an outline."""
    labels = np.pad(mask, 1)
    found = np.zeros(num_regions, dtype=np.int64)

    def add(pixels: npt.NDArray[np.bool_], place: npt.NDArray[np.int64]) -> None:
        found[:] += np.bincount(place[pixels], minlength=num_regions)

    inner = (slice(1, -1), slice(1, -1))
    for down, right in _SIDES:
        here, there = framed[: framed.shape[0] - down, : framed.shape[1] - right], framed[down:, right:]
        changes = (here == there) & (here >= 0)
        changes &= labels[: labels.shape[0] - down, : labels.shape[1] - right] != labels[down:, right:]
        # Across the step: two pixels follow each other along the outline where both have it on the same side.
        is_on_outline = np.zeros_like(changes)
        across = (right, down)
        for sign in (1, -1):
            beside = np.roll(framed, (sign * across[0], sign * across[1]), axis=(0, 1))
            beside_here = beside[: framed.shape[0] - down, : framed.shape[1] - right]
            is_on_outline |= (beside_here != here) & (beside[down:, right:] != there)
        add(changes & is_on_outline, here)
    block = [framed[:-1, :-1], framed[:-1, 1:], framed[1:, 1:], framed[1:, :-1]]  # clockwise
    label = [labels[:-1, :-1], labels[:-1, 1:], labels[1:, 1:], labels[1:, :-1]]
    for corner in range(4):  # the pixel that is not of the region, at a concave corner of its outline
        before, after, opposite = (corner - 1) % 4, (corner + 1) % 4, (corner + 2) % 4
        region = block[opposite]
        is_concave = (region >= 0) & (block[before] == region) & (block[after] == region) & (block[corner] != region)
        add(is_concave & (label[before] != label[after]), region)
    region_HW = framed[inner]
    is_inside = np.ones(region_HW.shape, dtype=bool)
    for shift, axis in ((1, 0), (-1, 0), (1, 1), (-1, 1)):
        is_inside &= np.roll(framed, shift, axis=axis)[inner] == region_HW
    x, y = vertices.reshape(-1, 2).T
    is_in_image = (x >= 0) & (x < mask.shape[1]) & (y >= 0) & (y < mask.shape[0])
    x, y = x[is_in_image], y[is_in_image]
    at = region_HW[y, x]
    return found + np.bincount(at[is_inside[y, x] & (at >= 0)], minlength=num_regions)
