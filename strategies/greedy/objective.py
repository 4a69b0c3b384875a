"""The unified objective of greedy diversification, as arrays.

References:
    [Cai2021] L. Cai et al. "Exploring Spatial Diversity for Region-based Active Learning". IEEE TIP, 2021.
    [Borodin2017] A. Borodin et al. "Max-Sum Diversification, Monotone Submodular Functions, and Dynamic Updates". ACM
        Transactions on Algorithms, 2017.

Axes: R regions, D features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from quadrat.strategies.features import mean_feature, squared_distance
from quadrat.strategies.greedy.spatial import SpatialDistance

__all__ = ["NormSchedule", "Objective", "SetFunction", "diameter_bound"]

SetFunction = Literal["max-min", "max-sum"]
NormSchedule = Literal["round", "step"]

# Rows whose distances are computed at a time.
_BLOCK = 1 << 13


@dataclass(frozen=True, kw_only=True, eq=False)
class Objective:
    """What greedy maximises, as arrays [Cai2021, eq. 4].

    max-min, where S is the set of labelled and selected regions and each distance is to the nearest member of S:
        phi(x) = utility(x) + w_feature * d_f(x, S) / scale + w_spatial * d_s(x, S)
    max-sum, where each distance is the sum over S [Borodin2017]:
        phi(x) = utility(x) / 2 + w_feature * d_f(x, S) / scale + w_spatial * d_s(x, S)

    ``scale`` is the largest max-min d_f(x, S) over the pool, computed once at the start (``norm_schedule="round"``) or
    before every selection (``"step"``); 1 where that is 0. With nothing labelled, all max-min distances are 1 until the
    first selection, and ``scale`` is ``diameter_bound``.
    """

    utility: NDArray[np.float64]
    """(R,) weighted and normalised uncertainty."""
    labelled: NDArray[np.bool_]
    """(R,) members of S from the start, which can't be selected."""
    features: NDArray[np.float32] | None = None
    """(R, D), None without a feature term."""
    w_feature: float = 0.0
    """Weight of the feature term."""
    spatial: SpatialDistance | None = None
    """Spatial distance of regions, None without a spatial term."""
    w_spatial: float = 0.0
    """Weight of the spatial term."""
    set_function: SetFunction = "max-min"
    """How the distances to S are aggregated."""
    norm_schedule: NormSchedule = "round"
    """When ``scale`` is computed."""


def diameter_bound(features_RD: NDArray[np.float32]) -> float:
    """Return twice the largest distance to the mean feature.

    An upper bound on the distance of any two regions, by the triangle inequality. It is the feature distance to an
    empty set, so that distances only fall when the first region is added.
    """
    mean_D, furthest = mean_feature(features_RD), 0.0
    for start in range(0, len(features_RD), _BLOCK):
        furthest = max(furthest, float(squared_distance(features_RD[start : start + _BLOCK], mean_D).max()))
    return 2.0 * float(np.sqrt(furthest))
