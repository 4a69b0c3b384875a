"""A strategy for quadrat: uncertain regions, one colour of the checkerboard first."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from quadrat.strategies import Needs, Pool, Selection, Space, Strategy, StrategyError, lazy_space


@dataclass(frozen=True, kw_only=True)
class Checkerboard(Strategy):
    """Takes the most uncertain regions of one colour, and those of the other only when it runs out."""

    name: ClassVar[str] = "checkerboard"

    colour: int = 0
    """0 or 1: which cells come first, those with row + column even or odd."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.colour not in (0, 1) or isinstance(self.colour, bool):
            raise StrategyError(f"{self.name}: colour must be 0 or 1, got {self.colour!r}")

    @property
    def needs(self) -> Needs:
        """Ask for the entropy."""
        return Needs(signals=("entropy",))

    @lazy_space
    def space(cls) -> Space:
        """Search the colour."""
        from optuna.distributions import IntDistribution

        return {"colour": IntDistribution(0, 1)}

    def _select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        """Return the first ``budget`` by colour, then entropy, then row number."""
        candidates = pool.candidates
        entropy = pool.signals["entropy"][candidates]
        is_other = (pool.row[candidates] + pool.col[candidates]) % 2 != self.colour
        regions = candidates[np.lexsort((-entropy, is_other))[:budget]]
        return Selection.of(regions, pool.signals["entropy"][regions])
