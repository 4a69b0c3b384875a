import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, confusion_matrix, jaccard_score

from quadrat.benchmark.learning.scoring.metrics import iou_per_class, mean_iou, pixel_accuracy
from quadrat.benchmark.learning.scoring.score import count_confusion


@pytest.fixture
def truth_and_prediction() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    truth = generator.integers(5, size=(3, 17, 23))
    prediction = np.where(generator.random(truth.shape) < 0.6, truth, generator.integers(5, size=truth.shape))
    return truth, prediction


def counted(truth: np.ndarray, prediction: np.ndarray, num_classes: int) -> np.ndarray:
    return count_confusion(torch.from_numpy(truth), torch.from_numpy(prediction), num_classes).numpy()


def test_confusion_matrix_equals_scikit_learn(truth_and_prediction) -> None:
    truth, prediction = truth_and_prediction
    expected = confusion_matrix(truth.ravel(), prediction.ravel(), labels=range(5))
    np.testing.assert_array_equal(counted(truth, prediction, 5), expected)


def test_metrics_equal_scikit_learn(truth_and_prediction) -> None:
    truth, prediction = truth_and_prediction
    confusion = counted(truth, prediction, 5)
    expected = jaccard_score(truth.ravel(), prediction.ravel(), average=None)
    np.testing.assert_allclose(iou_per_class(confusion), expected, rtol=1e-12)
    assert mean_iou(confusion) == pytest.approx(expected.mean(), rel=1e-12)
    assert pixel_accuracy(confusion) == pytest.approx(accuracy_score(truth.ravel(), prediction.ravel()), rel=1e-12)


def test_void_pixels_count_nowhere(truth_and_prediction) -> None:
    truth, prediction = truth_and_prediction
    is_void = np.random.default_rng(1).random(truth.shape) < 0.3
    with_void = np.where(is_void, 255, truth).astype(np.uint8)
    expected = confusion_matrix(truth[~is_void], prediction[~is_void], labels=range(5))
    np.testing.assert_array_equal(counted(with_void, prediction, 5), expected)


def test_rows_are_truth_and_columns_prediction() -> None:
    confusion = counted(np.array([[[0, 0, 1]]]), np.array([[[1, 1, 1]]]), 2)
    np.testing.assert_array_equal(confusion, [[0, 2], [0, 1]])


def test_iou_is_invariant_under_relabelling(truth_and_prediction) -> None:
    truth, prediction = truth_and_prediction
    confusion = counted(truth, prediction, 5)
    order = np.random.default_rng(2).permutation(5)
    np.testing.assert_array_equal(iou_per_class(confusion[np.ix_(order, order)]), iou_per_class(confusion)[order])


def test_class_absent_from_truth_and_prediction_is_nan_and_outside_the_mean() -> None:
    confusion = np.array([[3, 1, 0], [0, 2, 0], [0, 0, 0]])
    np.testing.assert_array_equal(np.isnan(iou_per_class(confusion)), [False, False, True])
    assert mean_iou(confusion) == pytest.approx((3 / 4 + 2 / 3) / 2)


def test_class_only_predicted_counts_as_zero() -> None:
    assert mean_iou(np.array([[1, 1], [0, 0]])) == pytest.approx((1 / 2 + 0) / 2)


def test_empty_confusion_matrix_has_no_score() -> None:
    empty = np.zeros((3, 3), dtype=np.int64)
    assert np.isnan(mean_iou(empty)) and np.isnan(pixel_accuracy(empty))
