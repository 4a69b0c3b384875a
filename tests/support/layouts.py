"""Tiny data sets in the exact layouts that users have on disk: Cityscapes, VOC 2012, SegNet's CamVid, folder."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from quadrat.benchmark.data.loaders.voc import voc_colours

Array = npt.NDArray[np.uint8]

CITIES = {"train": ("aachen", "bochum"), "val": ("frankfurt",), "test": ("berlin",)}
CAMVID_IDS = {
    "train": ("0001TP_006690", "0006R0_f00930", "0016E5_00390"),
    "val": ("0016E5_07959",),
    "test": ("0001TP_008550", "Seq05VD_f00000"),
}
VOC_SIZES = {"2007_000032": (20, 33), "2007_000039": (25, 33), "2007_000063": (33, 24), "2007_000033": (24, 33)}


def pixels(name: str, height: int, width: int) -> Array:
    """Return an image that depends on `name` alone, uint8 (H, W, 3)."""
    rng = np.random.default_rng(list(name.encode()))
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


def labels(name: str, height: int, width: int, values: Sequence[int]) -> Array:
    """Return a mask of vertical stripes that holds every one of `values`, shifted by `name`, uint8 (H, W)."""
    stripes = (np.arange(width) + sum(name.encode())) * len(values) // width % len(values)
    return np.tile(np.array(values, dtype=np.uint8)[stripes], (height, 1))


def save(path: Path, array: Array, palette: bool = False) -> Path:
    """Write `array` as the image file `path`, a mask with VOC's palette if asked for."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(array)
    if palette:
        picture.putpalette([part for colour in voc_colours(256) for part in colour])
    picture.save(path)
    return path


def polygons(height: int, width: int) -> dict[str, object]:
    """Return Cityscapes' polygons of one image: a road all over it, a car, a deleted object, a point outside."""
    road = [[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1]]
    car = [[4, 4], [9, 4], [9, 9], [4, 9], [-3, 6]]
    objects = [
        {"label": "road", "polygon": road},
        {"label": "car", "polygon": car},
        {"label": "person", "polygon": [[5, 5], [6, 6], [5, 6]], "deleted": 1},
    ]
    return {"imgHeight": height, "imgWidth": width, "objects": objects}


def write_cityscapes(root: Path, *, height: int = 16, width: int = 48, per_city: int = 2) -> Path:
    """Write `leftImg8bit/` and `gtFine/` with the files of the two official archives, polygons and colours included."""
    for split, cities in CITIES.items():
        for city in cities:
            for number in range(per_city):
                name = f"{city}_{number:06d}_000019"
                image = root / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png"
                save(image, pixels(name, height, width))
                # The masks of the test split are dummies: everything is raw id 0, void.
                raw_ids = range(34) if split != "test" else (0,)
                raw = labels(name, height, width, list(raw_ids))
                folder = root / "gtFine" / split / city
                save(folder / f"{name}_gtFine_labelIds.png", raw)
                save(folder / f"{name}_gtFine_instanceIds.png", raw)
                save(folder / f"{name}_gtFine_color.png", pixels(name, height, width))
                (folder / f"{name}_gtFine_polygons.json").write_text(json.dumps(polygons(height, width)))
    return root


def write_voc(root: Path, *, values: Sequence[int] = (*range(21), 255)) -> Path:
    """Write `JPEGImages/`, `SegmentationClass/` and `ImageSets/Segmentation/`, images of four sizes, palette masks."""
    for name, (height, width) in VOC_SIZES.items():
        save(root / "JPEGImages" / f"{name}.jpg", pixels(name, height, width))
        save(root / "SegmentationClass" / f"{name}.png", labels(name, height, width, values), palette=True)
    # Images without a segmentation mask are the larger part of JPEGImages.
    save(root / "JPEGImages" / "2007_000027.jpg", pixels("2007_000027", 20, 20))
    lists = root / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    names = list(VOC_SIZES)
    (lists / "train.txt").write_text("\n".join(names[:3]) + "\n")
    (lists / "val.txt").write_text(names[3] + "\n")
    (lists / "trainval.txt").write_text("\n".join(names) + "\n")
    return root


def write_camvid(root: Path, *, height: int = 24, width: int = 36) -> Path:
    """Write `train/ trainannot/ ...` as the SegNet tutorial has them: PNG images, id 11 is void."""
    for split, names in CAMVID_IDS.items():
        for name in names:
            save(root / split / f"{name}.png", pixels(name, height, width))
            save(root / f"{split}annot" / f"{name}.png", labels(name, height, width, range(12)))
    return root


def write_folder(
    root: Path,
    *,
    splits: Mapping[str, Sequence[str]] | None = None,
    classes: Sequence[str] = ("sky", "road", "car"),
    height: int = 20,
    width: int = 30,
    **manifest: object,
) -> Path:
    """Write the generic layout with a manifest of `classes` and whatever else is given."""
    for split, names in (splits or {"train": ("a", "b", "c"), "test": ("d", "e")}).items():
        for name in names:
            save(root / "images" / split / f"{name}.jpg", pixels(name, height, width))
            mask = labels(name, height, width, (*range(len(classes)), 255))
            save(root / "masks" / split / f"{name}.png", mask)
    root.mkdir(parents=True, exist_ok=True)
    (root / "manifest.json").write_text(json.dumps({"classes": list(classes), **manifest}))
    return root
