"""k-means++ seeding: regions drawn far from each other, in features or in gradients.

References:
    [Arthur2007] D. Arthur, S. Vassilvitskii. "k-means++: The Advantages of Careful Seeding". SODA, 2007.
    [Ash2020] J. Ash et al. "Deep Batch Active Learning by Diverse, Uncertain Gradient Lower Bounds". ICLR, 2020.

Axes: R regions, N candidates, D dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from quadrat.strategies.base import Space, Strategy, lazy_space
from quadrat.strategies.features import project, squared_distance
from quadrat.strategies.greedy.nearest import one_blas_thread
from quadrat.strategies.pool import Needs, Pool, Selection
from quadrat.strategies.ranking import largest
from quadrat.strategies.subspace import SubspaceDistance
from quadrat.strategies.validation import check_count, check_number, check_signal

__all__ = ["Badge", "KMeansPlusPlus", "kmeans_plusplus"]

# Rows whose lengths are computed at a time.
_BLOCK = 1 << 10
# These change the sequence of draws, not their distribution: distances are updated after at most so many draws, or
# after so many rejections in a row.
_MAX_STALE_DRAWS, _MAX_REJECTIONS = 256, 256


def kmeans_plusplus(
    points_RD: NDArray[np.float32], rows: NDArray[np.int64], first: int, budget: int, rng: np.random.Generator
) -> Selection:
    """Return ``budget`` of ``rows``, each drawn with probability D(x)^2 / sum D^2 [Arthur2007].

    D(x) is the distance to the nearest row drawn before. Where all remaining rows have D = 0, they are drawn uniformly.
    The potential is D(x) when drawn, NaN for the first.

    The distances of all rows are updated only when the number of draws has doubled, or grown by 256. In between, rows
    are drawn by rejection sampling: proposed by the stale distance and accepted with probability D^2 / stale D^2, which
    gives the same distribution. A draw then costs a few distances, and the points are read once for many draws.

    Args:
        points_RD: Points; may be a memory map, read block by block.
        rows: (N,) row numbers to draw from.
        first: Position in ``rows`` of the one that is drawn first.
        budget: K, from 1 to N.
        rng: Source of all random numbers.

    Returns:
        The draws in order, the same for any number of threads. O(K N D) at worst; what ``SubspaceDistance`` leaves out
        of it depends on the spectrum of the points. Memory O(N) beside 52 numbers of four bytes for each of the rows.
    """
    with one_blas_thread():
        return _draws(points_RD, rows, first, budget, rng)


def _draws(
    points_RD: NDArray[np.float32], rows: NDArray[np.int64], first: int, budget: int, rng: np.random.Generator
) -> Selection:
    distance = SubspaceDistance(points_RD, rows)
    drawn, potentials = [int(rows[first])], [np.nan]
    num_before = 0
    since_MD = np.empty((_MAX_STALE_DRAWS, points_RD.shape[1]), points_RD.dtype)
    while len(drawn) < budget:
        distance.add(np.array(drawn[num_before:]))
        squared_N = distance.squared()
        cumulative_N = np.cumsum(squared_N)
        if cumulative_N[-1] == 0:
            rest = rng.permutation(np.setdiff1d(rows, drawn))[: budget - len(drawn)]
            return Selection.of(np.concatenate([drawn, rest]), np.concatenate([potentials, np.zeros(len(rest))]))
        num_before = len(drawn)
        goal = min(budget, num_before + min(num_before, _MAX_STALE_DRAWS))
        num_rejected = 0
        while len(drawn) < goal and num_rejected < _MAX_REJECTIONS:
            position = _position(cumulative_N, rng.random())
            region = int(rows[position])
            num_since = len(drawn) - num_before
            squared = min(
                float(squared_N[position]),
                float(squared_distance(since_MD[:num_since], points_RD[region]).min(initial=np.inf)),
            )
            if rng.random() * float(squared_N[position]) >= squared:
                num_rejected += 1
                continue
            num_rejected = 0
            since_MD[num_since] = points_RD[region]
            drawn.append(region)
            potentials.append(np.sqrt(squared))
    return Selection.of(np.array(drawn, np.int64), np.array(potentials))


def _position(cumulative_N: NDArray[np.float64], at: float) -> int:
    """Return the position drawn by the uniform number ``at`` in [0, 1): inverse transform sampling."""
    position = int(np.searchsorted(cumulative_N, at * cumulative_N[-1], side="right"))
    # Rounding can give the end of the array: then the last position with a probability above 0.
    return min(position, int(np.searchsorted(cumulative_N, cumulative_N[-1])))


@dataclass(frozen=True, kw_only=True)
class KMeansPlusPlus(Strategy):
    """Draws regions with distant features by k-means++ [Arthur2007].

    With an ``uncertainty``, only the most uncertain regions are candidates. Distances to labelled regions do not count.
    """

    name: ClassVar[str] = "k-means-plus-plus"

    uncertainty: str | None = None
    """The signal that limits the candidates; None: all unlabelled regions are candidates."""
    top: float = 5.0
    """Number of candidates as a multiple of the budget, at least 1; used with an ``uncertainty`` only."""
    pca_dim: int | None = 128
    """Principal components of the features that are kept; None keeps the features as given."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.uncertainty is not None:
            check_signal(self.name, "uncertainty", self.uncertainty)
        check_number(self.name, "top", self.top, low=1)
        if self.pca_dim is not None:
            check_count(self.name, "pca_dim", self.pca_dim)

    @lazy_space
    def space(cls) -> Space:
        """Search the candidates and the PCA."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution

        return {
            "uncertainty": CategoricalDistribution((None, "entropy")),
            "top": FloatDistribution(1.5, 20.0, log=True),
            "pca_dim": CategoricalDistribution((64, 128, 256)),
        }

    @property
    def needs(self) -> Needs:
        """Ask for the features, and for the uncertainty if any."""
        return Needs(signals=() if self.uncertainty is None else (self.uncertainty,), features=True)

    def _select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        """Return ``budget`` draws, the first one uniform."""
        assert pool.features is not None  # checked by select
        rows = pool.candidates
        if self.uncertainty is not None:
            count = min(len(rows), int(np.ceil(self.top * budget)))
            rows = np.sort(rows[largest(pool.signals[self.uncertainty][rows], count)])
        points_RD = project(pool.features, self.pca_dim, rng)
        return kmeans_plusplus(points_RD, rows, int(rng.integers(len(rows))), budget, rng)


@dataclass(frozen=True, kw_only=True)
class Badge(Strategy):
    """Draws regions by k-means++ on gradient embeddings, which are long where uncertain [Ash2020].

    The embedding is the gradient of the region's mean loss with respect to the last layer's weights, with the most
    probable class as label: mean of (p - onehot(argmax p)) outer feature, C x D numbers for C classes and D features.
    The longest is selected first, as in the authors' code. Distances to labelled regions do not count.
    """

    name: ClassVar[str] = "badge"

    # Not in the paper: it makes the distance of C x D numbers as cheap as that of features.
    pca_dim: int | None = 128
    """Principal components of the gradients that are kept; None keeps the gradients as given, as in the paper."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pca_dim is not None:
            check_count(self.name, "pca_dim", self.pca_dim)

    @lazy_space
    def space(cls) -> Space:
        """Search the PCA."""
        from optuna.distributions import CategoricalDistribution

        return {"pca_dim": CategoricalDistribution((64, 128, 256))}

    @property
    def needs(self) -> Needs:
        """Ask for the gradients."""
        return Needs(profiles=("gradient-embedding",))

    def _select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        """Return ``budget`` draws, starting with the longest gradient."""
        gradients_RD, rows = pool.profiles["gradient-embedding"], pool.candidates
        squared = [
            squared_distance(gradients_RD[rows[start : start + _BLOCK]], np.zeros(1))
            for start in range(0, len(rows), _BLOCK)
        ]
        first = int(np.concatenate(squared).argmax())
        return kmeans_plusplus(project(gradients_RD, self.pca_dim, rng), rows, first, budget, rng)
