"""PASCAL VOC 2012 in its official layout, or any set of classes in that layout."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Final

from quadrat.benchmark.data.dataset import VOID, Published
from quadrat.benchmark.data.loaders.mask_values import distinct_colours, read_ids, require_class_names
from quadrat.benchmark.data.loaders.pairs import FileDataset, FilePair, files_by_id, match
from quadrat.benchmark.data.loaders.reading import IMAGE_SUFFIXES, MASK_SUFFIXES, palette_of
from quadrat.benchmark.data.loaders.user_files import read_ids_list, read_lines, visible_entries
from quadrat.benchmark.errors import DataError

__all__ = ["Voc", "voc_colours"]

CLASSES: Final = (
    "background",
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)


@dataclass(frozen=True, kw_only=True)
class Voc(FileDataset):
    """PASCAL VOC 2012 (Everingham et al. 2010): 1464 / 1449 photographs of up to 500 x 500, 20 objects and background.

    Masks are palette PNGs whose indices are class ids (255 = the border between objects, void). Images differ in size.

    Attributes:
        root: Folder with `JPEGImages/` (`VOCdevkit/VOC2012`), or one above it.
        masks: Folder of the masks; `SegmentationClassAug` for the extended annotations.
        class_file: File under the root with one class name a line, id 0 first; None means VOC's 21 classes.
        ids: Class of each raw id where masks hold other values, such as {0: background, 255: cell}; see `read_ids`.
    """

    masks: str = "SegmentationClass"
    class_file: str | None = None
    ids: Mapping[Any, Any] | None = None

    name: ClassVar[str] = "voc"
    # Sizes differ; most photographs are 500 x 375 or 375 x 500.
    published: ClassVar[Published] = Published({"train": 1464, "val": 1449}, height=375, width=500, num_classes=21)
    ids_in: ClassVar[str] = "dataset.params of the suite (for data check: --param)"
    layout: ClassVar[str] = "JPEGImages/, SegmentationClass/ and ImageSets/Segmentation/<split>.txt"

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """VOC's 21 classes, or those of `class_file`.

        Raises:
            DataError: When `class_file` is missing, names fewer than two classes, or one twice.
        """
        if self.class_file is None:
            return CLASSES
        path = self.folder / self.class_file
        names = tuple(read_lines(path, "class names, one a line, id 0 first"))
        if not 2 <= len(names) <= VOID or len(set(names)) < len(names):
            raise DataError(
                f"{path}: expected 2 to {VOID} different class names, one a line, got {len(names)}: {names}."
            )
        require_class_names(names, str(path))
        return names

    @cached_property
    def colours(self) -> tuple[tuple[int, int, int], ...]:
        """Colours of VOC's palette; of other classes those of the masks' own palette, or generated ones.

        VOC's first colour is black, for the background that other sets need not have.
        """
        if self.class_file is None:
            return voc_colours(len(CLASSES))
        first = next(iter(files_by_id(self.folder / self.masks, MASK_SUFFIXES).values()), None)
        palette = palette_of(first) if first is not None else None
        raw_of = {class_id: raw for raw, class_id in reversed(list(self.class_of.items()))}
        raws = [raw_of.get(class_id, VOID) for class_id in range(len(self.classes))]
        own = tuple(palette[raw] for raw in raws) if palette is not None and max(raws) < len(palette) else ()
        return own if len(set(own)) == len(self.classes) else distinct_colours(len(self.classes))

    @property
    def title(self) -> str:
        """The data set's own name: `voc`, or with other classes that of its folder."""
        return self.name if self.class_file is None else self.root.absolute().name

    @cached_property
    def class_of(self) -> Mapping[int, int]:
        """Class id of each raw id, void as 255."""
        if self.ids is not None:
            return read_ids(self.ids, self.classes, "voc")
        return {class_id: class_id for class_id in range(len(self.classes))}

    @property
    def folder(self) -> Path:
        """The folder with `JPEGImages/`: the root, or below it as the archive unpacks."""
        inside = (self.root, self.root / "VOCdevkit" / "VOC2012", self.root / "VOC2012")
        return next((path for path in inside if (path / "JPEGImages").is_dir()), self.root)

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the lists under `ImageSets/Segmentation/`."""
        lists = visible_entries(self.folder / "ImageSets" / "Segmentation")
        return tuple(path.stem for path in lists if path.suffix == ".txt")

    def pairs(self, split: str) -> Sequence[FilePair]:
        """Return the pairs that the list of `split` names; see `FileDataset.pairs`."""
        self.require_split(split)
        path = self.folder / "ImageSets" / "Segmentation" / f"{split}.txt"
        ids = read_ids_list(path, files_by_id(self.folder / "JPEGImages", IMAGE_SUFFIXES))
        return match(self.folder / "JPEGImages", self.folder / self.masks, ids, self.class_of)


def voc_colours(count: int) -> tuple[tuple[int, int, int], ...]:
    """Return the first `count` colours of VOC's palette.

    Bits of the index go to red, green and blue in turn, and fill each channel from the highest bit down.

    Examples:
        >>> voc_colours(4)
        ((0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0))
    """
    return tuple(
        (_bits(index), _bits(index >> 1), _bits(index >> 2))  # red, green, blue
        for index in range(count)
    )


def _bits(index: int) -> int:
    """Return the byte of every third bit of `index`, in reversed order."""
    return sum((index >> 3 * place & 1) << 7 - place for place in range(8))
