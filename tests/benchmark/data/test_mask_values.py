"""`ids` of a manifest: raw ids, ranges and the rest become class ids or void, and mistakes are one sentence."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.layouts import save, write_folder, write_voc

from quadrat.benchmark.data import VOID, load_dataset, pack
from quadrat.benchmark.data.loaders.folder import Folder
from quadrat.benchmark.data.loaders.mask_values import read_ids, value_ranges
from quadrat.benchmark.errors import DataError

CLASSES = ("sky", "road", "car")


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        ({"0": "sky", "255": "road"}, {0: 0, 255: 1}),
        ({0: "sky", 7: 2}, {0: 0, 7: 2, 255: VOID}),
        ({"5": None, "6": "void", "7-9": "0-2"}, {5: VOID, 6: VOID, 7: 0, 8: 1, 9: 2, 255: VOID}),
        ({"10 - 12": "car", "13-14": 1, "300": "0"}, {10: 2, 11: 2, 12: 2, 13: 1, 14: 1, 300: 0, 255: VOID}),
    ],
)
def test_ids_are_read(ids: Any, expected: dict[int, int]) -> None:
    assert read_ids(ids, CLASSES, "manifest.json") == expected


def test_a_class_that_is_called_void_is_a_class() -> None:
    assert read_ids({"0": "void", "1": "sky"}, ("sky", "void"), "x")[0] == 1


def test_all_other_ids_can_be_named_at_once() -> None:
    found = read_ids({"7": "road", "*": "sky"}, CLASSES, "x")
    assert [found[raw] for raw in (0, 6, 7, 8, 254, 255, 256, 65535)] == [0, 0, 1, 0, 0, 0, 0, 0]


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([0, 1], r'manifest.json: expected ids such as {"0": "void", "1": "sky"}, got \[0, 1\]'),
        ({}, r"expected ids such as"),
        ({"a": "sky"}, r"expected ids from raw ids \(0 to 65535\), ranges such as '34-38' .*got 'a'"),
        ({"9-7": "sky"}, r"got '9-7'"),
        ({"70000": "sky"}, r"got '70000'"),
        ({"1": "raod"}, r"manifest.json: ids '1': there is no class 'raod'; did you mean 'road'\?.*void"),
        ({"1": 3}, r"ids '1': expected class ids from 0 to 2"),
        ({"1-3": "0-1"}, r"one or as many as there are raw ids \(3\), got '0-1'"),
        ({"1-3": "sky", "2": "road"}, r"each raw id once in ids, got 2 twice"),
        ({"1": True}, r"there is no class True"),
    ],
)
def test_a_mistake_in_ids_is_one_sentence(ids: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_ids(ids, CLASSES, "manifest.json")


def test_folder_maps_the_ids_of_its_manifest_and_refuses_others(tmp_path: Path) -> None:
    write_folder(tmp_path, classes=CLASSES, ids={"10": "car", "20-21": "0-1", "255": "sky"}, void=[30])
    raw = np.repeat(np.array([10, 20, 21, 255, 30], np.uint8), 120).reshape(20, 30)
    save(tmp_path / "masks" / "train" / "a.png", raw)
    item = Folder(root=tmp_path).items("train")[0]
    expected = np.repeat(np.array([2, 0, 1, 0, VOID], np.uint8), 120).reshape(20, 30)
    np.testing.assert_array_equal(item.read_mask(), expected)
    save(item.mask, np.full((20, 30), 9, np.uint8))
    with pytest.raises(
        DataError, match=r"600 pixels hold ids that are no class: \[9\]. Expected one of 10, 20 to 21, 30"
    ):
        item.read_mask()


def test_ids_of_16_bits_are_mapped_to_classes(tmp_path: Path) -> None:
    write_folder(tmp_path, splits={"train": ("a",)}, classes=CLASSES, ids={"894": "car", "1-300": "road", "0": None})
    raw = np.repeat(np.array([894, 300, 0], np.uint16), 200).reshape(20, 30)
    Image.fromarray(raw).save(tmp_path / "masks" / "train" / "a.png")
    mask = Folder(root=tmp_path).items("train")[0].read_mask()
    np.testing.assert_array_equal(mask, np.repeat(np.array([2, 1, VOID], np.uint8), 200).reshape(20, 30))


def test_other_ids_are_other_packed_masks(tmp_path: Path) -> None:
    """Neither files nor classes change, so nothing but the manifest tells the two apart."""
    root = write_folder(tmp_path / "root", classes=CLASSES, ids={"0-2": "0-2"})
    before = pack(Folder(root=root), "train", tmp_path / "cache")
    (root / "manifest.json").write_text(json.dumps({"classes": CLASSES, "ids": {"0-1": "road", "2": "sky"}}))
    after = pack(Folder(root=root), "train", tmp_path / "cache")
    moved = np.array([1, 1, 0, *range(3, 256)], np.uint8)[before.masks.mask(0)]
    np.testing.assert_array_equal(after.masks.mask(0), moved)


def test_voc_takes_ids_as_a_parameter(tmp_path: Path) -> None:
    write_voc(tmp_path, values=(0, 255))
    (tmp_path / "names.txt").write_text("background\ncell\n")
    dataset = load_dataset("voc", tmp_path, class_file="names.txt", ids={0: "background", 255: "cell"})
    packed = pack(dataset, "train", tmp_path / "cache")
    assert packed.statistics.void_px == 0 and packed.statistics.class_px.all()


def test_values_are_shown_as_ranges() -> None:
    assert value_ranges({0, 1, 2, 5, 7, 8}) == "0 to 2, 5, 7 to 8"
