"""Coverage against a greedy loop on exact integers, against the best possible, and on several threads."""

import hashlib
import itertools
import os
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from quadrat.strategies.greedy import coverage
from quadrat.strategies.greedy.coverage import Similarity, UnitPoints, maximise_coverage, unit_features


def ball(squared: NDArray[np.float32]) -> NDArray[np.float32]:
    return (squared < np.float32(0.5)).astype(np.float32)


def gaussian(squared: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.exp(-squared)


def exact_squares(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the squared distances of the rounded features, computed in whole numbers, (R, R)."""
    whole = np.rint(unit_features(features).astype(np.float64) * 2048).astype(np.int64)
    own = (whole**2).sum(axis=1)
    return ((own[:, None] + own - 2 * whole @ whole.T) / 2.0**22).astype(np.float32)


def in_plain_steps(
    similar: NDArray[np.float32], candidates: NDArray[np.int64], points: NDArray[np.int64], labelled: list[int]
) -> tuple[list[int], list[float]]:
    """Return all regions that add to the coverage in the order of greedy, each step over all candidates."""
    covered = similar[labelled][:, points].max(axis=0, initial=0)
    left, regions, gains = candidates.tolist(), [], []
    while left:
        # np.ix_ gives C order, which sets the order of the sums.
        more = np.maximum(similar[np.ix_(left, points)] - covered, np.float32(0))
        added = np.add.reduce(more, axis=1)
        best = int(added.argmax())
        if added[best] == 0:
            break
        covered = np.maximum(covered, similar[left[best]][points])
        gains.append(float(added[best]) / len(points))
        regions.append(left.pop(best))
    return regions, gains


@settings(max_examples=50, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    num_regions=st.integers(2, 40),
    num_features=st.integers(1, 9),
    similarity=st.sampled_from([ball, gaussian]),
    sizes=st.tuples(st.integers(1, 60), st.integers(1, 5)),
)
def test_it_equals_a_plain_greedy_bit_for_bit(
    seed: int, num_regions: int, num_features: int, similarity: Similarity, sizes: tuple[int, int]
) -> None:
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((num_regions, num_features), np.float32)
    features[rng.random(num_regions) < 0.3] = rng.choice(features, 1)
    is_labelled = rng.random(num_regions) < 0.2
    labelled, candidates = np.flatnonzero(is_labelled), rng.permutation(np.flatnonzero(~is_labelled))
    points = np.sort(rng.choice(num_regions, rng.integers(1, num_regions + 1), replace=False))
    expected = in_plain_steps(similarity(exact_squares(features)), candidates, points, labelled.tolist())
    budget = int(rng.integers(0, len(candidates) + 1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(coverage, "_BLOCK", sizes[0])
        patch.setattr(coverage, "_BATCH", sizes[1])
        found = maximise_coverage(features, candidates, points, labelled, budget, similarity)
    assert found.regions.tolist() == expected[0][:budget]
    assert found.potential.tolist() == expected[1][:budget]


@pytest.mark.parametrize("similarity", [ball, gaussian])
def test_greedy_covers_at_least_1_minus_1_over_e_of_the_best(similarity: Similarity) -> None:
    for seed in range(5):
        features = np.random.default_rng(seed).standard_normal((10, 3)).astype(np.float32)
        similar, rows = similarity(exact_squares(features)).astype(float), np.arange(10)
        best = max(similar[list(three)].max(axis=0).mean() for three in itertools.combinations(range(10), 3))
        found = maximise_coverage(features, rows, rows, np.empty(0, np.int64), 3, similarity)
        assert similar[found.regions].max(axis=0).mean() == pytest.approx(found.potential.sum(), rel=1e-5)
        assert found.potential.sum() >= (1 - 1 / np.e) * best


@pytest.mark.parametrize("num_features", [1, 7, 256, 2048])
def test_products_are_exact_in_any_order(num_features: int) -> None:
    rng = np.random.default_rng(0)
    features = np.abs(rng.standard_normal((40, num_features))).astype(np.float32)  # all of one sign: the largest sums
    unit = unit_features(features)
    assert np.abs(np.linalg.norm(unit.astype(float), axis=1) - 1).max() < np.sqrt(num_features) / 4096 + 1e-6
    np.testing.assert_array_equal(unit * 2048, np.rint(unit * 2048))
    points = UnitPoints(features, np.arange(40))
    np.testing.assert_array_equal(points.squared_distance(np.arange(40)), exact_squares(features))
    exact = sum(Fraction(float(a)) * Fraction(float(b)) for a, b in zip(unit[0], unit[1], strict=True))
    for order in (np.arange(num_features), rng.permutation(num_features)):
        total = np.float32(0)
        for axis in order:
            total = np.float32(total + unit[0, axis] * unit[1, axis])
        assert Fraction(float(total)) == exact


def test_features_of_length_0_stay_so() -> None:
    np.testing.assert_array_equal(unit_features(np.zeros((2, 3), np.float32)), np.zeros((2, 3)))


def digest() -> str:
    rng = np.random.default_rng(0)
    features, rows = rng.standard_normal((3000, 40), np.float32), np.arange(3000)
    found = maximise_coverage(features, rows, rows[::2], rows[:10], 60, gaussian)
    return hashlib.sha256(found.regions.tobytes() + found.potential.tobytes()).hexdigest()


@pytest.mark.parametrize("threads", ["1", "2"])
def test_the_number_of_threads_does_not_change_a_bit(threads: str) -> None:
    code = (
        f"import sys; sys.path.insert(0, {os.path.dirname(__file__)!r}); import test_coverage as t; print(t.digest())"
    )
    environment = dict(os.environ, OMP_NUM_THREADS=threads, OPENBLAS_NUM_THREADS=threads)
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    output = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True)
    assert output.stdout.strip() == digest()
