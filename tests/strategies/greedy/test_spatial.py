"""Spatial distances: by hand, as a metric by brute force (appendix A), and to labelled regions."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from quadrat.strategies.borders import Neighbourhood
from quadrat.strategies.greedy.borders import BorderDistance
from quadrat.strategies.greedy.cells import (
    CellDistance,
    centre_distance,
    largest_in_image,
    linear_table,
    piecewise_table,
)
from quadrat.strategies.greedy.centres import (
    LinearDistance,
    PiecewiseDistance,
    is_shorter,
    largest_span,
)
from quadrat.strategies.greedy.spatial import Images, Norm, SpatialDistance, length_of


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
    assert is_metric(piecewise_table(6, 6, cutoff=cutoff, norm=norm, near=1 / d3_d2 / d2_d1, far=1 / d3_d2), 6, 6)


@pytest.mark.parametrize("norm", [1, 2, "inf"])
@pytest.mark.parametrize("d2_d1", [0.4, 0.8, 1.5, 2.0, 2.1, 3.0])
@pytest.mark.parametrize("d3_d2", [0.4, 0.5, 0.9, 1.5])
def test_piecewise_is_a_metric_exactly_if_the_triangle_inequality_holds(norm: Norm, d2_d1: float, d3_d2: float) -> None:
    # Appendix A asks for d1 <= d2 <= d3 as well: nearer is never further. The triangle inequality alone asks for less.
    d1, d2, d3 = 1 / d2_d1, 1.0, d3_d2
    triangle = d2 <= 2 * d1 and d1 <= 2 * d2 and max(d1, d2) <= 2 * d3
    assert (
        is_metric(piecewise_table(6, 6, cutoff=1.5, norm=norm, near=1 / d3_d2 / d2_d1, far=1 / d3_d2), 6, 6) == triangle
    )


@pytest.mark.parametrize("norm", [1, 2, "inf"])
def test_linear_is_a_metric(norm: Norm) -> None:
    largest = centre_distance(4, 5, norm)[-1, -1]
    assert is_metric(linear_table(4, 5, norm=norm, largest=float(largest)), 4, 5)


def test_piecewise_by_hand() -> None:
    table = piecewise_table(3, 3, cutoff=1.5, norm=2, near=0.5, far=1.0)
    np.testing.assert_array_equal(table, [[0.0, 0.5, 1.0], [0.5, 0.5, 1.0], [1.0, 1.0, 1.0]])
    table = piecewise_table(1, 3, cutoff=2.0, norm=2, near=0.5, far=0.8)
    np.testing.assert_allclose(table, [[0.0, 0.5, 0.8]])


def test_the_cut_off_is_exclusive() -> None:
    assert piecewise_table(1, 3, cutoff=2.0, norm=1, near=0.5, far=1.0)[0, 2] == 1.0


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
    np.testing.assert_array_equal(CellDistance(table, Images.of(image), row, col).to_nearest(labelled), expected)


NEAR, FAR = 0.4, 0.8


class Layout:
    """Regions of any shape in a few images, of one to nine regions each, some with one centre, in any row order."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.image = rng.permutation(np.repeat([3, 0, 7, 4], rng.integers(1, 10, 4))).astype(np.int32)
        num_regions = len(self.image)
        self.row, self.col = rng.choice(rng.uniform(0, 4, 6), (2, num_regions))
        pairs = [pair for pair in itertools.combinations(range(num_regions), 2) if len(set(self.image[[*pair]])) == 1]
        self.pairs = {pair for pair in pairs if rng.random() < 0.3}
        borders = np.array([pair[:: rng.choice([1, -1])] for pair in self.pairs], np.int64).reshape(-1, 2)
        self.neighbourhood, self.images = Neighbourhood.of(borders, num_regions), Images.of(self.image)

    def length(self, i: int, j: int, norm: Norm) -> float:
        down, across = float(self.row[i] - self.row[j]), float(self.col[i] - self.col[j])
        if norm == 2:
            return math.sqrt(down * down + across * across)
        return abs(down) + abs(across) if norm == 1 else max(abs(down), abs(across))


def three_distances(seed: int, norm: Norm, cutoff: float) -> list[tuple[SpatialDistance, NDArray[np.float64]]]:
    """Return each distance of a layout, and the (R, R) matrix that its definition gives."""
    layout = Layout(seed)
    num_regions = len(layout.image)
    centres = (layout.images, layout.row, layout.col, norm)
    largest = max(
        layout.length(0, 0, norm),
        *(
            {1: down + across, 2: math.sqrt(down * down + across * across), "inf": max(down, across)}[norm]
            for index in range(len(layout.images.first) - 1)
            for down, across in [(np.ptp(axis[layout.images.members(index)]) for axis in (layout.row, layout.col))]
        ),
    )
    assert largest_span(*centres) == largest
    matrices = np.ones((3, num_regions, num_regions))
    for i, j in itertools.product(range(num_regions), repeat=2):
        if layout.image[i] == layout.image[j]:
            length = layout.length(i, j, norm)
            is_neighbour = (min(i, j), max(i, j)) in layout.pairs
            matrices[:, i, j] = [
                0.0 if i == j else NEAR if length < cutoff else FAR,
                length / (largest or 1.0),
                0.0 if i == j else NEAR if is_neighbour else FAR,
            ]
    distances = [
        PiecewiseDistance(*centres, cutoff=cutoff, near=NEAR, far=FAR),
        LinearDistance(*centres, largest=largest),
        BorderDistance(layout.images, layout.neighbourhood, near=NEAR, far=FAR),
    ]
    return list(zip(distances, matrices, strict=True))


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([1, 2, "inf"]), st.sampled_from([0.0, 0.7, 1.5, 9.0]))
def test_distances_of_any_shape_agree_with_their_definitions(seed: int, norm: Norm, cutoff: float) -> None:
    for distance, matrix in three_distances(seed, norm, cutoff):
        rng, images = np.random.default_rng(seed), distance.images
        for region in range(len(matrix)):
            members = distance.same_image(region)
            np.testing.assert_array_equal(distance.between(region, members), matrix[region, members])
        members = rng.permutation(len(matrix))[: len(matrix) // 2]
        np.testing.assert_array_equal(distance.to_nearest(members), matrix[:, members].min(axis=1, initial=1.0))
        pairs, inside = distance.within(members), np.full((len(members),) * 2, np.nan)
        inside[pairs.first, pairs.second] = pairs.distance
        image = images.of_region[members]
        is_inside = image[:, None] == image[None, :]
        np.testing.assert_array_equal(inside, np.where(is_inside, matrix[np.ix_(members, members)], np.nan))
        assert len(pairs.first) == is_inside.sum()
        sizes = np.diff(images.first)
        slot = np.arange(sizes.max() + 1)  # one slot of padding at least
        region_IS = images.order[np.minimum(images.first[:-1, None] + slot, len(matrix) - 1)]
        chosen, block = rng.integers(0, sizes), distance.block(region_IS)
        for is_kept in (np.ones(len(sizes), bool), rng.random(len(sizes)) < 0.6):
            block.keep(is_kept)
            region_IS, chosen, sizes = region_IS[is_kept], chosen[is_kept], sizes[is_kept]
            found = block.distance_to(chosen)
            for index, regions in enumerate(region_IS):
                expected = matrix[regions[chosen[index]], regions[: sizes[index]]]
                np.testing.assert_array_equal(found[index, : sizes[index]], expected)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.floats(-9, 9), st.floats(-9, 9)), min_size=1), st.floats(0, 9), st.sampled_from([1, 2, "inf"])
)
def test_a_length_is_compared_as_if_it_were_computed(
    differences: list[tuple[float, float]], limit: float, norm: Norm
) -> None:
    down, across = np.array(differences).T
    lengths = length_of(down, across, norm)
    for value in {limit, *lengths.tolist(), *np.nextafter(lengths, np.inf).tolist()}:
        np.testing.assert_array_equal(is_shorter(down.copy(), across.copy(), value, norm), lengths < value)


@pytest.mark.parametrize("limit", [0.0, 5e-324, 1e-200, 1e200, math.sqrt(2), 1.5, math.inf])
def test_a_square_root_is_compared_exactly_at_the_ends_of_the_range(limit: float) -> None:
    values = np.array([0.0, 5e-324, 1e-170, 1e-100, 1.0, math.sqrt(2), 1.5, np.nextafter(1.5, 2), 1e150])
    zero = np.zeros(len(values))
    np.testing.assert_array_equal(is_shorter(values.copy(), zero.copy(), limit, 2), length_of(values, zero, 2) < limit)


def test_neighbours_that_share_a_border_by_hand() -> None:
    images = Images.of(np.zeros(4, np.int32))
    line = Neighbourhood.of(np.array([[1, 0], [1, 2], [3, 2]]), 4)
    distance = BorderDistance(images, line, near=0.5, far=1.0)
    np.testing.assert_array_equal(distance.between(1, np.arange(4)), [0.5, 0.0, 0.5, 1.0])
    np.testing.assert_array_equal(distance.to_nearest(np.array([3])), [1.0, 1.0, 0.5, 0.0])
