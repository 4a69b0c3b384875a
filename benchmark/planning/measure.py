"""Speed and memory of a suite's recipe on this machine, from a few iterations and images of one trial alone.

Only the learner is measured; selecting, packing, starting Ray and writing files are left out.
"""

import os
import resource
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from quadrat.benchmark.config.sharing import SharedNeeds
from quadrat.benchmark.config.suite import Suite
from quadrat.benchmark.learning.learner import Fitted, Learner
from quadrat.benchmark.learning.recipe import Recipe
from quadrat.benchmark.planning.extent import DataExtent
from quadrat.benchmark.planning.random_data import NUM_IMAGES, RandomData, seconds_per_item
from quadrat.benchmark.planning.side_by_side import MAX_BESIDE, beside
from quadrat.benchmark.planning.work import Workload

__all__ = ["Limits", "Measured", "local_devices", "measure"]

# Iterations and images before the clock starts: on CUDA some are launched kernel by kernel before a graph is captured.
_WARM_UP_STEPS: Final = {"cpu": 2, "cuda": 6}
_WARM_UP_IMAGES: Final = {"cpu": 1, "cuda": 40}


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits on what is measured. What is too large for them is measured smaller and scaled by its pixels.

    Attributes:
        phase_s: A phase ends after this time, or when all its images are done.
        cpu_image_px: Largest image on a CPU.
        cpu_step_s: Longest iteration on a CPU; a longer one is measured with two crops of `cpu_crop`.
        cpu_crop: Edge of these crops, pixels.
    """

    phase_s: float = 3.0
    cpu_image_px: int = 200_000
    cpu_step_s: float = 2.0
    cpu_crop: int = 144


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Speed and memory of one recipe on this machine, one trial alone.

    Attributes:
        device: "cpu" or "cuda", with its name.
        threads: CPU threads.
        is_cpu_time: Whether seconds are CPU time divided by the threads, which other programs do not lengthen, rather
            than wall time.
        iteration_s: Seconds of an iteration of a fit.
        evaluate_s: Seconds to evaluate an image.
        score_s: Seconds to score an image, by what is computed.
        encode_s: Seconds to encode an image once, where the encoder is frozen.
        feature_bytes: Bytes of an encoded image on the disk.
        fitted_bytes: Bytes of a trained model on the disk.
        gpu_bytes: Largest memory of the GPU; None on a CPU.
        host_bytes: Largest memory of the process; None where the measurement was scaled.
        notes: Caveats of these numbers, as sentences.
        side_by_side: How many times as long an iteration takes on a CPU while all trials in flight train.
    """

    device: str
    threads: int
    is_cpu_time: bool
    iteration_s: float
    evaluate_s: float
    score_s: Mapping[SharedNeeds, float]
    encode_s: float
    feature_bytes: int
    fitted_bytes: int
    gpu_bytes: int | None
    host_bytes: int | None
    notes: tuple[str, ...]
    side_by_side: float = 1.0

    @property
    def is_gpu(self) -> bool:
        """Whether it was measured on a GPU."""
        return self.gpu_bytes is not None

    @property
    def cores(self) -> int:
        """Devices of a trial: one GPU, or as many cores as it has threads."""
        return 1 if self.is_gpu else self.threads


def local_devices(suite: Suite) -> tuple[str, int]:
    """Return the device that the suite can be measured on, "cuda" or "cpu", and the number of GPUs or cores."""
    import torch

    if (suite.resources.gpus > 0 or suite.resources.device == "cuda") and torch.cuda.is_available():
        return "cuda", torch.cuda.device_count()
    return "cpu", len(os.sched_getaffinity(0))


def measure(
    suite: Suite,
    extent: DataExtent,
    work: Workload,
    device: str,
    on_phase: Callable[[str], None] | None = None,
    limits: Limits = Limits(),
    in_flight: int = 1,
) -> Measured:
    """Measure the suite's recipe on random images of the data's size; nothing is kept.

    Args:
        suite: Suite whose recipe is measured; random weights take as long as others.
        extent: Size of the images, number of classes.
        work: Scoring passes to measure.
        device: "cpu" or "cuda".
        on_phase: Called with the name of each phase before it is measured.
        limits: Limits on time and sizes.
        in_flight: Trials at a time, whose slowdown is measured on a CPU.

    Raises:
        TrainingError: When the encoder or the device is not available.
    """
    recipe = suite.learner.model_copy(update={"weights": "none", "iterations": 1_000_000, "epochs": None})
    threads, report = min(suite.resources.cpus, len(os.sched_getaffinity(0))), on_phase or (lambda _: None)
    notes: list[str] = []
    if suite.resources.gpus and device == "cpu":
        notes.append("the suite asks for a GPU and this machine has none: a GPU is many times faster")
    size, image_scale = (extent.height, extent.width), 1.0
    if device == "cpu" and extent.height * extent.width > limits.cpu_image_px:
        image_scale = extent.height * extent.width / limits.cpu_image_px
        size = (round(extent.height / image_scale**0.5), round(extent.width / image_scale**0.5))
        image_scale = extent.height * extent.width / (size[0] * size[1])
        notes.append(f"images were measured at {size[1]} x {size[0]} and scaled by {image_scale:.1f}")
    region_size = min(suite.region_sizes[0], *size)
    data = RandomData(size, extent.num_classes, region_size, device, threads, limits.phase_s)
    with tempfile.TemporaryDirectory(prefix="quadrat-plan-") as folder:
        encode_s = feature_bytes = 0.0
        if recipe.frozen:
            report("encoding")
            learner = data.learner(recipe, Path(folder))
            encode_s = seconds_per_item(data, lambda on_step: learner.prepare(on_step), warm_up=1) * image_scale
            learner.prepare()  # the rest of them
            kept = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
            feature_bytes = kept / (2 * NUM_IMAGES[device]) * image_scale
        report("fit")
        iteration_s, factor, compile_s = _iteration_s(data, recipe, Path(folder), limits)
        if compile_s is not None:
            notes.append(
                f"torch.compile: the first iteration took {compile_s:.0f} s, once in every worker process (less where "
                "torch finds its cache); the hours leave it out"
            )
        num_beside = min(in_flight, len(os.sched_getaffinity(0)) // threads) - 1
        side_by_side = 1.0
        if device == "cpu" and num_beside > 0:
            report(f"fit, {min(num_beside, MAX_BESIDE) + 1} side by side")
            plain = (_small(recipe, limits) if factor > 1 else recipe).model_copy(update={"compile": None})
            fit = _Fit(size, extent.num_classes, region_size, threads, limits.phase_s, plain)
            side_by_side = _slowdown(data, fit, num_beside, Path(folder), notes)
        if factor > 1:
            notes.append(f"an iteration was measured with two crops of {limits.cpu_crop} px and scaled by {factor:.0f}")
        once = _small(recipe, limits).model_copy(update={"iterations": 1, "compile": None})
        learner = data.learner(once, Path(folder))
        fitted = learner.fit(data.labels, seed=0, round=0)
        path = Path(folder) / "fitted.pt"
        fitted.save(path)
        report("evaluate")
        evaluate_s = image_scale * seconds_per_item(
            data, lambda on_step: learner.evaluate(fitted, data.masks, on_step), warm_up=_WARM_UP_IMAGES[device]
        )
        score_s = {}
        for needs in work.scorings:
            report(f"score {needs}")
            score_s[needs] = image_scale * _score_s(data, learner, fitted, needs)
        load, cores = os.getloadavg()[0], len(os.sched_getaffinity(0))
        if load > 2 * cores and device == "cpu":
            notes.append(f"the machine is busy (load {load:.0f} on {cores} cores); wall time is that of an idle one")
        is_scaled = factor > 1 or image_scale > 1
        return Measured(
            device=data.device_name(),
            threads=threads,
            is_cpu_time=data.is_cpu_time,
            iteration_s=iteration_s,
            evaluate_s=evaluate_s,
            score_s=score_s,
            encode_s=encode_s,
            feature_bytes=round(feature_bytes),
            fitted_bytes=path.stat().st_size,
            gpu_bytes=data.gpu_bytes(),
            host_bytes=None if is_scaled else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            notes=tuple(notes),
            side_by_side=side_by_side,
        )


@dataclass(frozen=True)
class _Fit:
    """A fit without an end on random data, which another process can run too."""

    size: tuple[int, int]
    num_classes: int
    region_size: int
    threads: int
    phase_s: float
    recipe: Recipe

    def __call__(self, folder: Path, on_step: Callable[[int, int], None]) -> None:
        data = RandomData(self.size, self.num_classes, self.region_size, "cpu", self.threads, self.phase_s)
        data.learner(self.recipe, folder).fit(data.labels, seed=0, round=0, on_step=on_step)


def _small(recipe: Recipe, limits: Limits) -> Recipe:
    """Return a recipe with two small crops a batch, for what is measured smaller on a CPU."""
    return recipe.model_copy(update={"batch_size": 2, "crop": min(recipe.crop, limits.cpu_crop)})


def _seconds_per_iteration(data: RandomData, recipe: Recipe, folder: Path) -> float:
    learner = data.learner(recipe, folder)
    return seconds_per_item(
        data,
        lambda on_step: learner.fit(data.labels, seed=0, round=0, on_step=on_step),
        warm_up=_WARM_UP_STEPS[data.device],
    )


def _slowdown(data: RandomData, fit: _Fit, num_beside: int, folder: Path, notes: list[str]) -> float:
    """Return how many times as long an iteration takes while others run beside it; `notes` gets the caveats."""
    alone_s, slowdown = _seconds_per_iteration(data, fit.recipe, folder), 1.0
    with beside(num_beside, fit) as have_begun:
        if have_begun:
            slowdown = max(1.0, _seconds_per_iteration(data, fit.recipe, folder) / alone_s)
        else:
            notes.append("what running side by side costs was not measured: other processes did not start")
    if num_beside > MAX_BESIDE:
        notes.append(f"what running side by side costs was measured with {MAX_BESIDE + 1} trials")
    return slowdown


def _iteration_s(data: RandomData, recipe: Recipe, folder: Path, limits: Limits) -> tuple[float, float, float | None]:
    """Return seconds of an iteration, the factor they were scaled by (1: not scaled), and seconds of compiling."""
    compile_s: float | None = None

    def run(recipe: Recipe) -> float:
        nonlocal compile_s
        if recipe.compile is not None:
            begin_s = time.monotonic()
            data.learner(recipe.model_copy(update={"iterations": 1}), folder).fit(data.labels, seed=0, round=0)
            compile_s = time.monotonic() - begin_s
        return _seconds_per_iteration(data, recipe, folder)

    if data.device == "cpu":
        small = _small(recipe, limits)
        factor = recipe.batch_size * recipe.crop**2 / (small.batch_size * small.crop**2)
        if factor > 1 and (small_s := run(small)) * factor > limits.cpu_step_s:
            return small_s * factor, factor, compile_s
    return run(recipe), 1.0, compile_s


def _score_s(data: RandomData, learner: Learner, fitted: Fitted, needs: SharedNeeds) -> float:
    return seconds_per_item(
        data,
        lambda on_step: learner.score(
            fitted,
            data.layout,
            signals=needs.signals,
            features=needs.features,
            profiles=needs.profiles,
            seed=0,
            round=0,
            members=[fitted] * (needs.num_models - 1),
            on_step=on_step,
        ),
        warm_up=_WARM_UP_IMAGES[data.device],
    )
