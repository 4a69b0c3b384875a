"""Where images and masks of a folder lie and how they are named, found by names and a look at a few files."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from quadrat.benchmark.data.loaders.pairs import affixes
from quadrat.benchmark.data.loaders.reading import IMAGE_SUFFIXES, read_mask_values
from quadrat.benchmark.data.loaders.user_files import first_files, same_name, walk
from quadrat.benchmark.errors import DataError

__all__ = ["SPLIT", "FileLayout", "find_layout"]

SPLIT: Final = re.compile(
    r"(?<![a-z])(trainval|training|train|validation|valid|val|testing|test|dev|eval)(?![a-z])(?!annot)", re.IGNORECASE
)
"""Names of splits in a part of a path; SegNet's `trainannot` holds the masks of one."""

MASK_WORDS: Final = re.compile(r"mask|label|annot|seg|truth|manual|(?:^|[^a-z])gt|ann_dir|target", re.IGNORECASE)
OTHER_WORDS: Final = re.compile(r"instance|panoptic|colou?r|vis|fov|depth|preview|overlay|trainid", re.IGNORECASE)
"""In names of mask files: words that speak for the masks of classes, and for pictures of something else."""

_LOOKED_AT: Final = 3
_MOST_VALUES: Final = 64
"""Different values or colours of a mask; a photograph has more."""

_SEPARATOR: Final = re.compile(r"(?=[_\-. ])")


@dataclass(frozen=True, kw_only=True)
class FileLayout:
    """Where images and masks lie.

    Attributes:
        image: Pattern of the images.
        mask: Pattern of the masks.
        masks: The masks, by split, in the order of their paths; without splits under None.
        left_out: What else was found, as sentences.
    """

    image: str
    mask: str
    masks: dict[str | None, list[Path]]
    left_out: tuple[str, ...]


class _Group(NamedTuple):
    """Files of one folder whose names end alike.

    Attributes:
        folder: Path below the root, its parts.
        ending: What the stems of the group have in common at the end, such as `_mask`; mostly empty.
        paths: The files.
    """

    folder: tuple[str, ...]
    ending: str
    paths: list[Path]

    @property
    def stems(self) -> list[str]:
        return [same_name(path.stem) for path in self.paths]

    def __str__(self) -> str:
        return f"{'/'.join(self.folder) or '.'}/*{self.ending}{self.paths[0].suffix}"


class _Match(NamedTuple):
    """Groups of images and masks, and what stands before and after the ids in the stems of each."""

    images: _Group
    masks: _Group
    of_image: tuple[str, str]
    of_mask: tuple[str, str]
    num: int


def find_layout(root: Path) -> FileLayout:
    """Return where images and masks of a folder lie.

    Raises:
        DataError: When there are no images, no masks, or no image has a mask of its name.
    """
    files = [path for path in walk(root) if path.suffix.lower() in IMAGE_SUFFIXES]
    if not files:
        there = ", ".join(path.relative_to(root).as_posix() for path in first_files(root, 3)) or "no file"
        raise DataError(
            f"{root} holds no image file; there is {there}. Expected images and masks as files (png, jpg, tif, ...). "
            "Polygons (COCO, labelme) have to be drawn into masks first, arrays (mat, npy, h5) to be written as files."
        )
    if (layout := _folder_for_each(root, files)) is not None:
        return layout
    groups = _groups(root, files)
    masks = [group for group in groups if _looks_like_masks(group)]
    images = [group for group in groups if group not in masks]
    if not images or not masks:
        found = ", ".join(map(str, (images or masks)[:3]))
        raise DataError(
            f"{root}: found only {'images' if images else 'masks'} ({found}). Masks are files of few values or colours "
            f"and without loss (no jpg).{_why_none(groups)}"
        )
    matches = _matches(images, masks)
    if not matches:
        raise DataError(
            f"{root}: no image has a mask of its name; images are {images[0]} ({images[0].paths[0].name}), masks are "
            f'{masks[0]} ({masks[0].paths[0].name}). Say how they belong together by "pattern" in manifest.json.'
        )
    return _layout(matches, images, masks)


def _why_none(groups: Sequence[_Group]) -> str:
    """Return what is wrong with a file that is called a mask, as a sentence; an empty text where there is none."""
    for group in groups:
        if MASK_WORDS.search(str(group)):
            try:
                read_mask_values(group.paths[0], are_colours=True)
            except DataError as error:
                return f" {error}"
    return ""


def _folder_for_each(root: Path, files: Iterable[Path]) -> FileLayout | None:
    """Return the layout where each image has a folder of its own, such as `case 7/image.png` and `case 7/mask.png`."""
    by_folder: dict[tuple[str, ...], dict[str, Path]] = defaultdict(dict)
    for path in files:
        by_folder[path.relative_to(root).parts[:-1]][path.name] = path
    names = set.intersection(*(set(found) for found in by_folder.values()))
    parents = {folder[:-1] for folder in by_folder if folder}
    masks = [name for name in sorted(names) if all(_looks_like_mask(found[name]) for found in _few(by_folder))]
    images = [name for name in sorted(names) if name not in masks]
    if len(by_folder) < 2 or () in by_folder or not masks or not images:
        return None
    mask = max(masks, key=lambda name: bool(MASK_WORDS.search(name)) - bool(OTHER_WORDS.search(name)))
    splits = {parent: _split_of(parent, parent) for parent in parents}
    templates = {tuple(_with_split(part, split) for part in parent) for parent, split in splits.items()}
    if len(templates) > 1:
        return None
    by_split: dict[str | None, list[Path]] = defaultdict(list)
    for folder, found in sorted(by_folder.items()):
        by_split[splits[folder[:-1]]].append(found[mask])
    start = "/".join((*templates.pop(), "{id}"))
    rest = [name for name in sorted(names) if name not in (images[0], mask)]
    left_out = (f"left out: {', '.join(rest)}",) if rest else ()
    return FileLayout(image=f"{start}/{images[0]}", mask=f"{start}/{mask}", masks=dict(by_split), left_out=left_out)


def _few(by_folder: Mapping[tuple[str, ...], dict[str, Path]]) -> list[dict[str, Path]]:
    folders = list(by_folder.values())
    return [folders[place] for place in np.linspace(0, len(folders) - 1, min(_LOOKED_AT, len(folders)), dtype=int)]


def _groups(root: Path, files: Iterable[Path]) -> list[_Group]:
    """Return the files by folder; where images and masks share one, by the endings of their names."""
    by_folder: dict[tuple[str, ...], list[Path]] = defaultdict(list)
    for path in files:
        by_folder[path.relative_to(root).parts[:-1]].append(path)
    groups = []
    for folder, paths in sorted(by_folder.items()):
        stems = {same_name(path.stem) for path in paths}
        ending_of = {path: _ending(same_name(path.stem), stems) for path in paths}
        num_of = Counter(ending_of.values())
        common = {ending for ending, num in num_of.items() if 2 * num >= num_of[""]}
        for ending in sorted({""} | common):
            own = [path for path in paths if (ending_of[path] if ending_of[path] in common else "") == ending]
            if own:
                groups.append(_Group(folder, ending, own))
    return groups


def _ending(stem: str, stems: set[str]) -> str:
    """Return what a stem has after the longest other stem that it begins with."""
    places = [match.start() for match in _SEPARATOR.finditer(stem)]
    return next((stem[place:] for place in reversed(places) if stem[:place] in stems), "")


def _looks_like_masks(group: _Group) -> bool:
    places = np.linspace(0, len(group.paths) - 1, min(_LOOKED_AT, len(group.paths)), dtype=int)
    return all(_looks_like_mask(group.paths[place]) for place in places)


def _looks_like_mask(path: Path) -> bool:
    try:
        values = read_mask_values(path, are_colours=True)
    except DataError:  # a photograph with loss, of several bands, or broken: what is wrong with it is no question here
        return False
    if values.dtype.itemsize > 1:  # one id an object, or a photograph of 16 bits
        return len(np.unique(values)) <= max(_MOST_VALUES, values.size // 64)
    codes = values if values.ndim == 2 else values.astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])
    return len(np.unique(codes)) <= _MOST_VALUES


def _matches(images: Sequence[_Group], masks: Sequence[_Group]) -> list[_Match]:
    """Return for each group of images the group of masks that fits best: most ids, the words of masks, the nearest."""
    chosen = []
    for group in images:
        found = [match for other in masks if (match := _match(group, other)) is not None]
        if found:
            chosen.append(max(found, key=_fit))
    return chosen


def _match(images: _Group, masks: _Group) -> _Match | None:
    of_image, of_mask = ("", ""), ("", "")
    num = len(set(images.stems) & set(masks.stems))
    if not num:
        found = affixes(images.stems, masks.stems)
        if found is None and masks.ending:  # one image and its mask in one folder
            found = ("", ""), ("", masks.ending)
        if found is None:
            return None
        of_image, of_mask = found
        ids = [
            {stem.removeprefix(before).removesuffix(after) for stem in group.stems}
            for group, (before, after) in ((images, of_image), (masks, of_mask))
        ]
        num = len(ids[0] & ids[1])
    return _Match(images, masks, of_image, of_mask, num) if 2 * num >= len(masks.paths) else None


def _fit(match: _Match) -> tuple[int, int, int, int]:
    name = str(match.masks)
    words = bool(MASK_WORDS.search(name)) - bool(OTHER_WORDS.search(name))
    shared = len(set(match.images.folder) & set(match.masks.folder))
    split = _split_of(match.images.folder)
    is_same_split = split is None or any(split in part for part in match.masks.folder)
    return int(is_same_split), shared, words, match.num


def _split_of(folder: Sequence[str], other: Sequence[str] = ()) -> str | None:
    """Return the text in a path that tells the split; None where there is none.

    Args:
        folder: Parts of the path.
        other: Parts of the path of the masks: a part that is in both, such as `Training Set`, is the split as a whole.
    """
    for part in folder:
        if (found := SPLIT.search(part)) is not None:
            return part if part in other else found[1]
    return None


def _layout(matches: Sequence[_Match], images: Sequence[_Group], masks: Sequence[_Group]) -> FileLayout:
    templates: dict[tuple[tuple[str, ...], tuple[str, ...]], list[tuple[str | None, _Match]]] = defaultdict(list)
    for match in matches:
        split = _split_of(match.images.folder, match.masks.folder)
        paths = (
            (*match.images.folder, f"{match.of_image[0]}{{id}}{match.of_image[1]}"),
            (*match.masks.folder, f"{match.of_mask[0]}{{id}}{match.of_mask[1]}"),
        )
        image, mask = (tuple(_with_split(part, split) for part in path) for path in paths)
        templates[image, mask].append((split, match))
    if len(templates) > 1:
        templates = _generalised(templates)
    (image, mask), chosen = max(templates.items(), key=lambda item: sum(match.num for _, match in item[1]))
    by_split: dict[str | None, list[Path]] = defaultdict(list)
    for split, match in chosen:
        by_split[split] += match.masks.paths
    used = {id(group) for _, match in chosen for group in (match.images, match.masks)}
    rest = [str(group) for group in (*images, *masks) if id(group) not in used]
    left_out = (f"left out: {', '.join(rest[:5])}{' ...' if len(rest) > 5 else ''}",) if rest else ()
    suffixes = [
        {path.suffix for group in groups for path in group.paths}
        for groups in ([match.images for _, match in chosen], [match.masks for _, match in chosen])
    ]
    texts = [
        f"{'/'.join(parts)}{next(iter(found)) if len(found) == 1 else '.*'}"
        for parts, found in zip((image, mask), suffixes, strict=True)
    ]
    return FileLayout(image=texts[0], mask=texts[1], masks=dict(by_split), left_out=left_out)


def _with_split(part: str, split: str | None) -> str:
    """Return a part of a path with `{split}` for the name of the split: `21_training`, `trainannot`."""
    return part if split is None else re.sub(rf"(?<![a-zA-Z]){re.escape(split)}", "{split}", part)


def _generalised(
    templates: dict[tuple[tuple[str, ...], tuple[str, ...]], list[tuple[str | None, _Match]]],
) -> dict[tuple[tuple[str, ...], tuple[str, ...]], list[tuple[str | None, _Match]]]:
    """Return templates whose parts that differ alike in images and masks, such as cities, are a placeholder."""
    found: dict[tuple[tuple[str, ...], tuple[str, ...]], list[tuple[str | None, _Match]]] = defaultdict(list)
    for (image, mask), members in templates.items():
        shared = [part for part in image[:-1] if part in mask[:-1] and part != "{split}"]
        others = [key for key in templates if key != (image, mask)]
        varying = [part for part in shared if any(part not in key[0] for key in others)]
        name_of = {part: f"{{part{number}}}" if number else "{part}" for number, part in enumerate(varying)}
        general = tuple(tuple(name_of.get(part, part) for part in path) for path in (image, mask))
        found[general[0], general[1]] += members
    return found
