"""ClaSP PE: a share of the budget for every predicted class, by entropy with noise that fades.

References:
    [Luth2026] C. Lueth et al. "Finally Outshining the Random Baseline: A Simple and Effective Solution for Active
        Learning in 3D Biomedical Imaging". TMLR, 2026, arXiv:2601.13677. Code of the authors:
        https://github.com/MIC-DKFZ/nnActive, nnactive/strategies/entropy_balanced.py (``class_power_pe66_exp``).
    [Kirsch2023] A. Kirsch et al. "Stochastic Batch Acquisition: A Simple Baseline for Deep Active Learning". TMLR,
        2023.

Axes: R regions, C classes, S strata: the classes, and one of all classes together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from quadrat.strategies.base import Space, Strategy, lazy_space
from quadrat.strategies.errors import StrategyError
from quadrat.strategies.pool import Needs, Pool, Selection
from quadrat.strategies.ranking import largest, share_of
from quadrat.strategies.validation import check_count, check_number

__all__ = ["ClaspPe", "select_by_strata"]

_SMALLEST = float(np.finfo(np.float32).tiny)


def select_by_strata(
    score_SR: NDArray[np.float64], quota_S: NDArray[np.int64], order_S: NDArray[np.int64], labelled_R: NDArray[np.bool_]
) -> Selection:
    """Return, for one stratum after the other, the regions of largest score that no stratum before it took.

    Args:
        score_SR: Score of each region in each stratum.
        quota_S: Number of regions of each stratum; together at most the number of unlabelled regions.
        order_S: The strata in the order in which they choose.
        labelled_R: Regions that cannot be chosen.

    Returns:
        The regions, with their score in the stratum that chose them. Their order spreads each stratum evenly over the
        selection, so that a part of it has the same shares; ties to the stratum that chose first.
    """
    taken_R = labelled_R.copy()
    regions, scores, places = [np.empty(0, np.int64)], [np.empty(0)], [np.empty(0)]
    for stratum in order_S.tolist():
        candidates = np.flatnonzero(~taken_R)
        chosen = candidates[largest(score_SR[stratum, candidates], int(quota_S[stratum]))]
        taken_R[chosen] = True
        regions.append(chosen)
        scores.append(score_SR[stratum, chosen])
        places.append((np.arange(len(chosen)) + 0.5) / max(len(chosen), 1))
    order = np.argsort(np.concatenate(places), kind="stable")
    return Selection.of(np.concatenate(regions)[order], np.concatenate(scores)[order])


@dataclass(frozen=True, kw_only=True)
class ClaspPe(Strategy):
    """Selects two thirds of the budget by class and the rest over all, by entropy with fading noise [Luth2026].

    The score of class c is the mean of p_c H over the region's pixels, H the entropy and p_c the probability of c; that
    of the last stratum is the mean of H. Each is drawn with a probability in proportion to score^beta: the largest of
    ln(score) + G / beta, G standard Gumbel [Kirsch2023]. Classes share their part of the budget equally; what is left
    over goes to classes that are drawn. beta grows as in ``beta_first * (beta_last / beta_first)^progress``.

    Shares, scores, noise and the two values of beta are those of the authors' code. Differences, and why:

    - Progress is theirs by number of rounds, of which a strategy knows nothing. Here it is the labelled share of the
      pool's pixels over ``last_share``, at most 1.
    - The strata choose in a drawn order, over the whole pool. In their code they choose so inside each image, a few
      patches each, of which the best of all images are selected.
    - Their background class has no stratum. Here none is left out unless ``background`` names it.
    - H is that of one network; theirs that of the mean of an ensemble of folds.
    """

    name: ClassVar[str] = "clasp-pe"

    stratified_fraction: float = 0.66
    """Share of the budget that is divided among the classes, rounded down to whole regions."""
    beta_first: float = 1.0
    """beta before anything is labelled, above 0; the larger, the less noise."""
    beta_last: float = 100.0
    """beta from ``last_share`` on, above 0."""
    last_share: float = 0.05
    """Labelled share of the pool's pixels at which beta is ``beta_last`` (our choice)."""
    background: int | None = None
    """A class without a stratum, such as 0 of PASCAL VOC; None: every class has one."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(self.name, "stratified_fraction", self.stratified_fraction, low=0, high=1)
        for parameter in ("beta_first", "beta_last"):
            check_number(self.name, parameter, getattr(self, parameter), low=1e-3, high=1e6)
        check_number(self.name, "last_share", self.last_share, low=1e-6, high=1)
        if self.background is not None:
            check_count(self.name, "background", self.background, low=0)

    @lazy_space
    def space(cls) -> Space:
        """Search the share of the classes, and the end of the noise."""
        from optuna.distributions import FloatDistribution

        return {
            "stratified_fraction": FloatDistribution(0.0, 1.0),
            "beta_last": FloatDistribution(1.0, 1000.0, log=True),
            "last_share": FloatDistribution(0.01, 0.5, log=True),
        }

    @property
    def needs(self) -> Needs:
        """Ask for the entropy, and for the entropy by class probability."""
        return Needs(signals=("entropy",), profiles=("class-soft-entropy",))

    def beta(self, pool: Pool) -> float:
        """Return beta for the present labelled regions.

        >>> pool = Pool(image=[0, 0], row=[0, 0], col=[0, 1], pixels=[39, 1], labelled=[False, True])
        >>> ClaspPe().beta(pool)
        10.0
        """
        progress = min(float(pool.pixels[pool.labelled].sum() / pool.pixels.sum()) / self.last_share, 1.0)
        return float(self.beta_first * (self.beta_last / self.beta_first) ** progress)

    def _select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        """Return ``budget`` regions; drawn are the classes with one region more, the noise and the order of strata."""
        by_class_RC, entropy_R = pool.profiles["class-soft-entropy"], pool.signals["entropy"]
        classes = np.arange(by_class_RC.shape[1])
        if self.background is not None:
            if self.background not in classes:
                raise StrategyError(
                    f"{self.name}: background must be one of the classes 0 to {len(classes) - 1}, got {self.background}"
                )
            classes = np.delete(classes, self.background)
        score_SR = np.concatenate([by_class_RC.T[classes], entropy_R[None]]).astype(np.float64)
        if score_SR.min() < 0:
            stratum, region = np.unravel_index(score_SR.argmin(), score_SR.shape)
            raise StrategyError(
                f"{self.name}: expected entropies of 0 or more, got {score_SR[stratum, region]:g} in region {region}"
            )
        score_SR = np.log(np.maximum(score_SR, _SMALLEST)) + rng.gumbel(size=score_SR.shape) / self.beta(pool)
        num_by_class = share_of(budget, self.stratified_fraction) if len(classes) else 0
        quota_S = np.full(len(score_SR), num_by_class // max(len(classes), 1))
        quota_S[rng.permutation(len(classes))[: num_by_class - int(quota_S[:-1].sum())]] += 1
        quota_S[-1] = budget - num_by_class
        return select_by_strata(score_SR, quota_S, rng.permutation(len(score_SR)), pool.labelled)
