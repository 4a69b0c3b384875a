"""`check` counts exactly and finds all problems, not only the first."""

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from support.fake_trials import make_suite
from support.layouts import VOC_SIZES, labels, pixels, save, write_cityscapes, write_folder, write_voc

from quadrat.benchmark.data import Item, Report, check
from quadrat.benchmark.data.check import glance
from quadrat.benchmark.data.inspection import Inspected, inspect_item
from quadrat.benchmark.data.loaders.cityscapes import Cityscapes
from quadrat.benchmark.data.loaders.folder import Folder
from quadrat.benchmark.data.loaders.scenes import Scenes
from quadrat.benchmark.data.loaders.voc import Voc
from quadrat.benchmark.errors import DataError
from quadrat.benchmark.trial.data import open_data

SPLITS = {"train": tuple("abcdef"), "test": ("x", "y")}


def report_of(root: Path) -> Report:
    return check(Folder(root=root))


def test_a_valid_data_set_has_no_problems_and_exact_counts() -> None:
    scenes = Scenes(num_train=40, num_val=1, num_test=12, height=40, width=48)
    report = check(scenes, ("train", "test"))
    assert report.problems == () and [split.split for split in report.splits] == ["train", "test"]
    masks = [item.read_mask() for item in scenes.items("train")]
    train, counts = report.splits[0], report.splits[0].statistics
    assert train.num_images == train.sizes.total() == 40
    assert counts.void_px == sum((mask == 255).sum() for mask in masks)
    assert counts.num_px == sum(mask.size for mask in masks)
    for class_id in range(len(scenes.classes)):
        assert counts.class_px[class_id] == sum((mask == class_id).sum() for mask in masks)
        assert counts.class_images[class_id] == sum((mask == class_id).any() for mask in masks)


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
    (problem,) = report_of(tmp_path).problems
    assert problem.startswith("folder has no split. Expected images/{split}/{id}.*")


def test_classes_that_cannot_be_read_end_the_check(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"manifest\.json is missing"):
        report_of(tmp_path)


def test_repeated_image_of_one_split_is_a_note(tmp_path: Path) -> None:
    root = write_folder(tmp_path)
    shutil.copy(root / "images" / "train" / "a.jpg", root / "images" / "train" / "b.jpg")
    report = report_of(root)
    assert report.problems == ()
    assert report.notes == ("2 images are pixel for pixel the same: train/a, train/b.",)


def write_masks(root: Path, values: Sequence[int], *, classes: Sequence[str], **manifest: object) -> Path:
    """Write a data set whose masks hold exactly `values`, in stripes of equal width."""
    write_folder(root, classes=classes, **manifest)
    for path in sorted((root / "masks").rglob("*.png")):
        save(path, labels(path.stem, 20, 30, values))
    return root


IDS = '"ids": {"0": "background", "255": "cell"} in manifest.json'
SHIFTED = '"ids": {"0": "void", "1-4": "0-3"} in manifest.json'
FOUR = ("sky", "road", "car", "bus")


@pytest.mark.parametrize(
    ("classes", "values", "expected"),
    [
        (("background", "cell"), (0, 255), ("every labelled pixel is 'background' (50 % are void)", IDS)),
        (("background", "cell"), (255,), ("every pixel is void", IDS)),
        (
            FOUR,
            (2,),
            (
                "every labelled pixel is 'car'",
                "Are these the classes of these masks",
            ),
        ),
        (FOUR, (0, 1, 255), ("2 of 4 classes never occur: car, bus", SHIFTED)),
        (FOUR, (0, 1, 2), ("no pixel of bus", SHIFTED)),
        (FOUR, (1, 2, 3, 4), ("ids that are no class: [4]", SHIFTED.removesuffix(" in manifest.json"))),
        (FOUR, (0, 1, 2, 3, 255, 255, 255, 255, 255, 255), ("60 % of the pixels are void", '"255": "NAME"')),
    ],
    ids=["0-255", "void", "one", "few", "one-absent", "from-1", "mostly-void"],
)
def test_masks_that_mean_something_else_are_problems_with_the_line_to_write(
    classes: Sequence[str], values: Sequence[int], expected: Sequence[str], tmp_path: Path
) -> None:
    report = report_of(write_masks(tmp_path, values, classes=classes))
    for split in ("train", "test"):
        of_split = " ".join(problem for problem in report.problems if problem.startswith(split))
        assert all(text in of_split for text in expected), of_split
    assert not report.notes


def test_the_line_that_the_check_says_makes_masks_of_0_and_255_right(tmp_path: Path) -> None:
    """The right values: stripes of equal width, so half of the pixels are cells; as read today none is."""
    ids = {"0": "background", "255": "cell"}
    root = write_masks(tmp_path, (0, 255), classes=("background", "cell"), ids=ids)
    report = report_of(root)
    assert report.problems == ()
    for split in report.splits:
        half = split.statistics.num_px // 2
        assert split.statistics.class_px.tolist() == [half, half] and split.statistics.void_px == 0


def test_ids_that_begin_at_1_become_classes_with_the_line_that_the_check_says(tmp_path: Path) -> None:
    root = write_masks(tmp_path, (0, 1, 2, 3, 4), classes=FOUR, ids={"0": "void", "1-4": "0-3"})
    report = report_of(root)
    assert report.problems == ()
    for split in report.splits:
        fifth = split.statistics.num_px // 5
        assert split.statistics.class_px.tolist() == [fifth] * 4 and split.statistics.void_px == fifth


def test_a_data_set_that_reads_no_ids_is_told_to_map_them_in_its_loader() -> None:
    (problem,) = check(Scenes(num_train=1), ("train",)).problems
    assert "no pixel of" in problem and "the loader of 'scenes' has to say so" in problem


def test_a_few_masks_show_what_the_whole_check_says_of_void_and_of_one_class(tmp_path: Path) -> None:
    splits = {"train": [f"{number:02d}" for number in range(20)], "test": ["x"]}
    write_folder(tmp_path, splits=splits, classes=("background", "cell"))
    for path in (tmp_path / "masks").rglob("*.png"):
        save(path, labels("a", 20, 30, (0, 255)))
    dataset = Folder(root=tmp_path)
    (warning,) = glance(dataset, "train")
    assert warning.startswith("train (8 of 20 images): every labelled pixel is 'background'") and IDS in warning
    (warning,) = glance(dataset, "test")
    assert warning.startswith("test: every labelled pixel")
    assert glance(Folder(root=write_folder(tmp_path / "good")), "train") == ()


def test_the_official_layout_of_voc_is_no_problem_and_its_images_are_decoded_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`trainval.txt` names the images of `train.txt` and `val.txt`: 2,913 problems on VOC 2012 before."""
    decoded: list[str] = []

    def inspect(item: Item, num_classes: int) -> Inspected:
        decoded.append(item.id)
        return inspect_item(item, num_classes)

    monkeypatch.setattr(sys.modules[check.__module__], "inspect_item", inspect)
    report = check(Voc(root=write_voc(tmp_path)))
    assert report.problems == ()
    assert report.notes == (
        "every image of train is in trainval too: a run takes only one of them.",
        "every image of val is in trainval too: a run takes only one of them.",
    )
    assert sorted(decoded) == sorted(VOC_SIZES)
    by_name = {split.split: split for split in report.splits}
    assert by_name["trainval"].num_images == 4
    for count in ("class_px", "class_images"):
        parts = [getattr(by_name[name].statistics, count) for name in ("train", "val")]
        np.testing.assert_array_equal(getattr(by_name["trainval"].statistics, count), np.sum(parts, axis=0))


def test_a_broken_image_of_several_lists_is_one_problem(tmp_path: Path) -> None:
    root = write_voc(tmp_path)
    (root / "SegmentationClass" / "2007_000032.png").write_bytes(b"no image")
    report = check(Voc(root=root))
    assert len([problem for problem in report.problems if "cannot be read" in problem]) == 1
    assert {split.split: split.num_images for split in report.splits} == {"train": 2, "trainval": 3, "val": 1}


def test_lists_that_share_some_of_their_images_are_a_problem(tmp_path: Path) -> None:
    root = write_voc(tmp_path)
    lists = root / "ImageSets" / "Segmentation"
    (lists / "trainval.txt").unlink()
    (lists / "val.txt").write_text("2007_000033\n2007_000032\n")
    (problem,) = check(Voc(root=root)).problems
    assert problem == "train and val list 1 images in common. Results would be too good."


def test_findings_are_grouped_by_kind_with_counts_and_three_examples_worst_first(tmp_path: Path) -> None:
    names = [f"{number:02d}" for number in range(12)]
    root = write_folder(tmp_path, splits={"train": names, "test": ["x", "y"]}, classes=("sky", "road", "car", "bus"))
    for name in names[:10]:
        (root / "masks" / "train" / f"{name}.png").unlink()
    save(root / "masks" / "train" / "10.png", labels("d", 20, 30, (0, 1, 9)))
    shutil.copy(root / "images" / "test" / "x.jpg", root / "images" / "test" / "y.jpg")
    for name in "xy":
        save(root / "masks" / "test" / f"{name}.png", labels("d", 20, 30, (0, 1, 2)))
    report = report_of(root)
    lines = report.render().splitlines()
    heads = [line for line in lines if line.startswith(("error", "problem", "note"))]
    assert heads[0] == "error: missing files (10)"
    at = lines.index(heads[0])
    assert all(line.startswith("  train: ") and line.endswith("is missing.") for line in lines[at + 1 : at + 4])
    assert lines[at + 4] == "  ... and 7 more"
    assert heads[1].startswith("error: train: 10 (image") and "no class: [9]" in heads[1]
    assert heads[2].startswith("problem: test: no pixel of bus")
    assert heads[3:] == ["note: 2 images are pixel for pixel the same: test/x, test/y."]
    assert lines[-1] == f"{len(report.problems)} problems" == "12 problems"


def test_a_part_of_a_split_is_checked_with_its_missing_files(tmp_path: Path) -> None:
    root = write_folder(tmp_path)
    (root / "masks" / "train" / "a.png").unlink()
    assert check(Folder(root=root), ["train[!a]"]).problems == ()
    (problem,) = (text for text in check(Folder(root=root), ["train[a]"]).problems if "missing" in text)
    assert "a.png is missing" in problem


@pytest.mark.parametrize("damage", ["missing", "broken", "nan", "infinite"])
def test_polygons_that_a_run_would_refuse_are_found_by_check_and_pack(damage: str, tmp_path: Path) -> None:
    root = write_cityscapes(tmp_path / "root")
    path = min((root / "gtFine" / "train").rglob("*_polygons.json"))
    if damage == "missing":
        path.unlink()
    else:
        number = {"broken": '"x"', "nan": "NaN", "infinite": "1e400"}[damage]
        path.write_text(path.read_text().replace("[4, 4]", f"[{number}, 4]"))
    problems = [text for text in check(Cityscapes(root=root)).problems if "olygons" in text]
    expected = "got none for 1 of them" if damage == "missing" else f"{path.name}: expected Cityscapes' polygons"
    assert len(problems) == 1 and expected in problems[0]
    suite = make_suite(dataset={"name": "cityscapes", "root": str(root), "test": "val"}, region_size=8)
    with pytest.raises(DataError, match=expected):
        open_data(suite, tmp_path / "cache")


def test_a_region_larger_than_an_image_is_refused_when_packing(tmp_path: Path) -> None:
    write_folder(tmp_path / "root")
    suite = make_suite(dataset={"name": "folder", "root": str(tmp_path / "root")}, region_size=[16, 24])
    with pytest.raises(DataError, match="region size 24 is larger than"):
        open_data(suite, tmp_path / "cache")


def test_render_shows_sizes_and_class_frequencies(tmp_path: Path) -> None:
    root = write_folder(tmp_path, splits={"train": ("a", "b")})
    save(root / "images" / "train" / "b.jpg", pixels("b", 40, 10))
    save(root / "masks" / "train" / "b.png", np.full((40, 10), 2, dtype=np.uint8))
    save(root / "masks" / "train" / "a.png", np.repeat(np.array([0, 1, 255], np.uint8), 200).reshape(20, 30))
    text = report_of(root).render()
    assert "train: 2 images, 2 sizes, 40 x 10 to 20 x 30; 1,000 pixels, 20.00 % void" in text
    rows = [line.split() for line in text.splitlines()]
    assert ["class", "mask", "value", "%", "of", "labelled", "pixels", "images"] in rows
    assert ["sky", "0", "25.000", "1"] in rows and ["car", "2", "50.000", "1"] in rows
    assert text.endswith("no problems")


def test_progress_counts_every_image_of_every_split() -> None:
    seen: list[tuple[str, int, int]] = []
    check(Scenes(num_train=2, num_val=0, num_test=1), ("train", "test"), lambda *step: seen.append(step))
    assert seen == [("train", 1, 2), ("train", 2, 2), ("test", 1, 1)]
