"""PCA, clusters and nearest distances of region features; the only module that imports faiss.

References:
    [Higham2002] N. Higham. "Accuracy and Stability of Numerical Algorithms", 2nd edition. SIAM, 2002.

Axes: R regions, D features, L labelled, N and M any rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Neighbours",
    "assign_clusters",
    "cluster_centres",
    "load_engine",
    "mean_feature",
    "nearest_bound",
    "nearest_in_order",
    "nearest_neighbours",
    "nearest_rows",
    "product_error",
    "project",
    "squared_distance",
    "training_rows",
    "weighted_centres",
]

# Rows handled at a time: keeps temporary arrays small and results independent of the number of threads.
_BLOCK = 1 << 14


def squared_distance(left_ND: NDArray[np.floating], right_ND: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the squared Euclidean distance of each row of ``left_ND`` to the row of ``right_ND`` (or to one vector).

    Float64 differences, squared and added in a fixed order: two vectors give the same bits in either order, in any
    batch and for any number of threads. This function defines the feature distance of the package; faster code only
    decides where it need not be computed.

    >>> squared_distance(np.array([[0.0, 0.0], [3.0, 4.0]]), np.array([0.0, 0.0]))
    array([ 0., 25.])
    """
    difference = np.atleast_2d(np.subtract(left_ND, right_ND, dtype=np.float64))
    np.multiply(difference, difference, out=difference)
    return np.asarray(np.add.reduce(np.ascontiguousarray(difference), axis=1))


def product_error(num_features: int, left_N: NDArray[np.float64], right: float) -> NDArray[np.float64]:
    """Return an upper bound on the error of a squared distance computed by a float32 matrix product.

    For |x - s|^2 = |x|^2 + |s|^2 - 2 x.s with x and s rounded to float32 after a shift, the error is below
    gamma_(D+16) (|x| + |s|)^2 for any order of additions [Higham2002], gamma_n = n u / (1 - n u), u = 2^-24; the 16
    covers the shift, the norms and the last additions. The second term covers underflow.

    Args:
        num_features: D.
        left_N: (N,) lengths |x|.
        right: The largest of the lengths |s|.

    Returns:
        (N,) bounds.
    """
    rounding = (num_features + 16) * 2.0**-24
    return rounding / (1 - rounding) * (left_N + right) ** 2 + (num_features + 16) * 2.0**-125


def mean_feature(features_RD: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the mean feature, (D,) float32."""
    total = np.zeros(features_RD.shape[1])
    for start in range(0, len(features_RD), _BLOCK):
        total += features_RD[start : start + _BLOCK].sum(axis=0, dtype=np.float64)
    return (total / max(len(features_RD), 1)).astype(np.float32)


def nearest_bound(
    features_RD: NDArray[np.float32], targets_MD: NDArray[np.float32], mean_D: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Return, for every region, an upper bound on its squared distance to the nearest of ``targets_MD``.

    A faiss search with k = 1. The float32 rounding error is added: the bound is at least
    the true value, and at most twice ``product_error`` above it. O(R M D), memory O(block).

    Args:
        features_RD: Features; may be a memory map, read once, block by block.
        targets_MD: At least one target.
        mean_D: Subtracted from both before the search, to reduce rounding.

    Returns:
        (R,) bounds.
    """
    targets = np.ascontiguousarray(targets_MD - mean_D)
    longest = float(np.sqrt(squared_distance(targets, 0.0 * mean_D).max()))
    bound = np.empty(len(features_RD))
    faiss = _faiss()
    for start in range(0, len(features_RD), _BLOCK):
        block = np.ascontiguousarray(features_RD[start : start + _BLOCK] - mean_D)
        nearest = faiss.knn(block, targets, 1)[0]
        length = np.sqrt(np.einsum("nd,nd->n", block, block, dtype=np.float64))
        error = product_error(features_RD.shape[1], length, longest)
        bound[start : start + _BLOCK] = np.maximum(nearest[:, 0], 0.0) + error
    return bound


def project(
    features_RD: NDArray[np.float32], num_components: int | None, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Return the features projected on their first principal components, or as given if they have no more dimensions.

    Runs on one thread, in blocks of a fixed size, so that the result is the same for any number of threads. Not
    whitened: distances are those of the projected features. Fitted on all regions, or on 256 per feature that are
    drawn where there are more than twice as many: enough for the components.

    Args:
        features_RD: Features; may be a memory map.
        num_components: Components to keep; None keeps the features.
        rng: Source of the draw.

    Returns:
        (R, min(D, num_components)) features, as given or a new array.
    """
    num_regions, num_features = features_RD.shape
    if num_components is None or num_components >= num_features or num_regions == 0:
        return features_RD
    faiss = _faiss()
    pca = faiss.PCAMatrix(num_features, num_components)
    projected = np.empty((num_regions, num_components), np.float32)
    rows = training_rows(num_regions, 256 * num_features, rng)
    with _single_thread(faiss):
        # faiss needs as many points as components.
        pca.train(_repeated(_taken(features_RD, rows), num_features))
        for start in range(0, num_regions, _BLOCK):
            block = np.ascontiguousarray(features_RD[start : start + _BLOCK])
            projected[start : start + _BLOCK] = pca.apply(block)
    return projected


def training_rows(num_rows: int, limit: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return the row numbers that PCA or k-means is fitted on, ascending: all, or ``limit`` of them.

    All where there are fewer than twice ``limit``. Otherwise ``limit`` drawn without replacement. Evenly spaced rows
    would alias with the grid of regions: a step of 2 takes the even columns of all images and no others.

    Args:
        num_rows: Rows to take from.
        limit: Rows that suffice, at least 1.
        rng: Source of the draw; not used where all rows are taken.

    >>> training_rows(5, 3, np.random.default_rng(0))
    array([0, 1, 2, 3, 4])
    """
    if num_rows < 2 * limit:
        return np.arange(num_rows)
    return np.sort(rng.choice(num_rows, limit, replace=False))


def assign_clusters(
    features_RD: NDArray[np.float32], rows: NDArray[np.int64], initial: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return each region's cluster by k-means, 0 to ``len(initial) - 1``; some may be empty.

    20 iterations of Lloyd's algorithm, on one thread so that the result is the same for any number of threads.

    Args:
        features_RD: Features; may be a memory map.
        rows: Row numbers that the centres are fitted on, as many as ``initial`` or more.
        initial: Row numbers of the initial centres.

    Returns:
        (R,) number of the nearest centre. O(20 len(rows) C D + R C D) for C centres.
    """
    faiss = _faiss()
    cluster_R = np.empty(len(features_RD), np.int64)
    with _single_thread(faiss):
        kmeans = _fitted_kmeans(faiss, features_RD, rows, initial)
        for start in range(0, len(features_RD), _BLOCK):
            block = np.ascontiguousarray(features_RD[start : start + _BLOCK])
            cluster_R[start : start + _BLOCK] = kmeans.index.search(block, 1)[1][:, 0]
    return cluster_R


def weighted_centres(
    features_ND: NDArray[np.float32], rows: NDArray[np.int64], weight_N: NDArray[np.float32], initial: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Return (C, D) centres of k-means in which a row counts as often as its weight says.

    20 iterations of Lloyd's algorithm, on one thread so that the result is the same for any number of threads.

    Args:
        features_ND: Features.
        rows: Row numbers that the centres are fitted on, as many as ``initial`` or more.
        weight_N: Weight of every row, above 0.
        initial: Row numbers of the initial centres.
    """
    faiss = _faiss()
    with _single_thread(faiss):
        kmeans = _fitted_kmeans(faiss, features_ND, rows, initial, np.ascontiguousarray(weight_N[rows], np.float32))
    centre_CD: NDArray[np.float32] = kmeans.centroids
    return centre_CD


def _fitted_kmeans(
    faiss: ModuleType,
    features_RD: NDArray[np.float32],
    rows: NDArray[np.int64],
    initial: NDArray[np.int64],
    weights: NDArray[np.float32] | None = None,
) -> Any:
    """Return faiss's k-means after 20 iterations on ``rows``, from the centres ``initial``."""
    kmeans = faiss.Kmeans(
        features_RD.shape[1],
        len(initial),
        niter=20,
        # The limits of points per centroid at which faiss warns or samples.
        min_points_per_centroid=1,
        max_points_per_centroid=-(-len(rows) // len(initial)),
    )
    initial_CD = np.ascontiguousarray(features_RD[initial])
    kmeans.train(_taken(features_RD, rows), weights=weights, init_centroids=initial_CD)
    return kmeans


def nearest_in_order(
    queries_ND: NDArray[np.float32], features_MD: NDArray[np.float32], count: int
) -> NDArray[np.int64]:
    """Return the row numbers of the ``count`` nearest features of each query, nearest first, (N, count).

    Computed in float32 on one thread, so that the result is the same for any number of threads.
    """
    faiss = _faiss()
    with _single_thread(faiss):
        rows: NDArray[np.int64] = faiss.knn(queries_ND, features_MD, count)[1]
    return rows


def cluster_centres(features_ND: NDArray[np.float32], num_clusters: int) -> NDArray[np.float32]:
    """Return (C, D) centres of k-means after four iterations, on one thread: accurate enough to divide a search."""
    faiss = _faiss()
    kmeans = faiss.Kmeans(features_ND.shape[1], num_clusters, niter=4, seed=0, min_points_per_centroid=1)
    with _single_thread(faiss):
        kmeans.train(features_ND)
    centre_CD: NDArray[np.float32] = kmeans.centroids
    return centre_CD


def nearest_rows(features_ND: NDArray[np.float32], targets_CD: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """Return the row numbers of the ``count`` nearest targets of each feature, (N, count), computed in float32."""
    rows: NDArray[np.int64] = _faiss().knn(features_ND, targets_CD, count)[1]
    return rows


class Neighbours(NamedTuple):
    """The nearest other rows of each row, nearest first."""

    row_NK: NDArray[np.int64]
    distance_NK: NDArray[np.float64]
    """Euclidean distances, computed in float32."""


def nearest_neighbours(features_ND: NDArray[np.float32], num_neighbours: int) -> Neighbours:
    """Return the nearest neighbours of each row among the others, on one thread. O(N^2 D).

    Args:
        features_ND: At least ``num_neighbours + 1`` features.
        num_neighbours: K, 1 or more.
    """
    faiss = _faiss()
    points = np.ascontiguousarray(features_ND - features_ND.mean(axis=0, dtype=np.float64).astype(np.float32))
    with _single_thread(faiss):
        squared, row = faiss.knn(points, points, num_neighbours + 1)
    # The row itself is left out wherever it is in the list: copies of it may come first, or fill the list.
    is_other = row != np.arange(len(points))[:, None]
    is_other[is_other.all(axis=1), -1] = False
    shape = (len(points), num_neighbours)
    distance = np.sqrt(np.maximum(squared[is_other].astype(np.float64), 0.0))
    return Neighbours(row[is_other].reshape(shape), distance.reshape(shape))


def _taken(features_RD: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return these rows as one array, without a copy where they are all of an array in memory."""
    return np.ascontiguousarray(features_RD if len(rows) == len(features_RD) else features_RD[rows])


def _repeated(rows_MD: NDArray[np.float32], least: int) -> NDArray[np.float32]:
    """Return the rows, repeated as a whole until there are ``least``: equal shares change no mean, no component."""
    return np.tile(rows_MD, (-(-least // len(rows_MD)), 1)) if len(rows_MD) < least else rows_MD


def _faiss() -> ModuleType:
    import faiss

    module: ModuleType = faiss
    return module


def load_engine() -> None:
    """Import faiss and start its threads, which takes seconds the first time, so that no selection is timed with it."""
    faiss, points = _faiss(), np.zeros((2, 1), np.float32)
    faiss.knn(points, points, 1)


@contextmanager
def _single_thread(faiss: ModuleType) -> Iterator[None]:
    num_threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(num_threads)
