"""Random images and labels in memory, and the clock that times a learner's work on them."""

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from quadrat.benchmark.data import RegionGrid
from quadrat.benchmark.learning.learner import Learner
from quadrat.benchmark.learning.recipe import Recipe
from quadrat.benchmark.seeds import rng
from quadrat.benchmark.trial.oracle import RevealedLabels

__all__ = ["NUM_IMAGES", "RandomData", "seconds_per_item"]

NUM_IMAGES: Final = {"cpu": 8, "cuda": 96}
"""Images of the pool, and of the test set, by device."""


class _Arrays:
    """Images or masks in memory, with the interface of a packed split."""

    def __init__(self, arrays: list[npt.NDArray[np.uint8]], num_classes: int) -> None:
        self._arrays = arrays
        self.num_classes = num_classes
        self.sizes = np.array([array.shape[:2] for array in arrays], dtype=np.int32)
        self.fingerprint = f"{id(self):x}"

    def __len__(self) -> int:
        return len(self._arrays)

    def image(self, index: int, /) -> npt.NDArray[np.uint8]:
        return self._arrays[index]

    def mask(self, index: int, /) -> npt.NDArray[np.uint8]:
        return self._arrays[index]


class _TimeLimitReached(Exception):
    """Raised to end a phase that was measured for long enough."""


class RandomData:
    """Random images and labels for a device, and the clock that times work on them.

    Args:
        size: Height and width of the images, pixels.
        num_classes: Classes of the labels.
        region_size: Edge of a region, pixels; all of them are labelled.
        device: "cpu" or "cuda".
        threads: CPU threads.
        phase_s: Seconds after which a measurement ends.
    """

    def __init__(
        self, size: tuple[int, int], num_classes: int, region_size: int, device: str, threads: int, phase_s: float
    ) -> None:
        draw = rng(0, "plan")
        self.device = device
        self._threads = threads
        self.phase_s = phase_s
        # CPU time is what the work costs, whatever else runs on the machine.
        self.is_cpu_time = device == "cpu"
        self._num_classes = num_classes
        self._pool, self._test = (
            _Arrays(
                [draw.integers(256, size=(*size, 3), dtype=np.uint8) for _ in range(NUM_IMAGES[device])], num_classes
            )
            for _ in range(2)
        )
        labels = [draw.integers(num_classes, size=size, dtype=np.uint8) for _ in range(NUM_IMAGES[device])]
        self.masks = _Arrays(labels, num_classes)
        self.layout = RegionGrid(self._pool.sizes, region_size)
        # In memory instead of packed: the same attributes.
        self.labels = RevealedLabels(self.masks, self.layout, np.ones(self.layout.num_regions, dtype=bool))  # type: ignore[arg-type]
        if device == "cuda":
            import torch

            torch.cuda.reset_peak_memory_stats()

    def learner(self, recipe: Recipe, folder: Path) -> Learner:
        """Return a learner of the recipe on these images, whose cache is `folder`."""
        return Learner(
            recipe,
            train=self._pool,
            test=self._test,
            num_classes=self._num_classes,
            device=self.device,
            threads=self._threads,
            cache_dir=folder,
        )

    def clock(self) -> float:
        """Return seconds of work: CPU time divided by the threads, as if all of them were busy; on a GPU wall time."""
        return time.process_time() / self._threads if self.is_cpu_time else time.perf_counter()

    def wait(self) -> None:
        """Wait for what the device still computes."""
        if self.device == "cuda":
            import torch

            torch.cuda.synchronize()

    def device_name(self) -> str:
        """Return "cpu", or "cuda" with the name of the GPU."""
        if self.device != "cuda":
            return "cpu"
        import torch

        return f"cuda ({torch.cuda.get_device_name()})"

    def gpu_bytes(self) -> int | None:
        """Return the largest memory of the GPU so far; None on a CPU."""
        if self.device != "cuda":
            return None
        import torch

        return int(torch.cuda.max_memory_allocated())


def seconds_per_item(data: RandomData, work: Callable[[Callable[[int, int], None]], Any], *, warm_up: int) -> float:
    """Return seconds per item of `work`, which calls back with (items done, items in all), after `warm_up` items."""
    start_s = 0.0
    first = last = 0
    until_s = math.inf

    def on_step(done: int, total: int) -> None:
        nonlocal start_s, first, last, until_s
        if done < warm_up:
            return
        if first:
            last = done
            if time.monotonic() >= until_s:
                raise _TimeLimitReached
            return
        data.wait()
        start_s, first, until_s = data.clock(), done, time.monotonic() + data.phase_s

    before_s = data.clock()
    try:
        work(on_step)
    except _TimeLimitReached:
        pass
    data.wait()  # once, not after each: a device works on while the next item is prepared
    if last > first:
        return (data.clock() - start_s) / (last - first)
    # All images went through in one batch: with its warm-up, which is the most it can be.
    return (data.clock() - before_s) / max(first, 1)
