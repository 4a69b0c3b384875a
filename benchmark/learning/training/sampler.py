"""Sampling of training crops: shuffled passes over the images that have labels, each crop with a labelled region in it.

The sampler is stateless: batch `step` depends on the seed, the round and `step` only, so a resumed fit continues with
the same crops.
"""

from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from quadrat.benchmark.errors import TrainingError
from quadrat.benchmark.learning.inputs import Grid, Labels
from quadrat.benchmark.seeds import rng

__all__ = ["Draw", "Placement", "Sampler", "place_on_region", "place_uniformly"]

Placement = Literal["uniform", "labelled"]
"""How crops are placed: anywhere in the image where a labelled region shows, or on one of its labelled regions."""

# Plain rejections before `place_uniformly` draws by region; both have the same distribution.
_REJECTIONS = 16


class Draw(NamedTuple):
    """One training crop: a square window of an image, in that image's pixels; it may reach beyond it."""

    image: int
    top: int
    left: int
    side: int
    flip: bool


def place_on_region(start: int, stop: int, length: int, side: int, align: int, generator: np.random.Generator) -> int:
    """Draw the start of a window along one axis, so that it contains [start, stop) or lies inside it.

    A window that is not larger than the image stays inside it; a larger one contains the whole image.

    Args:
        start: First pixel of the region.
        stop: One past its last pixel.
        length: Pixels of the image along this axis.
        side: Pixels of the window.
        align: The result is a multiple of this.
        generator: One integer is drawn.

    Examples:
        >>> place_on_region(24, 48, 48, 32, 1, np.random.default_rng(0)) in range(16, 17)
        True
    """
    low, high = sorted((stop - side, start))
    inside = sorted((0, length - side))
    low, high = (min(max(edge, inside[0]), inside[1]) for edge in (low, high))
    last = high // align
    first = min(-(-low // align), last)
    return align * int(generator.integers(first, last + 1))


def place_uniformly(
    boxes_R4: NDArray[np.int64], lengths: tuple[int, int], side: int, align: int, generator: np.random.Generator
) -> tuple[int, int]:
    """Draw the upper left corner of a window, uniformly over all positions that show a pixel of some region.

    It is a uniform crop that is drawn again while it shows no region. Where regions are few and the window is small,
    that may take long. So after a few draws a region is drawn in proportion to the number of positions that show it,
    then one of these positions, which is kept with probability 1 / (number of regions that it shows): the same
    distribution [Karp], after at most as many draws, in the mean, as a window shows regions.

    Args:
        boxes_R4: int64 (R, 4), top, left, bottom, right of the image's labelled regions, pixels; at least one.
        lengths: Height and width of the image, padded to a multiple of `align`.
        side: Pixels of the window; at least `align`. A window that is not larger than the image stays inside it; a
            larger one contains the whole axis.
        align: The result is a multiple of this.
        generator: Draws are taken from it.

    References:
        [Karp] Karp, Luby, Madras. Monte-Carlo approximation algorithms for enumeration problems. 1989.
    """
    whole_2 = np.array([sorted((0, length - side)) for length in lengths])
    first_2, last_2 = -(-whole_2[:, 0] // align), whole_2[:, 1] // align
    first_R2 = np.maximum(-(-(boxes_R4[:, :2] - side + 1) // align), first_2)
    last_R2 = np.minimum((boxes_R4[:, 2:] - 1) // align, last_2)

    def shown(at_2: NDArray[np.int64]) -> int:
        return int(((first_R2 <= at_2) & (at_2 <= last_R2)).all(axis=1).sum())

    for _ in range(_REJECTIONS):
        at_2 = generator.integers(first_2, last_2 + 1)
        if shown(at_2):
            return int(at_2[0]) * align, int(at_2[1]) * align
    positions_R = (last_R2 - first_R2 + 1).prod(axis=1)
    share_R = positions_R / positions_R.sum()
    while True:
        region = int(generator.choice(len(share_R), p=share_R))
        at_2 = generator.integers(first_R2[region], last_R2[region] + 1)
        if generator.random() * shown(at_2) < 1:
            return int(at_2[0]) * align, int(at_2[1]) * align


class Sampler:
    """Draws the crops of a fit.

    An epoch is one pass over the images that have a labelled region, in random order. No crop is without a labelled
    region: `uniform` draws a uniform crop again while it shows none, `labelled` places the crop on one of the image's
    labelled regions, drawn uniformly. A lone labelled region of an image is trained on more often per pixel than one
    among many, and more so with `labelled`, which favours strategies that spread their regions over images.
    """

    def __init__(
        self,
        labels: Labels,
        *,
        batch_size: int,
        crop: int,
        scale: tuple[float, float],
        flip: bool,
        placement: Placement,
        align: int,
        seed: int,
        round: int,
    ) -> None:
        """Index the labelled regions by image.

        Args:
            labels: The labelled regions; at least one.
            batch_size: Crops per batch.
            crop: Side of the crops, pixels.
            scale: Range of the factor by which windows are rescaled.
            flip: Whether crops are flipped horizontally with probability 1/2.
            placement: How crops are placed.
            align: Windows start at multiples of this many pixels; images count as padded to such a multiple.
            seed: The trial's seed.
            round: The round, counted from 0.

        Raises:
            TrainingError: No region is labelled.
        """
        grid: Grid = labels.grid
        self._regions = np.asarray(labels.regions, dtype=np.int64)
        if self._regions.size == 0:
            raise TrainingError("nothing to train on: expected at least one labelled region, got none")
        images, counts = np.unique(grid.image[self._regions], return_counts=True)
        self._images: NDArray[np.int64] = images.astype(np.int64)
        # Sorted ids of an image are contiguous: ids of self._images[k] are self._regions[first[k]:first[k + 1]].
        self._first = np.concatenate([[0], np.cumsum(counts)])
        self._grid = grid
        self._batch_size = batch_size
        self._crop = crop
        self._scale = scale
        self._flip = flip
        self._placement = placement
        self._align = align
        self._seed = seed
        self._round = round
        self._pass = lru_cache(maxsize=2)(self._shuffled_pass)

    @property
    def num_images(self) -> int:
        """Number of images that have a labelled region."""
        return len(self._images)

    def draws(self, step: int) -> list[Draw]:
        """Return the crops of batch `step`; independent of earlier calls."""
        generator = rng(self._seed, "fit", self._round, step)
        begin = step * self._batch_size
        return [self._draw(sample, generator) for sample in range(begin, begin + self._batch_size)]

    def _draw(self, sample: int, generator: np.random.Generator) -> Draw:
        pass_number, position = divmod(sample, self.num_images)
        index = int(self._pass(pass_number)[position])
        regions = self._regions[self._first[index] : self._first[index + 1]]
        image = int(self._images[index])
        side = max(1, round(self._crop / generator.uniform(*self._scale)))
        place = self._place_on_one if self._placement == "labelled" else self._place_anywhere
        top, left = place(image, regions, side, generator)
        is_mirrored = bool(generator.random() < 0.5) and self._flip
        return Draw(image=image, top=top, left=left, side=side, flip=is_mirrored)

    def _place_on_one(
        self, image: int, regions: NDArray[np.int64], side: int, generator: np.random.Generator
    ) -> tuple[int, int]:
        top, left, bottom, right = self._boxes(image, generator.choice(regions, 1))[0].tolist()
        height, width = self._padded(image)
        return (
            place_on_region(top, bottom, height, side, self._align, generator),
            place_on_region(left, right, width, side, self._align, generator),
        )

    def _place_anywhere(
        self, image: int, regions: NDArray[np.int64], side: int, generator: np.random.Generator
    ) -> tuple[int, int]:
        return place_uniformly(self._boxes(image, regions), self._padded(image), side, self._align, generator)

    def _boxes(self, image: int, regions: NDArray[np.int64]) -> NDArray[np.int64]:
        size = self._grid.region_size
        cell_R2 = np.stack([self._grid.row[regions], self._grid.col[regions]], axis=1).astype(np.int64)
        end_R2 = np.minimum((cell_R2 + 1) * size, self._grid.sizes[image].astype(np.int64))
        return np.concatenate([cell_R2 * size, end_R2], axis=1)

    def _padded(self, image: int) -> tuple[int, int]:
        height, width = (-(-int(length) // self._align) * self._align for length in self._grid.sizes[image])
        return height, width

    def _shuffled_pass(self, number: int) -> NDArray[np.int64]:
        return rng(self._seed, "fit", self._round, "pass", number).permutation(self.num_images)
