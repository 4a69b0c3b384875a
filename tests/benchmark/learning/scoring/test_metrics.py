"""IoU and accuracy from a confusion matrix: scikit-learn as the reference, absent classes, empty matrices."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, jaccard_score

from quadrat.benchmark.learning.scoring.metrics import iou_per_class, mean_iou, pixel_accuracy

_GENERATOR = np.random.default_rng(0)
TRUTH = _GENERATOR.integers(5, size=1000)
PREDICTION = np.where(_GENERATOR.random(1000) < 0.6, TRUTH, _GENERATOR.integers(5, size=1000))
CONFUSION = confusion_matrix(TRUTH, PREDICTION)


def test_metrics_equal_scikit_learn() -> None:
    expected = jaccard_score(TRUTH, PREDICTION, average=None)
    np.testing.assert_allclose(iou_per_class(CONFUSION), expected, rtol=1e-12)
    assert mean_iou(CONFUSION) == pytest.approx(expected.mean(), rel=1e-12)
    assert pixel_accuracy(CONFUSION) == pytest.approx(accuracy_score(TRUTH, PREDICTION), rel=1e-12)


def test_iou_is_invariant_under_relabelling() -> None:
    order = np.random.default_rng(2).permutation(5)
    np.testing.assert_array_equal(iou_per_class(CONFUSION[np.ix_(order, order)]), iou_per_class(CONFUSION)[order])


def test_a_class_that_the_truth_lacks_is_nan_and_outside_the_mean_whatever_is_predicted() -> None:
    """One pixel predicted as it was an IoU of 0 in the mean: two thirds of the value without that pixel."""
    never_predicted = np.array([[3, 1, 0], [0, 2, 0], [0, 0, 0]])
    once_predicted = np.array([[3, 1, 1], [0, 2, 0], [0, 0, 0]])
    for confusion in (never_predicted, once_predicted):
        np.testing.assert_array_equal(np.isnan(iou_per_class(confusion)), [False, False, True])
    assert mean_iou(never_predicted) == pytest.approx((3 / 4 + 2 / 3) / 2)
    assert mean_iou(once_predicted) == pytest.approx((3 / 5 + 2 / 3) / 2)


def test_the_mean_equals_scikit_learn_over_the_labels_of_the_truth() -> None:
    truth = TRUTH % 3  # classes 3 and 4 are only predicted
    expected = jaccard_score(truth, PREDICTION, labels=[0, 1, 2], average="macro")
    assert mean_iou(confusion_matrix(truth, PREDICTION, labels=range(5))) == pytest.approx(expected, rel=1e-12)


def test_a_class_of_the_truth_that_is_never_found_counts_as_zero() -> None:
    assert mean_iou(np.array([[2, 0], [2, 0]])) == pytest.approx((1 / 2 + 0) / 2)


def test_empty_confusion_matrix_has_no_score() -> None:
    empty = np.zeros((3, 3), dtype=np.int64)
    assert np.isnan(mean_iou(empty)) and np.isnan(pixel_accuracy(empty))
