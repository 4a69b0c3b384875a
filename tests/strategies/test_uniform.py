"""Random selection."""

import numpy as np
from support.pools import line_pool

from quadrat.strategies import load


def test_random_is_uniform_over_unlabelled_regions() -> None:
    pool, strategy, rng, counts = line_pool(10, labelled=(3,)), load("random"), np.random.default_rng(0), np.zeros(10)
    for _ in range(2000):
        counts[strategy.select(pool, 3, rng).regions] += 1
    assert counts[3] == 0
    assert abs(np.delete(counts, 3) - 2000 * 3 / 9).max() < 90  # four standard deviations
