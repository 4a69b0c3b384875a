"""The pools that StrategyContract tests with, and strategies that must not pass it."""

import random
import sys
from dataclasses import dataclass

import numpy as np
import pytest

from quadrat.strategies import Needs, Pool, Selection, Strategy
from quadrat.strategies.testing import StrategyContract, example_pool


def test_an_example_pool_has_the_needed_inputs_and_no_others() -> None:
    pool = example_pool(Needs(signals=("bald",)))
    assert set(pool.signals) == {"bald"} and pool.features is None and not pool.profiles
    pool = example_pool(Needs(profiles=("class-histogram",)))
    assert not pool.signals and pool.features is None
    np.testing.assert_allclose(pool.profiles["class-histogram"].sum(axis=1), 1.0, rtol=1e-6)
    assert not pool.profiles["class-histogram"].flags.writeable


def test_an_example_pool_of_any_shape_has_centres_areas_and_borders() -> None:
    pool = example_pool(Needs(borders=True), any_shape=True)
    assert not pool.has_cells and (pool.row % 1 != 0).all() and len(np.unique(pool.pixels)) > 100
    places = np.column_stack([pool.image, pool.row, pool.col])
    assert len(places) - len(np.unique(places, axis=0)) == 7  # two regions of one centre in each image
    assert pool.borders is not None and len(pool.borders) > 100
    assert example_pool(Needs(), any_shape=True).borders is None and example_pool(Needs(borders=True)).borders is None


class Indexing(Strategy):
    """Takes rows for whole numbers."""

    name = "indexing"

    def _select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        last = int(pool.row.max())
        return Selection.of(pool.candidates[np.argsort(np.arange(last + 1)[pool.row[pool.candidates]])][:budget])


def test_a_strategy_of_grids_only_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    contract = StrategyContract()
    monkeypatch.setattr(contract, "strategy", Indexing, raising=False)
    monkeypatch.setattr(contract, "name", "indexing", raising=False)
    with pytest.raises(IndexError):
        contract.test_regions_of_any_shape_are_selected_by_the_same_rules()
    monkeypatch.setattr(contract, "any_shape", False, raising=False)
    with pytest.raises(IndexError):  # it must say so
        contract.test_regions_of_any_shape_are_selected_by_the_same_rules()


class Drawing(Strategy):
    """Draws from generators that are not its own."""

    name = "drawing"
    source = ""

    def _select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        if self.source == "numpy":
            return Selection.of(np.random.permutation(pool.candidates)[:budget])  # noqa: NPY002
        if self.source == "seeded":
            np.random.seed(0)  # noqa: NPY002
        if self.source == "random":
            return Selection.of(np.array(random.sample(list(pool.candidates), budget)))
        if self.source == "torch":
            sys.modules["torch"].randperm(3)
        return Selection.of(pool.candidates[:budget])


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("numpy", "drawing draws from the global generator of numpy.random; take every"),
        ("seeded", "drawing draws from the global generator of numpy.random; take every"),
        ("random", "drawing draws from the global generator of the module random; take every"),
        ("torch", "drawing draws from the global generator of torch; take every"),
    ],
)
def test_a_draw_from_a_global_generator_is_found(source: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if source == "torch":
        pytest.importorskip("torch")
    monkeypatch.setattr(Drawing, "source", source)
    contract = StrategyContract()
    monkeypatch.setattr(contract, "strategy", Drawing, raising=False)
    monkeypatch.setattr(contract, "name", "drawing", raising=False)
    with pytest.raises(AssertionError, match=message):
        contract.test_the_global_generator_is_not_used()


@dataclass(frozen=True, kw_only=True)
class Unchecked(Strategy):
    """Takes any value of its parameter."""

    name = "unchecked"
    weight: float = 0.0

    def _select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        return Selection.of(pool.candidates[:budget])


def test_a_parameter_without_a_check_is_named_with_what_checks_it(monkeypatch: pytest.MonkeyPatch) -> None:
    contract = StrategyContract()
    monkeypatch.setattr(contract, "strategy", Unchecked, raising=False)
    monkeypatch.setattr(contract, "name", "unchecked", raising=False)
    monkeypatch.setattr("quadrat.strategies.testing.load", lambda name, **params: Unchecked(**params))
    with pytest.raises(pytest.fail.Exception, match=r"unchecked takes weight=.*check_number, check_count"):
        contract.test_an_invalid_parameter_is_refused_with_its_name()


def test_the_contract_leaves_the_global_generators_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    contract = StrategyContract()
    monkeypatch.setattr(contract, "strategy", Drawing, raising=False)
    monkeypatch.setattr(contract, "name", "drawing", raising=False)
    kept = np.random.get_state()  # noqa: NPY002
    expected = np.random.random(), random.random()  # noqa: NPY002
    np.random.set_state(kept)  # noqa: NPY002
    state = random.getstate()
    contract.test_the_global_generator_is_not_used()
    assert np.random.random() == expected[0] and random.getstate() == state  # noqa: NPY002
