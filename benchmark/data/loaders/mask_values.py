"""The meaning of mask values: which class each raw id is, as a manifest or a suite writes it."""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from quadrat.benchmark.data.dataset import VOID
from quadrat.benchmark.errors import DataError
from quadrat.strategies.registry import closest

__all__ = ["MAX_RAW_ID", "VOID_NAME", "read_ids", "value_ranges"]

MAX_RAW_ID: Final = 2**16 - 1
"""Largest value of a mask: 16 bits."""

VOID_NAME: Final = "void"
"""What stands for void where a class is named, unless a class has that name."""

OTHERS: Final = "*"
"""Key of `ids` for all raw ids that no other key names."""

_RANGE: Final = re.compile(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?")


def read_ids(ids: object, classes: Sequence[str], where: str) -> dict[int, int]:
    """Return the class id of each raw id, void as 255.

    A key is a raw id ("7"), a range of them ("34-38") or "*" for all others. Its value is the name of a class, "void",
    a class id, or for a range a range of class ids of the same length ("1-150": "0-149"). 255 is void unless a key
    names it.

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
        return dict.fromkeys(range(MAX_RAW_ID + 1), other) | {VOID: VOID} | found
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


def value_ranges(values: set[int]) -> str:
    """Return e.g. `0 to 11, 255` for {0, ..., 11, 255}."""
    runs: list[list[int]] = []
    for value in sorted(values):
        if runs and value == runs[-1][1] + 1:
            runs[-1][1] = value
        else:
            runs.append([value, value])
    return ", ".join(str(low) if low == high else f"{low} to {high}" for low, high in runs)
