"""Superpixels of OpenCV's contrib build: SLIC and SEEDS.

OpenCV has both in one package that reads contours here too; scikit-image has SLIC only. What the same parameters give
may change with OpenCV's version: a trial's labels are known by the digest of the map, not by these parameters alone.

References:
    [Achanta] Achanta, Shaji, Smith, Lucchi, Fua, Suesstrunk, "SLIC superpixels compared to state-of-the-art superpixel
        methods", TPAMI 2012.
    [VandenBergh] Van den Bergh, Boix, Roig, Van Gool, "SEEDS: superpixels extracted via energy-driven sampling", IJCV
        2015; used for region-based active learning by Cai et al., CVPR 2021.
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt

from quadrat.benchmark.data.shapes.kind import RegionKind
from quadrat.benchmark.errors import DataError

__all__ = ["Seeds", "Slic"]

_ITERATIONS: Final = 10
"""As [Achanta] takes; a few more change nothing that a figure shows."""

_SMALLEST: Final = 25
"""SLIC joins superpixels below this share of the mean area, percent, to a neighbour."""


_TRIES: Final = 5
"""Spacings at which SLIC cuts an image at most."""


@dataclass(frozen=True, kw_only=True)
class Slic(RegionKind):
    """SLIC [Achanta]: k-means of colour (CIELAB) and place; about H W / region_size^2 superpixels.

    Joining what is small leaves about half of the superpixels that SLIC begins with, less where an image is smooth. So
    each image is cut at a few spacings of the initial centres, and the number closest to H W / region_size^2 is kept.
    """

    name: ClassVar[str] = "slic"
    version: ClassVar[int] = 2

    compactness: float = 10.0
    """Weight of place against colour; larger superpixels are more square."""

    def __post_init__(self) -> None:
        if not (isinstance(self.compactness, int | float) and 0 < self.compactness < math.inf):
            raise DataError(f"regions: slic: expected a compactness above 0, got {self.compactness!r}")

    def cut(self, image: npt.NDArray[np.uint8], *, region_size: int, id: str) -> npt.NDArray[np.integer[Any]]:
        """Return the superpixel of every pixel, from 1."""
        import cv2  # here: reading a suite needs none

        lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)

        def superpixels(spacing: int) -> npt.NDArray[np.int64]:
            slic = cv2.ximgproc.createSuperpixelSLIC(lab, cv2.ximgproc.SLIC, spacing, float(self.compactness))
            slic.iterate(_ITERATIONS)
            slic.enforceLabelConnectivity(_SMALLEST)
            return _without_specks(slic.getLabels())

        return _closest_in_number(superpixels, region_size, _wanted(image, region_size))


@dataclass(frozen=True, kw_only=True)
class Seeds(RegionKind):
    """SEEDS [VandenBergh]: borders of a grid are moved block by block; about H W / region_size^2 superpixels.

    The grid is made of blocks that are doubled `levels` - 1 times, so only some numbers are possible, and OpenCV takes
    a grid with fewer superpixels than it is asked for. It is asked for what gives the possible number closest to
    H W / region_size^2: of 375 x 500 pixels in regions of 24, 300 where 326 are wanted (165 if it is asked for 326).
    """

    name: ClassVar[str] = "seeds"
    version: ClassVar[int] = 2

    levels: int = 4
    """Levels of blocks."""
    prior: int = 2
    """Smoothness of the borders, 0 to 5."""
    bins: int = 5
    """Bins of the colour histogram, each channel."""

    def __post_init__(self) -> None:
        for value, low, high, name in (
            (self.levels, 1, 10, "levels"),
            (self.prior, 0, 5, "prior"),
            (self.bins, 2, 20, "bins"),
        ):
            if not (isinstance(value, int) and low <= value <= high):
                raise DataError(f"regions: seeds: expected {name} from {low} to {high}, got {value!r}")

    def cut(self, image: npt.NDArray[np.uint8], *, region_size: int, id: str) -> npt.NDArray[np.integer[Any]]:
        """Return the superpixel of every pixel, from 1."""
        import cv2  # here: reading a suite needs none

        height, width = image.shape[:2]
        asked = _to_ask_for(height, width, _wanted(image, region_size), self.levels)
        seeds = cv2.ximgproc.createSuperpixelSEEDS(
            width, height, 3, asked, self.levels, prior=self.prior, histogram_bins=self.bins
        )
        seeds.iterate(cv2.cvtColor(image, cv2.COLOR_RGB2HSV), _ITERATIONS)
        return _without_specks(seeds.getLabels())


@functools.lru_cache(maxsize=4096)
def _to_ask_for(height: int, width: int, wanted: int, levels: int) -> int:
    """Return the number to ask SEEDS for, so that the superpixels of its grid are closest to `wanted` in number.

    The number that it gives grows in steps with the number that it is asked for: the step at which it reaches `wanted`
    is found by bisection, and the closer of both sides taken.
    """
    import cv2  # here: reading a suite needs none

    @functools.cache
    def given(asked: int) -> int:
        seeds = cv2.ximgproc.createSuperpixelSEEDS(width, height, 3, asked, levels)
        return int(seeds.getNumberOfSuperpixels())

    low, high = 0, wanted  # of `low` too few are given
    while given(high) < wanted and high < height * width:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if given(middle) < wanted else (low, middle)
    return min((one for one in (low, high) if one > 0), key=lambda asked: abs(given(asked) - wanted))


def _wanted(image: npt.NDArray[np.uint8], region_size: int) -> int:
    """Return how many superpixels of an image have the area of a square of the region size, on average."""
    height, width = image.shape[:2]
    return max(1, round(int(height) * int(width) / region_size**2))


def _closest_in_number(cut: Callable[[int], npt.NDArray[np.int64]], spacing: int, wanted: int) -> npt.NDArray[np.int64]:
    """Return the cut with the number of superpixels closest to `wanted`, of those at a few spacings; the first of them.

    The number falls with the square of the spacing, so each spacing is the last one times the root of what its number
    was too large by; when that gives none that is new, it is the one beside the best. Spacings are whole pixels:
    neighbouring ones differ by a share of 2 / spacing in number.

    Args:
        cut: Spacing of the initial centres in pixels -> labels from 1.
        spacing: The first spacing.
        wanted: Number of superpixels.
    """
    found: dict[int, tuple[int, npt.NDArray[np.int64]]] = {}  # number of superpixels, and their labels
    while len(found) < _TRIES and spacing not in found:
        labels = cut(spacing)
        found[spacing] = len(np.unique(labels)), labels
        spacing = max(2, round(spacing * math.sqrt(found[spacing][0] / wanted)))
        if spacing in found:
            best = min(found, key=lambda one: abs(found[one][0] - wanted))
            spacing = max(2, best + 1 if found[best][0] > wanted else best - 1)
    return min(found.values(), key=lambda one: abs(one[0] - wanted))[1]


def _without_specks(label_HW: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.int64]:
    """Return labels counted from 1, those of a single pixel given to a neighbour."""
    labels = label_HW.astype(np.int64) + 1
    counts = np.bincount(labels.ravel())
    for y, x in zip(*np.nonzero(counts[labels] == 1), strict=True):
        beside = ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1))
        inside = [(r, c) for r, c in beside if 0 <= r < labels.shape[0] and 0 <= c < labels.shape[1]]
        labels[y, x] = max((labels[place] for place in inside), key=lambda label: counts[label])
    return labels
