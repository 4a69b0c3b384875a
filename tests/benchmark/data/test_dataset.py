"""`load_dataset`: data sets by name, roots by argument or variable, and clear errors for both."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.layouts import write_folder

from quadrat.benchmark.data import load_dataset
from quadrat.benchmark.data.dataset import DATASETS, decode, items_of
from quadrat.benchmark.data.loaders.folder import Folder
from quadrat.benchmark.data.loaders.scenes import Scenes
from quadrat.benchmark.errors import DataError
from quadrat.strategies.errors import PluginError


def test_built_in_data_sets_are_registered_under_their_names() -> None:
    assert {"cityscapes", "voc", "camvid", "folder", "scenes"} <= set(DATASETS.names())
    for plugin in DATASETS.listing():
        assert plugin.error is None
        assert DATASETS.get(plugin.name).name == plugin.name


def test_parameters_are_passed_on() -> None:
    assert load_dataset("scenes", num_train=3, seed=5) == Scenes(num_train=3, seed=5)


def test_root_is_the_argument_or_lies_under_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_folder(tmp_path / "folder")
    monkeypatch.setenv("QUADRAT_DATA", str(tmp_path))
    assert len(load_dataset("folder").items("train")) == 3
    assert load_dataset("folder", tmp_path / "other") == Folder(root=tmp_path / "other")


def test_a_part_of_a_split_is_those_of_its_ids_that_match_or_all_others() -> None:
    dataset = load_dataset("scenes", num_train=12)
    ids = [item.id for item in dataset.items("train")]
    part, rest = (items_of(dataset, f"train[{sign}*1]") for sign in ("", "!"))
    assert [item.id for item in part] == [name for name in ids if name.endswith("1")]
    assert [item.id for item in rest] == [name for name in ids if not name.endswith("1")]
    assert len(part) + len(rest) == 12 and part and rest
    assert [item.id for item in items_of(dataset, "train")] == ids


@pytest.mark.parametrize("split", ["train[none*]", "train[!*]"])
def test_a_part_without_images_is_an_error_that_shows_an_id(split: str) -> None:
    with pytest.raises(DataError, match=r"has no image: expected a pattern that leaves some of the 2 ids of 'train'"):
        items_of(load_dataset("scenes", num_train=2), split)


def test_missing_root_names_both_ways_to_give_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("QUADRAT_DATA", raising=False)
    with pytest.raises(DataError, match=r"'camvid' .*give root .*--root DIR.* or set QUADRAT_DATA .* camvid/"):
        load_dataset("camvid")


def test_root_of_a_generated_set_is_an_error() -> None:
    with pytest.raises(DataError, match=r"'scenes' is not read from a folder, got root '/data': leave root out"):
        load_dataset("scenes", "/data")


def test_unknown_parameter_names_the_closest_one() -> None:
    with pytest.raises(DataError, match=r"'scenes' has no parameter 'num_trian'.*num_train"):
        load_dataset("scenes", num_trian=3)
    with pytest.raises(DataError, match=r"'voc' has no parameter 'classes'.*class_file"):
        load_dataset("voc", "/data", classes=3)


def test_unknown_data_set_names_the_known_ones() -> None:
    with pytest.raises(PluginError, match=r"unknown data set 'camvit'; did you mean 'camvid'"):
        load_dataset("camvit")


class FakeItem:
    """An item of a plugin that does what it should not."""

    def __init__(self, image: Any, mask: Any) -> None:
        self.id, self.image, self.mask = "x", image, mask

    def __str__(self) -> str:
        return "fake x"

    def read_image(self) -> Any:
        return self.image

    def read_mask(self) -> Any:
        return self.mask

    def stamp(self) -> str:
        return ""


@pytest.mark.parametrize(
    ("image", "mask", "message"),
    [
        (
            np.zeros((4, 5, 3)),
            np.zeros((4, 5), np.uint8),
            r"fake x: expected an image as uint8 \(H, W, 3\), got float64",
        ),
        (np.zeros((4, 5), np.uint8), np.zeros((4, 5), np.uint8), r"expected an image .*got uint8 \(4, 5\)"),
        (np.zeros((0, 5, 3), np.uint8), np.zeros((0, 5), np.uint8), r"expected an image .*got uint8 \(0, 5, 3\)"),
        (np.zeros((4, 5, 3), np.uint8), np.zeros((4, 5), np.int64), r"expected a mask as uint8 \(H, W\), got int64"),
        (
            np.zeros((4, 5, 3), np.uint8),
            np.full((4, 5), 3, np.uint8),
            r"20 mask pixels .*\[3\]. Expected 0 to 2, or 255",
        ),
    ],
)
def test_an_item_with_invalid_arrays_is_named(image: Any, mask: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        decode(FakeItem(image, mask), 3)
