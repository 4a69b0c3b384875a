"""The region grid: it covers every pixel once, clips at the border, and refuses regions larger than an image."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quadrat.benchmark.data import RegionGrid
from quadrat.benchmark.errors import DataError


@st.composite
def grids(draw: st.DrawFn) -> RegionGrid:
    region_size = draw(st.integers(1, 9))
    sizes = draw(st.lists(st.tuples(*[st.integers(region_size, 31)] * 2), min_size=1, max_size=5))
    return RegionGrid(np.array(sizes), region_size)


@settings(deadline=None)
@given(grids())
def test_regions_of_an_image_are_disjoint_and_cover_it(grid: RegionGrid) -> None:
    for image, (height, width) in enumerate(grid.sizes.tolist()):
        covered = np.zeros((height, width), dtype=int)
        for region in range(grid.first[image], grid.first[image + 1]):
            top, left, bottom, right = grid.box(region)
            assert 0 <= top < bottom <= height and 0 <= left < right <= width
            covered[top:bottom, left:right] += 1
        assert (covered == 1).all()


@settings(deadline=None)
@given(grids())
def test_pixels_of_regions_add_up_to_the_image_and_equal_their_boxes(grid: RegionGrid) -> None:
    areas = np.add.reduceat(grid.pixels, grid.first[:-1])
    np.testing.assert_array_equal(areas, grid.sizes.astype(np.int64).prod(axis=1))
    for region, area in enumerate(grid.pixels.tolist()):
        top, left, bottom, right = grid.box(region)
        assert area == (bottom - top) * (right - left)


@settings(deadline=None)
@given(grids())
def test_regions_are_numbered_image_by_image_and_row_major(grid: RegionGrid) -> None:
    order = np.lexsort((grid.col, grid.row, grid.image))
    np.testing.assert_array_equal(order, np.arange(grid.num_regions))
    assert grid.first[0] == 0 and grid.first[-1] == grid.num_regions == len(grid.pixels)
    for image in range(len(grid.sizes)):
        rows, cols = grid.shape(image)
        own = slice(grid.first[image], grid.first[image + 1])
        assert rows * cols == grid.first[image + 1] - grid.first[image]
        np.testing.assert_array_equal(grid.row[own] * cols + grid.col[own], np.arange(rows * cols))


@settings(deadline=None)
@given(grids(), st.data())
def test_window_mask_is_the_window_of_the_selected_boxes(grid: RegionGrid, data: st.DataObject) -> None:
    image = data.draw(st.integers(0, len(grid.sizes) - 1))
    selected = np.random.default_rng(data.draw(st.integers(0, 2**16))).random(grid.num_regions) < 0.5
    top, left = data.draw(st.integers(-12, 35)), data.draw(st.integers(-12, 35))
    height, width = data.draw(st.integers(1, 45)), data.draw(st.integers(1, 45))
    large = np.zeros((120, 120), dtype=bool)  # the image lies at (20, 20), so that every window fits
    for region in range(grid.first[image], grid.first[image + 1]):
        box = grid.box(region)
        large[20 + box.top : 20 + box.bottom, 20 + box.left : 20 + box.right] = selected[region]
    expected = large[20 + top : 20 + top + height, 20 + left : 20 + left + width]
    np.testing.assert_array_equal(grid.window_mask(image, selected, top, left, height, width), expected)


def test_border_cells_are_clipped() -> None:
    grid = RegionGrid([(5, 7)], 4)
    assert grid.shape(0) == (2, 2)
    assert grid.pixels.tolist() == [16, 12, 4, 3]
    assert grid.box(3) == (4, 4, 5, 7)


def test_paper_pool_has_380800_regions() -> None:
    """2975 images of 2048 x 1024 in regions of 128 (Cai et al. 2021, section IV-B)."""
    assert RegionGrid(np.tile([1024, 2048], (2975, 1)), 128).num_regions == 380_800


def test_arrays_have_the_dtypes_of_a_pool_and_are_read_only() -> None:
    grid = RegionGrid([(8, 8), (9, 12)], 4)
    for name, dtype in {"image": "int32", "row": "int32", "col": "int32", "pixels": "int64", "first": "int64"}.items():
        array = getattr(grid, name)
        assert array.dtype == dtype
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


def test_region_larger_than_an_image_names_the_image_and_a_size_that_fits() -> None:
    sizes = [(64, 64), (20, 64), (64, 16)]
    with pytest.raises(DataError, match=r"region size 32 is larger than 'b' \(20 x 64 .*1 more.* at most 16"):
        RegionGrid(sizes, 32, ids=["a", "b", "c"])
    with pytest.raises(DataError, match=r"larger than image 1 \(20 x 64"):
        RegionGrid(sizes, 32)


def test_region_as_large_as_the_image_is_one_region() -> None:
    assert RegionGrid([(20, 20)], 20).pixels.tolist() == [400]


@pytest.mark.parametrize("region_size", [0, -3])
def test_region_size_below_one_is_refused(region_size: int) -> None:
    with pytest.raises(DataError, match=f"at least 1 pixel, got {region_size}"):
        RegionGrid([(8, 8)], region_size)
