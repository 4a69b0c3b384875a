"""Annotation cost of regions in clicks, with the "rectangle + polygon" tool.

An annotator is shown one rectangle (a region) and partitions it. Regions of other shapes are counted by the same terms
in `quadrat.benchmark.data.shapes.clicks`: their outline is given as the rectangle is. Clicks of a region =

- *components*: one click to name each 8-connected component inside the rectangle,
- *crossings*: one click where an outline meets the edge of the rectangle, that is each change of label along its border
  pixels. The edge itself is given by the tool, so a region of one class costs a single click,
- *vertices*: one click for each polygon vertex inside, border pixels excluded (there an outline meets the edge, which
  is a crossing).

Vertices come from the polygons of the annotators where a data set publishes them (Cityscapes), including void and
hidden parts, since those were clicked too. Otherwise they are estimated from the label map: each component is traced
(OpenCV; Suzuki and Abe 1985) and simplified to within `TOLERANCE_PX` (Douglas and Peucker 1973). A border between two
components counts once: as in Cityscapes' protocol, components are drawn back to front, here by decreasing class area in
the image, and a border is charged to the component in front.

Our choices, where the papers leave them open: void is a component like any other (it must be separated and named), the
tolerance, the drawing order. The border of the image counts as an edge of the rectangles that it clips or ends: an
outline that meets it costs a crossing, vertices on its pixels or beyond cost nothing. The cost of full labels is the
sum over all rectangles; it exceeds that of polygons over whole images, since crossings are paid on both sides of an
edge.

References:
    [CEREALS] Mackowiak et al., "CEREALS - cost-effective region-based active learning for semantic segmentation", BMVC
        2018: cost in clicks, including those where outlines meet the rectangle.
    [Cai2021b] Cai, Xu, Liew, Foo, "Revisiting superpixels for active learning in semantic segmentation with realistic
        annotation costs", CVPR 2021, and its code (compute_anno_cost.py): the three terms, void as a label.
    [Cordts] Cordts et al., "The Cityscapes dataset for semantic urban scene understanding", CVPR 2016: drawing back to
        front, so that no border is drawn twice.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Final, Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from quadrat.benchmark.data.dataset import Item
from quadrat.benchmark.data.packed import PackedSplit
from quadrat.benchmark.data.parallel import in_order
from quadrat.benchmark.data.region_arrays import cache_key, cached
from quadrat.benchmark.data.regions import Layout, RegionGrid
from quadrat.benchmark.data.shapes.clicks import count_clicks_of_shapes
from quadrat.benchmark.errors import DataError

__all__ = [
    "TOLERANCE_PX",
    "ClickSource",
    "Outlined",
    "click_source",
    "contour_vertices",
    "count_clicks",
    "region_clicks",
]

# Axes: N cells, H W pixels of a cell, V vertices.

TOLERANCE_PX: Final = 2.0
"""Largest distance of an estimated outline from the true one, px. Our choice, about the error of manual outlines."""

VERSION: Final = 1
"""Version of the count; cached counts of another version are computed again."""

ClickSource = Literal["polygons", "contours"]
"""Source of the vertices: published polygons, or contours of the label map."""


@runtime_checkable
class Outlined(Protocol):
    """An item of a data set that may come with the polygons of its annotators."""

    @property
    def has_outlines(self) -> bool:
        """Whether this image has polygons."""

    def outline_vertices(self) -> npt.NDArray[np.int64]:
        """Return the vertices of all polygons, int64 (V, 2), x and y in pixels; they may lie outside the image.

        Raises:
            DataError: When the polygons cannot be read.
        """


class _Cells(NamedTuple):
    """Cells of one image that have the same size."""

    position: npt.NDArray[np.int64]
    """int64 (N,), index of a cell in its image, row-major."""
    labels: npt.NDArray[np.uint8]
    """uint8 (N, H, W)."""


def click_source(items: Sequence[Item]) -> ClickSource:
    """Return the source of the vertices of a split.

    Raises:
        DataError: When some images have polygons and some have none: their counts are not comparable.
    """
    without = [item for item in items if not (isinstance(item, Outlined) and item.has_outlines)]
    if not without:
        return "polygons"
    if len(without) == len(items):
        return "contours"
    raise DataError(
        f"expected polygons of all {len(items)} images or of none, since clicks counted from polygons and clicks "
        f"estimated from label maps can't be compared; got none for {len(without)} of them, first {without[0]}. "
        "Add the missing files, or take all of them away",
        kind="polygons of some images only",
    )


def region_clicks(
    split: PackedSplit,
    layout: Layout,
    items: Sequence[Item] | Callable[[], Sequence[Item]],
    on_progress: Callable[[int, int], None] | None = None,
    *,
    source: ClickSource | None = None,
) -> npt.NDArray[np.int64]:
    """Return the clicks of each region of a split, cached beside the packed split.

    One process counts while the others wait on a file lock.

    Args:
        split: The packed split.
        layout: Its regions.
        items: Its items in the data set, which may have polygons; or what returns them, called only where they are
            needed.
        on_progress: Called with (images done, images in total) while counting.
        source: Source of the vertices, where it is known; by default that of the items.

    Returns:
        int64 (R,), at least 1 each.

    Raises:
        DataError: When only some images have polygons, or polygons can't be read.
        ResultsError: When the disk is full.
    """
    get_items = items if callable(items) else lambda: items
    from_ = source or click_source(get_items())
    path = split.derived / f"clicks-{from_}-v{VERSION}-{cache_key(layout)}.npz"

    def count() -> npt.NDArray[np.int64]:
        return _count(split, layout, get_items() if from_ == "polygons" else (), on_progress)

    return cached(path, "clicks", layout, np.int64, count)


def _count(
    split: PackedSplit,
    layout: Layout,
    items: Sequence[Item],
    on_progress: Callable[[int, int], None] | None,
) -> npt.NDArray[np.int64]:
    """Count the clicks of all regions, with the polygons of `items`; without any by contours."""

    def count(index: int) -> npt.NDArray[np.int64]:
        mask, item = split.masks.mask(index), items[index] if items else None
        vertices = item.outline_vertices() if isinstance(item, Outlined) else contour_vertices(mask)
        if isinstance(layout, RegionGrid):
            return count_clicks(mask, layout.region_size, vertices)
        return count_clicks_of_shapes(mask, layout.window(index, 0, 0, *mask.shape) - layout.first[index], vertices)

    counted = []
    for clicks in in_order(count, range(len(split))):
        counted.append(clicks)
        if on_progress is not None:
            on_progress(len(counted), len(split))
    return np.concatenate(counted)


def count_clicks(
    mask: npt.NDArray[np.uint8], region_size: int, vertices: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Return components + crossings + vertices of every cell of one image, int64 (cells,), row-major.

    Args:
        mask: uint8 (height, width), class ids and void.
        region_size: Edge of a cell, pixels.
        vertices: int64 (V, 2), x and y of polygon vertices.

    Examples:
        A square of 4 pixels inside a cell: two components, four vertices, no crossing. The other cell has one
        component.

        >>> mask = np.zeros((8, 16), dtype=np.uint8)
        >>> mask[2:6, 2:6] = 1
        >>> count_clicks(mask, 8, contour_vertices(mask))
        array([6, 1])
    """
    clicks = _vertices_inside(mask.shape, region_size, vertices)
    for cells in _cells(mask, region_size):
        clicks[cells.position] += _components(cells.labels) + _crossings(cells.labels)
    return clicks


def _cells(mask: npt.NDArray[np.uint8], size: int) -> Iterator[_Cells]:
    """Yield the cells of `mask` in groups of equal size: full cells, and those clipped at the right or bottom."""
    height, width = mask.shape
    num_cols = -(-width // size)
    for top, bottom in {(0, height - height % size), (height - height % size, height)}:
        for left, right in {(0, width - width % size), (width - width % size, width)}:
            if top == bottom or left == right:
                continue
            high, wide = min(size, bottom - top), min(size, right - left)
            rows, cols = (bottom - top) // high, (right - left) // wide
            row, col = np.divmod(np.arange(rows * cols), cols)
            yield _Cells(
                position=(top // size + row) * num_cols + left // size + col,
                labels=np.ascontiguousarray(
                    mask[top:bottom, left:right].reshape(rows, high, cols, wide).swapaxes(1, 2)
                ).reshape(-1, high, wide),
            )


def _components(labels_NHW: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """Return the number of 8-connected components of equal label in each cell, int64 (N,).

    The cells that contain a label are stacked with an empty row between them, so that one call of OpenCV counts all.
    """
    import cv2  # here: reading a suite needs none

    num, high, wide = labels_NHW.shape
    count_N = np.ones(num, dtype=np.int64)
    mixed = np.flatnonzero((labels_NHW != labels_NHW[:, :1, :1]).any(axis=(1, 2)))
    count_N[mixed] = 0
    for value in np.flatnonzero(np.bincount(labels_NHW[mixed].ravel(), minlength=256)):
        has_NHW = labels_NHW[mixed] == value
        cells = np.flatnonzero(has_NHW.any(axis=(1, 2)))
        stacked = np.zeros((cells.size, high + 1, wide), dtype=np.uint8)
        stacked[:, :high] = has_NHW[cells]
        _, _, stats, _ = cv2.connectedComponentsWithStats(stacked.reshape(-1, wide), connectivity=8)
        cell = stats[1:, cv2.CC_STAT_TOP] // (high + 1)  # row 0 of stats is the background
        count_N[mixed[cells]] += np.bincount(cell, minlength=cells.size)
    return count_N


def _crossings(labels_NHW: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """Return the number of changes of label along the border pixels of each cell, int64 (N,)."""
    sides = [labels_NHW[:, 0], labels_NHW[:, :, 0]]
    if labels_NHW.shape[1] > 1:
        sides.append(labels_NHW[:, -1])
    if labels_NHW.shape[2] > 1:
        sides.append(labels_NHW[:, :, -1])
    changes = [(side[:, 1:] != side[:, :-1]).sum(axis=1, dtype=np.int64) for side in sides]
    total_N: npt.NDArray[np.int64] = np.sum(changes, axis=0)
    return total_N


def _vertices_inside(shape: tuple[int, ...], size: int, vertices: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the number of vertices in each cell, border pixels excluded, int64 (cells,)."""
    height, width = shape
    num_rows, num_cols = -(-height // size), -(-width // size)
    x, y = vertices.reshape(-1, 2).T
    is_in_image = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    x, y = x[is_in_image], y[is_in_image]
    (row, down), (col, along) = np.divmod(y, size), np.divmod(x, size)
    last_down = np.minimum(size, height - row * size) - 1
    last_along = np.minimum(size, width - col * size) - 1
    is_inside = (down > 0) & (down < last_down) & (along > 0) & (along < last_along)
    cell = row[is_inside] * num_cols + col[is_inside]
    return np.bincount(cell, minlength=num_rows * num_cols).astype(np.int64)


def contour_vertices(mask: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """Return the vertices of a label map's outlines, int64 (V, 2), x and y; each border counts once.

    Args:
        mask: uint8 (height, width).
    """
    import cv2  # here: reading a suite needs none

    area = np.bincount(mask.ravel(), minlength=256)
    painted = np.argsort(-area, kind="stable")  # back to front
    rank_of = np.empty(256, dtype=np.uint8)
    rank_of[painted] = np.arange(256)
    rank_HW = cv2.LUT(mask, rank_of)
    # A vertex counts where a neighbour is further back, so it belongs to the component in front.
    is_front_HW = cv2.erode(rank_HW, np.ones((3, 3), dtype=np.uint8)) < rank_HW
    found: list[npt.NDArray[np.int64]] = [np.empty((0, 2), dtype=np.int64)]
    for rank in range(1, int(np.count_nonzero(area))):
        contours, _ = cv2.findContours((rank_HW == rank).view(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
        found += [cv2.approxPolyDP(contour, TOLERANCE_PX, True).reshape(-1, 2).astype(np.int64) for contour in contours]
    vertices_V2 = np.concatenate(found)
    front_V2: npt.NDArray[np.int64] = vertices_V2[is_front_HW[vertices_V2[:, 1], vertices_V2[:, 0]]]
    return front_V2
