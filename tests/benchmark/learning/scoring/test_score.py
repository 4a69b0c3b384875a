from pathlib import Path

import numpy as np
import pytest
import torch
from support.learning_fakes import NUM_CLASSES, FakeMasks, make_grid, make_set

from quadrat.benchmark.errors import DataError, TrainingError
from quadrat.benchmark.learning.network.upsampling import upsample
from quadrat.benchmark.learning.scoring.predict import Prediction
from quadrat.benchmark.learning.scoring.profiles import load_profiles
from quadrat.benchmark.learning.scoring.score import (
    _count_on_device,
    confusion_matrix,
    images_per_batch,
    same_size_batches,
    score_regions,
)
from quadrat.benchmark.learning.scoring.signals import Outputs, Signal, entropy

IMAGES, MASKS = make_set()
CPU = torch.device("cpu")


def predict(indices: list[int]) -> Prediction:
    """Return a prediction that depends on the image and covers its padding, without a network."""
    height, width = (-(-int(side) // 16) * 4 for side in IMAGES.sizes[indices[0]])
    maps = [torch.Generator().manual_seed(index) for index in indices]
    return Prediction(
        features_BDhw=torch.stack([torch.randn(6, height, width, generator=generator) for generator in maps]),
        logits_BChw=torch.stack(
            [3 * torch.randn(NUM_CLASSES, height, width, generator=generator) for generator in maps]
        ),
    )


@pytest.mark.parametrize("region_size", [5, 12, 40])
def test_signals_are_means_of_full_resolution_maps_over_regions(region_size: int) -> None:
    grid = make_grid(MASKS, region_size)
    scores = score_regions(predict, grid, {"entropy": entropy}, with_features=False, device=CPU)
    assert scores.features is None and scores.signals["entropy"].dtype == np.float32
    for region in range(grid.num_regions):
        image = int(grid.image[region])
        prob = torch.softmax(upsample(predict([image]).logits_BChw, 4), dim=1)
        box = grid.box(region)
        pixels = torch.special.entr(prob).sum(dim=1)[0, box.top : box.bottom, box.left : box.right]
        assert scores.signals["entropy"][region] == pytest.approx(pixels.mean().item(), abs=1e-5)


@pytest.mark.parametrize("region_size", [5, 12, 40])
def test_features_are_means_over_the_regions_own_area(region_size: int) -> None:
    grid = make_grid(MASKS, region_size)
    scores = score_regions(predict, grid, {}, with_features=True, device=CPU)
    assert scores.signals == {} and scores.features is not None
    for region in range(grid.num_regions):
        features = predict([int(grid.image[region])]).features_BDhw[0]
        box = grid.box(region)
        pixels = features.repeat_interleave(4, dim=1).repeat_interleave(4, dim=2)
        expected = pixels[:, box.top : box.bottom, box.left : box.right].mean(dim=(1, 2))
        np.testing.assert_allclose(scores.features[region], expected.numpy(), atol=1e-5)


def test_only_signals_that_were_asked_for_are_computed() -> None:
    calls = []

    def count(outputs: Outputs) -> torch.Tensor:
        calls.append(outputs)
        return outputs.prob_BCHW[:, 0]

    grid = make_grid(MASKS)
    score_regions(predict, grid, {}, with_features=True, device=CPU)
    assert not calls
    score_regions(predict, grid, {"own": Signal(per_pixel=count)}, with_features=False, device=CPU)
    assert len(calls) == len(IMAGES)


def test_scores_of_an_image_do_not_depend_on_the_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    import quadrat.benchmark.learning.scoring.score as score

    grid = make_grid(MASKS)
    alone = score_regions(predict, grid, {"entropy": entropy}, with_features=True, device=CPU)
    monkeypatch.setitem(score._IMAGES_PER_BATCH, "cpu", 8)
    together = score_regions(predict, grid, {"entropy": entropy}, with_features=True, device=CPU)
    np.testing.assert_allclose(alone.signals["entropy"], together.signals["entropy"], atol=1e-6)
    np.testing.assert_allclose(alone.features, together.features, atol=1e-6)


def test_batches_are_neighbours_of_one_size_in_order() -> None:
    sizes = np.array([[2, 3], [2, 3], [2, 3], [3, 2], [2, 3]], dtype=np.int32)
    assert list(same_size_batches(sizes, lambda height, width: 2)) == [[0, 1], [2], [3], [4]]
    assert list(same_size_batches(sizes, lambda height, width: 1)) == [[0], [1], [2], [3], [4]]


def test_a_signal_that_is_not_finite_names_itself_and_the_region() -> None:
    signal = Signal(per_pixel=lambda outputs: outputs.logits_BCHW[:, 0] / 0.0)
    with pytest.raises(TrainingError, match=r"own is not finite in region 0 \(image 0\)"):
        score_regions(predict, make_grid(MASKS), {"own": signal}, with_features=False, device=CPU)


def test_confusion_counts_every_pixel_that_is_not_void_at_full_resolution() -> None:
    confusion = confusion_matrix(predict, MASKS, NUM_CLASSES, device=CPU)
    expected = np.zeros((NUM_CLASSES, NUM_CLASSES), dtype=np.int64)
    for image, (height, width) in enumerate(MASKS.sizes.tolist()):
        predicted = upsample(predict([image]).logits_BChw, 4)[0, :, :height, :width].argmax(dim=0).numpy()
        known = MASKS.mask(image) != 255
        np.add.at(expected, (MASKS.mask(image)[known], predicted[known]), 1)
    assert confusion.dtype == np.int64
    np.testing.assert_array_equal(confusion, expected)


def test_progress_is_told_in_images() -> None:
    told: list[tuple[int, int]] = []
    confusion_matrix(predict, MASKS, NUM_CLASSES, device=CPU, on_image=lambda done, total: told.append((done, total)))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_mask_with_an_unknown_class_is_named() -> None:
    masks = FakeMasks([MASKS.mask(0).copy(), *(MASKS.mask(index) for index in (1, 2, 3))])
    masks.mask(0)[5, 5] = 7
    with pytest.raises(DataError, match="mask 0 holds class id 7: expected ids below 3, or 255"):
        confusion_matrix(predict, masks, NUM_CLASSES, device=CPU)


def test_streaming_to_a_folder_changes_no_bit(tmp_path: Path) -> None:
    grid = make_grid(MASKS)
    profiles = load_profiles(["class-histogram", "gradient-embedding"])
    held, streamed = (
        score_regions(
            predict, grid, {"entropy": entropy}, with_features=True, profiles=profiles, device=CPU, folder=folder
        )
        for folder in (None, tmp_path)
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "features.npy",
        "profile-class-histogram.npy",
        "profile-gradient-embedding.npy",
    ]
    np.testing.assert_array_equal(held.signals["entropy"], streamed.signals["entropy"])
    np.testing.assert_array_equal(held.features, streamed.features)
    assert isinstance(streamed.features, np.memmap)
    for name in profiles:
        np.testing.assert_array_equal(held.profiles[name], streamed.profiles[name])


def test_the_next_batch_is_under_way_before_a_batch_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    events = []
    fetch = torch.Tensor.cpu
    monkeypatch.setattr(torch.Tensor, "cpu", lambda self: (events.append("fetch"), fetch(self))[1])

    def watched(indices: list[int]) -> Prediction:
        events.append("predict")
        return predict(indices)

    score_regions(watched, make_grid(MASKS), {"entropy": entropy}, with_features=False, device=CPU)
    assert events == ["predict", *["predict", "fetch"] * (len(IMAGES) - 1), "fetch"]


def test_the_confusion_matrix_is_fetched_once_for_all_images(monkeypatch: pytest.MonkeyPatch) -> None:
    fetched = []
    for name in ("cpu", "item", "tolist", "numpy", "__bool__", "__int__", "__float__"):
        original = getattr(torch.Tensor, name)
        monkeypatch.setattr(
            torch.Tensor, name, lambda self, *given, f=original, n=name: (fetched.append(n), f(self, *given))[1]
        )
    confusion_matrix(predict, MASKS, NUM_CLASSES, device=CPU)
    assert fetched == ["cpu", "numpy"]


def test_counting_without_waiting_for_the_device_counts_the_same() -> None:
    index = torch.randint(0, 12, (500,), generator=torch.Generator().manual_seed(0))
    assert torch.equal(_count_on_device(index, 12), torch.bincount(index, minlength=12))


def test_a_batch_is_bounded_in_pixels_and_never_empty() -> None:
    cuda = torch.device("cuda")
    assert [images_per_batch(cuda, *size) for size in ((360, 480), (1024, 2048), (9000, 9000))] == [8, 4, 1]
    assert images_per_batch(CPU, 24, 24) == 1
