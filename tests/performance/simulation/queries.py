"""Studies of several queries: what a report would call significant, of strategies and of queries, as one family.

Under one query the strategies of a seed share round 0 and a deviation, as in `studies.py`; queries share nothing.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from scipy import special

from performance.simulation.claims import areas_of, holm_of
from performance.simulation.studies import PIXELS, RANDOM, Array, Booleans, Noise, Studies, draw_studies
from quadrat.benchmark.analysis.block_design import BlockDesign, ContrastFit
from quadrat.benchmark.analysis.statistics import LEVEL

__all__ = ["NUM_QUERIES", "NUM_STRATEGIES", "QUERY_VARIANCES", "claims_of", "draw_queries", "p_values_of"]

# Legend: B studies, S seeds, K strategies (Random is the first), Q queries, L labels (K of each query), P comparisons.

NUM_QUERIES: Final = 3
NUM_STRATEGIES: Final = 4

_ONES: Final = (1.0,) * NUM_STRATEGIES
QUERY_VARIANCES: Final[dict[str, tuple[tuple[float, ...], ...]]] = {
    "equal": (_ONES, _ONES, _ONES),
    "Random twice": ((2.0, *_ONES[1:]),) * 3,
    "one three times": (_ONES, (1.0, 3.0, *_ONES[2:]), _ONES),
    "one query twice": (_ONES, _ONES, (2.0,) * NUM_STRATEGIES),
}
"""Name -> by query, by how much the standard deviation of each strategy exceeds the common one."""


def draw_queries(num_studies: int, num_seeds: int, noise: Noise, variances: str, *, name: str = "") -> list[Studies]:
    """Return studies without any difference, of each query; see `draw_studies`."""
    return [
        draw_studies(num_studies, num_seeds, noise, [RANDOM] * NUM_STRATEGIES, std, name=f"query {query} {name}")
        for query, std in enumerate(QUERY_VARIANCES[variances])
    ]


def p_values_of(queries: Sequence[Studies]) -> dict[str, Array]:
    """Return the p-values of the report, by part of the primary analysis, (B, P) each.

    `strategies`: against the Random of their query, over pixels, then over clicks; `queries`: each strategy under each
    other query against that under the first, over clicks; `queries pooled`: the same with the degrees of freedom of
    all strategies, as if these were independent.
    """
    values = np.concatenate([studies.values for studies in queries], axis=2)
    clicks = np.concatenate([studies.clicks for studies in queries], axis=2)
    num_seeds, num = values.shape[1], queries[0].values.shape[2]
    labels = [(query, strategy) for query in range(len(queries)) for strategy in range(num)]
    to_random = [(place, query * num) for place, (query, strategy) in enumerate(labels) if strategy]
    to_first = [(place, strategy) for place, (query, strategy) in enumerate(labels) if query]
    of_query = [query for query, _ in labels]
    of_strategy = [strategy for _, strategy in labels]
    over_pixels, over_clicks = areas_of(PIXELS, values), areas_of(clicks, values)
    fits = [_fit(areas, of_query, to_random) for areas in (over_pixels, over_clicks)]
    between = _fit(over_clicks, of_strategy, to_first)
    of_one = (len(queries) - 1) * (num_seeds - 1)
    return {
        "strategies": np.concatenate([_p_values(fit, fit.claim_df_B) for fit in fits], axis=1),
        "queries": _p_values(between, np.minimum(between.claim_df_B, of_one)),
        "queries pooled": _p_values(between, between.claim_df_B),
    }


def claims_of(p_values: dict[str, Array], *, is_one_family: bool = True) -> Booleans:
    """Return what is called significant, (B, P): by one family, or by two, queries with pooled degrees of freedom."""
    if is_one_family:
        return holm_of(np.concatenate([p_values["strategies"], p_values["queries"]], axis=1)) < 1 - LEVEL
    families = [holm_of(p_values[name]) < 1 - LEVEL for name in ("strategies", "queries pooled")]
    return np.concatenate(families, axis=1)


def _fit(areas: Array, block_of_label: list[int], pairs: list[tuple[int, int]]) -> ContrastFit:
    num_studies, num_seeds, num = areas.shape
    cells = [(label, seed) for seed in range(num_seeds) for label in range(num)]
    design = BlockDesign.of(
        [label for label, _ in cells], [block_of_label[label] * num_seeds + seed for label, seed in cells], pairs
    )
    return design.fit(areas.reshape(num_studies, -1))


def _p_values(fit: ContrastFit, df_B: Array) -> Array:
    p_values: Array = 2 * special.stdtr(df_B[:, None], -np.abs(fit.gain_BC / fit.claim_error_BC))
    return p_values
