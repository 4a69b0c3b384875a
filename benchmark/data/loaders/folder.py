"""The generic layout: `manifest.json`, `images/<split>/<id>.<ext>` and `masks/<split>/<id>.png`, or other names."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Final

from quadrat.benchmark.data.loaders.manifest import IMAGES, Manifest, read_manifest
from quadrat.benchmark.data.loaders.mask_values import distinct_colours
from quadrat.benchmark.data.loaders.pairs import FileDataset, FilePair, by_id
from quadrat.benchmark.data.loaders.pattern import Found
from quadrat.benchmark.data.loaders.reading import MASK_SUFFIXES
from quadrat.benchmark.data.loaders.user_files import read_ids_list, same_name, visible_entries

__all__ = ["Folder"]

ALL: Final = "all"
"""The split of a data set whose pattern has none and whose manifest lists none; suites name parts of it, `all[a*]`."""


@dataclass(frozen=True, kw_only=True)
class Folder(FileDataset):
    """Any data set in the generic layout, or with names of its own.

    `manifest.json` names the classes. It may say what mask values mean (`ids`, `colours`, `void`), which images belong
    to a split (`splits`: ids, or the file that lists them) and how files are named (`pattern`). Without `splits`, every
    folder at the place of `{split}` is a split. Without `ids`, a mask pixel is the class id (255 = void).

    Attributes:
        root: Folder with `manifest.json`, and `images/` and `masks/` or what `pattern` says.
    """

    name: ClassVar[str] = "folder"
    layout: ClassVar[str] = "manifest.json, images/<split>/<id>.jpg and masks/<split>/<id>.png"
    ids_in: ClassVar[str] = "manifest.json"

    @cached_property
    def manifest(self) -> Manifest:
        """What `manifest.json` says.

        Raises:
            DataError: When it is missing, no JSON, lacks `classes`, or has an unknown key or a wrong value.
        """
        self.require_folder()
        return read_manifest(self.root / "manifest.json", self.layout)

    @property
    def expected_paths(self) -> str:
        """Paths by the patterns of the manifest."""
        return f"{self.manifest.image.text} and {self.manifest.mask.text} (`quadrat data init` finds other names)"

    @property
    def title(self) -> str:
        """The data set's own name: that of the manifest, else that of its folder."""
        return self.manifest.name or self.root.absolute().name

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, from the manifest."""
        return self.manifest.classes

    @property
    def colours(self) -> tuple[tuple[int, int, int], ...]:
        """Colours of the classes, from the manifest or generated."""
        return self.manifest.colours or distinct_colours(len(self.classes))

    @property
    def mask_values(self) -> tuple[str, ...]:
        """Mask values of each class, as text."""
        return self.manifest.values_of()

    @cached_property
    def splits(self) -> tuple[str, ...]:
        """Splits of the manifest, or the folders at the place of `{split}`."""
        if self.manifest.splits is not None:
            return tuple(self.manifest.splits)
        pattern = self.manifest.image
        if not pattern.has_split:
            return (ALL,)
        if pattern.text == IMAGES:
            return tuple(path.name for path in visible_entries(self.root / "images") if path.is_dir())
        return tuple(sorted({found.split for found in self._files(None)[0] if found.split is not None}))

    def params(self) -> dict[str, Any]:
        """Return the root, and what decides what is read from files: with other ids, masks are packed anew."""
        values = dict(self.manifest.values)
        return super().params() | ({"manifest": values} if values else {})

    def pairs(self, split: str) -> Sequence[FilePair]:
        """Return the pairs of `split`; see `FileDataset.pairs`."""
        self.require_split(split)
        manifest = self.manifest
        images, masks = self._files(split)
        image_of = by_id((found.id, Path(found.path)) for found in images)
        mask_of = by_id(((found.id, Path(found.path)) for found in masks), rather=MASK_SUFFIXES)
        listed = manifest.splits[split] if manifest.splits is not None else None
        if isinstance(listed, str):
            listed = read_ids_list(self.root / listed, image_of)
        elif listed is not None:
            listed = [same_name(name) for name in listed]
        if listed is None:
            # Masks that lie together for all splits are no masks without image of this one.
            ids = image_of.keys() | (mask_of.keys() if manifest.mask.has_split or not manifest.image.has_split else ())
            listed = sorted(ids)
        return [
            FilePair(
                id=name,
                image=image_of.get(name) or manifest.image.expected(self.root, split, name, ".jpg"),
                mask=mask_of.get(name) or manifest.mask.expected(self.root, split, name, ".png"),
                class_of=manifest.class_of,
                class_of_colour=manifest.class_of_colour,
                bits=manifest.bits,
            )
            for name in listed
        ]

    def _files(self, split: str | None) -> tuple[list[Found], list[Found]]:
        """Return images and masks of a split, or of all; a file that fits both patterns is what the longer one says.

        In one folder, `x_mask.png` fits the pattern `{id}.png` of images too.
        """
        manifest = self.manifest
        images, masks = (pattern.find(self.root, split) for pattern in (manifest.image, manifest.mask))
        both = {found.path for found in images} & {found.path for found in masks}
        if manifest.image.num_literal < manifest.mask.num_literal:
            return [found for found in images if found.path not in both], masks
        return images, [found for found in masks if found.path not in both]
