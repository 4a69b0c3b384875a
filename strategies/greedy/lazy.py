"""Lazy greedy for feature terms: recompute the potential of those regions only that can be selected next.

The distance to S falls as S grows, so a potential computed in an earlier step is an upper bound [Minoux1978]. Greedy
runs inside a batch of the regions with the largest bounds, whose potentials are refreshed, for as long as the best of
them beats every bound outside the batch; then it draws the next batch. Regions that never come near the top are never
compared with most of S, labelled regions included.

Float32 matrix products with a known error bound find the comparisons that can matter; ``squared_distance`` computes
those. Selections and potentials therefore equal those of ``maximise_reference`` bit for bit, for any number of threads
and any of the sizes below.

References:
    [Minoux1978] M. Minoux. "Accelerated greedy algorithms for maximizing submodular set functions". Optimization
        Techniques, LNCIS 7, 1978.

Axes: R regions, D features, S labelled and selected, N regions of a batch.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from quadrat.strategies.features import squared_distance
from quadrat.strategies.greedy.nearest import NearestDistance, Points, one_blas_thread, round_up
from quadrat.strategies.greedy.objective import Objective
from quadrat.strategies.pool import Selection
from quadrat.strategies.ranking import SortKey, top_k

__all__ = ["maximise_lazily"]

# Speed only: regions of the queue that batches are drawn from until it is used up, and regions of a batch.
_QUEUE, _BATCH = 1 << 14, 1 << 10


def maximise_lazily(objective: Objective, budget: int, squared_R: NDArray[np.float64] | None = None) -> Selection:
    """Return the greedy selection of a max-min objective with features, normalised once (``"round"``).

    Args:
        objective: What to maximise.
        budget: K, at most the number of unlabelled regions.
        squared_R: Result of ``squared_distance_to_labelled`` where it is known; by default, distances to labelled
            regions are computed where they matter.

    Returns:
        The regions and potentials of ``maximise_reference``, bit for bit. Memory O(R + (L + K) D) beside the features.
    """
    greedy = _LazyGreedy(objective, budget, squared_R)
    all_regions = np.arange(len(objective.labelled))
    with one_blas_thread():
        while greedy.num_selected < budget:
            queue = top_k(greedy.bound_R, all_regions, _QUEUE)
            while greedy.num_selected < budget:
                batch = top_k(greedy.bound_R[queue.regions], queue.regions, _BATCH)
                if len(batch.regions) == 0 or greedy.largest_bound(batch.regions) <= queue.floor:
                    break
                greedy.select_from(batch.regions, max(batch.floor, queue.floor))
    return Selection.of(greedy.regions, greedy.potentials)


class _LazyGreedy:
    """State of lazy greedy: the regions selected so far and an upper bound on every other region's potential."""

    def __init__(self, objective: Objective, budget: int, squared_R: NDArray[np.float64] | None) -> None:
        assert objective.features is not None
        self._objective = objective
        self.regions, self.potentials, self.num_selected = np.empty(budget, np.int64), np.empty(budget), 0
        labelled = np.flatnonzero(objective.labelled)
        self._nearest = NearestDistance(objective.features, labelled, budget, squared_R)
        self._scale = self._nearest.largest() or 1.0
        self._spatial_R = None if objective.spatial is None else objective.spatial.to_nearest(labelled)
        self.bound_R = self._potential(np.arange(len(objective.labelled)))
        self.bound_R[labelled] = -np.inf

    def largest_bound(self, regions: NDArray[np.int64]) -> SortKey:
        """Return the sort key of the region with the largest bound."""
        first = int(self.bound_R[regions].argmax())
        return SortKey(float(self.bound_R[regions[first]]), -float(regions[first]))

    def select_from(self, regions: NDArray[np.int64], floor: SortKey) -> None:
        """Refresh a batch and select from it while its best region comes before ``floor``.

        Args:
            regions: (N,) row numbers, ascending, none selected.
            floor: No region outside the batch comes before it.
        """
        self._nearest.refresh(regions, lambda some: self._potential(some) >= floor.value)
        self.bound_R[regions] = self._potential(regions)
        regions = regions[self.bound_R[regions] >= floor.value]
        if len(regions) == 0:
            return
        num_before = self.num_selected
        self._select_from_refreshed(regions, floor)
        self._update_spatial_term(self.regions[num_before : self.num_selected])

    def _select_from_refreshed(self, regions: NDArray[np.int64], floor: SortKey) -> None:
        objective, nearest = self._objective, self._nearest
        assert objective.features is not None
        feature_ND, points = objective.features[regions], nearest.points(regions)
        own_N, squared_N = points.length_N**2, nearest.squared_R[regions]
        potential_N = self.bound_R[regions]
        spatial_N = None if self._spatial_R is None else self._spatial_R[regions]
        # The distance of a region can have fallen only where its product with the selected region is at most this.
        error_N = nearest.error(points.length_N, also=float(points.length_N.max()))
        limit_N = round_up(squared_N - own_N + error_N)
        while self.num_selected < len(self.regions):
            best = int(potential_N.argmax())
            region, potential = int(regions[best]), float(potential_N[best])
            if SortKey(potential, -float(region)) <= floor:
                break
            self.regions[self.num_selected], self.potentials[self.num_selected] = region, potential
            self.num_selected += 1
            potential_N[best] = limit_N[best] = -np.inf
            changed = np.empty(0, np.int64)
            if squared_N[best] > 0:  # at 0, a member of S has the same features
                # einsum runs on one thread: a product this small takes less time than waking the threads of BLAS.
                point = Points(points.factor_NE[best : best + 1], points.length_N[best : best + 1])
                product_N = np.einsum("ne,e->n", points.factor_NE, nearest.add(region, point))
                maybe = np.flatnonzero(product_N <= limit_N)
                if len(maybe):
                    squared = squared_distance(feature_ND[maybe], feature_ND[best])
                    closer = squared < squared_N[maybe]
                    changed = maybe[closer]
                    squared_N[changed] = squared[closer]
                    limit_N[changed] = round_up(squared[closer] - own_N[changed] + error_N[changed])
            if spatial_N is not None:
                changed = np.union1d(changed, self._update_batch(spatial_N, potential_N, regions, region))
            if len(changed):
                potential_N[changed] = self._sum(
                    regions[changed], squared_N[changed], None if spatial_N is None else spatial_N[changed]
                )
        nearest.set_exact(regions, squared_N)
        self.bound_R[regions] = potential_N

    def _update_batch(
        self,
        spatial_N: NDArray[np.float64],
        potential_N: NDArray[np.float64],
        regions: NDArray[np.int64],
        selected: int,
    ) -> NDArray[np.int64]:
        """Lower ``spatial_N`` to the distance to ``selected`` and return the positions in the batch of its image."""
        spatial = self._objective.spatial
        assert spatial is not None
        image = spatial.images.of_region
        changed = np.flatnonzero((image[regions] == image[selected]) & (potential_N > -np.inf))
        spatial_N[changed] = np.minimum(spatial_N[changed], spatial.between(selected, regions[changed]))
        return changed

    def _update_spatial_term(self, selected: NDArray[np.int64]) -> None:
        """Update the spatial term and the bound of all regions in the images of ``selected``."""
        spatial = self._objective.spatial
        if spatial is None or self._spatial_R is None or len(selected) == 0:
            return
        changed = spatial.update_nearest(self._spatial_R, selected)
        changed = changed[self.bound_R[changed] > -np.inf]
        self.bound_R[changed] = self._potential(changed)

    def _potential(self, regions: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return upper bounds on potentials, exact where the feature distance is."""
        spatial = None if self._spatial_R is None else self._spatial_R[regions]
        return self._sum(regions, self._nearest.squared_R[regions], spatial)

    def _sum(
        self, regions: NDArray[np.int64], squared: NDArray[np.float64], spatial: NDArray[np.float64] | None
    ) -> NDArray[np.float64]:
        """Add the terms in the order of ``maximise_reference``, so that the bits are the same."""
        potential = self._objective.utility[regions] + self._objective.w_feature * (np.sqrt(squared) / self._scale)
        return potential if spatial is None else potential + self._objective.w_spatial * spatial
