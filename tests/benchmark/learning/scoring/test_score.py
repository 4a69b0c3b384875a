"""The scoring pass: means over regions, on request only, the same in memory and streamed."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from support.learning_fakes import make_grid, make_set, random_predict

from quadrat.benchmark.errors import TrainingError
from quadrat.benchmark.learning.network.upsampling import upsample
from quadrat.benchmark.learning.scoring import predict as predict_module
from quadrat.benchmark.learning.scoring.predict import Prediction, images_per_batch, same_size_batches
from quadrat.benchmark.learning.scoring.profiles import load_profiles
from quadrat.benchmark.learning.scoring.score import score_regions
from quadrat.benchmark.learning.scoring.signals import Outputs, Signal, entropy

IMAGES, MASKS = make_set()
CPU = torch.device("cpu")
predict = random_predict(IMAGES)


@pytest.mark.parametrize("region_size", [5, 12, 40])
def test_signals_are_means_of_full_resolution_maps_over_regions(region_size: int) -> None:
    grid = make_grid(MASKS, region_size)
    scores = score_regions(predict, grid, {"entropy": entropy}, with_features=False, device=CPU)
    assert scores.features is None and scores.signals["entropy"].dtype == np.float32
    prob = [torch.softmax(upsample(predict([image]).logits_BChw, 4), dim=1) for image in range(len(IMAGES))]
    maps = [torch.special.entr(prob_BCHW).sum(dim=1)[0].numpy() for prob_BCHW in prob]
    for region in range(grid.num_regions):
        box = grid.box(region)
        pixels = maps[grid.image[region]][box.top : box.bottom, box.left : box.right]
        assert scores.signals["entropy"][region] == pytest.approx(pixels.mean(), abs=1e-5)


@pytest.mark.parametrize("region_size", [5, 12, 40])
def test_features_are_means_over_the_regions_own_area(region_size: int) -> None:
    grid = make_grid(MASKS, region_size)
    scores = score_regions(predict, grid, {}, with_features=True, device=CPU)
    assert scores.signals == {} and scores.features is not None
    cells = [predict([image]).features_BDhw[0].numpy() for image in range(len(IMAGES))]
    maps = [features.repeat(4, axis=1).repeat(4, axis=2) for features in cells]
    for region in range(grid.num_regions):
        box = grid.box(region)
        pixels = maps[grid.image[region]][:, box.top : box.bottom, box.left : box.right]
        np.testing.assert_allclose(scores.features[region], pixels.mean(axis=(1, 2)), atol=1e-5)


def test_only_requested_signals_are_computed() -> None:
    calls = []

    def count(outputs: Outputs) -> torch.Tensor:
        calls.append(outputs)
        return outputs.prob_BCHW[:, 0]

    grid = make_grid(MASKS)
    score_regions(predict, grid, {}, with_features=True, device=CPU)
    assert not calls
    score_regions(predict, grid, {"own": Signal(per_pixel=count)}, with_features=False, device=CPU)
    assert len(calls) == len(IMAGES)


def test_scores_of_an_image_do_not_depend_on_its_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    grid = make_grid(MASKS)
    alone = score_regions(predict, grid, {"entropy": entropy}, with_features=True, device=CPU)
    monkeypatch.setitem(predict_module._IMAGES_PER_BATCH, "cpu", 8)
    together = score_regions(predict, grid, {"entropy": entropy}, with_features=True, device=CPU)
    np.testing.assert_allclose(alone.signals["entropy"], together.signals["entropy"], atol=1e-6)
    np.testing.assert_allclose(alone.features, together.features, atol=1e-6)


def test_batches_are_consecutive_images_of_one_size(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = np.array([[2, 3], [2, 3], [2, 3], [3, 2], [2, 3]], dtype=np.int32)
    assert list(same_size_batches(sizes, CPU)) == [[0], [1], [2], [3], [4]]
    monkeypatch.setitem(predict_module._IMAGES_PER_BATCH, "cpu", 2)
    assert list(same_size_batches(sizes, CPU)) == [[0, 1], [2], [3], [4]]


def test_a_batch_is_bounded_in_pixels_and_never_empty() -> None:
    cuda = torch.device("cuda")
    assert [images_per_batch(cuda, *size) for size in ((360, 480), (1024, 2048), (9000, 9000))] == [8, 4, 1]
    assert images_per_batch(CPU, 24, 24) == 1


def test_a_signal_that_is_not_finite_is_named_with_its_region() -> None:
    signal = Signal(per_pixel=lambda outputs: outputs.logits_BCHW[:, 0] / 0.0)
    with pytest.raises(TrainingError, match=r"own is not finite in region 0 \(image 0\)"):
        score_regions(predict, make_grid(MASKS), {"own": signal}, with_features=False, device=CPU)


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


def test_a_batch_is_fetched_after_the_next_one_is_enqueued(monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []
    fetch = torch.Tensor.cpu
    monkeypatch.setattr(torch.Tensor, "cpu", lambda self: (events.append("fetch"), fetch(self))[1])

    def watched(indices: Sequence[int]) -> Prediction:
        events.append("predict")
        return predict(indices)

    score_regions(watched, make_grid(MASKS), {"entropy": entropy}, with_features=False, device=CPU)
    assert events == ["predict", *["predict", "fetch"] * (len(IMAGES) - 1), "fetch"]
