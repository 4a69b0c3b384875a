"""The plain loops that the speed of a selection is measured against; a few picks are timed, since all cost the same.

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
from quadrat.strategies.greedy.spatial import distance_to_labelled

__all__ = ["Cost", "time_baseline", "time_reference"]

# Rows of the pool that the tuned search to the labelled regions is timed on.
_SEARCHED = 1 << 14
# Picks without features that are timed at least: each takes a fraction of a millisecond.
_CHEAP_PICKS = 500


class Cost(NamedTuple):
    """What a plain loop costs."""

    search_s: float
    """Seconds of the search to all labelled regions, extrapolated from a part."""
    pick_s: float
    """Seconds of one pick."""


def time_baseline(objective: Objective, num_picks: int) -> Cost:
    """Return the seconds of what one would write with numpy for speed.

    Float32 features, |x|^2 + |s|^2 - 2 x.s by one matrix-vector product a pick on all cores, one image updated a pick,
    and a faiss search to the labelled regions. Its picks are those of float32: not exactly the reference's.

    Args:
        objective: What to maximise.
        num_picks: Picks that are timed; without features at least 500.
    """
    num_picks = _enough(objective, num_picks)
    labelled = np.flatnonzero(objective.labelled)
    begin = time.perf_counter()
    potential = objective.utility.copy()
    search_s = 0.0
    if objective.images is not None and objective.table is not None:
        assert objective.row is not None and objective.col is not None
        spatial = distance_to_labelled(objective.table, objective.images, objective.row, objective.col, labelled)
        search_s = time.perf_counter() - begin
    features = objective.features
    if features is not None:
        squared_norm, nearest = np.einsum("rd,rd->r", features, features), np.full(len(features), np.inf, np.float32)
        if len(labelled):
            searched = features[:: max(1, len(features) // _SEARCHED)]
            begin = time.perf_counter()
            nearest_bound(searched, features[labelled], mean_feature(searched))
            search_s += (time.perf_counter() - begin) * len(features) / len(searched)
        nearest[:] = squared_norm.max() * 4
    taken: NDArray[np.bool_] = objective.labelled.copy()
    begin = time.perf_counter()
    for _ in range(num_picks):
        if features is not None:
            total = potential + np.sqrt(nearest)
            if objective.images is not None:
                total += spatial
            total[taken] = -np.inf
            pick = int(total.argmax())
            squared = squared_norm + squared_norm[pick] - 2.0 * (features @ features[pick])
            np.minimum(nearest, squared, out=nearest)
            np.maximum(nearest, 0.0, out=nearest)
        else:
            pick = int(potential.argmax())
            potential[pick] = -np.inf
        taken[pick] = True
        if objective.images is not None and objective.table is not None:
            assert objective.row is not None and objective.col is not None
            members = objective.images.members(int(objective.images.of_region[pick]))
            down = np.abs(objective.row[members] - objective.row[pick])
            across = np.abs(objective.col[members] - objective.col[pick])
            nearer = np.minimum(spatial[members], objective.table[down, across])
            if features is None:
                potential[members] += nearer - spatial[members]
            spatial[members] = nearer
    return Cost(search_s, (time.perf_counter() - begin) / num_picks)


def time_reference(objective: Objective, num_picks: int) -> Cost:
    """Return the seconds of ``maximise_reference``, the float64 loop that defines the picks.

    It adds labelled regions to the set one by one like picks, so both are timed as the difference of two short calls.

    Args:
        objective: What to maximise.
        num_picks: Picks, and labelled regions, that are timed; without features at least 500.
    """
    num_picks = _enough(objective, num_picks)
    labelled = np.flatnonzero(objective.labelled)
    few = min(num_picks, len(labelled) - 1)

    def seconds(num_labelled: int, budget: int) -> float:
        part = np.zeros(len(objective.labelled), np.bool_)
        part[labelled[:num_labelled]] = True
        begin = time.perf_counter()
        maximise_reference(dataclasses.replace(objective, labelled=part), budget)
        return time.perf_counter() - begin

    base_s = seconds(1, 1)
    pick_s = max(seconds(1, 1 + num_picks) - base_s, 0.0) / num_picks
    if objective.features is None or few < 1:  # the spatial search is over in no time
        return Cost(0.0, pick_s)
    return Cost(max(seconds(1 + few, 1) - base_s, 0.0) / few * len(labelled), pick_s)


def _enough(objective: Objective, num_picks: int) -> int:
    """Return how many picks are timed: at least 500 where they are cheap, no more than there are."""
    wanted = num_picks if objective.features is not None else max(num_picks, _CHEAP_PICKS)
    return min(wanted, int(np.count_nonzero(~objective.labelled)) - 1)
