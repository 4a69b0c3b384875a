"""The meaning of mask values: which class each raw id or colour is, as a manifest or a suite writes it."""

import colorsys
import functools
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from quadrat.benchmark.data.dataset import VOID
from quadrat.benchmark.errors import DataError
from quadrat.strategies.registry import closest

__all__ = [
    "MAX_RAW_ID",
    "VOID_NAME",
    "Colour",
    "classes_of_colours",
    "distinct_colours",
    "is_colour",
    "read_colours",
    "read_ids",
    "require_class_names",
    "value_ranges",
]

Colour = tuple[int, int, int]
"""Red, green, blue."""

MAX_RAW_ID: Final = 2**16 - 1
"""Largest value of a mask: 16 bits."""

MAX_CLASS_NAME: Final = 100
"""Longest name of a class, characters."""

VOID_NAME: Final = "void"
"""What stands for void where a class is named, unless a class has that name."""

OTHERS: Final = "*"
"""Key of `ids` for all raw ids that no other key names."""

_RANGE: Final = re.compile(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?")


def read_ids(ids: object, classes: Sequence[str], where: str) -> dict[int, int]:
    """Return the class id of each raw id, void as 255.

    A key is a raw id ("7"), a range of them ("34-38") or "*" for all others. Its value is the name of a class, "void",
    a class id, or for a range a range of class ids of the same length ("1-150": "0-149"). 255 is void unless a key
    names it; "*" does.

    Args:
        ids: As written.
        classes: Names of the classes.
        where: Where it is written, for messages.

    Raises:
        DataError: When a key is no id, or is named twice, or its value is no class.

    Examples:
        >>> read_ids({"0": "void", "1-2": "0-1", "7": "road"}, ["sky", "road"], "manifest.json")
        {255: 255, 0: 255, 1: 0, 2: 1, 7: 1}
    """
    if not isinstance(ids, Mapping) or not ids:
        raise DataError(f'{where}: expected ids such as {{"0": "void", "1": "{classes[0]}"}}, got {ids!r}.')
    found: dict[int, int] = {}
    for key, value in ids.items():
        if str(key) == OTHERS:
            continue
        raw = _span(key)
        if raw is None or raw[-1] > MAX_RAW_ID:
            raise DataError(
                f"{where}: expected ids from raw ids (0 to {MAX_RAW_ID}), ranges such as '34-38' or '{OTHERS}' for all "
                f"others, got {key!r}."
            )
        meant = _classes(value, len(raw), classes, f"{where}: ids {key!r}")
        for raw_id, class_id in zip(raw, meant, strict=True):
            if raw_id in found:
                raise DataError(f"{where}: expected each raw id once in ids, got {raw_id} twice. Remove one.")
            found[raw_id] = class_id
    if OTHERS in ids:
        (other,) = _classes(ids[OTHERS], 1, classes, f"{where}: ids '{OTHERS}'")
        return dict.fromkeys(range(MAX_RAW_ID + 1), other) | found
    return {VOID: VOID} | found


def _span(key: object) -> range | None:
    """Return the ids of `7` or `34-38`, None for anything else."""
    matched = None if isinstance(key, bool) else _RANGE.fullmatch(str(key))
    if matched is None:
        return None
    first, last = int(matched[1]), int(matched[2] or matched[1])
    return range(first, last + 1) if first <= last else None


def _classes(value: object, count: int, classes: Sequence[str], where: str) -> Sequence[int]:
    """Return the class ids that `value` means for `count` raw ids."""
    if isinstance(value, str) and value in classes:
        return [classes.index(value)] * count
    if value is None or value == VOID_NAME:
        return [VOID] * count
    meant = _span(value)
    if meant is None:
        known = [*classes, VOID_NAME]
        raise DataError(f"{where}: there is no class {value!r}{closest(str(value), known)}")
    if meant[-1] >= len(classes) or len(meant) not in (1, count):
        raise DataError(
            f"{where}: expected class ids from 0 to {len(classes) - 1}, one or as many as there are raw ids ({count}), "
            f"got {value!r}."
        )
    return list(meant) * count if len(meant) == 1 else meant


def require_class_names(names: Sequence[str], where: str) -> None:
    """Raise a `DataError` where a class name doesn't fit into a table or a metric's name.

    Args:
        names: Names of the classes.
        where: Where they are written, for messages.
    """
    for name in names:
        if len(name) > MAX_CLASS_NAME or not name.isprintable():
            raise DataError(
                f"{where}: expected names of classes of at most {MAX_CLASS_NAME} printable characters, got "
                f"{name[:200]!r}."
            )


def is_colour(value: object) -> bool:
    """Return whether `value` is [r, g, b] of 0 to 255."""
    return (
        isinstance(value, list | tuple)
        and len(value) == 3
        and all(isinstance(part, int) and not isinstance(part, bool) and 0 <= part <= 255 for part in value)
    )


def read_colours(colours: object, classes: Sequence[str], where: str) -> dict[Colour, int]:
    """Return the class id of each colour, void as 255.

    Args:
        colours: One [r, g, b] for each class in their order, or a mapping from the name of each class, and "void", to
            one colour or a list of colours.
        classes: Names of the classes.
        where: Where it is written, for messages.

    Raises:
        DataError: When a class has no colour, a name is no class, or a colour means two classes.

    Examples:
        >>> read_colours({"sky": [0, 0, 255], "road": [9, 9, 9], "void": [[0, 0, 0]]}, ["sky", "road"], "manifest.json")
        {(0, 0, 255): 0, (9, 9, 9): 1, (0, 0, 0): 255}
    """
    named: dict[str, Any]
    if isinstance(colours, Mapping):
        named = dict(colours)
    elif isinstance(colours, list) and len(colours) == len(classes):
        named = dict(zip(classes, colours, strict=True))
    else:
        raise DataError(
            f"{where}: expected 'colours' as a list of {len(classes)} [r, g, b], one for each class, or as a mapping "
            f"from the name of each class to its colour, got {str(colours)[:200]}."
        )
    if unknown := [name for name in named if name not in classes and name != VOID_NAME]:
        raise DataError(
            f"{where}: colours: there is no class {unknown[0]!r}{closest(unknown[0], [*classes, VOID_NAME])}"
        )
    if lacking := [name for name in classes if not named.get(name)]:
        raise DataError(f"{where}: expected a colour for each class in colours, {lacking[0]!r} has none.")
    found: dict[Colour, int] = {}
    for name, value in named.items():
        several = [value] if is_colour(value) else value
        if not isinstance(several, list) or not all(map(is_colour, several)):
            raise DataError(
                f"{where}: expected 'colours' of {name!r} as [r, g, b] of 0 to 255, got {str(value)[:200]}."
            )
        for red, green, blue in several:
            class_id = classes.index(name) if name in classes else VOID
            if found.setdefault((red, green, blue), class_id) != class_id:
                raise DataError(
                    f"{where}: colours: {[red, green, blue]} is the colour of two classes, such as {name!r}."
                )
    return found


def classes_of_colours(
    colours_HW3: npt.NDArray[np.uint8], class_of: Mapping[Colour, int]
) -> tuple[npt.NDArray[np.uint8], dict[Colour, int]]:
    """Return class ids (H, W), and how many pixels have each colour that is no class; those are void.

    Args:
        colours_HW3: uint8 (H, W, 3).
        class_of: Class id of each colour.
    """
    class_of_code = _class_of_code(tuple(class_of.items()))
    code = colours_HW3.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1], dtype=np.int32)
    classes = class_of_code[code]
    is_wrong = classes == _NO_CLASS
    wrong: dict[Colour, int] = {}
    if is_wrong.any():
        codes, counts = np.unique(code[is_wrong], return_counts=True)
        wrong = {
            (int(one) >> 16, int(one) >> 8 & 255, int(one) & 255): int(count)
            for one, count in zip(codes, counts, strict=True)
        }
    return np.where(is_wrong, VOID, classes).astype(np.uint8), wrong


_NO_CLASS: Final = 256


@functools.lru_cache(maxsize=2)
def _class_of_code(class_of: tuple[tuple[Colour, int], ...]) -> npt.NDArray[np.int16]:
    """Return the class id of each of all colours, int16 (2 ** 24,): 32 MiB, and one look-up a pixel."""
    table = np.full(1 << 24, _NO_CLASS, dtype=np.int16)
    for (red, green, blue), class_id in class_of:
        table[red << 16 | green << 8 | blue] = class_id
    return table


def value_ranges(values: set[int]) -> str:
    """Return e.g. `0 to 11, 255` for {0, ..., 11, 255}."""
    runs: list[list[int]] = []
    for value in sorted(values):
        if runs and value == runs[-1][1] + 1:
            runs[-1][1] = value
        else:
            runs.append([value, value])
    return ", ".join(str(low) if low == high else f"{low} to {high}" for low, high in runs)


def distinct_colours(count: int) -> tuple[tuple[int, int, int], ...]:
    """Return `count` colours that differ in hue and, one to the next, in brightness."""
    colours = []
    for index in range(count):
        # The golden ratio spreads the hues evenly whatever the count.
        red, green, blue = colorsys.hsv_to_rgb(index * 0.618034 % 1, 0.65, (0.9, 0.6)[index % 2])
        colours.append((round(255 * red), round(255 * green), round(255 * blue)))
    return tuple(colours)
