"""The generic layout: `manifest.json`, `images/<split>/<id>.<ext>` and `masks/<split>/<id>.png`."""

import colorsys
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Final

from quadrat.benchmark.data.dataset import VOID
from quadrat.benchmark.data.loaders.mask_values import read_ids
from quadrat.benchmark.data.loaders.pairs import FileDataset, FilePair, match
from quadrat.benchmark.errors import DataError

__all__ = ["Folder", "distinct_colours"]

EXAMPLE: Final = '{"classes": ["sky", "road"]}'


@dataclass(frozen=True, kw_only=True)
class Folder(FileDataset):
    """Any data set in the generic layout.

    `manifest.json` names the classes. It may give `colours` (one [r, g, b] a class) and `splits` (ids by split, which
    fixes order and subset); without `splits`, every folder under `images/` is a split. A mask pixel is the class id
    (255 = void), unless `ids` says which class each raw id is, or `void` names further values that mean void.

    Attributes:
        root: Folder with `manifest.json`, `images/` and `masks/`.
    """

    name: ClassVar[str] = "folder"
    layout: ClassVar[str] = "manifest.json, images/<split>/<id>.jpg and masks/<split>/<id>.png"
    ids_in: ClassVar[str] = "manifest.json"

    @cached_property
    def manifest(self) -> Mapping[str, Any]:
        """Content of `manifest.json`.

        Raises:
            DataError: When it is missing, no JSON, or names no classes.
        """
        self.require_folder()
        path = self.root / "manifest.json"
        if not path.is_file():
            raise DataError(f"{path} is missing: it names the classes, e.g. {EXAMPLE}. The layout is {self.layout}.")
        try:
            manifest = json.loads(path.read_bytes())
        except ValueError as error:
            raise DataError(f"{path} is not JSON ({error}). Expected e.g. {EXAMPLE}.") from error
        classes = manifest.get("classes") if isinstance(manifest, dict) else None
        if not isinstance(classes, list) or not 2 <= len(classes) <= VOID or len(set(map(str, classes))) < len(classes):
            raise DataError(f"{path}: expected 'classes' as a list of 2 to {VOID} different names, got {classes!r}.")
        for key in ("colours", "splits", "void"):
            if key in manifest and (problem := _problem(key, manifest[key], len(classes))):
                raise DataError(f"{path}: expected {problem}, got {str(manifest[key])[:200]}.")
        return dict(manifest)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, from the manifest."""
        return tuple(str(name) for name in self.manifest["classes"])

    @property
    def colours(self) -> tuple[tuple[int, int, int], ...]:
        """Colours of the classes, from the manifest or generated."""
        if "colours" not in self.manifest:
            return distinct_colours(len(self.classes))
        return tuple((int(red), int(green), int(blue)) for red, green, blue in self.manifest["colours"])

    @property
    def splits(self) -> tuple[str, ...]:
        """Splits of the manifest, or the folders under `images/`."""
        if "splits" in self.manifest:
            return tuple(self.manifest["splits"])
        images = self.root / "images"
        return tuple(sorted(path.name for path in images.iterdir() if path.is_dir())) if images.is_dir() else ()

    def pairs(self, split: str) -> Sequence[FilePair]:
        """Return the pairs of `split`; see `FileDataset.pairs`."""
        self.require_split(split)
        ids = self.manifest["splits"][split] if "splits" in self.manifest else None
        return match(self.root / "images" / split, self.root / "masks" / split, ids, self.class_of)

    @cached_property
    def class_of(self) -> Mapping[int, int] | None:
        """Class id of each raw id, void as 255; None where masks hold class ids and 255.

        Raises:
            DataError: When `ids` of the manifest can't be read.
        """
        manifest = self.manifest
        if not {"ids", "void"} & manifest.keys():
            return None
        where = str(self.root / "manifest.json")
        named = read_ids(manifest["ids"], self.classes, where) if "ids" in manifest else None
        same = {value: value for value in range(len(self.classes))}
        return {**(same if named is None else named), **{int(value): VOID for value in manifest.get("void", ())}}

    def params(self) -> dict[str, Any]:
        """Return the root, and what the manifest says of mask values: with other ids, masks are packed anew."""
        values = {key: self.manifest[key] for key in ("ids", "void") if key in self.manifest}
        return super().params() | ({"manifest": values} if values else {})


def _problem(key: str, value: object, num_classes: int) -> str | None:
    """Return the expectation that `value` of manifest entry `key` violates, or None."""
    if key == "colours":
        triples = isinstance(value, list) and all(
            isinstance(colour, list) and len(colour) == 3 and all(isinstance(part, int) for part in colour)
            for colour in value
        )
        fits = triples and isinstance(value, list) and len(value) == num_classes
        return None if fits else f"'colours' as a list of {num_classes} [r, g, b], one for each class"
    if key == "splits":
        fits = isinstance(value, dict) and all(
            isinstance(ids, list) and all(isinstance(name, str) for name in ids) and len(set(ids)) == len(ids)
            for ids in value.values()
        )
        return None if fits else "'splits' as a mapping from split to a list of ids, none twice"
    fits = isinstance(value, list) and all(isinstance(part, int) and 0 <= part <= VOID for part in value)
    return None if fits else "'void' as a list of mask values from 0 to 255"


def distinct_colours(count: int) -> tuple[tuple[int, int, int], ...]:
    """Return `count` colours that differ in hue and, one to the next, in brightness."""
    colours = []
    for index in range(count):
        # The golden ratio spreads the hues evenly whatever the count.
        red, green, blue = colorsys.hsv_to_rgb(index * 0.618034 % 1, 0.65, (0.9, 0.6)[index % 2])
        colours.append((round(255 * red), round(255 * green), round(255 * blue)))
    return tuple(colours)
