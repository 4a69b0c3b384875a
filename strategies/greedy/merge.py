"""Greedy for spatial terms: merge the greedy sequences of all images.

Spatial distance couples regions of one image only, and a region's potential never rises. So the greedy sequence of one
image is non-increasing, and the sequence over the pool is the merge of all images' sequences: one sort by potential.
All images take a step at the same time, as rows of a matrix, until none has a region left that can be among the
``budget`` best.

Axes: R regions, K selected.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from quadrat.strategies.greedy.objective import Objective
from quadrat.strategies.greedy.spatial import Images, SpatialDistance
from quadrat.strategies.pool import Selection
from quadrat.strategies.ranking import largest

__all__ = ["maximise_by_merging"]


class _Selected(NamedTuple):
    region: NDArray[np.int64]
    potential: NDArray[np.float64]


def maximise_by_merging(objective: Objective, budget: int) -> Selection:
    """Return the greedy selection of an objective without features.

    Regions and potentials are those of ``maximise_reference`` bit for bit. Under max-sum every member of S adds 1 to
    the regions of other images: the sequences are merged by potential less w_spatial |S|, which depends on one image
    only.

    Ties go to the lowest row number: within an image by argmax, between images by a stable sort; a tie that comes later
    within an image always has the higher row number.

    Returns:
        The selection in order. O(R + C (L + K) + K log K) for images of C regions; memory O(R).
    """
    if objective.spatial is None:
        utility = objective.utility if objective.set_function == "max-min" else 0.5 * objective.utility
        candidates = np.flatnonzero(~objective.labelled)
        regions = candidates[largest(utility[candidates], budget)]
        return Selection.of(regions, utility[regions])
    found = _select_in_every_image(objective, objective.spatial, budget)
    by_region = np.argsort(found.region)
    region, potential = found.region[by_region], found.potential[by_region]
    merged = largest(potential, budget)
    region, potential = region[merged], potential[merged]
    if objective.set_function == "max-sum":
        num_before = int(np.count_nonzero(objective.labelled)) + np.arange(budget)
        potential = potential + objective.w_spatial * num_before.astype(np.float64)
    return Selection.of(region, potential)


def _select_in_every_image(objective: Objective, spatial: SpatialDistance, budget: int) -> _Selected:
    """Return the greedy sequence of each image, as far as it can reach into the ``budget`` best of all."""
    initial = _initial_spatial_value(objective, spatial)
    blocks = [_Block(objective, spatial, images, initial) for images in _similar_sizes(spatial.images)]
    regions: list[NDArray[np.int64]] = []
    potentials: list[NDArray[np.float64]] = []
    floor, num_found = -np.inf, 0  # the budget-th best potential so far: no lower one can be selected
    while True:
        before = num_found
        for block in blocks:
            region, potential = block.select_next(floor)
            regions.append(region)
            potentials.append(potential)
            num_found += len(region)
        if num_found == before:
            return _Selected(np.concatenate(regions), np.concatenate(potentials))
        if num_found >= budget:
            best = np.concatenate(potentials)
            floor = np.partition(best, num_found - budget)[num_found - budget]


def _initial_spatial_value(objective: Objective, spatial: SpatialDistance) -> NDArray[np.float64]:
    """Return the (R,) spatial values before the first step: distance to S, or under max-sum distance to S less |S|."""
    labelled = np.flatnonzero(objective.labelled)
    if objective.set_function == "max-min":
        return spatial.to_nearest(labelled)
    value = np.zeros(len(objective.labelled))
    for region in labelled.tolist():
        members = spatial.same_image(region)
        value[members] += spatial.between(region, members) - 1.0
    return value


def _similar_sizes(images: Images) -> list[NDArray[np.int64]]:
    """Return the images in groups whose numbers of regions are within a factor of 1.5, to limit padding."""
    sizes = np.diff(images.first)
    by_size = np.argsort(-sizes, kind="stable")
    groups, begin = [], 0
    while begin < len(by_size):
        end = begin + int(np.count_nonzero(1.5 * sizes[by_size[begin:]] >= sizes[by_size[begin]]))
        groups.append(np.sort(by_size[begin:end]))
        begin = end
    return groups


class _Block:
    """Images of similar size as rows of a matrix; ``select_next`` takes one greedy step in each of them."""

    def __init__(
        self, objective: Objective, spatial: SpatialDistance, images: NDArray[np.int64], initial: NDArray[np.float64]
    ) -> None:
        first, sizes = spatial.images.first[images], np.diff(spatial.images.first)[images]
        slot = np.arange(sizes.max())
        filled = slot < sizes[:, None]
        order = spatial.images.order
        self._region = order[np.minimum(first[:, None] + slot, len(order) - 1)]
        self._distance = spatial.block(self._region)
        self._value = initial[self._region]
        self._sums = objective.set_function == "max-sum"
        self._weight = objective.w_spatial
        self._utility = objective.utility[self._region]
        if self._sums:
            self._utility *= 0.5
        self._utility[~filled | objective.labelled[self._region]] = -np.inf

    def select_next(self, floor: float) -> _Selected:
        """Select the best region of every image where it is at least ``floor``, and drop the other images."""
        potential = self._utility + self._weight * self._value
        slot = potential.argmax(axis=1)
        image = np.arange(len(slot))
        best = potential[image, slot]
        self._keep(is_kept := (best >= floor) & (best > -np.inf))
        image, slot, best = image[: np.count_nonzero(is_kept)], slot[is_kept], best[is_kept]
        selected = _Selected(self._region[image, slot], best)
        distance = self._distance.distance_to(slot)
        if self._sums:
            distance -= 1.0
            self._value += distance
        else:
            np.minimum(self._value, distance, out=self._value)
        self._utility[image, slot] = -np.inf
        return selected

    def _keep(self, is_kept: NDArray[np.bool_]) -> None:
        if is_kept.all():
            return
        self._distance.keep(is_kept)
        for name in ("_region", "_value", "_utility"):
            setattr(self, name, getattr(self, name)[is_kept])
