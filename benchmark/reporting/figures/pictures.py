"""Images of the pool, maps of a model and outlines of selected regions, as data URIs and SVG paths for the page.

Whatever is committed with a report must stay a thumbnail: data sets have licences of their own.
"""

import base64
import colorsys
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from quadrat.benchmark.data import PackedSplit, open_packed
from quadrat.benchmark.data.shapes import RegionMap, packed_maps
from quadrat.benchmark.data.shapes.outline import outline_path
from quadrat.benchmark.data.thumbnails import faded_thumbnail
from quadrat.benchmark.errors import DataError
from quadrat.benchmark.results.selections import Selections
from quadrat.benchmark.results.trials import Results
from quadrat.strategies.selection_file import SelectionFile

__all__ = [
    "MAX_SEEDS",
    "Unavailable",
    "cells_path",
    "class_palette",
    "classes_uri",
    "grey_uri",
    "open_maps",
    "open_pool",
    "paths_in_image",
    "photo_uri",
    "read_selections",
    "truth_uri",
]

_MAX_EDGE = 480
_MAX_TRUTH_EDGE = 240
_QUALITY = 72
_MAP_QUALITY = 50
_VOID_COLOUR = (255, 255, 255)


@dataclass(frozen=True, kw_only=True)
class Unavailable:
    """Why images or selections can't be shown.

    Attributes:
        reason: A sentence for the page.
    """

    reason: str


MAX_SEEDS: Final = 10
"""Seeds whose selections are drawn: each is a few pictures of every strategy in the page."""


def open_pool(results: Results, cache_dir: Path | None = None) -> PackedSplit | Unavailable:
    """Return the packed pool, or why it can't be used: it is a cache and may be gone.

    Args:
        results: The results folder.
        cache_dir: Cache folder of another run on the same images, searched first, by fingerprint.
    """
    try:
        pool = open_packed(results.path, results.dataset["pool"], cache_dir=cache_dir)
        pool.images.check()
        packed_maps(pool, results.dataset["pool"])
    except DataError as error:
        return Unavailable(
            reason=f"The selected regions can't be drawn, because {error}. Running the suite again restores the packed "
            "images (finished trials are skipped); `quadrat report --cache DIR` takes them from the cache of another "
            "run on the same images."
        )
    return pool


def read_selections(results: Results) -> dict[str, dict[int, SelectionFile]]:
    """Return trial_id -> round -> selection, for every trial of the first `MAX_SEEDS` seeds that has a selection.

    Raises:
        ResultsError: When a selection file is damaged.
    """
    selections, shown = Selections(results.path), set(results.seeds[:MAX_SEEDS])
    found: dict[str, dict[int, SelectionFile]] = {}
    for trial in results.trials:
        if trial.seed not in shown:
            continue
        for record in trial.records:
            if (file := selections.read(trial.trial_id, record.round)) is not None:
                found.setdefault(trial.trial_id, {})[record.round] = file
    return found


def cells_path(row: Sequence[int], col: Sequence[int], region_size: int, height: int, width: int) -> str:
    """Return an SVG path of grid cells, clipped to the image.

    Examples:
        >>> cells_path([0], [1], 16, 10, 24)
        'M16,0h8v10h-8z'
    """
    parts = []
    for top, left in zip((r * region_size for r in row), (c * region_size for c in col), strict=True):
        down, right = min(region_size, height - top), min(region_size, width - left)
        parts.append(f"M{left},{top}h{right}v{down}h-{right}z")
    return "".join(parts)


def paths_in_image(
    by_round: Mapping[int, SelectionFile], index: int, height: int, width: int, shapes: RegionMap | None = None
) -> dict[int, str]:
    """Return round -> SVG path of the regions selected in one image; rounds without any are left out.

    Args:
        by_round: The selections of one trial.
        index: Which image of the pool.
        height: Its height, pixels.
        width: Its width, pixels.
        shapes: Map of the trial's regions; without one, regions that are not squares are left out.
    """
    paths = {}
    for round_, found in sorted(by_round.items()):
        here = found.image == index
        if here.any() and not found.has_cells:
            if shapes is not None:
                paths[round_] = "".join(_border(shapes, region) for region in found.regions[here].tolist())
        elif here.any():
            row, col = found.row[here].tolist(), found.col[here].tolist()
            paths[round_] = cells_path(row, col, found.region_size, height, width)
    return paths


def _border(shapes: RegionMap, region: int) -> str:
    top, left, bottom, right = shapes.box(region)
    window = shapes.window(int(shapes.image[region]), top, left, bottom - top, right - left)
    return outline_path(window == region, top, left)


def open_maps(results: Results, pool: PackedSplit | Unavailable) -> dict[str, RegionMap]:
    """Return the region map of each trial whose regions are not squares, by trial id; they lie beside the images.

    Args:
        results: The results folder.
        pool: What `open_pool` returned, which checked that they are there.
    """
    if isinstance(pool, Unavailable):
        return {}
    maps = packed_maps(pool, results.dataset["pool"])
    return {trial.trial_id: maps[trial.map] for trial in results.trials if trial.map in maps}


def photo_uri(pool: PackedSplit, index: int) -> str:
    """Return an image of the pool as JPEG: faded, so that selected regions stand out, and of at most 480 px."""
    return _jpeg(faded_thumbnail(pool.images, index, _MAX_EDGE), _QUALITY)


def truth_uri(pool: PackedSplit, index: int, palette: Sequence[Sequence[int]]) -> str:
    """Return the ground truth of an image of the pool as PNG, void in white."""
    mask = pool.masks.mask(index)
    step = -(-max(mask.shape) // _MAX_TRUTH_EDGE)
    return classes_uri(mask[step // 2 :: step, step // 2 :: step], palette)


def class_palette(results: Results) -> list[tuple[int, int, int]]:
    """Return a colour per class: the data set's own, or evenly spaced hues where its colours are not distinct."""
    given = [(int(red), int(green), int(blue)) for red, green, blue in results.dataset["colours"]]
    if len(set(given)) == len(given):
        return given
    hues = (colorsys.hls_to_rgb(place / len(given), 0.5, 0.6) for place in range(len(given)))
    return [(round(255 * red), round(255 * green), round(255 * blue)) for red, green, blue in hues]


def classes_uri(classes: npt.NDArray[np.uint8], palette: Sequence[Sequence[int]]) -> str:
    """Return a map of class ids, uint8 (h, w), as PNG in the colours of the classes; other ids are void."""
    image = Image.fromarray(classes)
    colours = [channel for colour in palette for channel in colour]
    image.putpalette([*colours, *_VOID_COLOUR * (256 - len(palette))])
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def grey_uri(values: npt.NDArray[np.uint8]) -> str:
    """Return a map, uint8 (h, w), as JPEG: black is 0, white is 255."""
    return _jpeg(Image.fromarray(values), _MAP_QUALITY)


def _jpeg(image: Image.Image, quality: int) -> str:
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=quality, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
