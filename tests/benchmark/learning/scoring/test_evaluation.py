"""Evaluation against ground truth: every pixel that is not void counts once, at full resolution."""

import numpy as np
import pytest
import sklearn.metrics
import torch
from support.learning_fakes import NUM_CLASSES, FakeMasks, make_grid, make_set, random_predict

from quadrat.benchmark.errors import DataError
from quadrat.benchmark.learning.network.upsampling import upsample
from quadrat.benchmark.learning.scoring.evaluation import (
    _count_on_device,
    confusion_matrix,
    count_confusion,
    region_errors,
)

IMAGES, MASKS = make_set()
CPU = torch.device("cpu")
predict = random_predict(IMAGES)


def predicted_classes(image: int) -> np.ndarray:
    height, width = MASKS.sizes[image].tolist()
    return upsample(predict([image]).logits_BChw, 4)[0, :, :height, :width].argmax(dim=0).numpy()


def test_confusion_counts_every_pixel_that_is_not_void_at_full_resolution() -> None:
    confusion = confusion_matrix(predict, MASKS, NUM_CLASSES, device=CPU)
    expected = np.zeros((NUM_CLASSES, NUM_CLASSES), dtype=np.int64)
    for image in range(len(MASKS)):
        known = MASKS.mask(image) != 255
        np.add.at(expected, (MASKS.mask(image)[known], predicted_classes(image)[known]), 1)
    assert confusion.dtype == np.int64
    np.testing.assert_array_equal(confusion, expected)


def test_confusion_equals_scikit_learn_without_the_void_pixels() -> None:
    generator = np.random.default_rng(0)
    truth, predicted = generator.integers(5, size=(2, 3, 17, 23))
    is_void = generator.random(truth.shape) < 0.3
    with_void = np.where(is_void, 255, truth).astype(np.uint8)
    for mask, counted in ((truth, np.ones_like(is_void)), (with_void, ~is_void)):
        found = count_confusion(torch.from_numpy(mask), torch.from_numpy(predicted), 5).numpy()
        expected = sklearn.metrics.confusion_matrix(truth[counted], predicted[counted], labels=range(5))
        np.testing.assert_array_equal(found, expected)


def test_rows_are_truth_and_columns_prediction() -> None:
    confusion = count_confusion(torch.tensor([[[0, 0, 1]]]), torch.tensor([[[1, 1, 1]]]), 2)
    assert confusion.tolist() == [[0, 2], [0, 1]]


def test_progress_is_reported_in_images() -> None:
    events: list[tuple[int, int]] = []
    confusion_matrix(predict, MASKS, NUM_CLASSES, device=CPU, on_image=lambda *event: events.append(event))
    assert events == [(1, 4), (2, 4), (3, 4), (4, 4)]
    region_errors(predict, make_grid(MASKS), MASKS, device=CPU, on_image=lambda *event: events.append(event))
    assert events[4:] == events[:4]


def test_mask_with_an_unknown_class_is_named() -> None:
    masks = FakeMasks([MASKS.mask(0).copy(), *(MASKS.mask(index) for index in (1, 2, 3))])
    masks.mask(0)[5, 5] = 7
    with pytest.raises(DataError, match="mask 0 holds class id 7: expected ids below 3, or 255"):
        confusion_matrix(predict, masks, NUM_CLASSES, device=CPU)


def test_the_confusion_matrix_is_fetched_once_for_all_images(monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[str] = []
    for name in ("cpu", "item", "tolist", "numpy", "__bool__", "__int__", "__float__"):
        original = getattr(torch.Tensor, name)
        monkeypatch.setattr(
            torch.Tensor, name, lambda self, *given, f=original, n=name: (fetched.append(n), f(self, *given))[1]
        )
    confusion_matrix(predict, MASKS, NUM_CLASSES, device=CPU)
    assert fetched == ["cpu", "numpy"]


def test_counting_without_synchronising_counts_the_same() -> None:
    index = torch.randint(0, 12, (500,), generator=torch.Generator().manual_seed(0))
    assert torch.equal(_count_on_device(index, 12), torch.bincount(index, minlength=12))


@pytest.mark.parametrize("region_size", [5, 12, 40])
def test_a_regions_error_is_the_share_of_its_known_pixels_that_are_misclassified(region_size: int) -> None:
    grid = make_grid(MASKS, region_size)
    errors = region_errors(predict, grid, MASKS, device=CPU)
    assert errors.dtype == np.float32
    predicted = [predicted_classes(image) for image in range(len(MASKS))]
    for region in range(grid.num_regions):
        image, box = int(grid.image[region]), grid.box(region)
        inside = np.s_[box.top : box.bottom, box.left : box.right]
        truth = MASKS.mask(image)[inside]
        known = truth != 255
        expected = (predicted[image][inside][known] != truth[known]).mean() if known.any() else 0.0
        assert errors[region] == pytest.approx(expected, abs=1e-5)
