"""What a Pool refuses, what a Selection holds, and how a strategy validates what ``_select`` returns."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest

from quadrat.strategies import Needs, Pool, Selection, Strategy, StrategyError
from quadrat.strategies.testing import example_pool


def columns(**changes: Any) -> dict[str, Any]:
    good = {
        "image": np.array([0, 0, 1]),
        "row": np.array([0, 0, 0]),
        "col": np.array([0, 1, 0]),
        "pixels": np.array([4, 4, 4]),
        "labelled": np.array([True, False, False]),
    }
    return good | changes


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"row": np.zeros(2, int)}, "row: expected one entry for each of 3 regions, got 2"),
        ({"row": np.zeros((3, 1), int)}, r"row: expected 1 axes, got an array of shape \(3, 1\)"),
        ({"row": np.array([0.0, 1.0, 2.0])}, "row: expected int32, got float64"),
        ({"labelled": np.array([0, 1, 0])}, "labelled: expected bool, got int64"),
        ({"signals": {"entropy": np.zeros(4)}}, r"signals\['entropy'\]: expected one entry for each of 3"),
        ({"features": np.zeros(3)}, "features: expected 2 axes"),
        ({"features": np.zeros((3, 0))}, "features: expected at least one column"),
        ({"profiles": {"class-histogram": np.zeros(3)}}, r"profiles\['class-histogram'\]: expected 2 axes"),
        ({"profiles": {"class-histogram": np.zeros((2, 5))}}, r"profiles\['class-histogram'\]: expected one entry"),
        ({"col": np.array([0, -1, 0])}, "col: expected 0 or more, got -1 for region 1"),
        ({"image": np.array([0, 1, 1]), "col": np.zeros(3, int)}, "regions 1 and 2 are the same cell: row 0, column 0"),
    ],
)
def test_a_wrong_array_is_refused_with_its_name(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(StrategyError, match=message):
        Pool(**columns(**changes))


def test_the_arrays_of_a_pool_are_read_only_views_of_the_right_dtype() -> None:
    image = np.array([0, 0, 1], np.int32)
    pool = Pool(**columns(image=image))
    assert np.shares_memory(pool.image, image) and image.flags.writeable
    assert (pool.row.dtype, pool.pixels.dtype) == (np.int32, np.int64)
    with pytest.raises(ValueError, match="read-only"):
        pool.image[0] = 1


def test_candidates_are_what_is_not_labelled() -> None:
    np.testing.assert_array_equal(Pool(**columns()).candidates, [1, 2])


def test_a_missing_potential_is_nan() -> None:
    assert np.isnan(Selection.of(np.array([2, 1])).potential).all()


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
        Fixed(regions=regions).select(Pool(**columns()), 2, np.random.default_rng(0))


def test_only_declared_inputs_reach_select() -> None:
    pool = Pool(**columns(signals={"entropy": np.zeros(3, np.float32)}, features=np.zeros((3, 2), np.float32)))
    assert len(Fixed(regions=(1, 2)).select(pool, 2, np.random.default_rng(0))) == 2


def test_a_parameter_that_is_not_json_is_refused() -> None:
    with pytest.raises(StrategyError, match="fixed: parameter regions must be plain JSON"):
        Fixed(regions=(np.int64(1),))  # type: ignore[arg-type]


def test_a_strategy_without_select_names_the_missing_method() -> None:
    class Unfinished(Strategy):
        name = "unfinished"

    with pytest.raises(NotImplementedError, match=r"Unfinished must define _select\(pool, budget, rng\)"):
        Unfinished().select(Pool(**columns()), 1, np.random.default_rng(0))


def test_an_example_pool_has_what_is_needed_and_no_more() -> None:
    pool = example_pool(Needs(signals=("bald",)))
    assert set(pool.signals) == {"bald"} and pool.features is None and not pool.profiles
    pool = example_pool(Needs(profiles=("class-histogram",)))
    assert not pool.signals and pool.features is None
    np.testing.assert_allclose(pool.profiles["class-histogram"].sum(axis=1), 1.0, rtol=1e-6)
    assert not pool.profiles["class-histogram"].flags.writeable
