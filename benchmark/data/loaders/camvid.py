"""CamVid with 11 classes, in the layout of the SegNet tutorial or the generic one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from quadrat.benchmark.data.dataset import VOID, Published
from quadrat.benchmark.data.loaders.folder import Folder
from quadrat.benchmark.data.loaders.pairs import FileDataset, FilePair, files_by_id, match
from quadrat.benchmark.data.loaders.reading import IMAGE_SUFFIXES
from quadrat.benchmark.data.loaders.user_files import read_ids_list
from quadrat.benchmark.errors import DataError

__all__ = ["CamVid"]

SPLITS: Final = ("train", "val", "test")

# The SegNet tutorial writes void as id 11.
CLASS_OF: Final = {**{class_id: class_id for class_id in range(11)}, 11: VOID}


@dataclass(frozen=True, kw_only=True)
class CamVid(FileDataset):
    """CamVid (Brostow et al. 2009): 367 / 101 / 233 street scenes of 480 x 360 from video, 11 classes.

    Read from `train/ trainannot/ val/ valannot/ test/ testannot/` (SegNet tutorial, 11 = void; a list such as
    `train.txt` beside them says which images, in which order), or, where a
    `manifest.json` lies at the root, from the generic layout of `Folder` (255 = void). Split `val` is one sequence that
    also supplies half of `train`: report on `test`.

    Attributes:
        root: Folder with either layout.
    """

    name: ClassVar[str] = "camvid"
    published: ClassVar[Published] = Published(
        {"train": 367, "val": 101, "test": 233}, height=360, width=480, num_classes=11
    )
    layout: ClassVar[str] = "train/ trainannot/ val/ valannot/ test/ testannot/, or manifest.json images/ masks/"
    classes: ClassVar[tuple[str, ...]] = (
        "sky",
        "building",
        "pole",
        "road",
        "pavement",
        "tree",
        "sign_symbol",
        "fence",
        "car",
        "pedestrian",
        "bicyclist",
    )
    colours: ClassVar[tuple[tuple[int, int, int], ...]] = (
        (128, 128, 128),
        (128, 0, 0),
        (192, 192, 128),
        (128, 64, 128),
        (60, 40, 222),
        (128, 128, 0),
        (192, 128, 128),
        (64, 64, 128),
        (64, 0, 128),
        (64, 64, 0),
        (0, 128, 192),
    )

    @property
    def splits(self) -> tuple[str, ...]:
        """The available splits."""
        if folder := self._generic():
            return folder.splits
        return tuple(split for split in SPLITS if (self.root / split).is_dir())

    def pairs(self, split: str) -> Sequence[FilePair]:
        """Return the pairs of `split`; see `FileDataset.pairs`."""
        if folder := self._generic():
            return folder.pairs(split)
        self.require_split(split)
        images, listed = self.root / split, self.root / f"{split}.txt"
        ids = read_ids_list(listed, files_by_id(images, IMAGE_SUFFIXES)) if listed.is_file() else None
        return match(images, self.root / f"{split}annot", ids, CLASS_OF)

    def params(self) -> dict[str, Any]:
        """Return the parameters, with those of the manifest where there is one; see `Folder.params`."""
        return super().params() if (folder := self._generic()) is None else folder.params()

    def _generic(self) -> Folder | None:
        if not (self.root / "manifest.json").is_file():
            return None
        folder = Folder(root=self.root)
        if folder.classes != self.classes:
            raise DataError(
                f"{self.root / 'manifest.json'} names the classes {', '.join(folder.classes)}; expected CamVid's "
                f"{', '.join(self.classes)}. Read other classes as data set 'folder'."
            )
        return folder
