"""Data sets on disk: pairs of an image file and a mask file with matching names."""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt

from quadrat.benchmark.data.dataset import VOID, interpolation_advice, shift_advice
from quadrat.benchmark.data.loaders.mask_values import Colour, classes_of_colours, value_ranges
from quadrat.benchmark.data.loaders.reading import (
    IMAGE_SUFFIXES,
    MASK_SUFFIXES,
    orientation_of,
    palette_of,
    read_mask_values,
    read_rgb,
)
from quadrat.benchmark.data.loaders.user_files import first_files, same_name, visible_entries
from quadrat.benchmark.errors import DataError

__all__ = ["FileDataset", "FilePair", "affixes", "by_id", "files_by_id", "match"]


@dataclass(frozen=True, kw_only=True)
class FilePair:
    """An image file and its mask file.

    Attributes:
        id: Name within the split.
        image: Path of the image, grey, palette or RGB, 8 bits a channel.
        mask: Path of the mask, one channel or a palette whose pixel values (not colours) are ids.
        class_of_colour: Class id of each colour of masks of colours, void as 255; None where they have no meaning.
        bits: Bits that grey images of more than 8 bits use; None where images have 8.
        class_of: Class id of each raw id, void as 255; None where the file holds class ids. 255 is void where it is no
            key.
    """

    id: str
    image: Path
    mask: Path
    class_of: Mapping[int, int] | None = None
    class_of_colour: Mapping[Colour, int] | None = None
    bits: int | None = None

    def __str__(self) -> str:
        return f"{self.id} (image {self.image}, mask {self.mask})"

    def missing(self) -> str | None:
        """Return a sentence that names the missing file, or None if both files exist."""
        if not self.image.is_file():
            return f"mask {self.mask} has no image: expected {self.image}{self._beside(self.image)}"
        if not self.mask.is_file():
            return f"image {self.image} has no mask: expected {self.mask}{self._beside(self.mask)}"
        return None

    def _beside(self, expected: Path) -> str:
        """Return which files of the same id lie where a file was expected, as in `; there is a.npy`."""
        stem = _folded(self.id.rpartition("/")[2])
        names = [
            path.name
            for path in visible_entries(expected.parent)
            if path not in (self.image, self.mask)
            and _folded(path.name).startswith(stem)
            and not _folded(path.name)[len(stem) :][:1].isalnum()
        ]
        return f"; there is {', '.join(names[:_MAX_BESIDE])}" if names else ""

    def _require(self, path: Path) -> None:
        if not path.is_file():
            raise DataError(f"{path} is missing{self._beside(path)}.", kind="missing files")

    @property
    def orientation(self) -> int:
        """EXIF orientation of the image file, 1 for none; `read_image` has turned the image by it."""
        return orientation_of(self.image)

    def read_image(self) -> npt.NDArray[np.uint8]:
        """Return the image, uint8 (H, W, 3) RGB; see `Item.read_image`."""
        self._require(self.image)
        return read_rgb(self.image, self.bits)

    def read_mask(self) -> npt.NDArray[np.uint8]:
        """Return the mask, uint8 (H, W); see `Item.read_mask`."""
        self._require(self.mask)
        values = read_mask_values(self.mask, are_colours=self.class_of_colour is not None)
        if values.ndim == 2 and (drawn := self._drawn(values)) is not None:
            values = drawn
        if values.ndim == 2:
            return self._class_ids(values)
        if self.class_of_colour is None:
            raise DataError(
                f"{self.mask}: expected a mask of one channel whose values are ids, got colours. Say what they mean: "
                '"colours": {"road": [128, 64, 128], "void": [0, 0, 0], ...} in manifest.json of data set `folder`; or '
                "write the id of each colour.",
                kind="masks of colours",
            )
        mask, wrong = classes_of_colours(values, self.class_of_colour)
        if wrong:
            some = ", ".join(str(list(colour)) for colour in list(wrong)[:3])
            advice = interpolation_advice(len(wrong)) or " Name them in 'colours', void ones under \"void\"."
            raise DataError(
                f"{self.mask}: {sum(wrong.values())} pixels have colours that are no class: {some}.{advice}",
                kind="colours that are no class",
            )
        return mask

    def _drawn(self, indices: npt.NDArray[Any]) -> npt.NDArray[np.uint8] | None:
        """Return the colours of a mask with a palette, (H, W, 3), where they and not the indices are the classes.

        Programs that write PNG files store pictures of few colours with a palette, whose order means nothing. The
        indices count where `ids` says what they are, where no colour is one of a class, and where both say the same.
        """
        if self.class_of_colour is None or self.class_of is not None or (palette := palette_of(self.mask)) is None:
            return None
        used = np.unique(indices).tolist()
        if used[-1] >= len(palette) or all(self.class_of_colour.get(palette[index], index) == index for index in used):
            return None
        colours: npt.NDArray[np.uint8] = np.array(palette, dtype=np.uint8)[indices]
        return colours

    def _class_ids(self, raw: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        """Return the class ids of raw ids, (H, W)."""
        ids, counts = np.unique(raw, return_counts=True)
        known = set(range(256)) if self.class_of is None else set(self.class_of) | {VOID}
        wrong = {value: count for value, count in zip(ids.tolist(), counts.tolist(), strict=True) if value not in known}
        if wrong:
            raise DataError(
                f"{self.mask}: {sum(wrong.values())} pixels hold ids that are no class: {list(wrong)[:5]}. "
                f"Expected one of {value_ranges(known)}.{self._shift_advice(list(wrong))}"
                f"{interpolation_advice(len(wrong))}",
                kind="ids that are no class",
            )
        if self.class_of is None:
            return raw.astype(np.uint8, copy=False)
        class_of_raw = np.full(max(int(ids[-1]), VOID) + 1, VOID, dtype=np.uint8)
        inside = [raw_id for raw_id in self.class_of if raw_id < len(class_of_raw)]
        class_of_raw[inside] = [self.class_of[raw_id] for raw_id in inside]
        mask: npt.NDArray[np.uint8] = class_of_raw[raw.astype(np.int64, copy=False)]
        return mask

    def _shift_advice(self, wrong: list[int]) -> str:
        num_classes = len(set((self.class_of or {}).values()) - {VOID})
        is_identity = self.class_of is not None and all(self.class_of.get(raw) == raw for raw in range(num_classes))
        return shift_advice(wrong, num_classes if is_identity else -1)

    def stamp(self) -> str:
        """Return size and modification time (ns) of both files."""
        return ";".join(f"{stat.st_size},{stat.st_mtime_ns}" for stat in (self.image.stat(), self.mask.stat()))


@dataclass(frozen=True, kw_only=True)
class FileDataset(ABC):
    """A data set whose splits are pairs of files under one folder.

    A subclass sets `name`, `layout` (the expected paths, for messages), `classes` and `colours`, and implements
    `splits` and `pairs`. Its fields are its parameters.

    Attributes:
        root: The folder.
    """

    root: Path

    name: ClassVar[str]
    layout: ClassVar[str]

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", Path(self.root))

    @property
    @abstractmethod
    def splits(self) -> tuple[str, ...]:
        """Names of the available splits."""

    @abstractmethod
    def pairs(self, split: str) -> Sequence[FilePair]:
        """Return the pairs of `split`, including those with a missing file, so that a check can name them all.

        Raises:
            DataError: When the folder has another layout, or `split` is unknown.
        """

    def params(self) -> dict[str, Any]:
        """Return the fields as parameters."""
        return {field.name: getattr(self, field.name) for field in fields(self)} | {"root": str(self.root.absolute())}

    def items(self, split: str) -> Sequence[FilePair]:
        """Return the complete pairs of `split`, sorted by id unless a file lists them; see `Dataset.items`."""
        pairs = self.pairs(split)
        if not pairs:
            raise DataError(
                f"split {split!r} of {self.name} in {self.root} is empty: found neither images nor masks."
                f"{self.what_is_there()}"
            )
        self.require_names(split, pairs)
        if incomplete := [lack for pair in pairs if (lack := pair.missing())]:
            shown = "\n  ".join(incomplete[:5])
            more = f"\n  ... and {len(incomplete) - 5} more" if len(incomplete) > 5 else ""
            raise DataError(
                f"split {split!r} of {self.name}: {len(incomplete)} of {len(pairs)} pairs lack a file.\n"
                f"  {shown}{more}\n"
                f"Complete the split; `quadrat data check {self.name} --root {self.root}` lists all that is wrong."
            )
        return pairs

    def require_names(self, split: str, pairs: Sequence[FilePair]) -> None:
        """Raise a `DataError` with what to write where no image has a mask: there is none, or their names differ."""
        images = [pair.image for pair in pairs if pair.image.is_file()]
        masks = [pair.mask for pair in pairs if pair.mask.is_file()]
        if images and not masks and not any(visible_entries(pairs[0].mask.parent)):
            raise DataError(
                f"split {split!r} of {self.name} has {len(images):,} images and no mask: expected {pairs[0].mask}. If "
                "its labels are not public, leave it out (data check: --split; a suite: dataset.pool, dataset.test); "
                'if they lie elsewhere, say where by "pattern" in manifest.json (data set `folder`).',
                kind="splits without masks",
            )
        if not images or not masks or any(pair.missing() is None for pair in pairs):
            return
        endings = affixes([path.stem for path in images], [path.stem for path in masks])
        if endings is None:
            return
        of_image, of_mask = (
            f"{_folder_of(paths, self.root, split)}{before}{{id}}{after}.*"
            for paths, (before, after) in zip((images, masks), endings, strict=True)
        )
        line = f'"pattern": {{"image": "{of_image}", "mask": "{of_mask}"}}'
        raise DataError(
            f"split {split!r} of {self.name}: no image has a mask of its name, they are named like {images[0].name} "
            f"and {masks[0].name}. Write {line} in manifest.json (data set `folder`).",
            kind="names of image and mask that differ",
        )

    def require_folder(self) -> None:
        """Raise a `DataError` that shows the expected layout unless the root is a folder."""
        if not self.root.is_dir():
            raise DataError(
                f"{self.name}: no folder at {self.root}. Expected one with {self.layout}. Give another root, or unpack "
                "the data set there."
            )

    @property
    def expected_paths(self) -> str:
        """Paths that images and masks should have, for messages."""
        return self.layout

    def what_is_there(self) -> str:
        """Return the layout that was expected and a few files that lie under the root, as sentences."""
        found = ", ".join(path.relative_to(self.root).as_posix() for path in first_files(self.root, _MAX_BESIDE))
        return f" Expected {self.expected_paths}; {f'there is {found}' if found else 'there is no file'}."

    def require_split(self, split: str) -> None:
        """Raise a `DataError` that names the known splits unless `split` is one of them."""
        self.require_folder()
        if split not in self.splits:
            there = f"there is {', '.join(self.splits)}." if self.splits else f"there is none.{self.what_is_there()}"
            raise DataError(f"{self.name} in {self.root} has no split {split!r}; {there}")


def files_by_id(
    folder: Path, suffixes: Sequence[str], strip: str = "", *, rather: Sequence[str] = ()
) -> dict[str, Path]:
    """Return the files of `folder` by id, the stem without the ending `strip`; files without that ending are skipped.

    Args:
        folder: The folder.
        suffixes: Suffixes of the files.
        strip: See above.
        rather: Suffixes that are preferred: a mask `a.png` may lie beside its preview `a.jpg`.

    Raises:
        DataError: When two files have the same id.
    """
    return by_id(
        (
            (path.stem.removesuffix(strip), path)
            for path in visible_entries(folder)
            if path.suffix.lower() in suffixes and path.stem.endswith(strip)
        ),
        rather=rather,
    )


def by_id(files: Iterable[tuple[str, Path]], *, rather: Sequence[str] = ()) -> dict[str, Path]:
    """Return files by their ids.

    Args:
        files: Id and path of each.
        rather: As for `files_by_id`.

    Raises:
        DataError: When two files have the same id.
    """
    found: dict[str, Path] = {}
    for name, path in files:
        name = same_name(name)
        other = found.get(name)
        if other is not None and (path.suffix.lower() in rather) == (other.suffix.lower() in rather):
            raise DataError(f"{path.parent}: {other.name} and {path.name} have the same id {name!r}. Remove one.")
        if other is None or path.suffix.lower() in rather:
            found[name] = path
    return found


_MAX_BESIDE: Final = 3


def _folded(name: str) -> str:
    """Return a file name without what some systems do not tell apart: upper case, and how an accent is written."""
    return same_name(name).casefold()


_SEPARATORS: Final = "_-. "


def affixes(images: Sequence[str], masks: Sequence[str]) -> tuple[tuple[str, str], tuple[str, str]] | None:
    """Return what stands before and after the ids in the stems of images and of masks; None where that is not clear.

    Examples:
        >>> affixes(["21_training", "22_training"], ["21_manual", "22_manual"])
        (('', '_training'), ('', '_manual'))
        >>> affixes(["a", "b"], ["mask_a", "mask_b"])
        (('', ''), ('mask_', ''))
    """
    before = [_common_start(stems) for stems in (images, masks)]
    after = [_common_start([stem[::-1] for stem in stems])[::-1] for stems in (images, masks)]
    # What both have in common is a part of the ids, but for the sign that separates it.
    shared = _common_start([one[::-1] for one in before])[::-1].lstrip(_SEPARATORS)
    before = [one[: len(one) - len(shared)] for one in before]
    shared = _common_start(after).rstrip(_SEPARATORS)
    after = [one[len(shared) :] for one in after]
    ids = [
        {stem[len(head) : len(stem) - len(tail)] for stem in stems}
        for stems, head, tail in zip((images, masks), before, after, strict=True)
    ]
    is_clear = min(len(images), len(masks)) > 1 and 2 * len(ids[0] & ids[1]) >= min(map(len, ids))
    return ((before[0], after[0]), (before[1], after[1])) if is_clear else None


def _common_start(texts: Sequence[str]) -> str:
    first, last = min(texts), max(texts)
    return first[: next((at for at, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))]


def _folder_of(paths: Sequence[Path], root: Path, split: str) -> str:
    """Return the folder of `paths` below the root, with `{split}` for the split's name."""
    folder = Path(os.path.commonpath([path.parent for path in paths])).relative_to(root)
    return "".join(f"{'{split}' if part == split else part}/" for part in folder.parts)


def match(
    images: Path, masks: Path, ids: Sequence[str] | None = None, class_of: Mapping[int, int] | None = None
) -> list[FilePair]:
    """Return the pairs of two folders whose files have equal stems.

    Args:
        images: Folder of the images.
        masks: Folder of the masks.
        ids: Ids of the pairs, in order; None means all that have at least one of the two files, sorted.
        class_of: See `FilePair`.
    """
    image_of = files_by_id(images, IMAGE_SUFFIXES)
    mask_of = files_by_id(masks, IMAGE_SUFFIXES, rather=MASK_SUFFIXES)
    return [
        FilePair(
            id=name,
            image=image_of.get(name, images / f"{name}.jpg"),
            mask=mask_of.get(name, masks / f"{name}.png"),
            class_of=class_of,
        )
        for name in (sorted(image_of.keys() | mask_of.keys()) if ids is None else ids)
    ]
