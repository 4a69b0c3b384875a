"""Cityscapes in its official layout, with its 34 raw ids mapped to the 19 classes of its benchmark."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt

from quadrat.benchmark.data.dataset import VOID, Published
from quadrat.benchmark.data.loaders.pairs import FileDataset, FilePair, files_by_id
from quadrat.benchmark.data.loaders.user_files import read_json, visible_entries
from quadrat.benchmark.errors import DataError

__all__ = ["Cityscapes", "CityscapesPair"]

SPLITS: Final = ("train", "val")
IMAGE_ENDING: Final = "_leftImg8bit"
MASK_ENDING: Final = "_gtFine_labelIds"
POLYGONS_ENDING: Final = "_gtFine_polygons.json"

MAX_COORDINATE: Final = 10**6
"""Points of polygons may lie outside the image, but not that far."""

# Raw id of each class, from the data set's own label table (cityscapesScripts, helpers/labels.py); all others are void.
RAW_IDS: Final = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
CLASS_OF: Final = {raw: RAW_IDS.index(raw) if raw in RAW_IDS else VOID for raw in range(34)}


@dataclass(frozen=True, kw_only=True)
class CityscapesPair(FilePair):
    """An image, its mask, and the polygons of its annotators, whose vertices `quadrat.benchmark.data.clicks` counts.

    Attributes:
        polygons: File of the polygons, or None where it does not exist.
    """

    polygons: Path | None

    @property
    def has_outlines(self) -> bool:
        """Whether the file of polygons exists."""
        return self.polygons is not None

    def stamp(self) -> str:
        """Return size and modification time (ns) of all files: clicks are counted from the polygons."""
        if self.polygons is None:
            return super().stamp()
        stat = self.polygons.stat()
        return f"{super().stamp()};{stat.st_size},{stat.st_mtime_ns}"

    def outline_vertices(self) -> npt.NDArray[np.int64]:
        """Return the vertices of all polygons (void objects included, deleted ones not); see `clicks.Outlined`."""
        if self.polygons is None:
            raise DataError(f"{self}: expected a file *{POLYGONS_ENDING} beside the mask, got none")
        try:
            objects = read_json(self.polygons, "Cityscapes' polygons")["objects"]
            points = [point for drawn in objects if not drawn.get("deleted") for point in drawn["polygon"]]
            vertices = np.array(points, dtype=np.float64).reshape(-1, 2)
            if not (np.abs(vertices) < MAX_COORDINATE).all():  # not of NaN either
                raise ValueError("a point that is no number, or far outside any image")
            return vertices.astype(np.int64)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"{self.polygons}: expected Cityscapes' polygons (objects with a polygon of points), got {error!r}. "
                "Replace it by an intact copy",
                kind="polygons that cannot be read",
            ) from error


@dataclass(frozen=True, kw_only=True)
class Cityscapes(FileDataset):
    """Cityscapes (Cordts et al. 2016): 2975 / 500 street scenes of 2048 x 1024, 19 classes.

    Read from `leftImg8bit/<split>/<city>/*_leftImg8bit.png` and `gtFine/<split>/<city>/*_gtFine_labelIds.png`. The
    labels of the official test split are not public: report on `val`, as the paper does. The files
    `*_gtFine_polygons.json` beside the masks, if present, give the annotation cost in clicks.

    Attributes:
        root: Folder with `leftImg8bit/` and `gtFine/`.
    """

    name: ClassVar[str] = "cityscapes"
    published: ClassVar[Published] = Published({"train": 2975, "val": 500}, height=1024, width=2048, num_classes=19)
    layout: ClassVar[str] = "leftImg8bit/<split>/<city>/ and gtFine/<split>/<city>/"
    classes: ClassVar[tuple[str, ...]] = (
        "road",
        "sidewalk",
        "building",
        "wall",
        "fence",
        "pole",
        "traffic light",
        "traffic sign",
        "vegetation",
        "terrain",
        "sky",
        "person",
        "rider",
        "car",
        "truck",
        "bus",
        "train",
        "motorcycle",
        "bicycle",
    )
    colours: ClassVar[tuple[tuple[int, int, int], ...]] = (
        (128, 64, 128),
        (244, 35, 232),
        (70, 70, 70),
        (102, 102, 156),
        (190, 153, 153),
        (153, 153, 153),
        (250, 170, 30),
        (220, 220, 0),
        (107, 142, 35),
        (152, 251, 152),
        (70, 130, 180),
        (220, 20, 60),
        (255, 0, 0),
        (0, 0, 142),
        (0, 0, 70),
        (0, 60, 100),
        (0, 80, 100),
        (0, 0, 230),
        (119, 11, 32),
    )

    @property
    def splits(self) -> tuple[str, ...]:
        """The available splits with public labels."""
        return tuple(split for split in SPLITS if (self.root / "leftImg8bit" / split).is_dir())

    def pairs(self, split: str) -> Sequence[CityscapesPair]:
        """Return the pairs of `split`; see `FileDataset.pairs`."""
        if split == "test":
            raise DataError("the labels of Cityscapes' split 'test' are not public. Report on 'val' (test: val).")
        self.require_split(split)
        images, masks = self.root / "leftImg8bit" / split, self.root / "gtFine" / split
        cities = {path.name for folder in (images, masks) for path in visible_entries(folder) if path.is_dir()}
        pairs: list[CityscapesPair] = []
        for city in ("", *sorted(cities)):  # "": files that lie in the folder of the split itself
            image_of = files_by_id(images / city, (".png",), IMAGE_ENDING)
            mask_of = files_by_id(masks / city, (".png",), MASK_ENDING)
            for name in sorted(image_of.keys() | mask_of.keys()):
                image = image_of.get(name, images / city / f"{name}{IMAGE_ENDING}.png")
                mask = mask_of.get(name, masks / city / f"{name}{MASK_ENDING}.png")
                polygons = masks / city / f"{name}{POLYGONS_ENDING}"
                existing = polygons if polygons.is_file() else None
                pairs.append(CityscapesPair(id=name, image=image, mask=mask, class_of=CLASS_OF, polygons=existing))
        return pairs
