"""Simulated studies: learning curves of strategies whose true curves are known, many studies at once.

Levels and spreads are like those of the suite `camvid-cpu`: round 0 is shared within a seed, later rounds have a
deviation that the strategies of a seed share and one of their own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from quadrat.benchmark.seeds import rng

__all__ = [
    "BETTER",
    "CLICKS",
    "FULL",
    "PIXELS",
    "RANDOM",
    "VARIANCES",
    "Array",
    "Booleans",
    "Noise",
    "Studies",
    "draw_studies",
]

# Legend: B studies, S seeds, K strategies (Random is the first), R rounds.

Array = npt.NDArray[np.float64]
Booleans = npt.NDArray[np.bool_]
Noise = Literal["normal", "skewed"]

PIXELS: Final = np.array([0.45, 0.91, 1.82, 3.63, 7.27])
"""Labelled pixels after each round, percent of the pool."""

CLICKS: Final = np.array([4000.0, 8100.0, 16_500.0, 32_500.0, 61_000.0])
"""Mean clicks after each round; a trial deviates by 3 % from them, in all rounds alike."""

RANDOM: Final = np.array([38.6, 42.0, 45.0, 47.5, 49.6])
"""True mIoU of Random after each round, percent."""

BETTER: Final = np.array([38.6, 44.0, 47.5, 50.0, 52.5])
"""True mIoU of a strategy that needs about half the labels."""

FULL: Final = 53.1
"""True mIoU of full supervision, percent."""

_FIRST_STD, _SHARED_STD, _OWN_STD, _FULL_STD, _CLICKS_STD = 1.7, 0.6, 1.2, 0.8, 0.03

VARIANCES: Final[dict[str, tuple[float, ...]]] = {
    "equal": (1.0,) * 8,
    "Random twice": (2.0, *(1.0,) * 7),
    "one three times": (1.0, 3.0, *(1.0,) * 6),
    "1 to 3": tuple(np.linspace(1, 3, 8).tolist()),
}
"""Name -> by how much the standard deviation of each of eight strategies exceeds the common one."""


@dataclass(frozen=True, kw_only=True)
class Studies:
    """Studies of the same strategies and seeds.

    Attributes:
        values: mIoU in percent, (B, S, K, R).
        clicks: (B, S, K, R).
        full: mIoU of full supervision, (B, S).
    """

    values: Array
    clicks: Array
    full: Array


def draw_studies(
    num_studies: int,
    num_seeds: int,
    noise: Noise,
    true_curves: Sequence[Array],
    std: Sequence[float] | None = None,
    *,
    name: str = "",
) -> Studies:
    """Return independent studies.

    Args:
        num_studies: How many.
        num_seeds: Seeds of each.
        noise: `normal`, or `skewed`: exponential, with the long tail at low mIoU (skewness -2).
        true_curves: (R,) of each strategy; Random first.
        std: Standard deviation of the own deviation of each strategy, in units of the usual one.
        name: Distinguishes draws with the same arguments.
    """
    num, rounds = len(true_curves), len(PIXELS)
    draw = rng(0, "simulation", num_studies, num_seeds, noise, num, name)

    def deviations(*shape: int) -> Array:
        if noise == "normal":
            return draw.standard_normal((num_studies, num_seeds, *shape))
        return 1 - draw.exponential(1.0, (num_studies, num_seeds, *shape))

    first = _FIRST_STD * deviations(1, 1)
    shared = _SHARED_STD * deviations(1, rounds - 1)
    own = _OWN_STD * deviations(num, rounds - 1) * np.asarray(std or (1.0,) * num)[:, None]
    later = shared + own
    deviation = np.concatenate([np.broadcast_to(first, (num_studies, num_seeds, num, 1)), later], axis=-1)
    factor = 1 + _CLICKS_STD * draw.standard_normal((num_studies, num_seeds, num, 1))
    return Studies(
        values=np.stack(true_curves) + deviation,
        clicks=CLICKS * factor,
        full=FULL + _FULL_STD * deviations(),
    )
