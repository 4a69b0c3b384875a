"""Conformance tests for strategies: subclass StrategyContract.

    from quadrat.strategies.testing import StrategyContract

    class TestMyStrategy(StrategyContract):
        name = "my-strategy"

Needs pytest. The strategy is loaded by its registered name, so the entry point is tested too.
"""

# ruff: noqa: D102 - the name of a test is its claim
from __future__ import annotations

import json
import os
import pickle
import random
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

from quadrat.strategies.base import Strategy
from quadrat.strategies.borders import borders_of_cells
from quadrat.strategies.errors import StrategyError
from quadrat.strategies.oracle_strategies import OracleStrategy, Truth
from quadrat.strategies.pool import Needs, Pool, Selection
from quadrat.strategies.registry import load

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

__all__ = ["StrategyContract", "example_pool", "example_truth"]

_BUDGET = 17


def example_pool(
    needs: Needs, *, seed: int = 0, num_images: int = 7, labelled: float = 0.2, any_shape: bool = False
) -> Pool:
    """Return a random pool without ties, with images of different sizes and the inputs of ``needs`` only.

    Args:
        needs: The signals, features, profiles and borders of the pool; each row of a profile is five shares that sum to
            1. A grid has no borders: a pool computes them where they are needed.
        seed: Equal seeds give equal pools.
        num_images: Number of images; 0 gives an empty pool.
        labelled: Probability that a region is labelled.
        any_shape: Whether regions have centres and areas of any value, not cells; each image has two of one centre.
    """
    rng = np.random.default_rng(seed)
    shapes = rng.integers(3, 7, (num_images, 2))
    cells = [np.indices(shape).reshape(2, -1) for shape in shapes]
    row, col = np.concatenate([np.empty((2, 0), np.int64), *cells], axis=1)
    num_regions = len(row)
    image = np.repeat(np.arange(num_images), shapes.prod(axis=1))
    columns: dict[str, Any] = {"image": image, "row": row, "col": col, "pixels": np.full(num_regions, 256)}
    arrays: dict[str, Any] = {
        "labelled": rng.random(num_regions) < labelled,
        "signals": {name: rng.random(num_regions, np.float32) for name in needs.signals},
        "features": rng.standard_normal((num_regions, 16), np.float32) if needs.features else None,
        "profiles": {name: rng.dirichlet(np.ones(5), num_regions).astype(np.float32) for name in needs.profiles},
    }
    if any_shape:
        neighbours = borders_of_cells(image, row, col)
        columns["row"], columns["col"] = (axis + 0.5 + rng.uniform(-0.45, 0.45, num_regions) for axis in (row, col))
        columns["pixels"] = rng.integers(2, 600, num_regions)
        twin = np.flatnonzero(np.diff(image, prepend=-1))  # the first region of each image lies inside the second
        for axis in ("row", "col"):
            columns[axis][twin + 1] = columns[axis][twin]
        if needs.borders:
            columns["borders"] = neighbours[rng.random(len(neighbours)) < 0.8]
    return Pool(**columns, **arrays)


class StrategyContract:
    """The contract of a strategy as tests; a subclass sets ``name`` and, where needed, the other attributes."""

    name: ClassVar[str]
    """The registered name."""
    params: ClassVar[dict[str, Any]] = {}
    """Parameters to test with; empty: the defaults."""
    draws: ClassVar[bool] = False
    """Whether selections depend on ``rng``."""
    any_shape: ClassVar[bool] = True
    """Whether regions may have any shape; False for a strategy of grids, which must refuse others by StrategyError."""

    def strategy(self) -> Strategy:
        """Return the strategy under test."""
        return load(self.name, **self.params)

    def pool(self, **options: Any) -> Pool:
        """Return a pool for the strategy; override it for one that needs special values.

        Args:
            **options: Those of ``example_pool``.
        """
        return example_pool(self.strategy().needs, **options)

    def select(self, pool: Pool, budget: int = _BUDGET, seed: int = 0) -> Selection:
        """Return the selection of the strategy under test."""
        return _select(self.strategy(), pool, budget, np.random.default_rng(seed))

    @pytest.mark.parametrize("budget", [1, _BUDGET])
    @pytest.mark.parametrize("labelled", [0.0, 0.2, 0.8])
    def test_a_selection_has_the_budget_none_labelled_none_twice(self, budget: int, labelled: float) -> None:
        pool = self.pool(labelled=labelled)
        selection = self.select(pool, budget)
        assert selection.regions.dtype == np.int64 and selection.potential.dtype == np.float64
        assert len(np.unique(selection.regions)) == len(selection.regions) == len(selection.potential) == budget
        assert not pool.labelled[selection.regions].any()

    def test_budget_zero_selects_nothing(self) -> None:
        assert len(self.select(self.pool(), 0)) == 0

    def test_a_negative_budget_is_refused(self) -> None:
        with pytest.raises(StrategyError, match="budget must be 0 or more"):
            self.select(self.pool(), -1)

    def test_a_huge_budget_selects_all_unlabelled_regions(self) -> None:
        pool = self.pool()
        selection = self.select(pool, 10**9)
        np.testing.assert_array_equal(np.sort(selection.regions), pool.candidates)

    def test_an_empty_or_fully_labelled_pool_gives_an_empty_selection(self) -> None:
        assert len(self.select(self.pool(num_images=0))) == 0
        assert len(self.select(self.pool(labelled=1.1))) == 0

    def test_the_only_region_is_selected(self) -> None:
        pool = _rows(self.pool(labelled=0.0), np.array([3]))
        np.testing.assert_array_equal(self.select(pool, 5).regions, [0])

    def test_equal_arguments_give_equal_selections(self) -> None:
        first, again = self.select(self.pool(), seed=5), self.select(self.pool(), seed=5)
        _assert_equal(first, again)

    def test_the_seed_changes_the_selection_exactly_if_it_draws(self) -> None:
        pool = self.pool()
        first, other = self.select(pool, seed=1), self.select(pool, seed=2)
        assert np.array_equal(first.regions, other.regions) is not self.draws

    def test_the_global_generator_is_not_used(self) -> None:
        self.select(self.pool())  # what the strategy imports when it selects, torch for example, is now imported
        kept = _global_states()
        try:
            _seed_global_generators(20_211_104)  # not a seed that a strategy would set itself
            before = _global_states()
            self.select(self.pool())
            used = [name for name, state in _global_states().items() if state != before[name]]
        finally:
            _restore_global_states(kept)
        assert not used, f"{self.name} draws from {' and '.join(used)}; take every random number from rng"

    def test_a_fresh_process_with_one_thread_selects_the_same(self, tmp_path: Path) -> None:
        pool = self.pool()
        (tmp_path / "in").write_bytes(pickle.dumps((self.strategy(), pool, *_truth(self.strategy(), pool))))
        environment = dict(os.environ, OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
        environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
        command = [sys.executable, "-c", _FRESH_PROCESS, str(tmp_path / "in"), str(tmp_path / "out"), str(_BUDGET)]
        subprocess.run(command, env=environment, check=True, timeout=120)
        _assert_equal(pickle.loads((tmp_path / "out").read_bytes()), self.select(pool, _BUDGET))

    def test_shuffled_rows_give_the_same_selection(self) -> None:
        if self.draws:  # draws depend on row numbers: test instead that every row can be drawn
            pool = self.pool()
            seen = np.concatenate([self.select(pool, pool.num_regions // 2, seed).regions for seed in range(40)])
            assert set(pool.candidates) == set(seen)
            return
        pool = self.pool()
        order = np.random.default_rng(1).permutation(pool.num_regions)
        expected, shuffled = self.select(pool), self.select(_rows(pool, order))
        np.testing.assert_allclose(shuffled.potential, expected.potential, atol=1e-6)
        if len(np.unique(expected.potential)) == len(expected):  # ties are broken by row number
            np.testing.assert_array_equal(order[shuffled.regions], expected.regions)

    def test_regions_of_any_shape_are_selected_by_the_same_rules(self) -> None:
        pool = self.pool(any_shape=True)
        if not self.any_shape:
            with pytest.raises(StrategyError, match=self.name):
                self.select(pool)
            return
        selection, everything = self.select(pool), self.select(pool, 10**9)
        assert len(np.unique(selection.regions)) == len(selection.potential) == _BUDGET
        assert not pool.labelled[selection.regions].any()
        np.testing.assert_array_equal(np.sort(everything.regions), pool.candidates)
        _assert_equal(self.select(pool), selection)
        if self.draws or len(np.unique(selection.potential)) < _BUDGET:
            return
        order = np.random.default_rng(1).permutation(pool.num_regions)
        np.testing.assert_array_equal(order[self.select(_rows(pool, order)).regions], selection.regions)

    def test_centres_that_are_whole_numbers_give_the_selection_of_the_grid(self) -> None:
        if not self.any_shape:
            return
        grid = self.pool()
        borders = borders_of_cells(grid.image, grid.row, grid.col) if self.strategy().needs.borders else None
        centres = _replace(grid, row=grid.row.astype(np.float64), col=grid.col.astype(np.float64), borders=borders)
        for budget in (_BUDGET, 10**9):
            _assert_equal(self.select(centres, budget), self.select(grid, budget))

    def test_the_pool_is_not_changed(self) -> None:
        pool = self.pool()
        before = pickle.dumps(pool)
        self.select(pool)
        assert pickle.dumps(pool) == before

    def test_undeclared_inputs_are_not_read(self) -> None:
        pool, rng = self.pool(), np.random.default_rng(9)
        more = {"undeclared": rng.random(pool.num_regions, np.float32)}
        features = rng.random((pool.num_regions, 3), np.float32) if pool.features is None else pool.features
        richer = _replace(pool, signals={**pool.signals, **more}, features=features)
        _assert_equal(self.select(richer), self.select(pool))
        if pool.borders is None and not self.strategy().needs.borders:
            pairs = np.flatnonzero(pool.image[1:] == pool.image[:-1])[:, None] + [0, 1]
            _assert_equal(self.select(_replace(pool, borders=pairs)), self.select(pool))
        more_profiles = {"undeclared": rng.random((pool.num_regions, 2), np.float32)}
        _assert_equal(self.select(_replace(pool, profiles={**pool.profiles, **more_profiles})), self.select(pool))

    def test_a_missing_input_is_named(self) -> None:
        needs, bare = self.strategy().needs, example_pool(Needs())
        for signal in needs.signals[:1]:
            with pytest.raises(StrategyError, match=f"{self.name} needs the signal '{signal}'"):
                self.select(bare)
        for profile in needs.profiles[:1] if not needs.signals else ():
            with pytest.raises(StrategyError, match=f"{self.name} needs the profile '{profile}'"):
                self.select(bare)
        if needs.features and not needs.signals and not needs.profiles:
            with pytest.raises(StrategyError, match=f"{self.name} needs features"):
                self.select(bare)
        if needs.borders and self.any_shape:
            with pytest.raises(StrategyError, match=f"{self.name} needs borders"):
                self.select(_replace(self.pool(any_shape=True), borders=None))

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_an_input_that_is_not_finite_is_refused(self, value: float) -> None:
        pool, needs = self.pool(), self.strategy().needs
        for signal in needs.signals:
            with pytest.raises(StrategyError, match=f"{self.name}: signal '{signal}' of region 4 is"):
                self.select(_spoil(pool, signal, value))
        if needs.features:
            with pytest.raises(StrategyError, match=f"{self.name}: feature 0 of region 4 is"):
                self.select(_spoil(pool, None, value))
        for profile in needs.profiles:
            spoilt = np.array(pool.profiles[profile])
            spoilt[4] = value
            with pytest.raises(StrategyError, match=f"{self.name}: profile '{profile}', entry 0 of region 4 is"):
                self.select(_replace(pool, profiles={**pool.profiles, profile: spoilt}))

    def test_only_an_oracle_strategy_sees_labels_and_it_needs_them(self) -> None:
        strategy, pool = self.strategy(), self.pool()
        assert strategy.sees_labels is isinstance(strategy, OracleStrategy)
        if strategy.sees_labels:
            with pytest.raises(StrategyError, match=f"{self.name} sees labels: expected truth with"):
                strategy.select(pool, 3, np.random.default_rng(0))

    def test_memory_mapped_features_give_the_same_selection(self, tmp_path: Path) -> None:
        pool = self.pool()
        if pool.features is not None:
            np.save(tmp_path / "features.npy", pool.features)
            mapped = _replace(pool, features=np.load(tmp_path / "features.npy", mmap_mode="r"))
            _assert_equal(self.select(mapped), self.select(pool))

    def test_parameters_survive_a_round_trip_through_json(self) -> None:
        strategy = self.strategy()
        assert load(self.name, **json.loads(json.dumps(strategy.params(), allow_nan=False))) == strategy

    def test_an_unknown_parameter_is_refused(self) -> None:
        with pytest.raises(StrategyError, match=f"{self.name} has no parameter 'no_such_thing'"):
            load(self.name, no_such_thing=1)

    def test_an_invalid_parameter_is_refused_with_its_name(self) -> None:
        for parameter in self.strategy().params():
            for invalid in (float("nan"), float("inf"), object(), {"a": 1}, True, []):
                if invalid is True and isinstance(self.strategy().params()[parameter], bool):
                    continue
                try:
                    load(self.name, **{parameter: invalid})
                except StrategyError as error:
                    assert parameter in str(error), f"expected an error that names '{parameter}', got: {error}"
                else:
                    pytest.fail(
                        f"{self.name} takes {parameter}={invalid!r}: expected a StrategyError. Check the parameter in "
                        "__post_init__: check_number, check_count, check_choice, check_signal of quadrat.strategies"
                    )

    def test_every_candidate_of_the_search_space_works(self) -> None:
        strategy, rng = self.strategy(), np.random.default_rng(0)
        assert set(strategy.space) <= set(strategy.params())
        for _ in range(20 if strategy.space else 0):
            drawn = {name: _draw(distribution, rng) for name, distribution in strategy.space.items()}
            candidate = load(self.name, **{**self.params, **drawn})
            same_needs = candidate.needs == strategy.needs
            pool = self.pool() if same_needs else example_pool(candidate.needs)
            assert len(_select(candidate, pool, 5, np.random.default_rng(0))) == 5


_FRESH_PROCESS = """
import pickle, sys
import numpy as np
strategy, pool, *truth = pickle.loads(open(sys.argv[1], "rb").read())
selection = strategy.select(pool, int(sys.argv[3]), np.random.default_rng(0), *truth)
open(sys.argv[2], "wb").write(pickle.dumps(selection))
"""


def example_truth(pool: Pool) -> Truth:
    """Return made-up ground truth for an oracle strategy; it depends on a region's cell, not on its row number."""
    cell = 10007.0 * pool.image + 101.0 * pool.row + pool.col
    shares = (np.sin(cell[:, None] * [1.3, 1.7, 2.3, 2.9] + 1.0) * 43758.5453) % 1.0
    return Truth(
        class_shares=(shares / shares.sum(axis=1, keepdims=True)).astype(np.float32),
        errors=shares[:, 0].astype(np.float32),
    )


def _truth(strategy: Strategy, pool: Pool) -> tuple[Truth, ...]:
    return (example_truth(pool),) if isinstance(strategy, OracleStrategy) else ()


def _select(strategy: Strategy, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
    return strategy.select(pool, budget, rng, *_truth(strategy, pool))


def _global_states() -> dict[str, bytes]:
    """Return the state of every global generator, its position included, by name; torch's where it is imported."""
    states = {
        "the global generator of numpy.random": pickle.dumps(np.random.get_state()),  # noqa: NPY002
        "the global generator of the module random": pickle.dumps(random.getstate()),
    }
    if (torch := sys.modules.get("torch")) is not None:
        states["the global generator of torch"] = torch.get_rng_state().numpy().tobytes()
    return states


def _seed_global_generators(seed: int) -> None:
    np.random.seed(seed)  # noqa: NPY002
    random.seed(seed)
    if (torch := sys.modules.get("torch")) is not None:
        torch.manual_seed(seed)


def _restore_global_states(states: dict[str, bytes]) -> None:
    np.random.set_state(pickle.loads(states["the global generator of numpy.random"]))  # noqa: NPY002
    random.setstate(pickle.loads(states["the global generator of the module random"]))
    if (torch_state := states.get("the global generator of torch")) is not None:
        torch = sys.modules["torch"]
        torch.set_rng_state(torch.from_numpy(np.frombuffer(torch_state, np.uint8).copy()))


def _assert_equal(actual: Selection, expected: Selection) -> None:
    np.testing.assert_array_equal(actual.regions, expected.regions)
    np.testing.assert_array_equal(actual.potential, expected.potential)


def _replace(pool: Pool, **changes: Any) -> Pool:
    fields = ("image", "row", "col", "pixels", "labelled", "signals", "features", "profiles", "borders")
    return Pool(**{**{name: getattr(pool, name) for name in fields}, **changes})


def _rows(pool: Pool, rows: NDArray[np.integer[Any]]) -> Pool:
    """Return the pool of these rows, in this order."""
    columns = {name: getattr(pool, name)[rows] for name in ("image", "row", "col", "pixels", "labelled")}
    signals = {name: value[rows] for name, value in pool.signals.items()}
    profiles = {name: value[rows] for name, value in pool.profiles.items()}
    features = None if pool.features is None else pool.features[rows]
    borders = None
    if pool.borders is not None:
        new_row = np.full(pool.num_regions, -1)
        new_row[rows] = np.arange(len(rows))
        borders = new_row[pool.borders]
        borders = borders[(borders >= 0).all(axis=1)]
    return Pool(**columns, signals=signals, features=features, profiles=profiles, borders=borders)


def _spoil(pool: Pool, signal: str | None, value: float) -> Pool:
    """Return ``pool`` with ``value`` in region 4 of a signal, or of the features."""
    spoilt = np.array(pool.features if signal is None else pool.signals[signal])
    spoilt[4] = value
    if signal is None:
        return _replace(pool, features=spoilt)
    return _replace(pool, signals={**pool.signals, signal: spoilt})


def _draw(distribution: BaseDistribution, rng: np.random.Generator) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[int(rng.integers(len(distribution.choices)))]
    if isinstance(distribution, IntDistribution):
        return int(rng.integers(distribution.low, distribution.high + 1))
    assert isinstance(distribution, FloatDistribution), f"unknown distribution {distribution}"
    return float(rng.uniform(distribution.low, distribution.high))
