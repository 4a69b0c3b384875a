"""A strategy for quadrat: the most uncertain regions, one colour of the checkerboard first."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from quadrat.strategies import Needs, Pool, Selection, Space, Strategy, check_choice, lazy_space


@dataclass(frozen=True, kw_only=True)
class Checkerboard(Strategy):
    """Ranks by entropy, regions of one colour of the checkerboard before those of the other."""

    name: ClassVar[str] = "checkerboard"

    colour: int = 0
    """0 or 1: regions with row + column even or odd come first."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self.name, "colour", self.colour, (0, 1))

    @property
    def needs(self) -> Needs:
        return Needs(signals=("entropy",))

    @lazy_space  # what `quadrat study` searches; leave it out where there is nothing to search
    def space(cls) -> Space:
        from optuna.distributions import IntDistribution

        return {"colour": IntDistribution(0, 1)}

    def _select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        entropy = pool.signals["entropy"]
        is_other_colour = (pool.row + pool.col) % 2 != self.colour
        order = np.lexsort((-entropy, is_other_colour))
        regions = order[~pool.labelled[order]][:budget]
        return Selection.of(regions, entropy[regions])
