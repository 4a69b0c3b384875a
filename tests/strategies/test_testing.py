"""The pools that StrategyContract tests with."""

import numpy as np

from quadrat.strategies import Needs
from quadrat.strategies.testing import example_pool


def test_an_example_pool_has_the_needed_inputs_and_no_others() -> None:
    pool = example_pool(Needs(signals=("bald",)))
    assert set(pool.signals) == {"bald"} and pool.features is None and not pool.profiles
    pool = example_pool(Needs(profiles=("class-histogram",)))
    assert not pool.signals and pool.features is None
    np.testing.assert_allclose(pool.profiles["class-histogram"].sum(axis=1), 1.0, rtol=1e-6)
    assert not pool.profiles["class-histogram"].flags.writeable
