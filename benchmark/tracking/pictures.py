"""Small pictures of what a trial picked in a few fixed images of the pool, one for each round."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from PIL import Image, ImageEnhance

from quadrat.benchmark.data import PackedSplit
from quadrat.benchmark.results.previews import fixed_images
from quadrat.benchmark.results.selections import Selections

__all__ = ["PickImage", "draw_picks", "open_pool"]

_TILE_PX: Final = 256
"""Longest edge of an image in the picture."""
_NEW: Final = (230, 120, 0, 170)
_EARLIER: Final = (0, 90, 178, 120)


class PickImage(NamedTuple):
    """One picture.

    Attributes:
        round: The round, counted from 0.
        image: The images beside each other: picks of this round in orange, earlier ones in blue.
    """

    round: int
    image: Image.Image


def open_pool(results_dir: Path, described: dict[str, Any]) -> PackedSplit | None:
    """Return the packed pool that `suite.json` describes, None when it is not on this machine any more (a cache)."""
    path = results_dir / described["path"]  # an absolute path stays as it is
    if not path.is_dir():
        return None
    pool = PackedSplit.open(path)
    return pool if pool.fingerprint == described["fingerprint"] else None


def draw_picks(results_dir: Path, trial_id: str, num_rounds: int, pool: PackedSplit) -> Iterator[PickImage]:
    """Yield a picture for each round whose selection is there, in order.

    Args:
        results_dir: The results folder.
        trial_id: The trial.
        num_rounds: Its rounds.
        pool: The packed pool that it picked from.
    """
    chosen = fixed_images(len(pool))
    shades = {index: np.zeros(tuple(pool.sizes[index]), dtype=np.uint8) for index in chosen}
    selections = Selections(results_dir)
    for round_ in range(num_rounds):
        file = selections.read(trial_id, round_)
        if file is None:
            return
        for index in chosen:
            shade = shades[index]
            shade[shade > 0] = 1
            here, size = file.image == index, file.region_size
            for top, left in zip(file.row[here] * size, file.col[here] * size, strict=True):
                shade[top : top + size, left : left + size] = 2
        yield PickImage(round_, _side_by_side([_tile(pool.images.image(index), shades[index]) for index in chosen]))


def _tile(pixels: np.ndarray, shade: np.ndarray) -> Image.Image:
    """Return an image, paled, under what was picked in it."""
    photo = ImageEnhance.Color(Image.fromarray(pixels)).enhance(0.3).convert("RGBA")
    colours = np.array([(0, 0, 0, 0), _EARLIER, _NEW], dtype=np.uint8)
    photo.alpha_composite(Image.fromarray(colours[shade], mode="RGBA"))
    scale = _TILE_PX / max(photo.size)
    return photo.convert("RGB").resize((round(photo.width * scale), round(photo.height * scale)))


def _side_by_side(tiles: list[Image.Image]) -> Image.Image:
    """Return up to four tiles in two columns, with a little white between them."""
    gap, width, height = 4, max(tile.width for tile in tiles), max(tile.height for tile in tiles)
    columns, rows = min(2, len(tiles)), -(-len(tiles) // 2)
    sheet = Image.new("RGB", (columns * (width + gap) - gap, rows * (height + gap) - gap), "white")
    for place, tile in enumerate(tiles):
        sheet.paste(tile, ((place % 2) * (width + gap), (place // 2) * (height + gap)))
    return sheet
