"""Clicks of a region: shapes counted by hand, published polygons, and the cache of the counts."""

import itertools
import json
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage
from support.layouts import write_cityscapes

from quadrat.benchmark.data import RegionGrid, clicks, load_dataset, pack
from quadrat.benchmark.data.clicks import click_source, contour_vertices, count_clicks, region_clicks
from quadrat.benchmark.data.dataset import VOID
from quadrat.benchmark.errors import DataError

Mask = npt.NDArray[np.uint8]


def canvas(height: int = 32, width: int = 32) -> Mask:
    return np.zeros((height, width), dtype=np.uint8)


def counted(mask: Mask, region_size: int = 32) -> list[int]:
    return count_clicks(mask, region_size, contour_vertices(mask)).tolist()


def test_a_region_of_one_class_is_one_click() -> None:
    assert counted(canvas(), 16) == [1, 1, 1, 1]


def test_a_square_is_two_components_and_four_vertices() -> None:
    mask = canvas()
    mask[8:20, 6:22] = 1
    assert counted(mask) == [2 + 0 + 4]


def test_a_triangle_is_two_components_and_three_vertices() -> None:
    mask = canvas()
    cv2.fillPoly(mask, [np.array([[4, 26], [27, 26], [15, 4]])], 3)
    assert counted(mask) == [2 + 0 + 3]


def test_two_components_of_one_class_count_separately() -> None:
    mask = canvas()
    mask[4:10, 4:10] = 1
    mask[18:28, 14:24] = 1
    assert counted(mask) == [3 + 0 + 8]


def test_areas_that_touch_at_a_corner_are_one_component() -> None:
    mask = canvas()
    mask[4:10, 4:10] = 1
    mask[10:16, 10:16] = 1
    assert count_clicks(mask, 32, np.empty((0, 2), dtype=np.int64)).tolist() == [2]


def test_a_border_from_edge_to_edge_is_two_components_and_two_crossings() -> None:
    mask = canvas()
    mask[:, 13:] = 1
    assert counted(mask) == [2 + 2 + 0]


def test_a_shape_over_two_cells_crosses_the_edge_of_both() -> None:
    mask = canvas(32, 64)
    mask[10:20, 24:40] = 1
    assert counted(mask) == [2 + 2 + 2, 2 + 2 + 2]


def test_a_shape_over_four_cells_has_a_vertex_and_two_crossings_in_each() -> None:
    mask = canvas(64, 64)
    mask[20:44, 20:44] = 1
    assert counted(mask) == [2 + 2 + 1] * 4


def test_a_border_between_two_classes_counts_once_whichever_is_in_front() -> None:
    mask = canvas()
    mask[6:26, 6:16] = 1
    mask[6:26, 16:26] = 2  # as large as class 1 and beside it: the one painted later is drawn over it
    # Three areas. The one painted first is charged its four corners against the background, the other one its own four.
    assert counted(mask) == [3 + 0 + 8]


def test_a_hole_is_charged_to_the_component_that_fills_it() -> None:
    mask = canvas()
    mask[4:28, 4:28] = 1  # a frame of 24 with a hole of 10: the frame is larger than the background
    mask[10:20, 10:20] = 2
    assert np.count_nonzero(mask == 1) > np.count_nonzero(mask == 0)
    # The frame lies at the back, so its outline is the background's border, with four corners.
    assert counted(mask) == [3 + 0 + 4 + 4]


def test_void_counts_like_any_other_component() -> None:
    mask = canvas()
    mask[8:20, 6:22] = VOID
    assert counted(mask) == [2 + 0 + 4]
    assert counted(np.full((32, 32), VOID, dtype=np.uint8)) == [1]


def test_the_edge_of_the_image_is_no_outline() -> None:
    mask = canvas()
    mask[20:, :] = 1
    assert counted(mask) == [2 + 2 + 0]


def test_steps_of_a_slanted_border_are_no_vertices() -> None:
    mask = canvas(64, 64)
    rows, cols = np.indices(mask.shape)
    mask[rows > 3 + cols // 3] = 1
    assert counted(mask, 64) == [2 + 2 + 0]


def test_polygon_vertices_count_where_they_lie_inside() -> None:
    vertices = np.array([[5, 5], [5, 5], [16, 8], [15, 8], [40, 3], [-1, 3], [8, 0]])
    # Twice inside cell 0 (both were clicked); on the edges of cells 1 and 0; outside the image, and on its edge.
    assert count_clicks(canvas(16, 32), 16, vertices).tolist() == [1 + 2, 1]


def test_clipped_cells_are_counted_with_what_they_cover() -> None:
    mask = canvas(20, 37)
    mask[:, 36] = 1  # a cell column of five pixels; the last of them is another class
    mask[17:, :] = 2
    assert count_clicks(mask, 16, np.empty((0, 2), dtype=np.int64)).tolist() == [1, 1, 2 + 2, 2 + 2, 2 + 2, 3 + 3]


@settings(deadline=None, max_examples=60)
@given(
    mask=hnp.arrays(
        np.uint8, st.tuples(st.integers(5, 17), st.integers(5, 17)), elements=st.sampled_from([0, 1, 2, 255])
    ),
    size=st.integers(1, 5),
)
def test_components_and_crossings_equal_a_reference_count(mask: Mask, size: int) -> None:
    ours = count_clicks(mask, size, np.empty((0, 2), dtype=np.int64))
    grid = RegionGrid([mask.shape], size)
    for region in range(grid.num_regions):
        top, left, bottom, right = grid.box(region)
        cell = mask[top:bottom, left:right]
        areas = sum(ndimage.label(cell == value, np.ones((3, 3)))[1] for value in np.unique(cell))
        ring = (
            [*cell[0], *cell[1:, -1], *cell[-1, -2::-1], *cell[-2:0:-1, 0]] if min(cell.shape) > 1 else [*cell.ravel()]
        )
        closed = [*ring, ring[0]] if min(cell.shape) > 1 else ring
        crossings = sum(a != b for a, b in itertools.pairwise(closed))
        assert ours[region] == areas + crossings


@pytest.fixture
def cityscapes(tmp_path: Path) -> Path:
    return write_cityscapes(tmp_path / "cityscapes", height=16, width=32, per_city=1)


def test_cityscapes_clicks_come_from_its_polygons_and_are_counted_once(
    cityscapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = load_dataset("cityscapes", cityscapes)
    items = dataset.items("train")
    split = pack(dataset, "train", tmp_path / "cache")
    grid = RegionGrid(split.sizes, 16)
    assert click_source(items) == "polygons"
    events: list[tuple[int, int]] = []
    found = region_clicks(split, grid, items, lambda done, total: events.append((done, total)))
    assert events == [(1, 2), (2, 2)]
    # Four vertices of the car are inside cell 0. Its point outside the image, the deleted object and the road's corners
    # on the edge of the image are not counted.
    without = np.concatenate(
        [count_clicks(split.masks.mask(index), 16, np.empty((0, 2), dtype=np.int64)) for index in range(2)]
    )
    assert (found - without).tolist() == [4, 0, 4, 0]
    monkeypatch.setattr(clicks, "count_clicks", None)
    np.testing.assert_array_equal(region_clicks(split, grid, items), found)


def test_clicks_of_polygons_that_were_replaced_are_counted_again(cityscapes: Path, tmp_path: Path) -> None:
    def found() -> list[int]:
        dataset = load_dataset("cityscapes", cityscapes)
        split = pack(dataset, "train", tmp_path / "cache")
        return region_clicks(split, RegionGrid(split.sizes, 16), dataset.items("train")).tolist()

    before = found()
    for path in (cityscapes / "gtFine" / "train").rglob("*_polygons.json"):
        drawn = json.loads(path.read_text())
        drawn["objects"].append({"label": "car", "polygon": [[2, 2], [5, 2], [5, 5]]})
        path.write_text(json.dumps(drawn))
    assert found() == [before[0] + 3, before[1], before[2] + 3, before[3]]


def test_clicks_are_estimated_from_contours_where_there_are_no_polygons(cityscapes: Path, tmp_path: Path) -> None:
    for path in cityscapes.rglob("*_polygons.json"):
        path.unlink()
    dataset = load_dataset("cityscapes", cityscapes)
    items = dataset.items("train")
    split = pack(dataset, "train", tmp_path / "cache")
    assert click_source(items) == "contours"
    found = region_clicks(split, RegionGrid(split.sizes, 16), items)
    assert found[:2].tolist() == counted(split.masks.mask(0).copy(), 16)


def test_polygons_of_only_some_images_are_refused(cityscapes: Path) -> None:
    next(iter(sorted((cityscapes / "gtFine" / "train").rglob("*_polygons.json")))).unlink()
    with pytest.raises(DataError, match=r"expected polygons of all 2 images or of none.* got none for 1 of them"):
        click_source(load_dataset("cityscapes", cityscapes).items("train"))


@pytest.mark.parametrize("text", ["{", "{}", '{"objects": [{"polygon": [["a", 1]]}]}'])
def test_a_damaged_polygon_file_is_named(cityscapes: Path, tmp_path: Path, text: str) -> None:
    broken = min((cityscapes / "gtFine" / "train").rglob("*_polygons.json"))
    broken.write_text(text)
    dataset = load_dataset("cityscapes", cityscapes)
    with pytest.raises(DataError, match=f"{broken.name}: expected Cityscapes' polygons"):
        pack(dataset, "train", tmp_path / "cache")


@pytest.mark.parametrize("damage", ["another grid", "flipped", "short", "empty"])
def test_a_damaged_count_is_made_again_and_said(
    cityscapes: Path, tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    dataset = load_dataset("cityscapes", cityscapes)
    items, split = dataset.items("train"), pack(dataset, "train", tmp_path / "cache")
    grid = RegionGrid(split.sizes, 16)
    expected = region_clicks(split, grid, items)
    path = split.path / f"clicks-polygons-v{clicks.VERSION}-r16.npz"
    data = bytearray(path.read_bytes())
    if damage == "another grid":
        np.savez(path, clicks=np.ones(3, dtype=np.int64))
    else:
        data[data.index(expected.tobytes()) + 1] ^= 1
        path.write_bytes({"flipped": data, "short": data[:-30], "empty": b""}[damage])
    assert np.array_equal(region_clicks(split, grid, items), expected)
    assert "is damaged: the clicks are counted again" in caplog.text
    assert np.array_equal(np.load(path)["clicks"], expected)
