"""The validation around ``_select``: of what it receives, of what it returns, and of parameters."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from support.pools import line_pool

from quadrat.strategies import Needs, Pool, Selection, Strategy, StrategyError


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


def _strategy(body: str, **members: object) -> Strategy:
    """Return a strategy whose `_select` has this body."""
    scope: dict[str, object] = {"np": np, "Selection": Selection}
    exec(f"def _select(self, pool, budget, rng):\n    {body}", scope)
    made: Strategy = type("Made", (Strategy,), {"name": "made", "_select": scope["_select"], **members})()
    return made


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return pool.candidates[:budget]", r"made: _select returned an ndarray, expected a Selection; write `return"),
        ("return list(pool.candidates[:budget])", "made: _select returned a list, expected a Selection"),
        ("pool.labelled[0] = True", "made: _select writes to an array of the pool, which is read-only; write to a"),
        ("pool.pixels.sort()", "made: _select writes to an array of the pool"),
        ("np.add(pool.pixels, 1, out=pool.pixels)", "made: _select writes to an array of the pool"),
        ("pool.pixels.fill(1)", "made: _select writes to an array of the pool"),
        ("rng.shuffle(pool.pixels)", "made: _select writes to an array of the pool"),
    ],
)
def test_a_common_mistake_in_select_is_one_sentence(body: str, message: str) -> None:
    with pytest.raises(StrategyError, match=message):
        _strategy(body).select(line_pool(3, labelled=(0,)), 2, np.random.default_rng(0))


def test_another_error_of_select_is_not_touched() -> None:
    with pytest.raises(ValueError, match=r"^broadcast$"):
        _strategy("raise ValueError('broadcast')").select(line_pool(3, labelled=()), 2, np.random.default_rng(0))


@pytest.mark.parametrize("needs", [("entropy",), "entropy", Needs(signals="entropy")])  # type: ignore[arg-type]
def test_needs_of_another_type_are_one_sentence(needs: object) -> None:
    with pytest.raises(StrategyError, match=r"made: needs must be a Needs of tuples, such as Needs\(signals="):
        _strategy("return None", needs=needs).select(line_pool(3, labelled=()), 2, np.random.default_rng(0))


@pytest.mark.parametrize("rng", [0, None, np.random])
def test_what_is_no_generator_is_refused(rng: object) -> None:
    with pytest.raises(StrategyError, match=r"fixed: rng must be a numpy.random.Generator, got .*; pass numpy.random"):
        Fixed(regions=(1, 2)).select(line_pool(3, labelled=(0,)), 2, rng)  # type: ignore[arg-type]
