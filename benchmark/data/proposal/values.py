"""What the values of masks may mean: the classes, and the key of the manifest that says so."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from quadrat.benchmark.data.dataset import VOID
from quadrat.benchmark.data.loaders.mask_values import value_ranges
from quadrat.benchmark.data.loaders.reading import read_mask_values
from quadrat.benchmark.data.loaders.user_files import read_lines
from quadrat.benchmark.errors import DataError

__all__ = ["Meaning", "find_meaning"]

MOST_MASKS: Final = 500
"""Masks that are looked at, evenly spaced."""

CLASS_FILES: Final = ("classes.txt", "class_names.txt", "labels.txt", "names.txt", "label_names.txt")
"""Files at the root that may name the classes, one a line."""


class Meaning(NamedTuple):
    """The classes of masks.

    Attributes:
        keys: Keys of the manifest: `classes`, and `ids` or `colours` where they are needed.
        assumptions: What was assumed, as sentences.
    """

    keys: dict[str, Any]
    assumptions: tuple[str, ...]


def find_meaning(root: Path, masks: Sequence[Path]) -> Meaning:
    """Return the classes that the values of masks may mean.

    Raises:
        DataError: When a mask can't be read, or all masks hold one value.
    """
    places = np.linspace(0, len(masks) - 1, min(MOST_MASKS, len(masks)), dtype=int)
    pixels: Counter[tuple[int, ...]] = Counter()
    for place in places:
        values = read_mask_values(masks[place], are_colours=True)
        rows = values.reshape(-1, 1) if values.ndim == 2 else values.reshape(-1, 3)
        found, counts = np.unique(rows, axis=0, return_counts=True)
        for value, count in zip(found.tolist(), counts.tolist(), strict=True):
            pixels[tuple(map(int, value))] += count
    if len({len(value) for value in pixels}) > 1:
        pixels = _as_grey(pixels, masks[0].parent)
    looked_at = f"looked at {len(places):,} of {len(masks):,} masks"
    is_colour = len(next(iter(pixels))) == 3 and any(len(set(value)) > 1 for value in pixels)
    if len(pixels) < 2:
        raise DataError(f"{looked_at}: every pixel is {next(iter(pixels))}. Expected two classes or more.")
    if is_colour:
        return _of_colours(root, pixels, looked_at)
    return _of_ids(root, sorted(value[0] for value in pixels), looked_at)


def _as_grey(pixels: Counter[tuple[int, ...]], folder: Path) -> Counter[tuple[int, ...]]:
    """Return values of masks of which some have one channel and some three, where the three are equal."""
    if any(len(set(value)) > 1 for value in pixels):
        raise DataError(f"{folder}: some masks hold ids and some colours. Export all of them in one way.")
    grey: Counter[tuple[int, ...]] = Counter()
    for value, count in pixels.items():
        grey[value[:1]] += count
    return grey


def _of_colours(root: Path, pixels: Counter[tuple[int, ...]], looked_at: str) -> Meaning:
    colours = [list(colour) for colour in sorted(pixels)]
    if len(colours) > VOID:
        raise DataError(
            f"{looked_at}: {len(colours)} colours, more than the {VOID} classes that there can be. They may come from "
            "scaling with interpolation or compression with loss. Export the masks anew, without either."
        )
    names, from_file = _names(root, len(colours))
    text = f"{looked_at}: {len(colours)} colours, each of them a class"
    if [0, 0, 0] in colours:
        text += (
            '; if black is no class, move it from "colours" to "void": [[0, 0, 0]] and take its name out of "classes"'
        )
    keys = {"classes": names, "colours": dict(zip(names, colours, strict=True))}
    return Meaning(keys, (f"{text}.", from_file))


def _of_ids(root: Path, values: list[int], looked_at: str) -> Meaning:
    shown = f"{looked_at}: values {value_ranges(set(values))}"
    inner = [value for value in values if value != VOID]
    if values == [0, VOID]:
        ids = {"0": "background", str(VOID): "foreground"}
        return Meaning(
            {"classes": ["background", "foreground"], "ids": ids}, (f"{shown}, both of them classes, none void.",)
        )
    if len(inner) > 1 and inner[-1] == len(inner) - 1:
        names, from_file = _names(root, len(inner))
        void = f"; {VOID} is void" if VOID in values else ""
        note = f'{shown}: class ids{void}. If 0 is no class: "void": [0].'
        return Meaning({"classes": names}, (note, from_file))
    if len(inner) > 1 and inner[0] == 1 and inner[-1] == len(inner):
        names, from_file = _names(root, len(inner))
        ids = {f"1-{len(inner)}": f"0-{len(inner) - 1}"}
        return Meaning({"classes": names, "ids": ids}, (f"{shown}: class ids that begin at 1.", from_file))
    if len(values) > VOID:
        ids = {"0": "background", "*": "object"}
        text = f"{shown}: more than {VOID} of them are numbers of objects: 0 is background, all others are one class."
        return Meaning({"classes": ["background", "object"], "ids": ids}, (text,))
    if not _are_greys(values) and len(inner) > 1 and 2 * len(inner) > inner[-1]:
        names, from_file = _names(root, inner[-1] + 1)
        absent = value_ranges(set(range(inner[-1] + 1)) - set(inner))
        return Meaning(
            {"classes": names}, (f"{shown}: class ids, of which {absent} do not occur; 255 is void.", from_file)
        )
    classes = inner if values[-1] == VOID and not _are_greys(values) else values
    names, from_file = _names(root, len(classes))
    ids = {str(value): name for value, name in zip(classes, names, strict=True)}
    void = (
        "none void" if len(classes) == len(values) else f'{VOID} is void; if it is a class: "{VOID}": "NAME" in "ids"'
    )
    return Meaning({"classes": names, "ids": ids}, (f"{shown}: each of them a class, {void}.", from_file))


def _are_greys(values: Sequence[int]) -> bool:
    """Return whether values are greys at equal distances from black to white, such as 0, 128, 255."""
    steps = np.diff(values)
    return values[0] == 0 and values[-1] == VOID and int(steps.max() - steps.min()) <= 1


def _names(root: Path, num: int) -> tuple[list[str], str]:
    """Return names of classes, and a sentence on where they are from."""
    for file in CLASS_FILES:
        if (root / file).is_file():
            names = read_lines(root / file, "names of classes, one a line")
            if len(names) == num and len(set(names)) == num:
                return names, f"names of classes from {file}, in its order."
    return [
        f"class {number}" for number in range(num)
    ], "names of classes are placeholders: rename them in manifest.json."
