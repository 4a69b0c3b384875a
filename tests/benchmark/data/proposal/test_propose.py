"""Manifest and suite for folders that nobody described: what is proposed reads the masks as they are meant."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from support.layouts import pixels, save, write_camvid, write_cityscapes, write_voc

from quadrat.benchmark.config.suite import Suite, load_suite
from quadrat.benchmark.data import VOID, check, load_dataset
from quadrat.benchmark.data.proposal.propose import LEARNER, Proposal, propose
from quadrat.benchmark.errors import DataError

HEIGHT, WIDTH = 16, 24


def stripes(values: Any) -> np.ndarray:
    """Return a mask of vertical stripes of `values`: ids, or colours."""
    values = np.asarray(values)
    kind = np.uint8 if values.max() < 256 else np.uint16
    return np.tile(values[np.arange(WIDTH) * len(values) // WIDTH].astype(kind), (HEIGHT, *[1] * values.ndim))


def write(root: Path, image: str, mask: str, values: Any, splits: Sequence[str] = ("train", "test")) -> Path:
    """Write three images and masks a split by the names `image` and `mask` with {split} and {id}."""
    for split in splits:
        for number in range(3):
            name = {"split": split, "id": f"{split[:2]}{number}7"}
            save(root / image.format(**name), pixels(image.format(**name), HEIGHT, WIDTH))
            path = root / mask.format(**name)
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(stripes(values)).save(path)
    return root


def accept(root: Path, found: Proposal) -> Any:
    """Write what was proposed, check that suite and data set are without problems, and return the data set."""
    (root / "manifest.json").write_text(json.dumps(found.manifest))
    for name, content in found.lists.items():
        (root / name).write_text(content)
    suite = Suite.model_validate(yaml.safe_load(found.suite))
    dataset = load_dataset("folder", root)
    assert {suite.dataset.pool, suite.dataset.test} <= set(dataset.splits)
    assert check(dataset, [suite.dataset.pool, suite.dataset.test]).problems == ()
    return dataset


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("images/{split}/{id}.jpg", "masks/{split}/{id}.png"),
        ("img_dir/{split}/{id}.jpg", "ann_dir/{split}/{id}.png"),  # mmsegmentation
        ("{split}/{id}.png", "{split}annot/{id}.png"),  # SegNet's tutorial
        ("{split}/images/{id}.tif", "{split}/1st_manual/{id}_manual1.gif"),
        ("{split}/images/{id}_{split}.png", "{split}/masks/{id}_gt.png"),
        ("{split}/{id}.png", "{split}/{id}_mask.png"),  # in one folder
        ("{split}_images/{id}.jpg", "{split}_masks/{id}.png"),
        ("images_{split}/{id}.jpg", "masks_{split}/{id}.png"),
        ("{split}/{id}/image.png", "{split}/{id}/mask.png"),  # a folder for each
        ("{split}/img-{id}.jpg", "{split}/labels/gt-{id}.bmp"),
    ],
)
def test_names_of_images_and_masks_are_found(image: str, mask: str, tmp_path: Path) -> None:
    root = write(tmp_path, image, mask, [0, 1, 2])
    found = propose(root, "own")
    dataset = accept(root, found)
    assert (found.manifest["pattern"]["image"], found.manifest["pattern"]["mask"]) == (image, mask)
    assert dataset.splits == ("test", "train")
    assert [item.id for item in dataset.items("test")] == ["te07", "te17", "te27"]
    np.testing.assert_array_equal(dataset.items("train")[0].read_mask(), stripes([0, 1, 2]))


@pytest.mark.parametrize(
    ("values", "classes", "expected", "sentence"),
    [
        ([0, 1, 2], 3, [0, 1, 2], "class ids"),
        ([0, 1, VOID], 2, [0, 1, VOID], "255 is void"),
        ([0, VOID], 2, [0, 1], "both of them classes"),
        ([1, 2, 3], 3, [0, 1, 2], "begin at 1"),
        ([0, 128, VOID], 3, [0, 1, 2], "each of them a class"),
        ([7, 8, 26], 3, [0, 1, 2], "each of them a class, none void"),
        ([7, 26, VOID], 2, [0, 1, VOID], "255 is void; if it is a class"),
        ([0, 85, 170, VOID], 4, [0, 1, 2, 3], "each of them a class, none void"),
        ([[255, 0, 0], [0, 0, 255]], 2, [1, 0], "2 colours"),
        ([[0, 0, 0], [255, 255, 255]], 2, [0, 1], "both of them classes"),
    ],
)
def test_mask_values_are_given_a_meaning_that_is_said(
    values: Any, classes: int, expected: list[int], sentence: str, tmp_path: Path
) -> None:
    root = write(tmp_path, "images/{split}/{id}.png", "masks/{split}/{id}.png", values)
    found = propose(root, "own")
    dataset = accept(root, found)
    assert len(dataset.classes) == classes
    np.testing.assert_array_equal(dataset.items("train")[0].read_mask(), stripes(expected))
    assert any(sentence in text for text in found.assumptions), found.assumptions


def test_one_id_an_object_is_background_and_object(tmp_path: Path) -> None:
    root = tmp_path
    for number in range(5):
        save(root / f"images/{number}5.png", pixels(f"{number}", 96, 64))
        mask = np.zeros((96, 64), np.uint16)
        mask[:64] = 60 * number + np.kron(np.arange(1, 65).reshape(8, 8), np.ones((8, 8)))
        (root / "masks").mkdir(exist_ok=True)
        Image.fromarray(mask).save(root / f"masks/{number}5.png")
    found = propose(root, "own")
    dataset = accept(root, found)
    assert set(np.unique(dataset.items("train")[0].read_mask()).tolist()) == {0, 1}


def test_without_splits_a_test_set_is_drawn_and_said(tmp_path: Path) -> None:
    for number in range(10):
        save(tmp_path / f"images/{number}5.png", pixels(f"{number}", HEIGHT, WIDTH))
        save(tmp_path / f"labels/{number}5.png", stripes([0, 1]))
    found = propose(tmp_path, "own")
    dataset = accept(tmp_path, found)
    ids = {split: {item.id for item in dataset.items(split)} for split in ("train", "test")}
    assert (len(ids["train"]), len(ids["test"])) == (8, 2) and not ids["train"] & ids["test"]
    assert any("2 of 10 images are drawn as test set" in text for text in found.assumptions)
    assert propose(tmp_path, "own") == found


def test_cities_and_domains_are_a_part_of_the_ids(tmp_path: Path) -> None:
    for domain in ("Rural", "Urban"):
        write(tmp_path, f"{{split}}/{domain}/images_png/{{id}}.png", f"{{split}}/{domain}/masks_png/{{id}}.png", [0, 1])
    dataset = accept(tmp_path, propose(tmp_path, "own"))
    assert [item.id for item in dataset.items("train")][2:4] == ["Rural/tr27", "Urban/tr07"]


def test_masks_of_classes_are_preferred_to_pictures_of_them_and_to_other_masks(tmp_path: Path) -> None:
    root = write(tmp_path, "{split}/images/{id}.jpg", "{split}/labels/{id}.png", [0, 1])
    write(root, "{split}/images/{id}.jpg", "{split}/instances/{id}.png", [0, 9])
    write(root, "{split}/images/{id}.jpg", "{split}/color_vis/{id}.png", [[0, 0, 9], [9, 0, 0]])
    found = propose(root, "own")
    assert found.manifest["pattern"]["mask"] == "{split}/labels/{id}.png"
    assert any("left out: " in text and "instances" in text for text in found.assumptions)


def test_names_of_classes_are_taken_from_a_file_that_has_as_many(tmp_path: Path) -> None:
    root = write(tmp_path, "images/{split}/{id}.png", "masks/{split}/{id}.png", [0, 1])
    (root / "classes.txt").write_text("sky\nroad\n")
    assert propose(root, "own").manifest["classes"] == ["sky", "road"]


def test_a_folder_that_cannot_be_described_is_one_sentence(tmp_path: Path) -> None:
    def problem(root: Path) -> str:
        with pytest.raises(DataError) as caught:
            propose(root, "own")
        return str(caught.value)

    (tmp_path / "coco").mkdir()
    (tmp_path / "coco" / "annotations.json").write_text("{}")
    assert "holds no image file; there is annotations.json" in problem(tmp_path / "coco")
    assert "Polygons (COCO, labelme) have to be drawn into masks first" in problem(tmp_path / "coco")
    save(tmp_path / "photos" / "a.jpg", pixels("a", HEIGHT, WIDTH))
    assert "found only images (./*.jpg)" in problem(tmp_path / "photos")
    for name in ("a", "b"):
        save(tmp_path / "apart" / "images" / f"{name}.jpg", pixels(name, HEIGHT, WIDTH))
        save(tmp_path / "apart" / "masks" / f"{name * 3}x.png", stripes([0, 1]))
    assert "no image has a mask of its name" in problem(tmp_path / "apart")
    root = write(tmp_path / "one", "images/{split}/{id}.png", "masks/{split}/{id}.png", [1])
    assert "every pixel is (1,). Expected two classes or more" in problem(root)
    assert "quadrat data check cityscapes --root" in problem(write_cityscapes(tmp_path / "cityscapes"))
    assert "quadrat data check voc --root" in problem(write_voc(tmp_path / "voc"))


def test_segnets_camvid_is_described_with_its_void_as_a_class_to_name(tmp_path: Path) -> None:
    found = propose(write_camvid(tmp_path), "own")
    assert found.manifest["pattern"] == {"image": "{split}/{id}.png", "mask": "{split}annot/{id}.png"}
    assert len(found.manifest["classes"]) == 12


def test_an_id_that_seldom_occurs_does_not_shift_those_after_it(tmp_path: Path) -> None:
    """Of 0 to 5, no mask holds 3; 255 stays void, and 5 is class 5."""
    root = write(tmp_path, "images/{split}/{id}.png", "masks/{split}/{id}.png", [0, 1, 2, 4, 5, VOID])
    found = propose(root, "own")
    assert len(found.manifest["classes"]) == 6 and "ids" not in found.manifest
    assert any("class ids, of which 3 do not occur; 255 is void" in text for text in found.assumptions)


def test_splits_whose_folders_have_names_of_several_words(tmp_path: Path) -> None:
    for split in ("Training Set", "Test Set"):
        for number in range(3):
            save(tmp_path / split / "Input Images" / f"{split[:2]}{number}.jpg", pixels(f"{split}{number}", 24, 24))
            save(
                tmp_path / split / "Ground Truth" / f"{split[:2]}{number}.png",
                stripes([0, 1])[:, :24].repeat(2, 0)[:24],
            )
    found = propose(tmp_path, "own")
    dataset = accept(tmp_path, found)
    assert dataset.splits == ("Test Set", "Training Set")
    assert yaml.safe_load(found.suite)["dataset"]["pool"] == "Training Set"


def test_grey_images_of_12_bits_come_with_their_bits(tmp_path: Path) -> None:
    root = write(tmp_path, "images/{split}/{id}.png", "masks/{split}/{id}.png", [0, 1])
    for place, path in enumerate(sorted((root / "images").rglob("*.png"))):
        grey = np.linspace(place, 4000, HEIGHT * WIDTH).astype(np.uint16).reshape(HEIGHT, WIDTH)
        Image.fromarray(grey).save(path)
    found = propose(root, "own")
    accept(root, found)
    assert found.manifest["bits"] == 12


def test_masks_that_cannot_be_read_are_named_with_the_reason(tmp_path: Path) -> None:
    write(tmp_path, "images/{split}/{id}.png", "masks/{split}/{id}.jpg", [0, 1])
    with pytest.raises(DataError, match=r"found only images .*masks/te.*\.jpg is a JPEG file: compression with loss"):
        propose(tmp_path, "own")


def test_the_recipe_that_is_proposed_is_that_of_camvid_cpu() -> None:
    recipe = load_suite("camvid-cpu").learner.model_dump()
    assert {key: recipe[key] for key in LEARNER} == LEARNER
