"""Sampling of training crops: shuffled passes over the images that have labels, one crop of each.

The sampler is stateless: batch `step` depends on the seed, the round and `step` only, so a resumed fit continues with
the same crops.
"""

from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from quadrat.benchmark.errors import TrainingError
from quadrat.benchmark.learning.inputs import Labels
from quadrat.benchmark.seeds import rng

__all__ = ["Draw", "Placement", "Sampler", "place_on_region", "place_uniformly"]

Placement = Literal["uniform", "labelled"]
"""How crops are placed: anywhere in the image, or on one of its labelled regions."""


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


def place_uniformly(length: int, side: int, align: int, generator: np.random.Generator) -> int:
    """Draw the start of a window along one axis, uniformly over all positions.

    A window that is not larger than the image stays inside it; a larger one contains the whole image.

    Args:
        length: Pixels of the image along this axis, a multiple of `align`.
        side: Pixels of the window.
        align: The result is a multiple of this.
        generator: One integer is drawn.

    Examples:
        >>> {place_uniformly(48, 32, 8, np.random.default_rng(seed)) for seed in range(20)} == {0, 8, 16}
        True
    """
    low, high = sorted((0, length - side))
    return align * int(generator.integers(-(-low // align), high // align + 1))


class Sampler:
    """Draws the crops of a fit.

    An epoch is one pass over the images that have a labelled region, in random order. `uniform` crops lie anywhere in
    the image: every labelled pixel away from the border is trained on equally often, and a crop may show no label,
    which adds nothing to the loss. `labelled` crops lie on one of the image's labelled regions, drawn uniformly: no
    crop is without labels, but a lone region of an image is trained on more often than one among many, which favours
    strategies that spread their regions over images.
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
        layout = labels.layout
        self._regions = np.asarray(labels.regions, dtype=np.int64)
        if self._regions.size == 0:
            raise TrainingError("nothing to train on: expected at least one labelled region, got none")
        images, counts = np.unique(layout.image[self._regions], return_counts=True)
        self._images: NDArray[np.int64] = images.astype(np.int64)
        # Sorted ids of an image are contiguous: ids of self._images[k] are self._regions[first[k]:first[k + 1]].
        self._first = np.concatenate([[0], np.cumsum(counts)])
        self._layout = layout
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
        image = int(self._images[index])
        region = int(self._regions[generator.integers(self._first[index], self._first[index + 1])])
        side = max(1, round(self._crop / generator.uniform(*self._scale)))
        box, starts = self._layout.box(region), []
        for begin, end, axis in ((box.top, box.bottom, 0), (box.left, box.right, 1)):
            length = int(self._layout.sizes[image, axis])
            padded = -(-length // self._align) * self._align
            if self._placement == "uniform":
                starts.append(place_uniformly(padded, side, self._align, generator))
            else:
                starts.append(place_on_region(begin, end, padded, side, self._align, generator))
        is_mirrored = bool(generator.random() < 0.5) and self._flip
        return Draw(image=image, top=starts[0], left=starts[1], side=side, flip=is_mirrored)

    def _shuffled_pass(self, number: int) -> NDArray[np.int64]:
        return rng(self._seed, "fit", self._round, "pass", number).permutation(self.num_images)
