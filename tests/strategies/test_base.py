"""The validation around ``_select``: of what it receives, of what it returns, and of parameters."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from support.pools import line_pool

from quadrat.strategies import Pool, Selection, Strategy, StrategyError


@dataclass(frozen=True, kw_only=True)
class Fixed(Strategy):
    """Returns fixed regions, valid or not."""

    name: ClassVar[str] = "fixed"
    regions: tuple[int, ...] = ()

    def _select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        assert not pool.signals and pool.features is None
        return Selection.of(np.array(self.regions))


@pytest.mark.parametrize(
    ("regions", "message"),
    [
        ((1,), "fixed: _select returned 1 regions, expected 2"),
        ((1, 3), "fixed: _select returned region 3, expected 0 to 2"),
        ((1, -1), "fixed: _select returned region -1, expected 0 to 2"),
        ((0, 1), "fixed: _select returned region 0, which is labelled already"),
        ((2, 2), "fixed: _select returned region 2 twice"),
    ],
)
def test_an_invalid_selection_is_refused(regions: tuple[int, ...], message: str) -> None:
    with pytest.raises(StrategyError, match=message):
        Fixed(regions=regions).select(line_pool(3, labelled=(0,)), 2, np.random.default_rng(0))


def test_only_declared_inputs_reach_select() -> None:
    pool = line_pool(3, labelled=(0,), signals={"entropy": np.zeros(3)}, features=np.zeros((3, 2)))
    assert len(Fixed(regions=(1, 2)).select(pool, 2, np.random.default_rng(0))) == 2


def test_a_parameter_that_is_not_json_is_refused() -> None:
    with pytest.raises(StrategyError, match="fixed: parameter regions must be plain JSON"):
        Fixed(regions=(np.int64(1),))  # type: ignore[arg-type]


def test_a_strategy_without_select_names_the_missing_method() -> None:
    class Unfinished(Strategy):
        name = "unfinished"

    with pytest.raises(NotImplementedError, match=r"Unfinished must define _select\(pool, budget, rng\)"):
        Unfinished().select(line_pool(3, labelled=(0,)), 1, np.random.default_rng(0))
