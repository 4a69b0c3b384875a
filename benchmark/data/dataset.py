"""The data set protocol: named classes, and splits of images with a mask each."""

import fnmatch
import inspect
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol, TypeVar, cast, runtime_checkable

import numpy as np
import numpy.typing as npt

from quadrat.benchmark.errors import DataError
from quadrat.benchmark.storage.local_copy import find_copy
from quadrat.benchmark.storage.remote import Remote, is_url
from quadrat.strategies.registry import closest, registry_of

__all__ = [
    "DATASETS",
    "DATA_VARIABLE",
    "VOID",
    "Dataset",
    "Item",
    "Oriented",
    "Part",
    "Published",
    "Sample",
    "decode",
    "interpolation_advice",
    "items_of",
    "load_dataset",
    "part_of",
    "shift_advice",
]

VOID: Final = 255
"""Mask value of pixels that belong to no class: never trained on, never evaluated."""

DATA_VARIABLE: Final = "QUADRAT_DATA"
"""Environment variable with the folder that holds data sets, each under its registered name."""

DATASETS: Final = registry_of("datasets")
"""Data sets by registered name: built-in ones and those of plugins."""


class Published(NamedTuple):
    """Published sizes of a data set, from which a suite can be planned where the data is not available.

    The optional class attribute `published` of a data set.

    Attributes:
        num_images: Number of images by split.
        height: Height of an image, pixels; a typical one where images differ in size.
        width: Width of an image, pixels.
        num_classes: Number of classes.
    """

    num_images: Mapping[str, int]
    height: int
    width: int
    num_classes: int


@runtime_checkable
class Item(Protocol):
    """One image of a split and its mask. Error messages name it by `str(item)`."""

    @property
    def id(self) -> str:
        """Name within the split, independent of the root; part of fingerprints and records."""

    def read_image(self) -> npt.NDArray[np.uint8]:
        """Return the image, uint8 (H, W, 3) RGB.

        Raises:
            DataError: When the image is missing or unreadable.
        """

    def read_mask(self) -> npt.NDArray[np.uint8]:
        """Return the mask, uint8 (H, W): a class id, or 255 for void.

        Raises:
            DataError: When the mask is missing or unreadable.
        """

    def stamp(self) -> str:
        """Return a string that changes when the content may have changed, without decoding: file sizes and times."""


AnyItem = TypeVar("AnyItem", bound=Item)


@runtime_checkable
class Oriented(Protocol):
    """An item whose image file may note how it is to be turned."""

    @property
    def orientation(self) -> int:
        """EXIF orientation, 1 for none; `read_image` returns the image as viewers show it."""


@runtime_checkable
class Dataset(Protocol):
    """Named classes and splits of images, usually a frozen dataclass whose fields are its parameters.

    A data set on disk takes its folder as the parameter `root`; a generated one has no such parameter.
    """

    @property
    def name(self) -> str:
        """Registered name."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of classes 0, 1, ...; at most 255."""

    @property
    def colours(self) -> tuple[tuple[int, int, int], ...]:
        """An RGB colour for each class, for figures."""

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the available splits."""

    def params(self) -> dict[str, Any]:
        """Return the parameters, JSON-serialisable; part of the key of packed splits."""

    def items(self, split: str) -> Sequence[Item]:
        """Return the images of `split` in a fixed order.

        Raises:
            DataError: When the root is missing, the split is unknown or empty, or an image lacks its mask.
        """


class Sample(NamedTuple):
    """An image and its mask, decoded and checked against each other.

    Attributes:
        image: uint8 (H, W, 3).
        mask: uint8 (H, W).
    """

    image: npt.NDArray[np.uint8]
    mask: npt.NDArray[np.uint8]


def decode(item: Item, num_classes: int) -> Sample:
    """Return the image and mask of `item` after checking that they agree. Later code relies on it.

    Raises:
        DataError: When image or mask cannot be read, differ in size, or the mask holds an id that is neither a class
            nor void.
    """
    image, mask = item.read_image(), item.read_mask()
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise DataError(f"{item}: expected an image as uint8 (H, W, 3), got {image.dtype} {image.shape}.")
    if mask.dtype != np.uint8 or mask.ndim != 2:
        raise DataError(f"{item}: expected a mask as uint8 (H, W), got {mask.dtype} {mask.shape}.")
    if mask.shape != image.shape[:2]:
        raise DataError(
            f"{item}: the mask is {mask.shape[0]} x {mask.shape[1]} (height x width) but the image is "
            f"{image.shape[0]} x {image.shape[1]}. {_size_advice(item)}",
            kind="mask of another size than its image",
        )
    wrong = mask[(mask >= num_classes) & (mask != VOID)]
    if wrong.size:
        ids = sorted(set(wrong.tolist()))
        raise DataError(
            f"{item}: {wrong.size} mask pixels hold ids that are no class: {ids[:5]}. "
            f"Expected 0 to {num_classes - 1}, or {VOID} for void.{shift_advice(ids, num_classes)}"
            f"{interpolation_advice(len(ids))}",
            kind="ids that are no class",
        )
    return Sample(image, mask)


def _size_advice(item: Item) -> str:
    """Return what to do about a mask of another size than its image."""
    orientation = item.orientation if isinstance(item, Oriented) else 1
    if orientation > 4:  # turned by 90 degrees
        return (
            f"The image file notes a turn by 90 degrees (EXIF orientation {orientation}) and is read as shown; "
            "the mask is not. Draw masks on images as they are shown, or take the note away: "
            "exiftool -Orientation= FILE"
        )
    return "Export the mask at the size of its image, without interpolation."


def shift_advice(wrong: Sequence[int], num_classes: int) -> str:
    """Return what to write about mask values that are no class; an empty text where they are many.

    Args:
        wrong: Values that are no class, ascending.
        num_classes: Number of classes.
    """
    if list(wrong) == [num_classes]:
        ids = f'{{"0": "void", "1-{num_classes}": "0-{num_classes - 1}"}}'
        line = f'If ids begin at 1 and 0 is no class, write "ids": {ids}'
    elif 0 < len(wrong) <= _MANY:
        named = ", ".join(f'"{value}": "NAME"' for value in wrong[:3])
        line = f'Say which class each mask value is, or that it is "void": "ids": {{{named}, ...}}'
    else:
        return ""
    return f" {line} (manifest.json of data set `folder`; dataset.params of `voc`)."


def interpolation_advice(num_wrong: int) -> str:
    """Return what is wrong with a mask that holds so many values that are no class; an empty text where they are few.

    Args:
        num_wrong: Different values, or colours.
    """
    if num_wrong <= _MANY:
        return ""
    return (
        f" They are {num_wrong} different ones, as scaling with interpolation or compression with loss leaves along "
        "borders. Export the mask anew at the size of its image, without either."
    )


_MANY: Final = 20
"""Values that are no class above which they are no class that was forgotten."""


def items_of(dataset: Dataset, split: str) -> Sequence[Item]:
    """Return the images of `split`, which may be a part of one: `NAME[GLOB]` or `NAME[!GLOB]` by the images' ids.

    So a part of the pool can be held out to choose a recipe on, for instance one sequence of a video:
    `train[!0006R0*]` and `train[0006R0*]` are disjoint and together `train`.

    Args:
        dataset: The data set.
        split: Name of a split, with a pattern (`*`, `?`) of the ids that are kept, or after `!` left out.

    Raises:
        DataError: As `Dataset.items`; also when the pattern leaves no image.
    """
    part = part_of(dataset, split)
    return part.keep(dataset.items(part.name))


@dataclass(frozen=True, kw_only=True)
class Part:
    """A split of a data set, or a part of it, as a suite writes it.

    Attributes:
        split: As written.
        name: Name of the split.
        pattern: Of the ids that are kept, or after `!` left out; None for the whole split.
    """

    split: str
    name: str
    pattern: str | None = None

    def keep(self, items: Sequence[AnyItem]) -> Sequence[AnyItem]:
        """Return those of the split's `items` that are in the part.

        Raises:
            DataError: When none is.
        """
        if self.pattern is None or not items:
            return items
        is_kept, pattern = not self.pattern.startswith("!"), self.pattern.removeprefix("!")
        kept = [item for item in items if fnmatch.fnmatchcase(item.id, pattern) == is_kept]
        if not kept:
            raise DataError(
                f"{self.split!r} has no image: expected a pattern that leaves some of the {len(items)} ids of "
                f"{self.name!r}, such as {items[0].id!r}."
            )
        return kept


def part_of(dataset: Dataset, split: str) -> Part:
    """Return what `split` means in `dataset`: a split of that name, or `NAME[PATTERN]`."""
    if not split.endswith("]") or split in dataset.splits:
        return Part(split=split, name=split)
    name, _, pattern = split[:-1].partition("[")
    return Part(split=split, name=name, pattern=pattern)


def load_dataset(name: str, root: str | Path | None = None, **params: Any) -> Dataset:
    """Return the data set registered as `name`.

    Args:
        name: Registered name, see `quadrat list datasets`.
        root: Folder of a data set on disk, or a URL that has been fetched; defaults to `$QUADRAT_DATA/<name>`.
        **params: Further parameters of the data set.

    Raises:
        PluginError: When the name is unknown, or its plugin is broken.
        DataError: When the root is unknown or not fetched, or a parameter is unknown or invalid.
    """
    factory = DATASETS.get(name)
    accepted = inspect.signature(factory).parameters
    takes_anything = any(parameter.kind is parameter.VAR_KEYWORD for parameter in accepted.values())
    for key in params:
        if key not in accepted and not takes_anything:
            raise DataError(
                f"data set {name!r} has no parameter {key!r}{closest(key, sorted(set(accepted) - {'root'}))}"
            )
    if "root" in accepted:
        params["root"] = _root(name, root)
    elif root is not None:
        raise DataError(f"data set {name!r} is not read from a folder, got root {str(root)!r}: leave root out.")
    try:
        return cast(Dataset, factory(**params))
    except TypeError as error:
        raise DataError(f"data set {name!r} does not take {params}: {error}.") from error


def _root(name: str, root: str | Path | None) -> Path:
    if is_url(root):
        if (found := find_copy(str(root))) is None:
            raise DataError(
                f"data set {name!r} is at {Remote(str(root)).shown} and not on this machine: a run, "
                "`quadrat data pack SUITE` or `quadrat data check` fetches it."
            )
        return found
    if root is not None:
        return Path(root).expanduser()
    base = os.environ.get(DATA_VARIABLE)
    if is_url(base):
        raise DataError(f"{DATA_VARIABLE}: expected a folder, got a URL: give it as dataset.root of the suite.")
    if base:
        return Path(base).expanduser() / name
    raise DataError(
        f"data set {name!r} is read from disk and its folder is not known: give root (in a suite: dataset.root; "
        f"on the command line: --root DIR), or set {DATA_VARIABLE} to a folder that holds it as {name}/."
    )
