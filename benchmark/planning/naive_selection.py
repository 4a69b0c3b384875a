"""Naive baselines for the time of a selection: a float32 loop in numpy and the float64 reference implementation.

All steps of a loop cost the same, so a few are timed and the total is extrapolated.

Axes: R regions, D features.
"""

from __future__ import annotations

import dataclasses
import time
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from quadrat.strategies.features import mean_feature, nearest_bound
from quadrat.strategies.greedy.engine import maximise_reference
from quadrat.strategies.greedy.objective import Objective

__all__ = ["LoopTime", "time_baseline", "time_reference"]

# Rows of the pool for which the search of the float32 baseline is timed.
_SEARCHED = 1 << 14
# Least number of timed steps without features: each takes a fraction of a millisecond.
_CHEAP_STEPS = 500


class LoopTime(NamedTuple):
    """Time of a naive baseline."""

    search_s: float
    """Seconds of the distances of all regions to the labelled ones, extrapolated from a part."""
    step_s: float
    """Seconds of one step, which selects one region."""


def time_baseline(objective: Objective, num_steps: int) -> LoopTime:
    """Return the time of the usual fast loop in numpy.

    A step is one float32 matrix-vector product, |x|^2 + |s|^2 - 2 x.s on all cores, and an update of one image; the
    distances to labelled regions are a faiss search. Its selection is rounded to float32 and may differ from the exact
    one.

    Args:
        objective: What to maximise.
        num_steps: Number of timed steps; without features at least 500.
    """
    num_steps = _enough(objective, num_steps)
    labelled = np.flatnonzero(objective.labelled)
    begin = time.perf_counter()
    potential = objective.utility.copy()
    search_s = 0.0
    if objective.spatial is not None:
        distance = objective.spatial.to_nearest(labelled)
        search_s = time.perf_counter() - begin
    features = objective.features
    if features is not None:
        squared_norm, nearest = np.einsum("rd,rd->r", features, features), np.full(len(features), np.inf, np.float32)
        if len(labelled):
            searched = features[:_SEARCHED]  # the time of an exhaustive search depends on their number alone
            begin = time.perf_counter()
            nearest_bound(searched, features[labelled], mean_feature(searched))
            search_s += (time.perf_counter() - begin) * len(features) / len(searched)
        nearest[:] = squared_norm.max() * 4
    in_set: NDArray[np.bool_] = objective.labelled.copy()
    begin = time.perf_counter()
    for _ in range(num_steps):
        if features is not None:
            total = potential + np.sqrt(nearest)
            if objective.spatial is not None:
                total += distance
            total[in_set] = -np.inf
            best = int(total.argmax())
            squared = squared_norm + squared_norm[best] - 2.0 * (features @ features[best])
            np.minimum(nearest, squared, out=nearest)
            np.maximum(nearest, 0.0, out=nearest)
        else:
            best = int(potential.argmax())
            potential[best] = -np.inf
        in_set[best] = True
        if objective.spatial is not None:
            members = objective.spatial.same_image(best)
            nearer = np.minimum(distance[members], objective.spatial.between(best, members))
            if features is None:
                potential[members] += nearer - distance[members]
            distance[members] = nearer
    return LoopTime(search_s, (time.perf_counter() - begin) / num_steps)


def time_reference(objective: Objective, num_steps: int) -> LoopTime:
    """Return the time of ``maximise_reference``, the float64 loop that defines the selection.

    It adds labelled regions to the set one by one, like selected ones, so both are timed as the difference of two short
    calls.

    Args:
        objective: What to maximise.
        num_steps: Number of timed steps, and of timed labelled regions; without features at least 500.
    """
    num_steps = _enough(objective, num_steps)
    labelled = np.flatnonzero(objective.labelled)
    few = min(num_steps, len(labelled) - 1)

    def seconds(num_labelled: int, budget: int) -> float:
        part = np.zeros(len(objective.labelled), np.bool_)
        part[labelled[:num_labelled]] = True
        begin = time.perf_counter()
        maximise_reference(dataclasses.replace(objective, labelled=part), budget)
        return time.perf_counter() - begin

    base_s = seconds(1, 1)
    step_s = max(seconds(1, 1 + num_steps) - base_s, 0.0) / num_steps
    if objective.features is None or few < 1:  # the spatial search takes no measurable time
        return LoopTime(0.0, step_s)
    return LoopTime(max(seconds(1 + few, 1) - base_s, 0.0) / few * len(labelled), step_s)


def _enough(objective: Objective, num_steps: int) -> int:
    """Return the number of steps to time: at least 500 where they are cheap, at most one per unlabelled region."""
    wanted = num_steps if objective.features is not None else max(num_steps, _CHEAP_STEPS)
    return min(wanted, int(np.count_nonzero(~objective.labelled)) - 1)
