"""What a Pool refuses, and what a Pool and a Selection hold."""

from typing import Any

import numpy as np
import pytest

from quadrat.strategies import Needs, Pool, Selection, StrategyError


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
        ({"row": np.array([0.0, 1.0, 2.0])}, r"row, col: expected both whole numbers .*, got float64 and int64"),
        ({"row": np.zeros(3), "col": np.array([0.0, 1.0, np.nan])}, "col: expected 0 or more, got nan for region 2"),
        ({"row": np.zeros(3), "col": np.array([0.0, np.inf, 1.0])}, "col: expected 0 or more, got inf for region 1"),
        ({"row": np.zeros(3), "col": np.array([0.0, 1.0, -0.5])}, "col: expected 0 or more, got -0.5 for region 2"),
        ({"borders": np.array([0, 1])}, r"borders: expected 2 axes, got an array of shape \(2,\)"),
        ({"borders": np.array([[0, 1, 2]])}, r"borders: expected two regions in each row, got .* shape \(1, 3\)"),
        ({"borders": np.array([[0.0, 1.0]])}, "borders: expected int64, got float64"),
        ({"borders": np.array([[0, 1], [0, 3]])}, "borders: expected regions 0 to 2, got 3"),
        ({"borders": np.array([[0, 1], [1, 1]])}, "borders: expected pairs of two regions of one image, got 1 and 1"),
        ({"borders": np.array([[0, 1], [1, 2]])}, "got 1 and 2 of images 0 and 1"),
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
def test_an_invalid_array_is_refused_with_its_name(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(StrategyError, match=message):
        Pool(**columns(**changes))


def test_the_arrays_of_a_pool_are_read_only_views_of_the_right_dtype() -> None:
    image = np.array([0, 0, 1], np.int32)
    pool = Pool(**columns(image=image))
    assert np.shares_memory(pool.image, image) and image.flags.writeable
    assert (pool.row.dtype, pool.pixels.dtype) == (np.int32, np.int64)
    with pytest.raises(ValueError, match="read-only"):
        pool.image[0] = 1


def test_two_regions_of_any_shape_may_have_one_centre() -> None:
    pool = Pool(**columns(row=np.zeros(3, np.float32), col=np.array([0.5, 0.5, 0.25])))
    assert not pool.has_cells and pool.row.dtype == pool.col.dtype == np.float64
    np.testing.assert_array_equal(pool.col, [0.5, 0.5, 0.25])


def test_an_empty_pool_may_be_made_of_empty_lists() -> None:
    assert Pool(image=[], row=[], col=[], pixels=[], labelled=[]).has_cells  # type: ignore[arg-type]


def test_borders_are_given_or_computed_only_where_they_are_needed() -> None:
    needed = Needs(borders=True)
    pool = Pool(**columns())
    assert pool.borders is None and pool.only(Needs()).borders is None
    np.testing.assert_array_equal(pool.only(needed).borders, [[0, 1]])
    given = Pool(**columns(borders=np.empty((0, 2), int)))
    assert given.only(needed).borders.shape == (0, 2) and given.only(Needs()).borders is None


def test_candidates_are_the_unlabelled_regions() -> None:
    np.testing.assert_array_equal(Pool(**columns()).candidates, [1, 2])


def test_a_missing_potential_is_nan() -> None:
    assert np.isnan(Selection.of(np.array([2, 1])).potential).all()
