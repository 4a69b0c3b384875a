"""Random selection, the baseline of every comparison."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from quadrat.strategies.base import Strategy
from quadrat.strategies.pool import Pool, Selection

__all__ = ["Random"]


@dataclass(frozen=True, kw_only=True)
class Random(Strategy):
    """Draws regions uniformly without replacement."""

    name: ClassVar[str] = "random"

    def _select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        """Return ``budget`` unlabelled regions, each order of each subset equally likely."""
        return Selection.of(rng.choice(pool.candidates, size=budget, replace=False))
