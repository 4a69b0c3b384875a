"""`manifest.json` of the generic layout: every key, what it means, and mistakes as one sentence."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from quadrat.benchmark.data.dataset import VOID
from quadrat.benchmark.data.loaders.mask_values import (
    MAX_RAW_ID,
    Colour,
    is_colour,
    read_colours,
    read_ids,
    require_class_names,
    value_ranges,
)
from quadrat.benchmark.data.loaders.pattern import Pattern
from quadrat.benchmark.data.loaders.reading import IMAGE_SUFFIXES
from quadrat.benchmark.data.loaders.user_files import read_json
from quadrat.benchmark.errors import DataError
from quadrat.strategies.registry import closest

__all__ = ["EXAMPLE", "IMAGES", "MASKS", "Manifest", "read_manifest"]

EXAMPLE: Final = '{"classes": ["sky", "road"]}'

IMAGES: Final = "images/{split}/{id}.*"
MASKS: Final = "masks/{split}/{id}.*"
"""Patterns of image and mask where the manifest gives none."""

KEYS: Final = ("name", "classes", "colours", "ids", "void", "splits", "pattern", "bits", "meta")
"""Known keys; what nobody reads goes under `meta`."""

_MEANT: Final = {
    **dict.fromkeys(("ignore_index", "ignore_label", "ignore", "unlabeled", "unlabelled", "background_id"), "void"),
    **dict.fromkeys(("palette", "colors", "color", "colour", "colormap"), "colours"),
    **dict.fromkeys(("class_names", "labels", "names", "categories", "num_classes"), "classes"),
    **dict.fromkeys(("label_map", "labelmap", "mapping", "id_map", "class_of", "values"), "ids"),
    **dict.fromkeys(
        ("suffix", "suffixes", "img_dir", "ann_dir", "image_dir", "mask_dir", "images", "masks"), "pattern"
    ),
    **dict.fromkeys(("train", "val", "test", "subsets", "lists"), "splits"),
    **dict.fromkeys(("description", "license", "source", "version", "author"), "meta"),
}
"""What other programs call a key, and what it is here."""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a manifest says.

    Attributes:
        name: Name of the data set; None where it gives none.
        classes: Names of the classes.
        colours: A colour for each class; None where it gives none.
        class_of: Class id of each raw id, void as 255; None where masks hold class ids and 255.
        class_of_colour: Class id of each colour of masks of colours, void as 255; None where it gives none.
        splits: Ids of each split, or the list file that names them; None where folders are the splits.
        image: Pattern of the images.
        mask: Pattern of the masks.
        bits: Bits that grey images of more than 8 bits use; None for images of 8 bits.
        values: The keys that decide what is read from a file, as written.
    """

    name: str | None
    classes: tuple[str, ...]
    colours: tuple[Colour, ...] | None
    class_of: Mapping[int, int] | None
    class_of_colour: Mapping[Colour, int] | None
    splits: Mapping[str, list[str] | str] | None
    image: Pattern
    mask: Pattern
    bits: int | None
    values: Mapping[str, Any]

    def values_of(self) -> tuple[str, ...]:
        """Return the mask values of each class as text, such as `7` or `1 to 3, 9`."""
        if self.class_of is None:
            return tuple(map(str, range(len(self.classes))))
        raw_of: list[set[int]] = [set() for _ in self.classes]
        for raw, class_id in self.class_of.items():
            if class_id != VOID:
                raw_of[class_id].add(raw)
        return tuple(value_ranges(found) or "none" for found in raw_of)


def read_manifest(path: Path, layout: str) -> Manifest:
    """Return what the manifest at `path` says.

    Raises:
        DataError: When it is missing, no JSON, lacks `classes`, or has an unknown key or a wrong value.
    """
    if not path.is_file():
        raise DataError(
            f"{path} is missing: it names the classes, e.g. {EXAMPLE}. The layout is {layout}; for other "
            f"names, `quadrat data init {path.parent}` writes it."
        )
    found = read_json(path, f"e.g. {EXAMPLE}")
    where = str(path)
    if not isinstance(found, dict):
        raise DataError(f"{where}: expected a mapping, e.g. {EXAMPLE}, got {str(found)[:200]}.")
    classes = _classes(found, where)
    for key in found:
        if key not in KEYS:
            raise DataError(
                f"{where}: there is no key {key!r}"
                f"{f'; it is called {_MEANT[key]!r} here' if key in _MEANT else ''}{closest(key, list(KEYS))}. What "
                'no program reads goes under "meta".'
            )
    void_ids, void_colours = _void(found.get("void", []), where)
    class_of_colour = read_colours(found["colours"], classes, where) if "colours" in found else None
    if class_of_colour is not None:
        class_of_colour |= dict.fromkeys(void_colours, VOID)
    elif void_colours:
        raise DataError(f"{where}: 'void' names colours, but there are no 'colours' of the classes.")
    image, mask = _patterns(found.get("pattern", {}), where)
    return Manifest(
        name=_text(found, "name", where),
        classes=classes,
        colours=_display(class_of_colour, len(classes)),
        class_of=_class_of(found, classes, void_ids, where) or _class_of_grey(class_of_colour),
        class_of_colour=class_of_colour,
        splits=_splits(found["splits"], where) if "splits" in found else None,
        image=image,
        mask=mask,
        bits=_bits(found.get("bits"), where),
        values={key: found[key] for key in ("ids", "void", "colours", "bits") if key in found},
    )


def _classes(found: dict[str, Any], where: str) -> tuple[str, ...]:
    classes = found.get("classes")
    if isinstance(classes, list) and len(classes) > VOID:
        raise DataError(
            f"{where}: expected at most {VOID} classes, got {len(classes)}: masks are kept in 8 bits, {VOID} is void. "
            "Join classes by 'ids', or leave rare ones out as void."
        )
    fits = isinstance(classes, list) and len(classes) >= 2 and len(set(map(str, classes))) == len(classes)
    is_named = isinstance(classes, list) and all(isinstance(name, str | int) and str(name).strip() for name in classes)
    if not isinstance(classes, list) or not fits or not is_named:
        raise DataError(f"{where}: expected 'classes' as a list of 2 to {VOID} different names, got {classes!r}.")
    names = tuple(map(str, classes))
    require_class_names(names, where)
    return names


def _class_of(found: dict[str, Any], classes: tuple[str, ...], void: list[int], where: str) -> dict[int, int] | None:
    if "ids" not in found and not void:
        return None
    named = (
        read_ids(found["ids"], classes, where) if "ids" in found else {place: place for place in range(len(classes))}
    )
    return {**named, **dict.fromkeys(void, VOID)}


def _class_of_grey(class_of_colour: Mapping[Colour, int] | None) -> dict[int, int] | None:
    """Return the class of each grey value where all colours are grey, since those may be stored with one channel."""
    if class_of_colour is None or any(len(set(colour)) > 1 for colour in class_of_colour):
        return None
    return {colour[0]: class_id for colour, class_id in class_of_colour.items()}


def _void(value: object, where: str) -> tuple[list[int], list[Colour]]:
    ids: list[int] = []
    colours: list[Colour] = []
    for part in value if isinstance(value, list) else [None]:
        if isinstance(part, int) and not isinstance(part, bool) and 0 <= part <= MAX_RAW_ID:
            ids.append(part)
        elif isinstance(part, list) and is_colour(part):
            red, green, blue = part
            colours.append((red, green, blue))
        else:
            raise DataError(
                f"{where}: expected 'void' as a list of mask values from 0 to {MAX_RAW_ID} or of colours [r, g, b], "
                f"got {str(value)[:200]}."
            )
    return ids, colours


def _display(class_of_colour: Mapping[Colour, int] | None, num_classes: int) -> tuple[Colour, ...] | None:
    """Return the first colour of each class, for figures."""
    if class_of_colour is None:
        return None
    first = {class_id: colour for colour, class_id in reversed(list(class_of_colour.items()))}
    return tuple(first[class_id] for class_id in range(num_classes))


def _splits(value: object, where: str) -> dict[str, list[str] | str]:
    fits = isinstance(value, dict) and all(
        isinstance(ids, str)
        or (isinstance(ids, list) and all(isinstance(name, str) for name in ids) and len(set(ids)) == len(ids))
        for ids in value.values()
    )
    if not isinstance(value, dict) or not fits:
        raise DataError(
            f"{where}: expected 'splits' as a mapping from split to a list of ids, none twice, or to the file that "
            f"lists them, got {str(value)[:200]}."
        )
    return dict(value)


def _patterns(value: object, where: str) -> tuple[Pattern, Pattern]:
    known = isinstance(value, dict) and value.keys() <= {"image", "mask"}
    if not isinstance(value, dict) or not known or not all(map(_is_text, value.values())):
        example = f'{{"image": "{IMAGES}", "mask": "masks/{{split}}/{{id}}_mask.png"}}'
        raise DataError(f"{where}: expected 'pattern' such as {example}, got {str(value)[:200]}.")
    image, mask = (
        Pattern(value.get(key, default), IMAGE_SUFFIXES, where) for key, default in (("image", IMAGES), ("mask", MASKS))
    )
    if image.text == mask.text:
        raise DataError(f"{where}: expected patterns of image and mask that differ, got {image.text} for both.")
    if set(image.id_names) != set(mask.id_names):
        raise DataError(
            f"{where}: expected the same placeholders in both patterns but for {{split}}, got {image.text} and "
            f"{mask.text}."
        )
    return image, mask


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _bits(value: object, where: str) -> int | None:
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and 8 < value <= 16):
        return value
    raise DataError(f"{where}: expected 'bits' as the number of bits that grey images use, 9 to 16, got {value!r}.")


def _text(found: dict[str, Any], key: str, where: str) -> str | None:
    if not isinstance(value := found.get(key), str | None):
        raise DataError(f"{where}: expected {key!r} as text, got {value!r}.")
    return value
