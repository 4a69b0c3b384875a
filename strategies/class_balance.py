"""Strategies that weight uncertainty by predicted classes.

References:
    [Cai2021b] L. Cai et al. "Revisiting Superpixels for Active Learning in Semantic Segmentation With Realistic
        Annotation Costs". CVPR, 2021. Code of the authors:
        https://github.com/cailile/Revisiting-Superpixels-for-Active-Learning, scripts/region_selection_using_al.py.
    [Hwang2023] S. Hwang et al. "Active Learning for Semantic Segmentation with Multi-class Label Query". NeurIPS, 2023.
    [Xie2022] B. Xie et al. "Towards Fewer Annotations: Active Learning via Region Impurity and Prediction Uncertainty
        for Domain Adaptive Semantic Segmentation". CVPR, 2022.

Axes: R regions, C classes. Class statistics are those of the predictions for the whole pool; no label is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from quadrat.strategies.base import Space, Strategy, lazy_space
from quadrat.strategies.pool import Needs, Pool, Selection
from quadrat.strategies.ranking import min_max, select_largest
from quadrat.strategies.validation import check_choice, check_number, check_signal

__all__ = ["BvsbClassBalanced", "ClassBalanced", "PixelBalanced", "Ripu", "class_shares", "dominant_shares", "impurity"]


def dominant_shares(histogram_RC: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return each region's dominant class and the share of regions that each class dominates.

    >>> dominant_shares(np.array([[0.6, 0.4], [1.0, 0.0], [0.2, 0.8], [0.9, 0.1]], np.float32))
    (array([0, 0, 1, 0]), array([0.75, 0.25]))

    Args:
        histogram_RC: Share of each region's pixels that are predicted as each class; ties go to the lowest class.

    Returns:
        (R,) classes and (C,) shares.
    """
    dominant_R = np.argmax(histogram_RC, axis=1)
    return dominant_R, np.bincount(dominant_R, minlength=histogram_RC.shape[1]) / max(len(dominant_R), 1)


def class_shares(prob_RC: NDArray[np.float32], pixels_R: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the mean probability of each class over all pixels of the pool, (C,).

    Args:
        prob_RC: Mean class probabilities of each region.
        pixels_R: Areas of the regions.

    >>> class_shares(np.array([[1.0, 0.0], [0.0, 1.0]], np.float32), np.array([30, 10]))
    array([0.75, 0.25])
    """
    # einsum adds in one order for any number of threads, and makes no (R, C) temporary array.
    return np.asarray(np.einsum("rc,r->c", prob_RC, pixels_R / pixels_R.sum()))


def impurity(histogram_RC: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the entropy of each region's predicted classes, -sum_c h_c ln h_c in nats [Xie2022].

    >>> impurity(np.array([[0.5, 0.5], [1.0, 0.0]], np.float32)).round(4).tolist()
    [0.6931, 0.0]
    """
    total = np.zeros(len(histogram_RC))
    for share_R in histogram_RC.T.astype(np.float64):
        total -= share_R * np.log(np.where(share_R > 0, share_R, 1.0))
    return np.maximum(total, 0.0)


@dataclass(frozen=True, kw_only=True)
class ClassBalanced(Strategy):
    """Selects uncertain regions of rarely predicted classes: u exp(-p_c) [Cai2021b, ClassBal].

    c is the class that most of the region's pixels are predicted as, p_c the share of the pool's regions that it
    dominates. The authors' code scales u to [0, 1] before it is weighted, which ``bvsb-class-balanced`` does too.
    """

    name: ClassVar[str] = "class-balanced"

    uncertainty: str = "bvsb"
    """The signal to weight; best-versus-second-best in the paper."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_signal(self.name, "uncertainty", self.uncertainty)

    @lazy_space
    def space(cls) -> Space:
        """Search the uncertainty."""
        from optuna.distributions import CategoricalDistribution

        return {"uncertainty": CategoricalDistribution(("bvsb", "entropy", "margin"))}

    @property
    def needs(self) -> Needs:
        """Ask for the uncertainty and the predicted classes."""
        return Needs(signals=(self.uncertainty,), profiles=("class-histogram",))

    def _select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        """Return the ``budget`` largest, ties to the lowest row number."""
        dominant_R, share_C = dominant_shares(pool.profiles["class-histogram"])
        return select_largest(pool, pool.signals[self.uncertainty] * np.exp(-share_C)[dominant_R], budget)


@dataclass(frozen=True, kw_only=True)
class BvsbClassBalanced(ClassBalanced):
    """Selects uncertain regions of rarely predicted classes as the authors' code does [Cai2021b, Sp+Do+ClassBal].

    exp(-p_c) (u - min u) / (max u - min u) over the pool, labelled regions included; u is the mean best-versus-second-
    best ratio of the region, c and p_c as for ``class-balanced``. The paper's regions are superpixels with dominant
    labels; any others work. Differences: ties go to the lowest row number, theirs in the order of a sort; a signal
    that is the same everywhere counts as 0, theirs is undefined.
    """

    name: ClassVar[str] = "bvsb-class-balanced"

    def _select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        """Return the ``budget`` largest, ties to the lowest row number."""
        dominant_R, share_C = dominant_shares(pool.profiles["class-histogram"])
        return select_largest(pool, min_max(pool.signals[self.uncertainty]) * np.exp(-share_C)[dominant_R], budget)


@dataclass(frozen=True, kw_only=True)
class PixelBalanced(Strategy):
    """Selects uncertain regions, each pixel weighted by the rarity of its class [Hwang2023].

    The score is mean u_i (alpha p_c(i) + 1)^-2, where c(i) is the most probable class of pixel i and p_c the mean
    probability of c over all pixels of the pool.
    """

    name: ClassVar[str] = "pixel-balanced"

    uncertainty: Literal["bvsb", "entropy"] = "bvsb"
    """Uncertainty of a pixel; best-versus-second-best in the paper."""
    # 6 for Cityscapes and 12 for VOC in the authors' own settings.
    alpha: float = 6.0
    """Preference for rare classes, 0 or more; 0 ranks by the uncertainty alone."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self.name, "uncertainty", self.uncertainty, ("bvsb", "entropy"))
        check_number(self.name, "alpha", self.alpha, low=0)

    @lazy_space
    def space(cls) -> Space:
        """Search alpha and the uncertainty."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution

        return {
            "uncertainty": CategoricalDistribution(("bvsb", "entropy")),
            "alpha": FloatDistribution(1.0, 24.0, log=True),
        }

    @property
    def needs(self) -> Needs:
        """Ask for the uncertainty by predicted class, and the class probabilities."""
        return Needs(profiles=(f"class-{self.uncertainty}", "class-probability"))

    def _select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        """Return the ``budget`` largest, ties to the lowest row number."""
        weight_C = (self.alpha * class_shares(pool.profiles["class-probability"], pool.pixels) + 1.0) ** -2
        score = np.einsum("rc,c->r", pool.profiles[f"class-{self.uncertainty}"], weight_C)
        return select_largest(pool, score, budget)


@dataclass(frozen=True, kw_only=True)
class Ripu(Strategy):
    """Selects regions that are uncertain and have many classes: impurity times mean entropy [Xie2022].

    The paper's regions are windows around a pixel; here they are the cells of the grid. Its authors spend an equal
    share of the budget in every image; here regions are ranked over the whole pool, as by all rankings, so images may
    get none.
    """

    name: ClassVar[str] = "ripu"

    @property
    def needs(self) -> Needs:
        """Ask for the entropy and the predicted classes."""
        return Needs(signals=("entropy",), profiles=("class-histogram",))

    def _select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        """Return the ``budget`` largest, ties to the lowest row number."""
        return select_largest(pool, impurity(pool.profiles["class-histogram"]) * pool.signals["entropy"], budget)
