"""Cityscapes, VOC, CamVid and folder are read from their layouts, and every broken layout is a clear error."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.layouts import (
    CAMVID_IDS,
    VOC_SIZES,
    labels,
    pixels,
    save,
    write_camvid,
    write_cityscapes,
    write_folder,
    write_voc,
)

from quadrat.benchmark.data import VOID, Dataset, Item, load_dataset, pack
from quadrat.benchmark.data.dataset import decode
from quadrat.benchmark.data.loaders.camvid import CamVid
from quadrat.benchmark.data.loaders.cityscapes import Cityscapes
from quadrat.benchmark.data.loaders.folder import Folder
from quadrat.benchmark.data.loaders.pairs import FileDataset
from quadrat.benchmark.data.loaders.voc import Voc, voc_colours
from quadrat.benchmark.errors import DataError

WRITERS: dict[type[FileDataset], Callable[[Path], Path]] = {
    Cityscapes: write_cityscapes,
    Voc: write_voc,
    CamVid: write_camvid,
    Folder: write_folder,
}
EVERY = pytest.mark.parametrize("kind", WRITERS, ids=lambda kind: kind.name)


def written(kind: type[FileDataset], root: Path) -> Any:
    return kind(root=WRITERS[kind](root))


@EVERY
def test_layout_is_read_and_every_pair_decodes(kind: type[FileDataset], tmp_path: Path) -> None:
    dataset = written(kind, tmp_path)
    assert isinstance(dataset, Dataset)
    assert len(dataset.classes) == len(dataset.colours) == len(set(dataset.classes)) == len(set(dataset.colours))
    for split in dataset.splits:
        items = dataset.items(split)
        assert len({item.id for item in items}) == len(items) > 0
        for item in items:
            assert isinstance(item, Item)
            image, mask = decode(item, len(dataset.classes))
            assert image.shape == (*mask.shape, 3)
            assert VOID in mask


@EVERY
def test_params_are_json_and_hold_the_root(kind: type[FileDataset], tmp_path: Path) -> None:
    dataset = written(kind, tmp_path)
    assert json.loads(json.dumps(dataset.params())) == dataset.params()
    assert dataset.params()["root"] == str(tmp_path)


def test_cityscapes_turns_34_raw_ids_into_19_classes(tmp_path: Path) -> None:
    """Reference: `trainId` of the official label table, written out here by name."""
    official = {
        "road": 7, "sidewalk": 8, "building": 11, "wall": 12, "fence": 13, "pole": 17, "traffic light": 19,
        "traffic sign": 20, "vegetation": 21, "terrain": 22, "sky": 23, "person": 24, "rider": 25, "car": 26,
        "truck": 27, "bus": 28, "train": 31, "motorcycle": 32, "bicycle": 33,
    }  # fmt: skip
    dataset = written(Cityscapes, tmp_path)
    assert dataset.classes == tuple(official)
    item = dataset.items("train")[0]
    raw, mask = np.array(Image.open(item.mask)), item.read_mask()
    for raw_id in range(34):
        name = next((name for name, value in official.items() if value == raw_id), None)
        expected = VOID if name is None else dataset.classes.index(name)
        assert (raw == raw_id).any() and (mask[raw == raw_id] == expected).all()


def test_cityscapes_reads_all_cities_of_a_split_and_no_colour_files(tmp_path: Path) -> None:
    dataset = written(Cityscapes, tmp_path)
    assert dataset.splits == ("train", "val")
    names = [item.id for item in dataset.items("train")]
    assert names == [f"{city}_00000{number}_000019" for city in ("aachen", "bochum") for number in (0, 1)]


def test_cityscapes_refuses_its_test_split_and_says_what_to_take(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"labels of Cityscapes' split 'test' are not public. Report on 'val'"):
        written(Cityscapes, tmp_path).items("test")


def test_voc_reads_palette_indices_at_every_size_in_the_order_of_the_list(tmp_path: Path) -> None:
    dataset = written(Voc, tmp_path)
    assert dataset.splits == ("train", "trainval", "val") and len(dataset.classes) == 21
    items = dataset.items("train")
    assert [item.id for item in items] == list(VOC_SIZES)[:3]
    for item in items:
        height, width = VOC_SIZES[item.id]
        np.testing.assert_array_equal(item.read_mask(), labels(item.id, height, width, (*range(21), 255)))


def test_voc_palette_is_the_official_one() -> None:
    """Golden: aeroplane, bicycle, person and tvmonitor of the development kit's colour map."""
    official = {0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0), 15: (192, 128, 128), 20: (0, 64, 128)}
    assert {index: voc_colours(21)[index] for index in official} == official


@pytest.mark.parametrize("inside", [".", "VOCdevkit/VOC2012", "VOC2012"])
def test_voc_is_found_below_the_root_as_its_archive_unpacks(inside: str, tmp_path: Path) -> None:
    write_voc(tmp_path / inside)
    assert len(Voc(root=tmp_path).items("val")) == 1


def test_voc_layout_takes_class_names_from_a_file_and_needs_no_background(tmp_path: Path) -> None:
    write_voc(tmp_path, values=(0, 1, 2, 255))
    (tmp_path / "names.txt").write_text("grass\nwater\n\nrock\n")
    dataset = load_dataset("voc", tmp_path, class_file="names.txt")
    assert dataset.classes == ("grass", "water", "rock") and len(dataset.colours) == 3
    assert len(pack(dataset, "train", tmp_path / "cache").classes) == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [(None, "names.txt is missing: expected class names, one a line"), ("grass\ngrass\n", "different class names"),
     ("grass\n", "2 to 255 different class names, one a line, got 1")],
)  # fmt: skip
def test_voc_class_file_that_names_no_classes_is_an_error(text: str | None, message: str, tmp_path: Path) -> None:
    write_voc(tmp_path)
    if text is not None:
        (tmp_path / "names.txt").write_text(text)
    with pytest.raises(DataError, match=message):
        Voc(root=tmp_path, class_file="names.txt").items("train")


def test_voc_reads_masks_of_another_folder(tmp_path: Path) -> None:
    (write_voc(tmp_path) / "SegmentationClass").rename(tmp_path / "SegmentationClassAug")
    assert len(Voc(root=tmp_path, masks="SegmentationClassAug").items("train")) == 3


def test_voc_list_with_an_id_twice_is_an_error(tmp_path: Path) -> None:
    write_voc(tmp_path)
    with open(tmp_path / "ImageSets" / "Segmentation" / "val.txt", "a") as file:
        file.write("2007_000033\n")
    with pytest.raises(DataError, match=r"val.txt lists 1 ids more than once: 2007_000033"):
        Voc(root=tmp_path).items("val")


def test_camvid_reads_id_11_as_void(tmp_path: Path) -> None:
    dataset = written(CamVid, tmp_path)
    assert dataset.splits == ("train", "val", "test")
    for item in dataset.items("train"):
        raw, mask = np.array(Image.open(item.mask)), item.read_mask()
        assert (mask[raw == 11] == VOID).all() and (mask[raw < 11] == raw[raw < 11]).all()


def test_camvid_in_the_generic_layout_packs_to_the_same_fingerprint(tmp_path: Path) -> None:
    segnet, generic = written(CamVid, tmp_path / "segnet"), tmp_path / "generic"
    for split, names in CAMVID_IDS.items():
        for name, item in zip(names, segnet.items(split), strict=True):
            save(generic / "images" / split / f"{name}.png", item.read_image())
            save(generic / "masks" / split / f"{name}.png", item.read_mask(), palette=True)
    (generic / "manifest.json").write_text(json.dumps({"classes": list(segnet.classes), "splits": CAMVID_IDS}))
    again = CamVid(root=generic)
    assert again.splits == segnet.splits
    for split in segnet.splits:
        packed = [pack(dataset, split, tmp_path / "cache") for dataset in (segnet, again)]
        assert packed[0].fingerprint == packed[1].fingerprint


def test_camvid_with_other_classes_in_its_manifest_is_an_error(tmp_path: Path) -> None:
    write_folder(tmp_path)
    with pytest.raises(DataError, match=r"names the classes sky, road, car; expected CamVid's sky, building"):
        CamVid(root=tmp_path).items("train")


def test_folder_follows_its_manifest_in_subset_order_and_colours(tmp_path: Path) -> None:
    colours = [[1, 2, 3], [4, 5, 6], [7, 8, 9]]
    write_folder(tmp_path, colours=colours)
    manifest = tmp_path / "manifest.json"
    manifest.write_text(
        json.dumps({**json.loads(manifest.read_text()), "splits": {"train": ["c", "a"], "test": ["d"]}})
    )
    dataset = Folder(root=tmp_path)
    assert dataset.splits == ("train", "test") and dataset.colours == ((1, 2, 3), (4, 5, 6), (7, 8, 9))
    assert [item.id for item in dataset.items("train")] == ["c", "a"]


def test_folder_reads_further_values_as_void(tmp_path: Path) -> None:
    write_folder(tmp_path, void=[9])
    save(tmp_path / "masks" / "train" / "a.png", labels("a", 20, 30, (0, 1, 2, 9)))
    item = Folder(root=tmp_path).items("train")[0]
    raw, mask = np.array(Image.open(item.mask)), item.read_mask()
    assert ((mask == VOID) == (raw == 9)).all() and (raw == 9).any()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r'manifest.json is missing: it names the classes, e.g. {"classes"'),
        ("{", r"manifest.json is not JSON"),
        ("[]", r"expected a mapping, e\.g\. .* got \[\]"),
        ('{"classes": ["sky"]}', r"2 to 255 different names, got \['sky'\]"),
        ('{"classes": ["sky", "sky"]}', r"different names"),
        ('{"classes": ["sky", "road"], "colours": [[1, 2, 3]]}', r"'colours' as a list of 2 \[r, g, b\].*got \[\[1"),
        ('{"classes": ["sky", "road"], "splits": {"train": ["a", "a"]}}', r"'splits' as a mapping .* none twice"),
        (
            '{"classes": ["sky", "road"], "void": [70000]}',
            r"'void' as a list of mask values from 0 to 65535 .*got \[70000\]",
        ),
    ],
)
def test_folder_with_a_wrong_manifest_says_what_it_needs(text: str | None, message: str, tmp_path: Path) -> None:
    write_folder(tmp_path)
    (tmp_path / "manifest.json").unlink()
    if text is not None:
        (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(DataError, match=message):
        Folder(root=tmp_path).items("train")


@EVERY
def test_missing_root_shows_the_expected_layout(kind: type[FileDataset], tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"{kind.name}: no folder at {tmp_path}/gone. Expected one with .*/"):
        kind(root=tmp_path / "gone").items("train")


@EVERY
def test_unknown_split_names_the_known_ones(kind: type[FileDataset], tmp_path: Path) -> None:
    dataset = written(kind, tmp_path)
    with pytest.raises(DataError, match=rf"has no split 'dev'; there is {', '.join(dataset.splits)}"):
        dataset.items("dev")


@EVERY
def test_folder_of_another_layout_shows_the_expected_one(kind: type[FileDataset], tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"classes": ["sky", "road"]}')
    root = tmp_path if kind is Folder else tmp_path / "images"
    root.mkdir(exist_ok=True)
    with pytest.raises(DataError, match=r"has no split 'train'; there is none\. Expected .*/"):
        kind(root=root).items("train")


def test_mask_of_one_bit_is_read_as_ids(tmp_path: Path) -> None:
    root = write_camvid(tmp_path)
    item = CamVid(root=root).items("train")[0]
    Image.fromarray(np.eye(24, 36, dtype=bool)).save(item.mask)
    np.testing.assert_array_equal(item.read_mask(), np.eye(24, 36, dtype=np.uint8))


def empty(dataset: Any) -> None:
    """Remove every file of split `train` and leave the folders and lists."""
    if isinstance(dataset, Voc):
        (dataset.root / "ImageSets" / "Segmentation" / "train.txt").write_text("")
        return
    for item in dataset.items("train"):
        item.image.unlink()
        item.mask.unlink()
        for other in item.mask.parent.glob(f"{item.id}*"):
            other.unlink()


@EVERY
def test_empty_split_is_an_error(kind: type[FileDataset], tmp_path: Path) -> None:
    dataset = written(kind, tmp_path)
    empty(dataset)
    with pytest.raises(DataError, match=rf"split 'train' of {kind.name} in {tmp_path} is empty"):
        dataset.items("train")


@EVERY
def test_image_without_mask_names_both_files_and_how_many(kind: type[FileDataset], tmp_path: Path) -> None:
    dataset = written(kind, tmp_path)
    items = dataset.items("train")
    items[1].mask.unlink()
    message = rf"1 of {len(items)} pairs lack a file(.|\n)*image {items[1].image} has no mask: expected {items[1].mask}"
    with pytest.raises(DataError, match=message):
        dataset.items("train")


@EVERY
def test_mask_without_image_is_an_error_too(kind: type[FileDataset], tmp_path: Path) -> None:
    dataset = written(kind, tmp_path)
    mask = dataset.items("train")[0].mask
    dataset.items("train")[0].image.unlink()
    with pytest.raises(DataError, match=f"mask {mask} has no image: expected "):
        dataset.items("train")


@EVERY
def test_mask_of_another_size_names_both_sizes(kind: type[FileDataset], tmp_path: Path) -> None:
    dataset = written(kind, tmp_path)
    item = dataset.items("train")[0]
    height, width = item.read_mask().shape
    save(item.mask, np.zeros((height + 1, width), dtype=np.uint8))
    message = rf"{item.id} .*mask is {height + 1} x {width} \(height x width\) but the image is {height} x {width}"
    with pytest.raises(DataError, match=message):
        pack(dataset, "train", tmp_path / "cache")


@EVERY
def test_class_id_out_of_range_names_the_ids_and_the_file(kind: type[FileDataset], tmp_path: Path) -> None:
    dataset = written(kind, tmp_path)
    item = dataset.items("train")[0]
    height, width = item.read_mask().shape
    save(item.mask, labels("x", height, width, (0, 1, 77)))
    last = {Cityscapes: 33, Voc: 20, CamVid: 11, Folder: 2}[kind]
    message = rf"{item.mask}.*: \d+ (mask )?pixels hold ids that are no class: \[77\].*0 to {last}\b.*255"
    with pytest.raises(DataError, match=message):
        pack(dataset, "train", tmp_path / "cache")


@pytest.mark.parametrize("what", ["image", "mask"])
@pytest.mark.parametrize("how", ["cut", "text", "empty", "garbled"])
@EVERY
def test_corrupt_file_is_named(kind: type[FileDataset], how: str, what: str, tmp_path: Path) -> None:
    dataset = written(kind, tmp_path)
    path = getattr(dataset.items("train")[0], what)
    data = path.read_bytes()
    garbled = data[:40] + bytes(255 - byte for byte in data[40:])
    path.write_bytes({"cut": data[: len(data) // 2], "text": b"no image", "empty": b"", "garbled": garbled}[how])
    with pytest.raises(
        DataError, match=rf"{path} (cannot be read as an image \(|is empty \(0).*Replace it by an intact copy"
    ):
        pack(dataset, "train", tmp_path / "cache")
    assert not [path for path in (tmp_path / "cache" / "packed").iterdir() if not path.name.endswith(".lock")]


def test_colour_coded_mask_is_an_error_that_says_so(tmp_path: Path) -> None:
    dataset = written(Folder, tmp_path)
    save(tmp_path / "masks" / "train" / "a.png", pixels("a", 20, 30))
    with pytest.raises(DataError, match=r"a.png: expected a mask of one channel whose values are ids, got colours"):
        pack(dataset, "train", tmp_path / "cache")


def test_image_of_sixteen_bits_is_an_error_and_grey_becomes_rgb(tmp_path: Path) -> None:
    write_folder(tmp_path, splits={"train": ("g",)})
    (tmp_path / "images" / "train" / "g.jpg").unlink()
    path = save(tmp_path / "images" / "train" / "g.png", np.full((20, 30), 7, dtype=np.uint8))
    assert Folder(root=tmp_path).items("train")[0].read_image().tolist() == [[[7, 7, 7]] * 30] * 20
    Image.fromarray(np.full((20, 30), 70, dtype=np.uint16)).save(path)
    with pytest.raises(DataError, match=r"g.png: expected 8 bits a channel, got 16 bits"):
        Folder(root=tmp_path).items("train")[0].read_image()


def test_two_images_with_one_id_are_an_error(tmp_path: Path) -> None:
    dataset = written(Folder, tmp_path)
    shutil.copy(tmp_path / "images" / "train" / "a.jpg", tmp_path / "images" / "train" / "a.jpeg")
    with pytest.raises(DataError, match=r"a.jpeg and a.jpg have the same id 'a'. Remove one"):
        dataset.items("train")
