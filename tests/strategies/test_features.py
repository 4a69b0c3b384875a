"""Distances, PCA and clusters against plain numpy."""

import numpy as np
import pytest

from quadrat.strategies.features import (
    assign_clusters,
    mean_feature,
    nearest_bound,
    nearest_neighbours,
    project,
    squared_distance,
    training_rows,
)


def test_a_distance_has_the_same_bits_in_every_batch_and_layout() -> None:
    rng = np.random.default_rng(0)
    for num_features in (1, 2, 3, 7, 8, 9, 33, 128, 129, 256, 300):
        left = rng.standard_normal((50, num_features)).astype(np.float32)
        right = rng.standard_normal(num_features).astype(np.float32)
        together = squared_distance(left, right)
        alone = np.concatenate([squared_distance(row, right) for row in left])
        strided = squared_distance(np.asfortranarray(left), right)
        np.testing.assert_array_equal(together, alone)
        np.testing.assert_array_equal(together, strided)
        np.testing.assert_array_equal(together, squared_distance(np.tile(right, (50, 1)), left))
        np.testing.assert_allclose(together, ((left.astype(float) - right) ** 2).sum(axis=1))


@pytest.mark.parametrize("offset", [0.0, 50.0])
def test_the_nearest_bound_is_above_the_true_distance_and_close(offset: float) -> None:
    rng = np.random.default_rng(0)
    features = (offset + rng.standard_normal((400, 32))).astype(np.float32)
    targets = features[:40]
    true = np.min([squared_distance(features, target) for target in targets], axis=0)
    bound = nearest_bound(features, targets, mean_feature(features))
    assert (bound >= true).all()
    np.testing.assert_allclose(bound, true, atol=0.01)


def test_pca_keeps_the_distances_of_a_singular_value_decomposition() -> None:
    rng = np.random.default_rng(0)
    features = (rng.standard_normal((500, 20)) * np.arange(20, 0, -1)).astype(np.float32)
    centred = features.astype(float) - features.mean(axis=0)
    components = np.linalg.svd(centred, full_matrices=False)[2][:5]
    projected = project(features, 5, rng)
    assert projected.shape == (500, 5) and projected.dtype == np.float32
    np.testing.assert_allclose(
        np.linalg.norm(projected[:50] - projected[50:100], axis=1),
        np.linalg.norm((centred[:50] - centred[50:100]) @ components.T, axis=1),
        rtol=1e-3,
    )


@pytest.mark.parametrize("pca_dim", [None, 20, 128])
def test_features_of_few_dimensions_are_not_projected(pca_dim: int | None) -> None:
    features = np.zeros((7, 20), np.float32)
    assert project(features, pca_dim, np.random.default_rng(0)) is features


def test_pca_of_fewer_regions_than_features_works() -> None:
    rng = np.random.default_rng(0)
    features = rng.standard_normal((3, 40)).astype(np.float32)
    projected = project(features, 4, rng)
    np.testing.assert_allclose(
        np.linalg.norm(projected[0] - projected[1]), np.linalg.norm(features[0] - features[1]), rtol=1e-3
    )


def test_separated_clusters_are_found() -> None:
    rng = np.random.default_rng(0)
    centres = np.array([[0, 0], [50, 0], [0, 50]])
    true_cluster = rng.integers(3, size=90)
    points = (centres[true_cluster] + rng.standard_normal((90, 2))).astype(np.float32)
    initial = np.array([np.flatnonzero(true_cluster == number)[0] for number in (2, 0, 1)])
    cluster = assign_clusters(points, np.arange(90), initial)
    np.testing.assert_array_equal(cluster, np.array([1, 2, 0])[true_cluster])


def test_rows_to_fit_on_are_all_or_a_draw() -> None:
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(training_rows(1023, 512, rng), np.arange(1023))
    rows = training_rows(1024, 512, rng)
    assert len(rows) == 512 and (np.diff(rows) > 0).all() and 0 <= rows[0] and rows[-1] < 1024
    # 512 of 1024 without replacement: odd ones are hypergeometric, mean 256, standard deviation 8.
    assert abs(int((rows % 2).sum()) - 256) < 4 * 8
    assert not np.array_equal(training_rows(1024, 512, rng), rows)


def test_pca_does_not_alias_with_the_grid() -> None:
    """Even columns vary along one axis, odd ones more along another: every second row would show the first alone."""
    rng = np.random.default_rng(0)
    is_odd = np.arange(2048) % 2 == 1
    features = rng.standard_normal((2048, 2)).astype(np.float32)
    features[:, 0] *= np.where(is_odd, 0.0, 1.0)
    features[:, 1] *= np.where(is_odd, 10.0, 0.0)
    projected = np.abs(project(features, 1, rng)[:, 0])
    assert projected[is_odd].mean() > 5 > 0.5 > projected[~is_odd].mean()


def test_nearest_neighbours_agree_with_brute_force() -> None:
    points = np.random.default_rng(0).standard_normal((40, 6)).astype(np.float32)
    distance = np.linalg.norm(points[:, None] - points[None], axis=2)
    np.fill_diagonal(distance, np.inf)
    found = nearest_neighbours(points, 7)
    np.testing.assert_array_equal(found.row_NK, np.argsort(distance, axis=1)[:, :7])
    np.testing.assert_allclose(found.distance_NK, np.sort(distance, axis=1)[:, :7], rtol=1e-3)


def test_no_row_is_its_own_neighbour_among_copies() -> None:
    found = nearest_neighbours(np.ones((9, 3), np.float32), 4)
    assert (found.row_NK != np.arange(9)[:, None]).all()
    assert all(len(set(row)) == 4 for row in found.row_NK.tolist())
    np.testing.assert_array_equal(found.distance_NK, np.zeros((9, 4)))
