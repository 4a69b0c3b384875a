"""Strategies that relate uncertainty to annotation cost.

References:
    [Cai2021b] L. Cai et al. "Revisiting Superpixels for Active Learning in Semantic Segmentation With Realistic
        Annotation Costs". CVPR, 2021.
    [Mackowiak2018] R. Mackowiak et al. "CEREALS - Cost-Effective REgion-based Active Learning for Semantic
        Segmentation". BMVC, 2018.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from quadrat.strategies.base import Space, Strategy, lazy_space
from quadrat.strategies.errors import StrategyError
from quadrat.strategies.pool import Needs, Pool, Selection
from quadrat.strategies.ranking import select_largest
from quadrat.strategies.validation import check_number, check_signal

__all__ = ["ScorePerClick"]


@dataclass(frozen=True, kw_only=True)
class ScorePerClick(Strategy):
    """Selects the regions of largest uncertainty per click: sum of u over the region's pixels / clicks^exponent.

    Clicks are estimated from the predicted label map, as the oracle counts them in the true one: outline vertices
    inside, crossings with the region's edge, connected components [Cai2021b]. Cost-aware ranking of regions is from
    [Mackowiak2018]; the ratio with an exponent is our choice.
    """

    name: ClassVar[str] = "score-per-click"

    uncertainty: str = "entropy"
    """The signal to use as uncertainty."""
    exponent: float = 1.0
    """Exponent of the clicks, 0 or more; 0 ignores the cost."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_signal(self.name, "uncertainty", self.uncertainty)
        check_number(self.name, "exponent", self.exponent, low=0)

    @lazy_space
    def space(cls) -> Space:
        """Search the exponent."""
        from optuna.distributions import FloatDistribution

        return {"exponent": FloatDistribution(0.125, 2.0, log=True)}

    @property
    def needs(self) -> Needs:
        """Ask for the uncertainty and the predicted clicks."""
        return Needs(signals=tuple(dict.fromkeys((self.uncertainty, "predicted-clicks"))))

    def _select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        """Return the ``budget`` largest, ties to the lowest row number."""
        clicks = pool.signals["predicted-clicks"].astype(np.float64)
        if clicks.min() <= 0:
            raise StrategyError(
                f"{self.name}: expected at least one click for every region, got predicted-clicks = {clicks.min():g} "
                f"in region {clicks.argmin()}"
            )
        return select_largest(pool, pool.signals[self.uncertainty] * pool.pixels / clicks**self.exponent, budget)
