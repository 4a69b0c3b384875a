"""Strategies that rank the regions by one signal.

References:
    [Beluch2018] W. H. Beluch et al. "The Power of Ensembles for Active Learning in Image Classification". CVPR, 2018.
    [Cai2021] L. Cai et al. "Exploring Spatial Diversity for Region-based Active Learning". IEEE TIP, 2021.
    [Cai2021b] L. Cai et al. "Revisiting Superpixels for Active Learning in Semantic Segmentation With Realistic
        Annotation Costs". CVPR, 2021.
    [Gal2017] Y. Gal, R. Islam, Z. Ghahramani. "Deep Bayesian Active Learning with Image Data". ICML, 2017.
    [Houlsby2011] N. Houlsby et al. "Bayesian Active Learning for Classification and Preference Learning".
        arXiv:1112.5745, 2011.
    [Kirsch2023] A. Kirsch et al. "Stochastic Batch Acquisition: A Simple Baseline for Deep Active Learning". TMLR,
        2023.
    [Settles2009] B. Settles. "Active Learning Literature Survey". University of Wisconsin-Madison, TR 1648, 2009.
    [Siddiqui2020] Y. Siddiqui, J. Valentin, M. Niessner. "ViewAL: Active Learning with Viewpoint Entropy for Semantic
        Segmentation". CVPR, 2020.

Means are over the pixels of a region; p are a pixel's class probabilities, p1 and p2 the two largest, H the entropy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from quadrat.strategies.base import Space, Strategy, lazy_space
from quadrat.strategies.errors import StrategyError
from quadrat.strategies.pool import Needs, Pool, Selection
from quadrat.strategies.ranking import select_largest, share_of
from quadrat.strategies.validation import check_number, check_signal

__all__ = [
    "Bald",
    "Bvsb",
    "EnsembleEntropy",
    "Entropy",
    "EntropyRandom",
    "LeastConfidence",
    "Margin",
    "McEntropy",
    "PowerEntropy",
    "VoteEntropy",
]


@dataclass(frozen=True, kw_only=True)
class Entropy(Strategy):
    """Selects the regions of largest mean entropy [Cai2021, section III-A]; the potential is the signal itself."""

    name: ClassVar[str] = "entropy"

    uncertainty: str = "entropy"
    """The signal to rank by; larger is selected first."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_signal(self.name, "uncertainty", self.uncertainty)

    @property
    def needs(self) -> Needs:
        """Ask for the one signal."""
        return Needs(signals=(self.uncertainty,))

    def _select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        """Return the ``budget`` largest, ties to the lowest row number."""
        return select_largest(pool, pool.signals[self.uncertainty], budget)


@dataclass(frozen=True, kw_only=True)
class EntropyRandom(Entropy):
    """Selects part of the budget by entropy and draws the rest at random [Cai2021, section IV-C]; half of each.

    The potential of a drawn region is NaN.
    """

    name: ClassVar[str] = "entropy-random"

    random_fraction: float = 0.5
    """Share of the budget that is drawn at random, rounded down to whole regions."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(self.name, "random_fraction", self.random_fraction, low=0, high=1)

    @lazy_space
    def space(cls) -> Space:
        """Search the share that is drawn at random."""
        from optuna.distributions import FloatDistribution

        return {"random_fraction": FloatDistribution(0.0, 1.0)}

    def _select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        """Return the most uncertain regions first, then the drawn ones."""
        num_drawn = share_of(budget, self.random_fraction)
        if num_drawn == budget:
            return Selection.of(rng.choice(pool.candidates, size=budget, replace=False))
        ranked = super()._select(pool, budget - num_drawn, rng)
        drawn = rng.choice(np.setdiff1d(pool.candidates, ranked.regions), size=num_drawn, replace=False)
        return Selection.of(
            np.concatenate([ranked.regions, drawn]), np.concatenate([ranked.potential, np.full(num_drawn, np.nan)])
        )


@dataclass(frozen=True, kw_only=True)
class _Ranking(Strategy):
    """Selects the regions where one signal is largest; the potential is the signal itself."""

    signal: ClassVar[str]
    """The signal to rank by."""

    @property
    def needs(self) -> Needs:
        """Ask for the one signal."""
        return Needs(signals=(self.signal,))

    def _select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        """Return the ``budget`` largest, ties to the lowest row number."""
        return select_largest(pool, pool.signals[self.signal], budget)


@dataclass(frozen=True, kw_only=True)
class Margin(_Ranking):
    """Selects the regions where the two most probable classes are closest: mean 1 - (p1 - p2) [Settles2009]."""

    name: ClassVar[str] = "margin"
    signal: ClassVar[str] = "margin"


@dataclass(frozen=True, kw_only=True)
class Bvsb(_Ranking):
    """Selects the regions of largest best-versus-second-best: mean p2 / p1 [Cai2021b]."""

    name: ClassVar[str] = "bvsb"
    signal: ClassVar[str] = "bvsb"


@dataclass(frozen=True, kw_only=True)
class LeastConfidence(_Ranking):
    """Selects the regions whose most probable class is least probable: mean 1 - p1 [Settles2009]."""

    name: ClassVar[str] = "least-confidence"
    signal: ClassVar[str] = "least-confidence"


@dataclass(frozen=True, kw_only=True)
class McEntropy(_Ranking):
    """Selects the regions of largest entropy of the mean over dropout passes: mean H(mean_t p_t) [Gal2017]."""

    name: ClassVar[str] = "mc-entropy"
    signal: ClassVar[str] = "mc-entropy"


@dataclass(frozen=True, kw_only=True)
class Bald(_Ranking):
    """Selects the regions where dropout passes disagree: mean H(mean_t p_t) - mean_t H(p_t) [Houlsby2011, Gal2017]."""

    name: ClassVar[str] = "bald"
    signal: ClassVar[str] = "bald"


@dataclass(frozen=True, kw_only=True)
class VoteEntropy(_Ranking):
    """Selects the regions of largest vote entropy: mean H(share of dropout passes for a class) [Siddiqui2020]."""

    name: ClassVar[str] = "vote-entropy"
    signal: ClassVar[str] = "vote-entropy"


@dataclass(frozen=True, kw_only=True)
class EnsembleEntropy(_Ranking):
    """Selects the regions of largest entropy of the mean over an ensemble: mean H(mean_m p_m) [Beluch2018].

    Five networks are trained on the same labels from different seeds, as in the paper, so a round costs five fits. The
    network that is evaluated is the first of them alone, as for every strategy; the paper evaluates their mean.
    """

    name: ClassVar[str] = "ensemble-entropy"
    signal: ClassVar[str] = "ensemble-entropy"


@dataclass(frozen=True, kw_only=True)
class PowerEntropy(Entropy):
    """Draws regions with probability proportional to entropy^beta, without replacement [Kirsch2023, power].

    By the Gumbel top-k trick: the largest of beta ln(score) + G, G standard Gumbel, which is also the potential. A
    large beta is close to ranking, beta = 0 is uniform. A score of 0 counts as the smallest positive float32, so that
    regions of score 0 come last, in random order.
    """

    name: ClassVar[str] = "power-entropy"

    beta: float = 1.0
    """Exponent of the score, 0 or more; the paper's default is 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(self.name, "beta", self.beta, low=0)

    @lazy_space
    def space(cls) -> Space:
        """Search the exponent over the range of the paper's ablation."""
        from optuna.distributions import FloatDistribution

        return {"beta": FloatDistribution(0.25, 8.0, log=True)}

    def _select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        """Return the ``budget`` largest of the noisy scores."""
        score = pool.signals[self.uncertainty].astype(np.float64)
        if score.min() < 0:
            raise StrategyError(
                f"{self.name}: expected a signal of 0 or more, got {self.uncertainty!r} = {score.min():g} in region "
                f"{score.argmin()}; a power needs values of 0 or more, use another signal"
            )
        noise = rng.gumbel(size=pool.num_regions)
        return select_largest(pool, self.beta * np.log(np.maximum(score, np.finfo(np.float32).tiny)) + noise, budget)
