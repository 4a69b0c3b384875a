"""Distance by borders: two regions of an image are neighbours where they share one.

The paper's idea of a neighbourhood without a radius: a large region's neighbours are those around it, however far their
centres are. On a grid, the neighbours are the four cells that share an edge.

References:
    [Cai2021] L. Cai et al. "Exploring Spatial Diversity for Region-based Active Learning". IEEE TIP, 2021.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quadrat.strategies.borders import Neighbourhood
from quadrat.strategies.greedy.spatial import DistanceBlock, Images, Pairs, SpatialDistance

__all__ = ["BorderDistance"]


@dataclass(frozen=True, eq=False)
class BorderDistance(SpatialDistance):
    """0 for the region itself, ``near`` where two regions share a border, else ``far``; 1 between images.

    A metric when near <= far <= 2 near and far <= 1, as the piece-wise distance is [Cai2021, eq. 6 and appendix A].
    """

    images: Images
    """The regions, image by image."""
    neighbourhood: Neighbourhood
    """The neighbours of each region."""
    near: float
    """d1 / d3."""
    far: float
    """d2 / d3."""

    def between(self, region: int, members: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the distances of ``region`` to ``members``, which are regions of the same image."""
        neighbours, _ = self.neighbourhood.of_each(np.array([region]))
        distance = np.where(np.isin(members, neighbours), self.near, self.far)
        distance[members == region] = 0.0
        return distance

    def within(self, regions: NDArray[np.int64]) -> Pairs:
        """Return the distances of all pairs of (N,) ``regions`` that lie in one image."""
        first, second, _ = self._pairs(regions)
        neighbours, row = self.neighbourhood.of_each(regions)
        num_regions = len(self.images.of_region)
        is_near = np.isin(first * num_regions + regions[second], row * num_regions + neighbours)
        return Pairs(first, second, np.where(first == second, 0.0, np.where(is_near, self.near, self.far)))

    def update_nearest(self, nearest: NDArray[np.float64], new: NDArray[np.int64]) -> NDArray[np.int64]:
        """Lower ``nearest`` in place to the distance to each of ``new``, and return the regions of their images."""
        changed, _ = self.images.members_of_each(np.unique(self.images.of_region[new]))
        nearest[changed] = np.minimum(nearest[changed], self.far)
        neighbours, _ = self.neighbourhood.of_each(new)
        nearest[neighbours] = np.minimum(nearest[neighbours], self.near)
        nearest[new] = 0.0
        return changed

    def block(self, region_IS: NDArray[np.int64]) -> DistanceBlock:
        """Return the distances inside images of similar size."""
        images = self.images
        slot_R = np.empty(len(images.order), np.int64)
        slot_R[images.order] = np.arange(len(images.order)) - np.repeat(images.first[:-1], np.diff(images.first))
        return _BorderBlock(self, region_IS, slot_R)


class _BorderBlock(DistanceBlock):
    def __init__(self, distance: BorderDistance, region_IS: NDArray[np.int64], slot_R: NDArray[np.int64]) -> None:
        self._distance, self._region_IS, self._slot_R = distance, region_IS, slot_R

    def keep(self, is_kept: NDArray[np.bool_]) -> None:
        self._region_IS = self._region_IS[is_kept]

    def distance_to(self, slot: NDArray[np.int64]) -> NDArray[np.float64]:
        image = np.arange(len(slot))
        neighbours, row = self._distance.neighbourhood.of_each(self._region_IS[image, slot])
        distance = np.full(self._region_IS.shape, self._distance.far)
        distance[row, self._slot_R[neighbours]] = self._distance.near
        distance[image, slot] = 0.0
        return distance
