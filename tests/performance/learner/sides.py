"""The two sides of a comparison: each does a block of work and returns how long it took."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch

from performance.learner import naive
from performance.learner.case import Case
from quadrat.benchmark.data import Layout, RegionGrid
from quadrat.benchmark.learning.learner import Learner, Scores
from quadrat.benchmark.learning.runtime import torch_settings
from quadrat.benchmark.learning.training.fit import Batch, train

__all__ = ["SIDES", "Block", "NaiveFit", "NaiveScore", "QuadratFit", "QuadratScore"]

# What is not timed at the beginning of a block: kernels are chosen, memory is taken, the loader's queue fills, and on
# CUDA a graph is captured.
_WARM_STEPS, _WARM_IMAGES = 6, {"cpu": 4, "cuda": 40}


class Block(NamedTuple):
    """A stretch of work after its warm-up."""

    images: int
    elapsed_s: float
    waited_s: float | None  # of it, until the next batch was there; None where data and work are not apart


class NaiveFit:
    """Training iterations of the naive baseline."""

    def __init__(self, case: Case) -> None:
        torch.set_num_threads(case.threads)
        self._case = case
        self._network = naive.build(case)
        self._optimizer = naive.make_optimizer(self._network, case.recipe)
        self._loss = torch.nn.CrossEntropyLoss(ignore_index=255)
        self._batches = naive.training_batches(case)  # its workers stay from one block to the next

    def run(self, count: int) -> Block:
        """Train `count` iterations and the warm-up."""
        recipe, device = self._case.recipe, self._case.device
        self._network.train()
        if recipe.frozen:
            self._network.get_submodule("encoder").eval()
        begin = waited_s = 0.0
        for step in range(_WARM_STEPS + count):
            if step == _WARM_STEPS:
                begin, waited_s = _now(device), 0.0
            asked = time.perf_counter()
            image, label = next(self._batches)
            waited_s += time.perf_counter() - asked
            image, label = image.to(device, non_blocking=True), label.to(device, non_blocking=True)
            loss = self._loss(self._network(image), label)
            self._optimizer.zero_grad()
            loss.backward()
            self._optimizer.step()
            loss.item()  # for the log
        return Block(count * recipe.batch_size, _now(device) - begin, waited_s)


class QuadratFit:
    """Training iterations of quadrat's learner."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._device = torch.device(case.device)
        self._learner = _learner(case)
        self._learner.prepare()
        with torch_settings(self._device, case.threads):
            self._training = self._learner.training(case.labels(case.split()), seed=0, round=0)

    def run(self, count: int) -> Block:
        """Train `count` iterations and the warm-up."""
        begin = waited_s = 0.0

        def draw_batch(step: int) -> Batch:
            nonlocal waited_s
            asked = time.perf_counter()
            batch = self._training.draw_batch(step)
            waited_s += time.perf_counter() - asked
            return batch

        def on_step(done: int, total: int) -> None:
            nonlocal begin, waited_s
            if done == _WARM_STEPS:
                begin, waited_s = _now(self._case.device), 0.0

        with torch_settings(self._device, self._case.threads):
            train(
                self._training.network,
                draw_batch,
                self._case.recipe,
                _WARM_STEPS + count,
                dropout_seed=lambda step: step,
                device=self._device,
                on_step=on_step,
            )
        return Block(count * self._case.recipe.batch_size, _now(self._case.device) - begin, waited_s)


class NaiveScore:
    """Mean entropies of the regions of whole images by the naive baseline."""

    def __init__(self, case: Case) -> None:
        torch.set_num_threads(case.threads)
        self._case = case
        self._network = naive.build(case).eval()
        self._images = naive.whole_images(case)

    @torch.no_grad()
    def run(self, count: int) -> Block:
        """Score the first `count` images after the warm-up."""
        case = self._case
        sizes = case.split().sizes
        begin = waited_s = 0.0
        batches = iter(self._images)
        warm_images = _WARM_IMAGES[case.device]
        num_images = min(warm_images + count, len(sizes))
        for index in range(num_images):
            if index == warm_images:
                begin, waited_s = _now(case.device), 0.0
            asked = time.perf_counter()
            input_BCHW = next(batches)
            waited_s += time.perf_counter() - asked
            logits_BCHW = self._network(input_BCHW.to(case.device, non_blocking=True))
            height, width = sizes[index].tolist()
            naive.region_entropies(logits_BCHW[0, :, :height, :width], case.region_size)
        return Block(num_images - warm_images, _now(case.device) - begin, waited_s)


class QuadratScore:
    """Scores of the regions of whole images by quadrat's learner; without signals, its forward pass alone."""

    signals: tuple[str, ...] = ("entropy",)
    features = False

    def __init__(self, case: Case) -> None:
        self._case = case
        self._learner = _learner(case)
        self._learner.prepare()
        small = {
            "iterations": 1,
            "epochs": None,
            "compile": None,
            "batch_size": 2,
            "crop": 4 * case.recipe.output_stride,
        }
        recipe = case.recipe.model_copy(update=small)
        split = case.split()
        self.grid = RegionGrid(split.sizes, case.region_size)
        # Any trained network does: one iteration gives BatchNorm its statistics. A small one: memory is measured later.
        once = Learner(
            recipe,
            train=split.images,
            test=split.images,
            num_classes=case.num_classes,
            device=case.device,
            threads=case.threads,
            cache_dir=case.cache_dir,
        )
        self._fitted = once.fit(case.labels(split), seed=0, round=0)

    def run(self, count: int) -> Block:
        """Score the pool; the first images are the warm-up."""
        begin, first = 0.0, 0

        def on_step(done: int, total: int) -> None:
            nonlocal begin, first
            if not first and done >= _WARM_IMAGES[self._case.device]:
                begin, first = _now(self._case.device), done

        self.score(self.grid, features=self.features, on_step=on_step)
        return Block(len(self.grid.sizes) - first, _now(self._case.device) - begin, None)

    def score(self, layout: Layout, *, features: bool, on_step: Callable[[int, int], None] | None = None) -> Scores:
        """Score the pool on any layout of its images."""
        return self._learner.score(
            self._fitted, layout, signals=self.signals, features=features, seed=0, round=0, on_step=on_step
        )


class QuadratForward(QuadratScore):
    """The bare forward pass of the same network over the same images, nothing made of its output."""

    signals = ()


class QuadratScoreWithFeatures(QuadratScore):
    """Entropy and mean decoder features."""

    features = True


class QuadratGrowth(QuadratScore):
    """All kinds of scores of the first images, arrays streamed to files."""

    def score_first(self, count: int) -> int:
        """Score `count` images and return the bytes that were streamed."""
        grid = RegionGrid(self.grid.sizes[:count], self._case.region_size)
        with tempfile.TemporaryDirectory(dir=self._case.cache_dir) as folder:
            self._learner.score(
                self._fitted,
                grid,
                signals=["entropy"],
                features=True,
                profiles=["class-histogram"],
                seed=0,
                round=0,
                folder=Path(folder),
            )
            return sum(path.stat().st_size for path in Path(folder).iterdir())


SIDES: dict[str, Callable[[Case], NaiveFit | QuadratFit | NaiveScore | QuadratScore]] = {
    "naive fit": NaiveFit,
    "quadrat fit": QuadratFit,
    "naive score": NaiveScore,
    "quadrat score": QuadratScore,
    "quadrat forward": QuadratForward,
    "quadrat score with features": QuadratScoreWithFeatures,
    "quadrat growth": QuadratGrowth,
}
"""By name, because a side is made in a process of its own."""


def _learner(case: Case) -> Learner:
    split = case.split()
    return Learner(
        case.recipe,
        train=split.images,
        test=split.images,
        num_classes=case.num_classes,
        device=case.device,
        threads=case.threads,
        cache_dir=case.cache_dir,
    )


def _now(device: str) -> float:
    """Return the clock when the device has done all it was given."""
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter()
