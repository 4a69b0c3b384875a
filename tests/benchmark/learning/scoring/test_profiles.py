"""Profiles: what their numbers mean, and that they come through the registry."""

from functools import lru_cache
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
import torch
from support.learning_fakes import (
    NUM_CLASSES,
    label,
    make_grid,
    make_learner,
    make_set,
    random_predict,
    tiny_recipe,
)

from quadrat.benchmark.learning.network.upsampling import upsample
from quadrat.benchmark.learning.scoring.profiles import (
    PROFILES,
    class_bvsb,
    class_entropy,
    class_histogram,
    class_probability,
    class_soft_entropy,
    gradient_embedding,
    load_profiles,
)
from quadrat.benchmark.learning.scoring.score import Scores, score_regions
from quadrat.benchmark.learning.scoring.signals import bvsb, entropy
from quadrat.strategies import registry
from quadrat.strategies.errors import PluginError

IMAGES, MASKS = make_set()
CPU = torch.device("cpu")
BUILT_IN = {
    "class-histogram": class_histogram,
    "class-probability": class_probability,
    "class-entropy": class_entropy,
    "class-bvsb": class_bvsb,
    "class-soft-entropy": class_soft_entropy,
    "gradient-embedding": gradient_embedding,
}
predict = random_predict(IMAGES)


@lru_cache
def scores(region_size: int) -> Scores:
    signals = {"entropy": entropy, "bvsb": bvsb}
    grid = make_grid(MASKS, region_size)
    return score_regions(predict, grid, signals, with_features=False, profiles=BUILT_IN, device=CPU)


@pytest.mark.parametrize("region_size", [5, 12, 40])
def test_the_histogram_counts_the_predicted_classes_of_the_regions_pixels(region_size: int) -> None:
    grid, histogram = make_grid(MASKS, region_size), scores(region_size).profiles["class-histogram"]
    assert histogram.shape == (grid.num_regions, NUM_CLASSES) and histogram.dtype == np.float32
    predicted = [upsample(predict([image]).logits_BChw, 4)[0].argmax(dim=0).numpy() for image in range(len(IMAGES))]
    for region in range(grid.num_regions):
        box = grid.box(region)
        pixels = predicted[grid.image[region]][box.top : box.bottom, box.left : box.right].ravel()
        expected = np.bincount(pixels, minlength=NUM_CLASSES) / len(pixels)
        np.testing.assert_allclose(histogram[region], expected, atol=1e-5)


@pytest.mark.parametrize("region_size", [5, 12])
def test_an_uncertainty_by_class_adds_up_to_the_uncertainty(region_size: int) -> None:
    found = scores(region_size)
    np.testing.assert_allclose(found.profiles["class-entropy"].sum(axis=1), found.signals["entropy"], atol=1e-5)
    np.testing.assert_allclose(found.profiles["class-bvsb"].sum(axis=1), found.signals["bvsb"], atol=1e-5)
    for name in ("class-histogram", "class-probability"):
        np.testing.assert_allclose(found.profiles[name].sum(axis=1), 1.0, atol=1e-5)
    without = found.profiles["class-histogram"] == 0
    assert without.any() and (found.profiles["class-entropy"][without] == 0).all()


@pytest.mark.parametrize("region_size", [5, 12])
def test_the_soft_entropy_is_the_mean_of_probability_times_entropy(region_size: int) -> None:
    grid, found = make_grid(MASKS, region_size), scores(region_size)
    np.testing.assert_allclose(found.profiles["class-soft-entropy"].sum(axis=1), found.signals["entropy"], atol=1e-5)
    for region in range(0, grid.num_regions, 7):
        logits = upsample(predict([int(grid.image[region])]).logits_BChw, 4)[0].double()
        prob_CHW = torch.softmax(logits, dim=0).numpy()
        box = grid.box(region)
        prob_CN = prob_CHW[:, box.top : box.bottom, box.left : box.right].reshape(NUM_CLASSES, -1)
        expected = (prob_CN * -(prob_CN * np.log(prob_CN)).sum(axis=0)).mean(axis=1)
        np.testing.assert_allclose(found.profiles["class-soft-entropy"][region], expected, atol=1e-5)


@pytest.mark.parametrize("region_size", [5, 12])
def test_the_gradient_embedding_is_the_gradient_of_the_regions_mean_loss(region_size: int) -> None:
    grid, embedding = make_grid(MASKS, region_size), scores(region_size).profiles["gradient-embedding"]
    assert embedding.shape == (grid.num_regions, NUM_CLASSES * 6)
    for region in range(0, grid.num_regions, grid.num_regions // 12):
        prediction = predict([int(grid.image[region])])
        # A last layer that gives these logits: weights of 0 for the features, the logits as an offset of each cell.
        weight = torch.zeros(NUM_CLASSES, 6, requires_grad=True)
        logits = torch.einsum("cd,bdhw->bchw", weight, prediction.features_BDhw) + prediction.logits_BChw
        target = prediction.logits_BChw.argmax(dim=1)
        loss = torch.nn.functional.cross_entropy(logits, target, reduction="none")[0]
        pixels = loss.repeat_interleave(4, dim=0).repeat_interleave(4, dim=1)
        box = grid.box(region)
        pixels[box.top : box.bottom, box.left : box.right].mean().backward()
        assert weight.grad is not None
        np.testing.assert_allclose(embedding[region], weight.grad.flatten().numpy(), atol=1e-5)


def test_signals_are_the_same_with_and_without_profiles() -> None:
    grid = make_grid(MASKS)
    alone = score_regions(predict, grid, {"entropy": entropy}, with_features=True, device=CPU)
    beside = score_regions(predict, grid, {"entropy": entropy}, with_features=True, profiles=BUILT_IN, device=CPU)
    assert alone.profiles == {} and list(beside.profiles) == list(BUILT_IN)
    np.testing.assert_array_equal(alone.signals["entropy"], beside.signals["entropy"])
    np.testing.assert_array_equal(alone.features, beside.features)


def test_the_learner_computes_registered_profiles(tmp_path: Path) -> None:
    grid = make_grid(MASKS)
    learner = make_learner(tiny_recipe(iterations=2), tmp_path, train=IMAGES, test=IMAGES)
    fitted = learner.fit(label(MASKS, grid), seed=0, round=0)
    found = learner.score(fitted, grid, signals=(), features=False, profiles=PROFILES.names(), seed=0, round=0)
    assert set(BUILT_IN) <= set(found.profiles) and found.signals == {}
    assert found.profiles["gradient-embedding"].shape == (grid.num_regions, NUM_CLASSES * 8)


def test_unknown_profile_names_the_known_ones() -> None:
    with pytest.raises(PluginError, match=r"unknown profile 'class-histogramm'.*did you mean 'class-histogram'"):
        load_profiles(["class-histogramm"])


def test_a_plugin_that_is_not_a_profile_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = EntryPoint(name="broken", value="math:sqrt", group="quadrat.profiles")
    monkeypatch.setattr(registry, "entry_points", lambda group: [broken])
    with pytest.raises(
        PluginError, match=r"profile 'broken'.*expected a quadrat\.benchmark\.learning\.scoring\.profiles\.P"
    ):
        load_profiles(["broken"])
