"""Which strategies a report would claim to differ, for many studies at once: by the primary analysis, and as before it.

The functions are those of `quadrat.benchmark.analysis` where these take many studies; areas and Holm's correction are
repeated here for arrays and tested to equal the originals.
"""

import itertools
import math

import numpy as np
from scipy import special

from performance.simulation.studies import PIXELS, Array, Booleans, Studies
from quadrat.benchmark.analysis.block_design import BlockDesign, ContrastFit
from quadrat.benchmark.analysis.statistics import LEVEL

__all__ = [
    "areas_of",
    "claims_before",
    "fit_areas",
    "holm_of",
    "primary_claims",
    "primary_p_values",
    "simultaneous_half_width",
]

# Legend: B studies, S seeds, K strategies (Random is the first), R rounds, P comparisons.


def areas_of(costs: Array, values: Array) -> Array:
    """Return the area under each curve over the costs that all curves of a study cover, (B, S, K); see `curves.areas`.

    Args:
        costs: (B, S, K, R) or what broadcasts to it.
        values: (B, S, K, R).
    """
    costs = np.broadcast_to(costs, values.shape)
    low = costs[..., 0].max(axis=(1, 2))[:, None, None, None]
    high = costs[..., -1].min(axis=(1, 2))[:, None, None, None]
    start, end, before, after = costs[..., :-1], costs[..., 1:], values[..., :-1], values[..., 1:]
    slope = (after - before) / (end - start)
    a, b = np.clip(start, low, high), np.clip(end, low, high)
    height = before + slope * ((a + b) / 2 - start)
    total: Array = (height * (b - a)).sum(axis=-1) / (high - low)[..., 0]
    return total


def fit_areas(areas: Array) -> ContrastFit:
    """Return each strategy's area minus Random's, fitted by the layout of the primary analysis."""
    num_studies, num_seeds, num = areas.shape
    design = BlockDesign.of(
        [strategy for _ in range(num_seeds) for strategy in range(num)],
        [seed for seed in range(num_seeds) for _ in range(num)],
        [(strategy, 0) for strategy in range(1, num)],
    )
    return design.fit(areas.reshape(num_studies, -1))


def primary_p_values(studies: Studies, *, is_guarded: bool = True) -> Array:
    """Return the p-values of the primary family: strategies over pixels, then over clicks, (B, P).

    Args:
        studies: To test.
        is_guarded: Whether the test is that of the report; else it is the one that takes variances to be equal.
    """
    fits = [fit_areas(areas_of(costs, studies.values)) for costs in (PIXELS, studies.clicks)]
    if not is_guarded:
        return np.concatenate([_two_sided(fit.gain_BC / fit.error_BC, fit.df) for fit in fits], axis=1)
    return np.concatenate(
        [_two_sided(fit.gain_BC / fit.claim_error_BC, fit.claim_df_B[:, None]) for fit in fits], axis=1
    )


def simultaneous_half_width(fit: ContrastFit, num_tests: int) -> Array:
    """Return half the width of the simultaneous intervals of a family of `num_tests`, (B, C)."""
    quantile_B = special.stdtrit(fit.claim_df_B, 1 - (1 - LEVEL) / (2 * num_tests))
    half_width: Array = quantile_B[:, None] * fit.claim_error_BC
    return half_width


def primary_claims(studies: Studies, *, is_guarded: bool = True) -> Booleans:
    """Return what the primary analysis calls significant, (B, P); see `primary_p_values`."""
    return holm_of(primary_p_values(studies, is_guarded=is_guarded)) < 1 - LEVEL


def claims_before(studies: Studies) -> dict[str, Booleans]:
    """Return what was called significant before there was a primary analysis, (B, P) by family.

    Paired t-tests, each family Holm-corrected by itself: against Random in the last round and in the area over pixels,
    all pairs in the last round, and all pairs in all rounds but round 0 (the penalty matrix).
    """
    pairs = list(itertools.combinations(range(studies.values.shape[2]), 2))
    to_random = [(strategy, 0) for strategy in range(1, studies.values.shape[2])]
    areas, last = areas_of(PIXELS, studies.values), studies.values[..., -1]
    families = {
        "last round": _paired(last, to_random),
        "area": _paired(areas, to_random),
        "pairs": _paired(last, pairs),
        "penalty matrix": np.concatenate(
            [_paired(studies.values[..., round_], pairs) for round_ in range(1, studies.values.shape[3])], axis=1
        ),
    }
    return {name: holm_of(p_values) < 1 - LEVEL for name, p_values in families.items()}


def holm_of(p_values: Array) -> Array:
    """Return Holm's adjusted p-values of each row, (B, P); see `statistics.holm`."""
    num = p_values.shape[1]
    order = np.argsort(p_values, axis=1)
    scaled = np.take_along_axis(p_values, order, axis=1) * (num - np.arange(num))
    adjusted = np.empty_like(p_values)
    np.put_along_axis(adjusted, order, np.minimum(np.maximum.accumulate(scaled, axis=1), 1), axis=1)
    return adjusted


def _paired(values: Array, pairs: list[tuple[int, int]]) -> Array:
    first, second = np.array(pairs).T
    difference = values[:, :, first] - values[:, :, second]
    num = difference.shape[1]
    return _two_sided(difference.mean(axis=1) / difference.std(axis=1, ddof=1) * math.sqrt(num), num - 1)


def _two_sided(t: Array, df: Array | int) -> Array:
    p_values: Array = 2 * special.stdtr(df, -np.abs(t))
    return p_values
