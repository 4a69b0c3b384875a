"""Greedy diversification: the reference implementation and the choice of the fastest exact engine.

References:
    [Cai2021] L. Cai et al. "Exploring Spatial Diversity for Region-based Active Learning". IEEE TIP, 2021.
    [GS2009] S. Gollapudi, A. Sharma. "An Axiomatic Approach for Result Diversification". WWW, 2009.
    [Borodin2017] A. Borodin et al. "Max-Sum Diversification, Monotone Submodular Functions, and Dynamic Updates". ACM
        Transactions on Algorithms, 2017.

Axes: R regions, D features, L labelled, K selected.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from quadrat.strategies.features import squared_distance
from quadrat.strategies.greedy.cuda import runs_on_device
from quadrat.strategies.greedy.lazy import maximise_lazily
from quadrat.strategies.greedy.merge import maximise_by_merging
from quadrat.strategies.greedy.objective import Objective, diameter_bound
from quadrat.strategies.pool import Selection

__all__ = ["maximise", "maximise_reference"]

# Rows whose distances the reference computes at a time.
_BLOCK = 1 << 13


def maximise(objective: Objective, budget: int) -> Selection:
    """Return the greedy selection by the fastest engine that is exact for this objective.

    | terms                             | max-min, round                                  | max-min, step | max-sum   |
    |-----------------------------------|-------------------------------------------------|---------------|-----------|
    | no distance                       | merge                                           | merge         | merge     |
    | spatial                           | merge                                           | merge         | merge     |
    | features, with or without spatial | device for large pools, where there is one; lazy | reference     | reference |

    Regions and potentials of ``merge``, ``lazy`` and ``device`` (CUDA) are those of ``maximise_reference`` bit for bit.
    Ties go to the lowest row number.
    """
    if budget == 0:
        return Selection.of(np.empty(0, np.int64))
    if objective.features is None:
        return maximise_by_merging(objective, budget)
    if objective.set_function == "max-min" and objective.norm_schedule == "round":
        if runs_on_device(objective, budget):
            from quadrat.strategies.greedy.device import maximise_on_device

            return maximise_on_device(objective, budget)
        return maximise_lazily(objective, budget)
    return maximise_reference(objective, budget)


def maximise_reference(objective: Objective, budget: int) -> Selection:
    """Return the greedy selection of [Cai2021, algorithm 1]: select the best region, update the potentials, repeat.

    The implementation that defines the result: the fast engines are tested against it, and it runs where they are not
    exact. For a metric and max-min on distances alone, the smallest distance between selected regions is at least half
    of the largest possible [GS2009].

    Args:
        objective: What to maximise.
        budget: K, at most the number of unlabelled regions.

    Returns:
        The selection in order. O((L + K) R D) with features, else O(K R); memory O(R) beside the features.
    """
    num_regions, labelled = len(objective.labelled), np.flatnonzero(objective.labelled)
    feature = _FeatureTerm(objective, labelled) if objective.features is not None else None
    spatial = _SpatialTerm(objective, labelled) if objective.spatial is not None else None
    utility = objective.utility if objective.set_function == "max-min" else 0.5 * objective.utility
    in_set = objective.labelled.copy()
    regions, potentials = np.empty(budget, np.int64), np.empty(budget)
    for step in range(budget):
        potential = utility
        if feature is not None:
            potential = potential + objective.w_feature * feature.value()
        if spatial is not None:
            potential = potential + objective.w_spatial * spatial.value()
        region = int(np.where(in_set, -np.inf, potential).argmax())
        regions[step], potentials[step] = region, potential[region]
        if spatial is not None:
            potentials[step] += objective.w_spatial * spatial.common()
        in_set[region] = True
        if feature is not None:
            feature.add(region)
        if spatial is not None:
            spatial.add(region)
    assert len(np.unique(regions)) == budget <= num_regions
    return Selection.of(regions, potentials)


class _FeatureTerm:
    """Normalised feature distance of every region to S, one member of S at a time."""

    def __init__(self, objective: Objective, labelled: NDArray[np.int64]) -> None:
        assert objective.features is not None
        self._features_RD = objective.features
        self._sums = objective.set_function == "max-sum"
        self._normalises_each_step = objective.norm_schedule == "step"
        self._nearest_R = np.full(len(self._features_RD), diameter_bound(self._features_RD) ** 2)
        self._total_R = np.zeros(len(self._features_RD))
        for region in labelled:
            self.add(int(region))
        self._scale = self._largest()

    def add(self, region: int) -> None:
        """Add one region to S."""
        for start in range(0, len(self._features_RD), _BLOCK):
            block = slice(start, start + _BLOCK)
            squared = squared_distance(self._features_RD[block], self._features_RD[region])
            np.minimum(self._nearest_R[block], squared, out=self._nearest_R[block])
            if self._sums:
                self._total_R[block] += np.sqrt(squared)

    def value(self) -> NDArray[np.float64]:
        """Return the (R,) normalised distances to the present S."""
        if self._normalises_each_step:
            self._scale = self._largest()
        return (self._total_R if self._sums else np.sqrt(self._nearest_R)) / self._scale

    def _largest(self) -> float:
        return float(np.sqrt(self._nearest_R.max())) or 1.0


class _SpatialTerm:
    """Normalised spatial distance of every region to S, one member of S at a time."""

    def __init__(self, objective: Objective, labelled: NDArray[np.int64]) -> None:
        assert objective.spatial is not None
        self._spatial = objective.spatial
        self._sums = objective.set_function == "max-sum"
        self._size = 0
        self._value_R = np.zeros(len(objective.labelled))
        if self._sums:
            for region in labelled:
                self.add(int(region))
        else:
            self._value_R = self._spatial.to_nearest(labelled)

    def add(self, region: int) -> None:
        """Add one region to S; changes the values of its image only."""
        members = self._spatial.same_image(region)
        distance = self._spatial.between(region, members)
        if self._sums:
            self._value_R[members] += distance - 1.0
            self._size += 1
        else:
            self._value_R[members] = np.minimum(self._value_R[members], distance)

    def value(self) -> NDArray[np.float64]:
        """Return the (R,) distances to the present S, less ``common``."""
        return self._value_R

    def common(self) -> float:
        """Return the part that all regions have in common: under max-sum, every member of S adds 1."""
        return float(self._size)
