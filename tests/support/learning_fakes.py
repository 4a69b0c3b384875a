"""In-memory images, masks, labels and predictions, small enough to train on in seconds."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from quadrat.benchmark.config.trial import DatasetSpec, LabelType, TrialSpec
from quadrat.benchmark.data import RegionGrid
from quadrat.benchmark.learning.learner import Learner
from quadrat.benchmark.learning.recipe import Recipe
from quadrat.benchmark.learning.scoring.predict import Predict, Prediction
from quadrat.benchmark.trial.annotation import Annotation, annotate
from quadrat.benchmark.trial.oracle import RevealedLabels

# Sides that 16 does not divide, and images of different sizes in one set; neighbours 1 and 2 share a size.
SIZES = ((50, 70), (64, 48), (64, 48), (41, 90))
NUM_CLASSES = 3
REGION_SIZE = 12
COLOURS = np.array([[30, 40, 200], [210, 60, 50], [90, 220, 80]], dtype=np.uint8)


class FakeImages:
    def __init__(self, images: list[NDArray[np.uint8]], fingerprint: str) -> None:
        self._images = images
        self.sizes = np.array([image.shape[:2] for image in images], dtype=np.int32)
        self.fingerprint = fingerprint
        self.reads = 0

    def __len__(self) -> int:
        return len(self._images)

    def image(self, index: int, /) -> NDArray[np.uint8]:
        self.reads += 1
        return self._images[index]


class FakeMasks:
    num_classes = NUM_CLASSES

    def __init__(self, masks: list[NDArray[np.uint8]]) -> None:
        self._masks = masks
        self.sizes = np.array([mask.shape for mask in masks], dtype=np.int32)

    def __len__(self) -> int:
        return len(self._masks)

    def mask(self, index: int, /) -> NDArray[np.uint8]:
        return self._masks[index]


def make_set(seed: int = 0, sizes: tuple[tuple[int, int], ...] = SIZES) -> tuple[FakeImages, FakeMasks]:
    """Return images whose colour depends on the class, with noise, and their masks, with a void border of one pixel."""
    generator = np.random.default_rng(seed)
    images, masks = [], []
    for height, width in sizes:
        blocks = generator.integers(NUM_CLASSES, size=(-(-height // 16), -(-width // 16)))
        mask = np.kron(blocks, np.ones((16, 16), dtype=int))[:height, :width].astype(np.uint8)
        noise = generator.integers(-20, 21, size=(height, width, 3))
        images.append(np.clip(COLOURS[mask].astype(int) + noise, 0, 255).astype(np.uint8))
        mask[0, :] = mask[-1, :] = mask[:, 0] = mask[:, -1] = 255
        masks.append(mask)
    return FakeImages(images, f"set-{seed}-{sizes}"), FakeMasks(masks)


def make_grid(masks: FakeMasks, region_size: int = REGION_SIZE) -> RegionGrid:
    return RegionGrid(masks.sizes, region_size)


def label(
    masks: FakeMasks,
    grid: RegionGrid,
    regions: list[int] | NDArray[np.int64] | None = None,
    annotation: Annotation | None = None,
) -> RevealedLabels:
    """Return labels of `regions`, or of all regions; precise ones unless there is an annotation."""
    labelled = np.zeros(grid.num_regions, dtype=bool)
    labelled[slice(None) if regions is None else regions] = True
    return RevealedLabels(masks, grid, labelled, annotation)  # type: ignore[arg-type]  # in memory instead of packed


def annotation(masks: FakeMasks, grid: RegionGrid, labels: LabelType, **changes: Any) -> Annotation | None:
    """Return what the annotator of a trial with `labels` says of all regions; precise labels cost one click."""
    spec = TrialSpec(
        label="random",
        strategy="random",
        seed=0,
        dataset=DatasetSpec(name="fake"),
        region_size=grid.region_size,
        budgets=(1,),
        learner=Recipe(iterations=1),
        labels=labels,
        **changes,
    )

    def counts() -> NDArray[np.int32]:
        each = [grid.class_counts(image, masks.mask(image))[:, :NUM_CLASSES] for image in range(len(masks))]
        return np.concatenate(each).astype(np.int32)

    return annotate(spec, counts, grid.image, lambda: np.ones(grid.num_regions, dtype=np.int64))


class Killed(Exception):
    """Raised by `kill_at`."""


def kill_at(step: int) -> Callable[[int, int], None]:
    """Return an `on_step` that raises after `step` iterations, in place of a killed process."""

    def on_step(done: int, total: int) -> None:
        if done == step:
            raise Killed

    return on_step


def tiny_recipe(**changes: object) -> Recipe:
    """Return a recipe that takes milliseconds per iteration."""
    settings: dict[str, object] = {
        "encoder": "test_efficientnet",
        "weights": "none",
        "decoder_channels": 8,
        "atrous_rates": (1, 2, 3),
        "lr": 0.05,
        "iterations": 12,
        "batch_size": 2,
        "crop": 32,
    }
    return Recipe.model_validate(settings | changes)


def make_learner(recipe: Recipe, cache_dir: Path, *, train: FakeImages, test: FakeImages, **changes: Any) -> Learner:
    """Return a learner on one CPU thread."""
    settings: dict[str, Any] = {"num_classes": NUM_CLASSES, "device": "cpu", "threads": 1, "cache_dir": cache_dir}
    return Learner(recipe, train=train, test=test, **(settings | changes))


def random_predict(images: FakeImages) -> Predict:
    """Return predictions that depend on the image's index and cover its padding, without a network; D = 6."""

    def predict(indices: Sequence[int]) -> Prediction:
        height, width = (-(-int(side) // 16) * 4 for side in images.sizes[indices[0]])
        generators = [torch.Generator().manual_seed(index) for index in indices]
        features = [torch.randn(6, height, width, generator=generator) for generator in generators]
        logits = [3 * torch.randn(NUM_CLASSES, height, width, generator=generator) for generator in generators]
        return Prediction(features_BDhw=torch.stack(features), logits_BChw=torch.stack(logits))

    return predict
