"""Exact greedy for feature terms: refresh only those few regions that can be picked next.

Distances to S only fall while S grows, so a region's potential from an earlier turn is a bound from above. Greedy is
played inside a shortlist of the regions with the largest bounds, refreshed to their true potentials, for as long as its
best comes before the best bound outside; then the next shortlist is drawn. A region that never gets near the top is
never compared with most of S, the labelled regions included.

What needs a comparison is found by float32 matrix products whose rounding error is known; what could matter within that
error is computed by ``squared_distance``. So picks and potentials are those of the plain loop bit for bit, whatever the
number of threads and the sizes below.

Axes: R regions, D features, S selected, N shortlisted.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from quadrat.strategies.features import squared_distance
from quadrat.strategies.greedy.nearest import Nearest, Points, at_least
from quadrat.strategies.greedy.objective import Objective
from quadrat.strategies.greedy.spatial import bring_nearer, distance_to_labelled
from quadrat.strategies.pool import Selection
from quadrat.strategies.ranking import Place, best

__all__ = ["maximise_by_shortlist"]

# Speed only: regions that shortlists are drawn from until they run dry, and regions of a shortlist.
_FRONT, _SHORTLIST = 1 << 14, 1 << 10


def maximise_by_shortlist(objective: Objective, budget: int, squared_R: NDArray[np.float64] | None = None) -> Selection:
    """Return the ``budget`` greedy picks of a max-min objective with features, normalised once (``"round"``).

    Args:
        objective: What to maximise.
        budget: Number of picks, at most the number of unlabelled regions.
        squared_R: What ``squares_to_labelled`` returned, if it is known; without it, only what matters is searched.

    Returns:
        The picks and potentials of ``maximise_plainly``, bit for bit. Memory O(R + (L + K) D) beside the features.
    """
    game = _Game(objective, budget, squared_R)
    everything = np.arange(len(objective.labelled))
    while game.num_picked < budget:
        front = best(game.bound_R, everything, _FRONT)
        while game.num_picked < budget:
            shortlist = best(game.bound_R[front.regions], front.regions, _SHORTLIST)
            if len(shortlist.regions) == 0 or game.first_place(shortlist.regions) <= front.floor:
                break
            game.play(shortlist.regions, max(shortlist.floor, front.floor))
    return Selection.of(game.regions, game.potentials)


class _Game:
    """Greedy in progress: what was picked, and a bound on the potential of everything else."""

    def __init__(self, objective: Objective, budget: int, squared_R: NDArray[np.float64] | None) -> None:
        assert objective.features is not None
        self._objective = objective
        self.regions, self.potentials, self.num_picked = np.empty(budget, np.int64), np.empty(budget), 0
        labelled = np.flatnonzero(objective.labelled)
        self._nearest = Nearest(objective.features, labelled, budget, squared_R)
        self._scale = self._nearest.largest() or 1.0
        self._spatial_R: NDArray[np.float64] | None = None
        if objective.table is not None:
            assert objective.images is not None and objective.row is not None and objective.col is not None
            self._spatial_R = distance_to_labelled(
                objective.table, objective.images, objective.row, objective.col, labelled
            )
        self.bound_R = self._potential(np.arange(len(objective.labelled)))
        self.bound_R[labelled] = -np.inf

    def first_place(self, regions: NDArray[np.int64]) -> Place:
        """Return the place of the first of ``regions`` by its bound."""
        first = int(self.bound_R[regions].argmax())
        return Place(float(self.bound_R[regions[first]]), -float(regions[first]))

    def play(self, regions: NDArray[np.int64], floor: Place) -> None:
        """Pick from a shortlist while its best comes before ``floor``.

        Args:
            regions: (N,) row numbers, ascending, none picked.
            floor: No region outside the shortlist is before this place.
        """
        self._nearest.catch_up(regions, lambda some: self._potential(some) >= floor.value)
        self.bound_R[regions] = self._potential(regions)
        regions = regions[self.bound_R[regions] >= floor.value]
        if len(regions) == 0:
            return
        num_before = self.num_picked
        self._play_caught_up(regions, floor)
        self._lower_others(self.regions[num_before : self.num_picked])

    def _play_caught_up(self, regions: NDArray[np.int64], floor: Place) -> None:
        objective, nearest = self._objective, self._nearest
        assert objective.features is not None
        feature_ND, points = objective.features[regions], nearest.points(regions)
        own_N, squared_N = points.length_N**2, nearest.squared_R[regions]
        potential_N = self.bound_R[regions]
        spatial_N = None if self._spatial_R is None else self._spatial_R[regions]
        # A region may have come closer to a pick only where their product is at most this.
        error_N = nearest.error(points.length_N, also=float(points.length_N.max()))
        limit_N = at_least(squared_N - own_N + error_N)
        while self.num_picked < len(self.regions):
            pick = int(potential_N.argmax())
            region, potential = int(regions[pick]), float(potential_N[pick])
            if Place(potential, -float(region)) <= floor:
                break
            self.regions[self.num_picked], self.potentials[self.num_picked] = region, potential
            self.num_picked += 1
            potential_N[pick] = limit_N[pick] = -np.inf
            changed = np.empty(0, np.int64)
            if squared_N[pick] > 0:  # at 0 the same features are in S already
                # einsum stays on one thread: a product this small is done before BLAS has woken the others.
                point = Points(points.factor_NE[pick : pick + 1], points.length_N[pick : pick + 1])
                product_N = np.einsum("ne,e->n", points.factor_NE, nearest.add(region, point))
                maybe = np.flatnonzero(product_N <= limit_N)
                if len(maybe):
                    squared = squared_distance(feature_ND[maybe], feature_ND[pick])
                    closer = squared < squared_N[maybe]
                    changed = maybe[closer]
                    squared_N[changed] = squared[closer]
                    limit_N[changed] = at_least(squared[closer] - own_N[changed] + error_N[changed])
            if spatial_N is not None:
                changed = np.union1d(changed, self._bring_nearer(spatial_N, potential_N, regions, region))
            if len(changed):
                potential_N[changed] = self._sum(
                    regions[changed], squared_N[changed], None if spatial_N is None else spatial_N[changed]
                )
        nearest.caught_up(regions, squared_N)
        self.bound_R[regions] = potential_N

    def _bring_nearer(
        self,
        spatial_N: NDArray[np.float64],
        potential_N: NDArray[np.float64],
        regions: NDArray[np.int64],
        pick: int,
    ) -> NDArray[np.int64]:
        """Lower ``spatial_N`` by the distance to ``pick`` and return which of the shortlist that is."""
        objective = self._objective
        assert objective.images is not None and objective.row is not None
        assert objective.col is not None and objective.table is not None
        home = objective.images.of_region
        beside = np.flatnonzero((home[regions] == home[pick]) & (potential_N > -np.inf))
        down = np.abs(objective.row[regions[beside]] - objective.row[pick])
        across = np.abs(objective.col[regions[beside]] - objective.col[pick])
        spatial_N[beside] = np.minimum(spatial_N[beside], objective.table[down, across])
        return beside

    def _lower_others(self, picks: NDArray[np.int64]) -> None:
        """Bring the spatial term of every region up to date, in the shortlist or not."""
        objective = self._objective
        if self._spatial_R is None or len(picks) == 0:
            return
        assert objective.images is not None and objective.row is not None
        assert objective.col is not None and objective.table is not None
        touched = bring_nearer(self._spatial_R, objective.table, objective.images, objective.row, objective.col, picks)
        touched = touched[self.bound_R[touched] > -np.inf]
        self.bound_R[touched] = self._potential(touched)

    def _potential(self, regions: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return bounds on potentials, exact where the feature distance is."""
        spatial = None if self._spatial_R is None else self._spatial_R[regions]
        return self._sum(regions, self._nearest.squared_R[regions], spatial)

    def _sum(
        self, regions: NDArray[np.int64], squared: NDArray[np.float64], spatial: NDArray[np.float64] | None
    ) -> NDArray[np.float64]:
        """Add the terms up in the order of the plain loop, so that the bits are the same."""
        potential = self._objective.utility[regions] + self._objective.w_feature * (np.sqrt(squared) / self._scale)
        return potential if spatial is None else potential + self._objective.w_spatial * spatial
