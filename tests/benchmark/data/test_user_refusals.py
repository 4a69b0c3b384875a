"""Folders that something is wrong with: the sentence says what it is and the line to type, or they are read."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.layouts import pixels, save, write_camvid, write_cityscapes, write_folder, write_voc

from quadrat.benchmark.data import VOID, check, load_dataset
from quadrat.benchmark.errors import DataError

RED, GREEN, BLUE = [255, 0, 0], [0, 255, 0], [0, 0, 255]


def write(root: Path, mask: np.ndarray, *, palette: list[list[int]] | None = None, **manifest: Any) -> Any:
    """Write a data set of one image and its mask, and return it."""
    save(root / "images" / "train" / "a.png", pixels("a", *mask.shape[:2]))
    picture = Image.fromarray(mask)
    if palette is not None:
        picture.putpalette([part for colour in palette for part in colour])
    (root / "masks" / "train").mkdir(parents=True)
    picture.save(root / "masks" / "train" / "a.png")
    (root / "manifest.json").write_text(json.dumps({"classes": ["sky", "road"], **manifest}), encoding="utf-8")
    return load_dataset("folder", root)


def mask_of(dataset: Any) -> Any:
    return dataset.items("train")[0].read_mask()


def halves(left: Any, right: Any) -> np.ndarray:
    """Return a mask whose left half has one value or colour, and its right half another."""
    return np.array([[left] * 4 + [right] * 4] * 6, dtype=np.uint8)


COLOURS = {"sky": BLUE, "road": RED}


def test_a_palette_whose_order_means_nothing_is_read_by_its_colours(tmp_path: Path) -> None:
    """A picture of few colours is stored with a palette: here 0 is red, the road, and 1 is blue, the sky."""
    dataset = write(tmp_path, halves(0, 1), palette=[RED, BLUE], colours=COLOURS)
    np.testing.assert_array_equal(mask_of(dataset), halves(1, 0))


def test_a_palette_in_the_order_of_the_classes_and_one_of_other_colours_count_by_their_indices(tmp_path: Path) -> None:
    same = write(tmp_path / "same", halves(0, 1), palette=[BLUE, RED], colours=COLOURS)
    other = write(
        tmp_path / "other", halves(1, 255), palette=[[number, 7, 7] for number in range(256)], colours=COLOURS
    )
    np.testing.assert_array_equal(mask_of(same), halves(0, 1))
    np.testing.assert_array_equal(mask_of(other), halves(1, VOID))


def test_a_colour_that_is_void_is_void_at_whatever_index(tmp_path: Path) -> None:
    colours = {**COLOURS, "void": [[0, 0, 0]]}
    dataset = write(tmp_path, halves(0, 0), palette=[[0, 0, 0], BLUE, RED], colours=colours)
    np.testing.assert_array_equal(mask_of(dataset), halves(VOID, VOID))


def test_ids_say_what_the_indices_of_a_palette_are_whatever_its_colours(tmp_path: Path) -> None:
    ids = {"0": "sky", "1": "road"}
    dataset = write(tmp_path, halves(0, 1), palette=[RED, BLUE], colours=COLOURS, ids=ids)
    np.testing.assert_array_equal(mask_of(dataset), halves(0, 1))


def test_a_colour_of_a_palette_that_is_no_class_is_no_class_by_its_index_either(tmp_path: Path) -> None:
    dataset = write(tmp_path, halves(0, 1), palette=[RED, GREEN], colours=COLOURS)
    with pytest.raises(DataError, match=r"24 pixels have colours that are no class: \[0, 255, 0\]\. Name them"):
        mask_of(dataset)


def test_black_and_white_of_one_channel_are_the_colours_of_the_manifest(tmp_path: Path) -> None:
    """0 and 255 without `ids`, but with `colours`: 255 is not void here."""
    dataset = write(tmp_path, halves(0, 255), colours={"sky": [0, 0, 0], "road": [255, 255, 255]})
    np.testing.assert_array_equal(mask_of(dataset), halves(0, 1))


def test_masks_that_were_scaled_are_told_so_instead_of_sixty_colours_to_name(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    colours = write(tmp_path / "colours", rng.integers(0, 256, (8, 8, 3), dtype=np.uint8), colours=COLOURS)
    grey = write(tmp_path / "grey", np.arange(0, 250, dtype=np.uint8).reshape(10, 25))
    for dataset in (colours, grey):
        (problem,) = check(dataset).problems
        assert "different ones, as scaling with interpolation or compression with loss leaves" in problem


def test_images_and_masks_in_one_folder_are_told_apart_by_the_more_specific_pattern(tmp_path: Path) -> None:
    for name in "ab":
        save(tmp_path / "train" / f"{name}.png", pixels(name, 6, 8))
        save(tmp_path / "train" / f"{name}_mask.png", halves(0, 1))
    keys = {"classes": ["sky", "road"], "pattern": {"image": "{split}/{id}.png", "mask": "{split}/{id}_mask.png"}}
    (tmp_path / "manifest.json").write_text(json.dumps(keys))
    dataset = load_dataset("folder", tmp_path)
    assert [item.id for item in dataset.items("train")] == ["a", "b"]
    assert check(dataset).problems == ()


def test_names_whose_accents_are_written_in_two_ways_are_one_name(tmp_path: Path) -> None:
    """An archive from another system holds the image with a letter and an accent, the mask with one letter."""
    composed, decomposed = "\N{LATIN SMALL LETTER U WITH DIAERESIS}", "u\N{COMBINING DIAERESIS}"
    root = write_folder(tmp_path, splits={"train": ("a",)})
    (root / "images/train/a.jpg").rename(root / f"images/train/{decomposed}.jpg")
    (root / "masks/train/a.png").rename(root / f"masks/train/{composed}.png")
    for listed in (None, composed, decomposed):
        keys = {"classes": ["sky", "road", "car"]} | ({"splits": {"train": [listed]}} if listed else {})
        (root / "manifest.json").write_text(json.dumps(keys))
        assert [item.id for item in load_dataset("folder", root).items("train")] == [composed]


def renamed(pattern: str, name: Callable[[Path], str]) -> Callable[[Path], None]:
    """Return a change of a folder: each file that fits is renamed."""

    def change(root: Path) -> None:
        for path in sorted(root.rglob(pattern)):
            path.rename(path.with_name(name(path)))

    return change


def without(name: str) -> Callable[[Path], None]:
    return lambda root: shutil.rmtree(root / name)


def holding(name: str, content: bytes) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        (root / name).write_bytes(content)

    return change


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"


@pytest.mark.parametrize(
    ("name", "writer", "change", "sentences"),
    [
        (
            "folder",
            write_folder,
            renamed("*.png", lambda path: f"{path.stem}.npy"),
            ["a.png is missing; there is a.npy."],
        ),
        ("folder", write_folder, renamed("*.jpg", lambda path: f"{path.stem}.heic"), ["there is a.heic."]),
        (
            "folder",
            write_folder,
            renamed("a.png", lambda _: "A.png"),
            ["masks/train/a.png is missing; there is A.png."],
        ),
        (
            "folder",
            write_folder,
            renamed("*.??g", lambda path: f"{path.stem}.xyz"),
            [
                "found neither images nor masks",
                "Expected images/{split}/{id}.*",
                "there is manifest.json, images/test/d",
            ],
        ),
        ("folder", write_folder, without("images"), ["folder has no split. Expected images/{split}/{id}.*"]),
        ("folder", write_folder, holding("images/train/a.jpg", LFS), ["is a pointer of Git LFS", "git lfs pull"]),
        ("folder", write_folder, holding("images/train/a.jpg", b""), ["a.jpg is empty (0 bytes). Replace it"]),
        (
            "voc",
            write_voc,
            without("ImageSets"),
            ["voc has no split", "ImageSets/Segmentation/<split>.txt; there is JPEG"],
        ),
        ("camvid", write_camvid, without("trainannot"), ["3 images and no mask", "trainannot/0001TP_006690.png"]),
        (
            "cityscapes",
            write_cityscapes,
            renamed("*labelIds.png", lambda path: path.name.replace("labelIds", "labelTrainIds")),
            ["_gtFine_labelIds.png is missing; there is", "_gtFine_labelTrainIds.png"],
        ),
    ],
)
def test_what_is_missing_names_what_is_there(
    name: str, writer: Callable[[Path], Path], change: Callable[[Path], None], sentences: list[str], tmp_path: Path
) -> None:
    root = writer(tmp_path / name)
    change(root)
    report = check(load_dataset(name, root))
    assert any(all(sentence in problem for sentence in sentences) for problem in report.problems), report.problems


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[1, 2]", r"expected a mapping, e\.g\. .* got \[1, 2\]"),
        ("", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ('{"classes": [["sky"], ["road"]]}', "'classes' as a list of 2 to 255 different names"),
        ('{"classes": [null, "road"]}', "'classes' as a list of 2 to 255 different names"),
        ('{"classes": ["a", "b"], "void": "255"}', "'void' as a list of mask values"),
        ('{"classes": ["a", "b"], "pattern": {"image": "images\\\\{id}.jpg"}}', "paths below the root .* and slashes"),
        ('{"classes": ["a", "b"], "pattern": {"mask": "images/{split}/{id}.*"}}', "patterns .* that differ"),
        ('{"classes": ["a", "b"], "splits": {"train": "images"}}', r"images cannot be read \(Is a directory\)"),
        ('{"classes": ["a", "b"], "splits": {"train": "lists.csv"}}', "lists.csv is missing: expected ids"),
    ],
)
def test_a_manifest_of_another_shape_is_one_sentence(content: str, message: str, tmp_path: Path) -> None:
    root = write_folder(tmp_path)
    (root / "manifest.json").write_text(content)
    with pytest.raises(DataError, match=message):
        load_dataset("folder", root).items("train")


def test_a_split_whose_labels_are_not_public_is_one_finding(tmp_path: Path) -> None:
    root = write_folder(tmp_path, splits={"train": ("a", "b"), "test": ("c", "d", "e")})
    shutil.rmtree(root / "masks" / "test")
    (problem,) = check(load_dataset("folder", root)).problems
    assert (
        "split 'test' of folder has 3 images and no mask" in problem and "leave it out (data check: --split" in problem
    )
    assert check(load_dataset("folder", root), ["train"]).problems == ()


def test_values_that_are_no_class_come_with_the_line_to_write(tmp_path: Path) -> None:
    (problem,) = check(write(tmp_path, halves(0, 128))).problems
    assert "[128]. Expected 0 to 1, or 255 for void. Say which class each mask value is" in problem
    assert '"ids": {"128": "NAME", ...}' in problem
