"""Spatial distances: by hand, as a metric by brute force (appendix A), and to labelled regions."""

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from quadrat.strategies.greedy.spatial import (
    Images,
    Norm,
    SpatialDistance,
    centre_distance,
    largest_in_image,
    linear_table,
    piecewise_table,
)


def is_metric(table: NDArray[np.float64], rows: int, cols: int, num_images: int = 2) -> bool:
    """Check identity, positivity and the triangle inequality over all regions of a few small images."""
    cells = list(itertools.product(range(num_images), range(rows), range(cols)))
    distance = np.array(
        [[table[abs(a[1] - b[1]), abs(a[2] - b[2])] if a[0] == b[0] else 1.0 for b in cells] for a in cells]
    )
    off_diagonal = distance[~np.eye(len(cells), dtype=bool)]
    through = (distance[:, :, None] + distance[None, :, :]).min(axis=1)
    return bool((np.diag(distance) == 0).all() and (off_diagonal > 0).all() and (distance <= through + 1e-12).all())


@pytest.mark.parametrize("norm", [1, 2, "inf"])
@pytest.mark.parametrize("cutoff", [1.5, 2.0, 3.0])
@pytest.mark.parametrize("d2_d1", [1.0, 1.5, 2.0])
@pytest.mark.parametrize("d3_d2", [1.0, 1.5, 2.5])
def test_piecewise_is_a_metric_under_the_conditions_of_appendix_a(
    norm: Norm, cutoff: float, d2_d1: float, d3_d2: float
) -> None:
    assert is_metric(piecewise_table(6, 6, cutoff=cutoff, norm=norm, d2_d1=d2_d1, d3_d2=d3_d2), 6, 6)


@pytest.mark.parametrize("norm", [1, 2, "inf"])
@pytest.mark.parametrize("d2_d1", [0.4, 0.8, 1.5, 2.0, 2.1, 3.0])
@pytest.mark.parametrize("d3_d2", [0.4, 0.5, 0.9, 1.5])
def test_piecewise_is_a_metric_exactly_if_the_triangle_inequality_holds(norm: Norm, d2_d1: float, d3_d2: float) -> None:
    # Appendix A asks for d1 <= d2 <= d3 as well: nearer is never further. The triangle inequality alone asks for less.
    d1, d2, d3 = 1 / d2_d1, 1.0, d3_d2
    triangle = d2 <= 2 * d1 and d1 <= 2 * d2 and max(d1, d2) <= 2 * d3
    assert is_metric(piecewise_table(6, 6, cutoff=1.5, norm=norm, d2_d1=d2_d1, d3_d2=d3_d2), 6, 6) == triangle


@pytest.mark.parametrize("norm", [1, 2, "inf"])
def test_linear_is_a_metric(norm: Norm) -> None:
    largest = centre_distance(4, 5, norm)[-1, -1]
    assert is_metric(linear_table(4, 5, norm=norm, largest=float(largest)), 4, 5)


def test_piecewise_by_hand() -> None:
    table = piecewise_table(3, 3, cutoff=1.5, norm=2, d2_d1=2.0, d3_d2=1.0)
    np.testing.assert_array_equal(table, [[0.0, 0.5, 1.0], [0.5, 0.5, 1.0], [1.0, 1.0, 1.0]])
    table = piecewise_table(1, 3, cutoff=2.0, norm=2, d2_d1=1.6, d3_d2=1.25)
    np.testing.assert_allclose(table, [[0.0, 0.5, 0.8]])


def test_the_cut_off_is_exclusive() -> None:
    assert piecewise_table(1, 3, cutoff=2.0, norm=1, d2_d1=2.0, d3_d2=1.0)[0, 2] == 1.0


@pytest.mark.parametrize(("norm", "expected"), [(1, 7.0), (2, 5.0), ("inf", 4.0)])
def test_norms_by_hand(norm: Norm, expected: float) -> None:
    assert centre_distance(4, 5, norm)[3, 4] == expected


def test_images_are_grouped_in_any_order_and_with_gaps() -> None:
    images = Images.of(np.array([7, 2, 7, 2, 9], np.int32))
    assert [images.members(index).tolist() for index in range(3)] == [[1, 3], [0, 2], [4]]
    np.testing.assert_array_equal(images.of_region, [1, 0, 1, 0, 2])


def test_the_largest_distance_is_the_maximum_over_images() -> None:
    image = np.array([0, 0, 1, 1], np.int32)
    row, col = np.array([0, 6, 0, 3], np.int32), np.array([0, 0, 0, 5], np.int32)
    assert largest_in_image(Images.of(image), row, col, 1) == (7, 6, 8.0)
    assert largest_in_image(Images.of(image), row, col, "inf") == (7, 6, 6.0)


def test_distance_to_labelled_agrees_with_brute_force() -> None:
    rng = np.random.default_rng(0)
    cells = [(image, row, col) for image in range(4) for row in range(image + 1) for col in range(5)]
    order = rng.permutation(len(cells))
    image, row, col = np.array(cells, np.int32)[order].T
    table = linear_table(4, 5, norm=2, largest=5.0)
    labelled = np.flatnonzero(rng.random(len(cells)) < 0.15)
    expected = [
        min([1.0, *(table[abs(row[i] - row[s]), abs(col[i] - col[s])] for s in labelled if image[s] == image[i])])
        for i in range(len(cells))
    ]
    np.testing.assert_array_equal(SpatialDistance(table, Images.of(image), row, col).to_nearest(labelled), expected)
