"""Thumbnails of packed images, faded so that what is drawn over them stands out."""

import math
from typing import Final

from PIL import Image, ImageEnhance, ImageStat

from quadrat.benchmark.data.packed import PackedImages

__all__ = ["faded_thumbnail"]

_COLOUR: Final = 0.3
"""Share of an image's colour that is kept."""


def faded_thumbnail(images: PackedImages, index: int, max_edge: int) -> Image.Image:
    """Return image `index` with less colour and contrast, dark ones lightened, edges of at most `max_edge` pixels."""
    image = Image.fromarray(images.image(index))
    image.thumbnail((max_edge, max_edge), Image.Resampling.LANCZOS)
    mean = max(ImageStat.Stat(image.convert("L")).mean[0] / 255, 0.05)
    gamma = min(1.0, math.log(0.5) / math.log(mean)) if mean < 0.5 else 1.0
    pale = ImageEnhance.Color(image).enhance(_COLOUR)
    return pale.point([round(35 + 195 * (value / 255) ** gamma) for value in range(256)] * 3)
