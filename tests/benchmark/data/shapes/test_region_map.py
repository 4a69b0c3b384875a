"""Packed region maps: what is read off them, by brute force; squares as a map; damage; maps that hold no regions."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from support.region_maps import Drawn, ragged, scenes

from quadrat.benchmark.data import RegionGrid
from quadrat.benchmark.data.region_arrays import void_regions
from quadrat.benchmark.data.regions import Layout
from quadrat.benchmark.data.shapes import RegionMap, check_ids, load_kind, pack_regions
from quadrat.benchmark.errors import DataError


@pytest.fixture(scope="module")
def ragged_map(tmp_path_factory: pytest.TempPathFactory) -> RegionMap:
    return pack_regions(scenes(tmp_path_factory.mktemp("maps")), Drawn(draw=ragged), 12)


def pixels_of(layout: Layout, region: int) -> NDArray[np.int64]:
    """Return rows and columns of the region's pixels, (pixels, 2), from the whole window of its image."""
    image = int(layout.image[region])
    return np.argwhere(layout.window(image, 0, 0, *layout.sizes[image].tolist()) == region)


def test_what_is_read_off_a_map_is_that_of_its_pixels(ragged_map: RegionMap) -> None:
    assert ragged_map.num_regions == ragged_map.first[-1] > 20
    for region in range(ragged_map.num_regions):
        places = pixels_of(ragged_map, region)
        assert ragged_map.pixels[region] == len(places) > 1
        centre = (places + 0.5).mean(axis=0) / 12
        assert (ragged_map.row[region], ragged_map.col[region]) == pytest.approx(tuple(centre))
        assert ragged_map.box(region) == (*places.min(axis=0), *(places.max(axis=0) + 1))
        picture = np.arange(48 * 64).reshape(48, 64)
        assert ragged_map.values(region, picture).tolist() == [picture[y, x] for y, x in places]


def test_borders_are_the_pairs_that_share_a_side(ragged_map: RegionMap) -> None:
    expected = set()
    for image in range(len(ragged_map.sizes)):
        region = ragged_map.window(image, 0, 0, 48, 64)
        for y, x in np.ndindex(48, 64):
            for beside in ((y, x + 1), (y + 1, x)):
                if beside[0] < 48 and beside[1] < 64 and region[y, x] != region[beside]:
                    expected.add((min(region[y, x], region[beside]), max(region[y, x], region[beside])))
    expected = {pair for pair in expected if pair[0] >= 0}
    assert {tuple(pair) for pair in ragged_map.borders.tolist()} == expected
    assert ragged_map.borders.tolist() == sorted(ragged_map.borders.tolist())


@given(
    top=st.integers(-30, 60), left=st.integers(-30, 70), height=st.integers(1, 70), width=st.integers(1, 70),
    seed=st.integers(0, 99),
)  # fmt: skip
@settings(max_examples=30, deadline=None)
def test_windows_are_cut_from_the_whole_image(
    ragged_map: RegionMap, top: int, left: int, height: int, width: int, seed: int
) -> None:
    selected = np.random.default_rng(seed).random(ragged_map.num_regions) < 0.4
    whole = np.pad(ragged_map.window(1, 0, 0, 48, 64), 130, constant_values=-1)
    expected = whole[130 + top : 130 + top + height, 130 + left : 130 + left + width]
    np.testing.assert_array_equal(ragged_map.window(1, top, left, height, width), expected)
    is_selected = (expected >= 0) & selected[expected]
    np.testing.assert_array_equal(ragged_map.window_mask(1, selected, top, left, height, width), is_selected)


@pytest.mark.parametrize(("height", "width", "size"), [(48, 64, 16), (50, 70, 16)])
def test_a_map_of_squares_is_the_grid(tmp_path: Path, height: int, width: int, size: int) -> None:
    split = scenes(tmp_path, height=height, width=width)
    grid, squares = RegionGrid(split.sizes, size), pack_regions(split, load_kind("grid"), size)
    for name in ("image", "first", "pixels"):
        np.testing.assert_array_equal(getattr(squares, name), getattr(grid, name))
    full = grid.pixels == size**2
    np.testing.assert_array_equal(squares.row[full], grid.row[full] + 0.5)  # bit for bit, so distances are too
    np.testing.assert_array_equal(squares.col[full], grid.col[full] + 0.5)
    selected = np.arange(grid.num_regions) % 3 == 0
    for image in range(len(split)):
        mask = split.masks.mask(image)
        np.testing.assert_array_equal(squares.class_counts(image, mask), grid.class_counts(image, mask))
        np.testing.assert_array_equal(squares.window(image, -3, 5, 60, 61), grid.window(image, -3, 5, 60, 61))
        np.testing.assert_array_equal(
            squares.window_mask(image, selected, -3, 5, 60, 61), grid.window_mask(image, selected, -3, 5, 60, 61)
        )
    assert [squares.box(region) for region in range(grid.num_regions)] == list(map(grid.box, range(grid.num_regions)))
    np.testing.assert_array_equal(void_regions(split, squares), void_regions(split, grid))


def test_a_map_is_cut_once_and_known_by_images_kind_and_parameters(tmp_path: Path) -> None:
    split = scenes(tmp_path)
    first = pack_regions(split, load_kind("slic", compactness=10.0), 16)
    stamp = (first.path / "ids.bin").stat().st_mtime_ns
    again = pack_regions(split, load_kind("slic"), 16)
    assert again.path == first.path and (again.path / "ids.bin").stat().st_mtime_ns == stamp
    assert again.digest == first.digest
    other = pack_regions(split, load_kind("slic", compactness=40.0), 16)
    assert other.path != first.path and other.digest != first.digest
    assert pack_regions(split, load_kind("slic"), 12).path != first.path
    copy = pickle.loads(pickle.dumps(first))
    np.testing.assert_array_equal(copy.ids(0), first.ids(0))


@pytest.mark.parametrize("name", ["ids.bin", "regions.npz", "meta.json"])
def test_a_damaged_map_is_refused_and_cut_again(tmp_path: Path, name: str) -> None:
    split = scenes(tmp_path)
    found = pack_regions(split, load_kind("seeds"), 16)
    expected = found.ids(0).copy()
    data = bytearray((found.path / name).read_bytes())
    data[len(data) // 2] ^= 1
    (found.path / name).write_bytes(data)
    with pytest.raises(DataError, match="damaged"):
        RegionMap(found.path).ids(0)
    again = pack_regions(split, load_kind("seeds"), 16)
    np.testing.assert_array_equal(again.ids(0), expected)


@pytest.mark.parametrize("name", ["slic", "seeds"])
def test_superpixels_cover_every_pixel_and_are_about_as_large_as_asked(tmp_path: Path, name: str) -> None:
    split = scenes(tmp_path, height=96, width=96)
    found = pack_regions(split, load_kind(name), 16)
    assert all((found.ids(image) > 0).all() for image in range(len(split)))
    assert 128 < found.pixels.mean() < 512


IDS = np.repeat([[1, 1, 2, 2]], 4, axis=0)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (IDS[:3], r"4 x 4 pixels \(height x width\), as the image, got an array of 3 x 4"),
        (IDS * 2**31, "from 0 .* to 2147483647, got 2147483648 to 4294967296"),
        (IDS - 2, "got -1 to 0"),
        (IDS + 0.5, "whole numbers, got float64"),
        (IDS * 0, "id 0 .* everywhere"),
        (np.where(np.eye(4) * [0, 0, 0, 1], 9, IDS), "1 pixel: id 9 at row 3, column 3"),
    ],
)
def test_what_is_no_region_is_refused(ids: NDArray[Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        check_ids(ids, (4, 4), "map of x")


def test_more_regions_than_two_bytes_number_are_refused() -> None:
    ids = np.arange(2**17).reshape(2**9, 2**8) // 2 + 1
    with pytest.raises(DataError, match="at most 65535 regions in an image, got 65536"):
        check_ids(ids, ids.shape, "map of x")
    assert check_ids(np.where(ids == 7, 0, ids), ids.shape, "map of x").max() == 65535


def test_ids_are_renumbered_and_regions_in_pieces_are_counted(tmp_path: Path) -> None:
    def two_pieces(size: tuple[int, int], seed: int) -> NDArray[np.int64]:
        ids = np.full(size, 900)
        ids[:, 20:40] = 2**31 - 1
        ids[:4] = 0
        return ids

    found = pack_regions(scenes(tmp_path, num_train=1), Drawn(draw=two_pieces), 16)
    assert found.num_regions == 2 and found.pieces.tolist() == [2, 1] and found.borders.tolist() == [[0, 1]]
    assert found.ids(0)[10, 0] == 1 and found.ids(0)[10, 30] == 2 and found.ids(0)[0, 0] == 0


def write_png(path: Path, ids: NDArray[np.int64], mode: str) -> None:
    values = {
        "L": ids.astype(np.uint8),
        "I;16": ids.astype(np.uint16),
        "RGB": (ids[..., None] >> [0, 8, 16]).astype(np.uint8),
        "RGBA": (ids[..., None] >> [0, 8, 16, 24]).astype(np.uint8),
    }[mode]
    Image.fromarray(values).save(path)


@pytest.mark.parametrize("mode", ["L", "I;16", "RGB", "RGBA", "npz"])
def test_files_hold_ids_as_grey_as_colours_or_as_an_array(tmp_path: Path, mode: str) -> None:
    split = scenes(tmp_path / "cache", num_train=2)
    scale = {"L": 1, "I;16": 250, "RGB": 65_000, "RGBA": 2**22 - 1, "npz": 1000}[mode]
    folder = tmp_path / "maps"
    folder.mkdir()
    drawn = {id: (ragged((48, 64), index) + 1) // 3 * scale for index, id in enumerate(split.ids)}
    for id, ids in drawn.items():
        path = folder / f"{id}.x"
        path.parent.mkdir(parents=True, exist_ok=True)
        if mode == "npz":
            np.savez(path.with_suffix(".npz"), ids=ids)
        else:
            write_png(path.with_suffix(".png"), ids, mode)
    found = pack_regions(split, load_kind("files", folder=str(folder)), 16)
    for index, ids in enumerate(drawn.values()):
        np.testing.assert_array_equal(found.ids(index), check_ids(ids, (48, 64), "map"))


def test_files_that_are_missing_or_hold_no_ids_are_named(tmp_path: Path) -> None:
    split, folder = scenes(tmp_path / "cache", num_train=2), tmp_path / "maps"
    kind = load_kind("files", folder=str(folder))
    with pytest.raises(DataError, match=r"expected a folder at .*maps, got none"):
        kind.contents()
    folder.mkdir()
    with pytest.raises(DataError, match=r"ids in .*maps, got none"):
        pack_regions(split, kind, 16)
    first = folder / f"{split.ids[0]}.npz"
    np.savez(first, ids=ragged((48, 64), 0))
    with pytest.raises(DataError, match=f"one of {split.ids[1]}.png and {split.ids[1]}.npz in .*, got neither"):
        pack_regions(split, kind, 16)
    Image.new("CMYK", (64, 48)).convert("1").save(folder / f"{split.ids[1]}.png")
    with pytest.raises(DataError, match="grey of 8 or 16 bits, RGB or RGBA, got mode 1"):
        pack_regions(split, kind, 16)
    first.write_bytes(b"PK not a zip file")
    with pytest.raises(DataError, match="one array of region ids"):
        kind.cut(np.zeros((48, 64, 3), np.uint8), region_size=16, id=split.ids[0])


def test_a_changed_file_is_another_map(tmp_path: Path) -> None:
    split, folder = scenes(tmp_path / "cache", num_train=1), tmp_path / "maps"
    folder.mkdir()
    path = folder / f"{split.ids[0]}.npz"
    np.savez(path, ids=ragged((48, 64), 0))
    kind = load_kind("files", folder=str(folder))
    before, digest = pack_regions(split, kind, 16), kind.contents()
    moved = folder.rename(tmp_path / "moved")
    same = load_kind("files", folder=str(moved))
    assert same.contents() == digest and pack_regions(split, same, 16).path == before.path
    np.savez(moved / path.name, ids=ragged((48, 64), 1))
    assert same.contents() != digest and pack_regions(split, same, 16).digest != before.digest


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("slic", {"compactness": 0}, "compactness above 0, got 0"),
        ("slic", {"compactnes": 1}, "did you mean 'compactness'"),
        ("seeds", {"levels": 0}, "levels from 1 to 10, got 0"),
        ("files", {}, r"expected params.folder"),
    ],
)
def test_a_wrong_parameter_is_refused(name: str, params: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_kind(name, **params)


def test_a_map_that_was_not_finished_leaves_nothing_and_is_cut_again(tmp_path: Path) -> None:
    split, calls = scenes(tmp_path, num_train=3), []

    def interrupted(size: tuple[int, int], seed: int) -> NDArray[np.int64]:
        calls.append(seed)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return ragged(size, seed)

    kind = Drawn(draw=interrupted)
    with pytest.raises(KeyboardInterrupt):
        pack_regions(split, kind, 12)
    assert [path.name for path in split.path.glob("*regions-drawn-*")] == [
        path.name for path in split.path.glob(".regions-drawn-*.lock")
    ]
    expected = pack_regions(split, Drawn(draw=ragged), 12)
    again = pack_regions(split, kind, 12)
    assert again.digest == expected.digest and again.num_regions == expected.num_regions
