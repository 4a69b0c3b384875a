"""Images of the pool, ground truth and maps of a model as small data URIs for the page.

Whatever is committed with a report must stay a thumbnail: data sets have licences of their own.
"""

import base64
import colorsys
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageEnhance, ImageStat

from quadrat.benchmark.data import PackedSplit
from quadrat.benchmark.errors import DataError
from quadrat.benchmark.results.trials import Results

__all__ = ["NoPool", "class_palette", "classes_uri", "grey_uri", "open_pool", "photo_uri", "truth_uri"]

_MAX_EDGE = 480
_MAX_TRUTH_EDGE = 240
_QUALITY = 72
_MAP_QUALITY = 50
_COLOUR = 0.3
"""Share of an image's colour that is kept."""
_VOID_COLOUR = (255, 255, 255)


@dataclass(frozen=True, kw_only=True)
class NoPool:
    """Why the images of the pool can't be shown.

    Attributes:
        reason: A sentence for the page.
    """

    reason: str


def open_pool(results: Results, cache_dir: Path | None = None) -> PackedSplit | NoPool:
    """Return the packed pool, or why it can't be used: it is a cache and may be gone.

    Args:
        results: The results folder.
        cache_dir: Where else to look for it, by its fingerprint: the cache folder of a run on the same images.
    """
    described: Mapping[str, Any] = results.dataset["pool"]
    for meta in sorted((cache_dir / "packed").glob("*/meta.json")) if cache_dir is not None else ():
        found = PackedSplit.open(meta.parent)
        if found.fingerprint == described["fingerprint"]:
            return found
    path = results.path / described["path"]  # an absolute path stays as it is
    again = (
        "Running the suite again packs the pool again (finished trials are skipped); `quadrat report` then draws them. "
        "`quadrat report --cache DIR` takes it from the cache of another run on the same images."
    )
    if not path.is_dir():
        return NoPool(reason=f"The packed pool is not there any more, so the picks can't be drawn. {again}")
    try:
        pool = PackedSplit.open(path)
    except DataError as error:
        return NoPool(reason=f"The packed pool can't be read, so the picks can't be drawn: {error}")
    if pool.fingerprint != described["fingerprint"]:
        return NoPool(
            reason="The packed pool holds other images than the ones that these trials picked from, so the picks can't "
            f"be drawn. {again}"
        )
    return pool


def photo_uri(pool: PackedSplit, index: int) -> str:
    """Return an image of the pool as JPEG: paled, so that picks stand out, and scaled down when it is large."""
    image = Image.fromarray(pool.images.image(index))
    image.thumbnail((_MAX_EDGE, _MAX_EDGE), Image.Resampling.LANCZOS)
    return _jpeg(_paled(image), _QUALITY)


def truth_uri(pool: PackedSplit, index: int, palette: Sequence[Sequence[int]]) -> str:
    """Return the ground truth of an image of the pool as PNG, void in white."""
    mask = pool.masks.mask(index)
    step = -(-max(mask.shape) // _MAX_TRUTH_EDGE)
    return classes_uri(mask[step // 2 :: step, step // 2 :: step], palette)


def class_palette(results: Results) -> list[tuple[int, int, int]]:
    """Return a colour per class: the data set's own, or evenly spaced hues where it has none to tell classes by."""
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


def _paled(image: Image.Image) -> Image.Image:
    """Return `image` with less colour and contrast and a dark one lightened, so that the picks stand out."""
    mean = max(ImageStat.Stat(image.convert("L")).mean[0] / 255, 0.05)
    gamma = min(1.0, math.log(0.5) / math.log(mean)) if mean < 0.5 else 1.0
    lifted = ImageEnhance.Color(image).enhance(_COLOUR)
    return lifted.point([round(35 + 195 * (value / 255) ** gamma) for value in range(256)] * 3)
