"""`check` counts exactly and finds all problems, not only the first."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from support.layouts import labels, pixels, save, write_folder, write_voc

from quadrat.benchmark.data import Report, check
from quadrat.benchmark.data.loaders.folder import Folder
from quadrat.benchmark.data.loaders.scenes import Scenes
from quadrat.benchmark.data.loaders.voc import Voc
from quadrat.benchmark.errors import DataError

SPLITS = {"train": tuple("abcdef"), "test": ("x", "y")}


def report_of(root: Path) -> Report:
    return check(Folder(root=root))


def test_a_valid_data_set_has_no_problems_and_exact_counts() -> None:
    scenes = Scenes(num_train=5, num_val=1, num_test=2, height=40, width=48)
    report = check(scenes, ("train", "test"))
    assert report.problems == () and [split.split for split in report.splits] == ["train", "test"]
    masks = [item.read_mask() for item in scenes.items("train")]
    train = report.splits[0]
    assert (
        train.num_images == 5
        and train.sizes.total() == 5
        and train.void_px == sum((mask == 255).sum() for mask in masks)
    )
    for class_id in range(len(scenes.classes)):
        assert train.pixels[class_id] == sum((mask == class_id).sum() for mask in masks)
        assert train.images[class_id] == sum((mask == class_id).any() for mask in masks)


def test_every_problem_is_found(tmp_path: Path) -> None:
    root = write_folder(tmp_path, splits=SPLITS)
    masks, images = root / "masks" / "train", root / "images" / "train"
    (masks / "a.png").unlink()
    (images / "b.jpg").unlink()
    save(masks / "c.png", np.zeros((5, 6), dtype=np.uint8))
    save(masks / "d.png", labels("d", 20, 30, (0, 1, 9)))
    (images / "e.jpg").write_bytes(b"no image")
    shutil.copy(images / "f.jpg", root / "images" / "test" / "x.jpg")
    report = report_of(root)
    found = "\n".join(report.problems)
    assert len(report.problems) == 6
    for expected in (
        "a.png is missing",
        "b.jpg is missing",
        "c (image",
        "mask is 5 x 6",
        "no class: [9]",
        "e.jpg cannot be read as an image",
        "the same image is in more than one split: test/x, train/f",
    ):
        assert expected in found
    assert {split.split: split.num_images for split in report.splits} == {"test": 2, "train": 1}
    assert report.render().endswith("6 problems") and all(problem in report.render() for problem in report.problems)


def test_unknown_and_empty_split_are_problems_of_their_own(tmp_path: Path) -> None:
    root = write_voc(tmp_path)
    (root / "ImageSets" / "Segmentation" / "val.txt").write_text("")
    report = check(Voc(root=root), ("train", "val", "dev"))
    assert [split.split for split in report.splits] == ["train"]
    assert len(report.problems) == 2
    assert "split 'val' of voc" in report.problems[0] and "is empty" in report.problems[0]
    assert "no split 'dev'" in report.problems[1]


def test_missing_root_ends_the_check(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"voc: no folder at .*gone"):
        check(Voc(root=tmp_path / "gone"))


def test_data_set_without_any_split_is_a_problem(tmp_path: Path) -> None:
    write_folder(tmp_path)
    shutil.rmtree(tmp_path / "images")
    assert report_of(tmp_path).problems == ("folder has no split.",)


def test_classes_that_cannot_be_read_end_the_check(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"manifest\.json is missing"):
        report_of(tmp_path)


def test_absent_class_and_repeated_image_are_notes(tmp_path: Path) -> None:
    root = write_folder(tmp_path, classes=("sky", "road", "car", "bus"))
    for name in "abc":
        save(root / "masks" / "train" / f"{name}.png", labels(name, 20, 30, (0, 1, 2)))
    shutil.copy(root / "images" / "train" / "a.jpg", root / "images" / "train" / "b.jpg")
    report = report_of(root)
    assert report.problems == ()
    assert report.notes == ("train: no pixel of bus.", "2 images are pixel for pixel the same: train/a, train/b.")


def test_split_of_void_alone_is_a_problem(tmp_path: Path) -> None:
    root = write_folder(tmp_path)
    for name in "de":
        save(root / "masks" / "test" / f"{name}.png", np.full((20, 30), 255, dtype=np.uint8))
    assert report_of(root).problems == (
        "test: every pixel is void, so there is nothing to learn or to evaluate.",
    )  # fmt: skip


def test_render_shows_sizes_and_class_frequencies(tmp_path: Path) -> None:
    root = write_folder(tmp_path, splits={"train": ("a", "b")})
    save(root / "images" / "train" / "b.jpg", pixels("b", 40, 10))
    save(root / "masks" / "train" / "b.png", np.full((40, 10), 2, dtype=np.uint8))
    save(root / "masks" / "train" / "a.png", np.repeat(np.array([0, 1, 255], np.uint8), 200).reshape(20, 30))
    text = report_of(root).render()
    assert "train: 2 images, 2 sizes, 40 x 10 to 20 x 30; 1,000 pixels, 20.00 % void" in text
    rows = [line.split() for line in text.splitlines()]
    assert ["sky", "25.000", "1"] in rows and ["car", "50.000", "1"] in rows
    assert text.endswith("no problems")


def test_progress_counts_every_image_of_every_split() -> None:
    seen: list[tuple[str, int, int]] = []
    check(Scenes(num_train=2, num_val=0, num_test=1), ("train", "test"), lambda *step: seen.append(step))
    assert seen == [("train", 1, 2), ("train", 2, 2), ("test", 1, 1)]
