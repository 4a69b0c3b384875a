"""Pictures of what a trial selected in a few fixed images of the pool, one per round."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from quadrat.benchmark.data import PackedSplit
from quadrat.benchmark.data.shapes import RegionMap
from quadrat.benchmark.data.thumbnails import faded_thumbnail
from quadrat.benchmark.results.previews import fixed_images
from quadrat.benchmark.results.selections import Selections

__all__ = ["RoundPicture", "draw_selections"]

_TILE_PX: Final = 256
"""Longest edge of an image in the picture."""
_COLOURS: Final = np.array([(0, 0, 0, 0), (0, 90, 178, 120), (230, 120, 0, 170)], dtype=np.uint8)
"""RGBA of what is not selected, selected in an earlier round, and selected in this round."""


class RoundPicture(NamedTuple):
    """Picture of one round.

    Attributes:
        round: Counted from 0.
        image: The images in two columns; regions selected in this round in orange, earlier ones in blue.
    """

    round: int
    image: Image.Image


def draw_selections(
    results_dir: Path, trial_id: str, num_rounds: int, pool: PackedSplit, shapes: RegionMap | None = None
) -> Iterator[RoundPicture]:
    """Yield a picture per round, in order, up to the last selection that exists.

    Args:
        results_dir: The results folder.
        trial_id: The trial.
        num_rounds: Its number of rounds.
        pool: Its packed pool.
        shapes: Map of its regions; None for a grid.
    """
    selections = Selections(results_dir)
    masks = {index: np.zeros(tuple(pool.sizes[index]), dtype=np.uint8) for index in fixed_images(len(pool))}
    for round_ in range(num_rounds):
        selection = selections.read(trial_id, round_)
        if selection is None:
            return
        size = selection.region_size
        for index, mask in masks.items():
            mask[mask > 0] = 1
            here = selection.image == index
            if shapes is not None:
                is_selected = np.zeros(shapes.num_regions, dtype=bool)
                is_selected[selection.regions[here]] = True
                mask[shapes.window_mask(index, is_selected, 0, 0, *mask.shape)] = 2
                continue
            for top, left in zip(selection.row[here] * size, selection.col[here] * size, strict=True):
                mask[top : top + size, left : left + size] = 2
        yield RoundPicture(round_, _in_two_columns([_tile(pool, index, mask) for index, mask in masks.items()]))


def _tile(pool: PackedSplit, index: int, mask: npt.NDArray[np.uint8]) -> Image.Image:
    """Return a faded image with the selected regions of `mask`, (H, W) of indices into `_COLOURS`, drawn over it."""
    photo = faded_thumbnail(pool.images, index, _TILE_PX).convert("RGBA")
    scale = _TILE_PX / max(photo.size)
    photo = photo.resize((round(photo.width * scale), round(photo.height * scale)))
    photo.alpha_composite(Image.fromarray(_COLOURS[mask], mode="RGBA").resize(photo.size, Image.Resampling.NEAREST))
    return photo.convert("RGB")


def _in_two_columns(tiles: list[Image.Image]) -> Image.Image:
    gap, width, height = 4, max(tile.width for tile in tiles), max(tile.height for tile in tiles)
    columns, rows = min(2, len(tiles)), -(-len(tiles) // 2)
    sheet = Image.new("RGB", (columns * (width + gap) - gap, rows * (height + gap) - gap), "white")
    for place, tile in enumerate(tiles):
        sheet.paste(tile, ((place % 2) * (width + gap), (place // 2) * (height + gap)))
    return sheet
