"""Distances between regions, normalised so that regions of different images are at most 1 apart.

Three kinds: ``cells`` looks a grid's distances up in a table, ``centres`` computes them from centres, ``borders`` asks
whether two regions share a border.

Axes: R regions, I images, S slots for the regions of an image.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from quadrat.strategies.borders import positions_in_rows

__all__ = ["DistanceBlock", "Images", "Norm", "Pairs", "SpatialDistance", "length_of"]

Norm = Literal[1, 2, "inf"]


def length_of(down: NDArray[np.float64], across: NDArray[np.float64], norm: Norm) -> NDArray[np.float64]:
    """Return the length of differences of centres; their sign does not matter.

    >>> length_of(np.array([3.0]), np.array([-4.0]), 2)
    array([5.])
    """
    if norm == 2:
        return np.asarray(np.sqrt(down**2 + across**2))
    down, across = np.abs(down), np.abs(across)
    return np.asarray(down + across if norm == 1 else np.maximum(down, across))


class Images(NamedTuple):
    """The regions of a pool, image by image."""

    order: NDArray[np.int64]
    """(R,) row numbers of the pool sorted by image, ascending inside an image."""
    first: NDArray[np.int64]
    """(I + 1,) the regions of the i-th image are ``order[first[i]:first[i + 1]]``."""
    of_region: NDArray[np.int64]
    """(R,) which of the I images a region lies in."""

    @classmethod
    def of(cls, image: NDArray[np.int32]) -> Images:
        """Group regions by their (R,) ``image`` index; indices may have gaps. O(R) when they are sorted already."""
        order = np.argsort(image, kind="stable")
        ordered = image[order]
        is_first = np.ones(len(image), np.bool_)
        is_first[1:] = ordered[1:] != ordered[:-1]
        of_region = np.empty(len(image), np.int64)
        of_region[order] = np.cumsum(is_first) - 1
        return cls(order=order, first=np.append(np.flatnonzero(is_first), len(image)), of_region=of_region)

    def members(self, index: int) -> NDArray[np.int64]:
        """Return the row numbers of the regions of the ``index``-th image, ascending."""
        return self.order[self.first[index] : self.first[index + 1]]

    def members_of_each(self, indices: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the regions of several images, one image after the other, and the number of each."""
        begin = self.first[indices]
        length = self.first[indices + 1] - begin
        return self.order[positions_in_rows(begin, length)], length

    def spans(self, axis: NDArray[Any]) -> NDArray[Any]:
        """Return the largest less the smallest value of each image, (I,), of an (R,) coordinate."""
        ordered, starts = axis[self.order], self.first[:-1]
        spans: NDArray[Any] = np.maximum.reduceat(ordered, starts) - np.minimum.reduceat(ordered, starts)
        return spans


class Pairs(NamedTuple):
    """Distances of all pairs of some regions that lie in one image, in either order; a region with itself too."""

    first: NDArray[np.int64]
    """Positions among the regions."""
    second: NDArray[np.int64]
    """Positions among the regions."""
    distance: NDArray[np.float64]
    """As ``between(first, second)``."""


class DistanceBlock(ABC):
    """Distances inside several images at once, whose regions are the rows of a matrix."""

    @abstractmethod
    def keep(self, is_kept: NDArray[np.bool_]) -> None:
        """Drop the images, rows of the matrix, for which the (I,) ``is_kept`` is False."""

    @abstractmethod
    def distance_to(self, slot: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the (I, S) distances of all regions to one of each image, which ``slot`` names by its column.

        A new array. Slots that are only padding may have any finite value.
        """


class SpatialDistance(ABC):
    """Distance between the regions of a pool: within an image as the subclass computes it, 1 between images."""

    images: Images
    """The regions, image by image."""

    @abstractmethod
    def between(self, region: int, members: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the distances of ``region`` to ``members``, which are regions of the same image."""

    @abstractmethod
    def update_nearest(self, nearest: NDArray[np.float64], new: NDArray[np.int64]) -> NDArray[np.int64]:
        """Lower ``nearest`` in place to the distance to each of ``new``, and return the regions of their images.

        Args:
            nearest: (R,) distances to the set before; changed in place.
            new: Row numbers of the regions that are added to the set.

        Returns:
            Row numbers of all regions whose distance may have changed, each once.
        """

    @abstractmethod
    def block(self, region_IS: NDArray[np.int64]) -> DistanceBlock:
        """Return the distances inside images of similar size.

        Args:
            region_IS: Row numbers; each row starts with all regions of one image, ascending, and may be padded.
        """

    @abstractmethod
    def within(self, regions: NDArray[np.int64]) -> Pairs:
        """Return the distances of all pairs of (N,) ``regions`` that lie in one image."""

    def _pairs(self, regions: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Return the positions of all pairs of one image, by their first, and how many pairs each first is in."""
        image = self.images.of_region[regions]
        order = np.argsort(image, kind="stable")
        ordered = image[order]
        begin, end = np.searchsorted(ordered, ordered), np.searchsorted(ordered, ordered, side="right")
        length = end - begin
        return np.repeat(order, length), order[positions_in_rows(begin, length)], length

    def same_image(self, region: int) -> NDArray[np.int64]:
        """Return the row numbers of all regions of the image that contains ``region``, ascending."""
        return self.images.members(int(self.images.of_region[region]))

    def to_nearest(self, members: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return each region's distance to the nearest of ``members``, (R,) in [0, 1]; 1 where its image has none."""
        nearest = np.ones(len(self.images.of_region))
        self.update_nearest(nearest, members)
        return nearest


class PairwiseDistance(SpatialDistance):
    """A distance that is computed from two regions alone."""

    @abstractmethod
    def from_each(
        self, sources: NDArray[np.int64], members: NDArray[np.int64], length: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Return the distances of each source to its members.

        Args:
            sources: (N,) row numbers.
            members: (sum of length,) the regions that the first source is compared with, then those of the second, ...;
                all of the image of their source.
            length: (N,) how many there are for each source.
        """

    def within(self, regions: NDArray[np.int64]) -> Pairs:
        """Return the distances of all pairs of (N,) ``regions`` that lie in one image."""
        first, second, length = self._pairs(regions)
        sources = regions[first[np.cumsum(length) - length]]
        return Pairs(first, second, self.from_each(sources, regions[second], length))

    def update_nearest(self, nearest: NDArray[np.float64], new: NDArray[np.int64]) -> NDArray[np.int64]:
        """Handle the n-th new region of all images at once: O(sum over new regions of the regions of its image)."""
        image = self.images.of_region[new]
        by_image = np.argsort(image, kind="stable")
        new, image = new[by_image], image[by_image]
        number = np.arange(len(image)) - np.searchsorted(image, image)  # 0, 1, ... for the new regions of an image
        changed = np.empty(0, np.int64)
        for step in range(int(number.max(initial=-1)) + 1):
            sources = new[number == step]
            members, length = self.images.members_of_each(image[number == step])
            nearest[members] = np.minimum(nearest[members], self.from_each(sources, members, length))
            if step == 0:
                changed = members
        return changed
