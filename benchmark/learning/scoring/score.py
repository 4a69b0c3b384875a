"""Passes of a trained network over whole images: signals and features of every region, and the confusion matrix.

Axes: B images of one size, C classes, D decoder channels, H W pixels, h w cells of 4 pixels, r c grid rows and columns,
R regions.

What is held at a time is at most one batch of images at full resolution; what leaves the device is one number per
region and signal, D per region for the features, K per region and profile, or C x C counts.
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from quadrat.benchmark.errors import DataError
from quadrat.benchmark.learning.inputs import VOID, Grid, Masks
from quadrat.benchmark.learning.network.model import CELL
from quadrat.benchmark.learning.network.upsampling import upsample
from quadrat.benchmark.learning.runtime import to_device
from quadrat.benchmark.learning.scoring.mc_dropout import NUM_PASSES
from quadrat.benchmark.learning.scoring.pooling import overlap, region_means
from quadrat.benchmark.learning.scoring.predict import Predict, Prediction
from quadrat.benchmark.learning.scoring.profiles import Profile
from quadrat.benchmark.learning.scoring.rows import RegionRows
from quadrat.benchmark.learning.scoring.signals import Outputs, Signal
from quadrat.benchmark.learning.scoring.strips import pointwise_maps

__all__ = [
    "RegionScores",
    "confusion_matrix",
    "count_confusion",
    "images_per_batch",
    "same_size_batches",
    "score_regions",
]

# Images of one size that go through the network together. More than one gains nothing on a CPU and fills its caches.
_IMAGES_PER_BATCH = {"cpu": 1, "cuda": 8}
# Pixels of a batch on a device: what is held of each is several maps of all classes at full resolution, some 300 bytes
# at 19 classes. A constant, not the memory that happens to be free: batches decide how sums are rounded.
_LARGEST_BATCH_PX = 8 * 1024 * 1024
_FEATURES, _SIGNAL, _PROFILE = "features", "signal ", "profile "

OnImage = Callable[[int, int], None]
# (image, pass) -> seed of that image's dropout in that pass.
DropoutSeed = Callable[[int, int], int]


class RegionScores(NamedTuple):
    """What one pass found, by region id."""

    signals: dict[str, NDArray[np.float32]]  # (R,) each
    features: NDArray[np.float32] | None  # (R, D)
    profiles: dict[str, NDArray[np.float32]]  # (R, K) each


def images_per_batch(device: torch.device, height: int, width: int) -> int:
    """Return how many images of a size go through the network together on `device`.

    Examples:
        >>> [images_per_batch(torch.device("cuda"), *size) for size in ((360, 480), (1024, 2048), (4000, 6000))]
        [8, 4, 1]
    """
    return max(1, min(_IMAGES_PER_BATCH[device.type], _LARGEST_BATCH_PX // (height * width)))


def same_size_batches(sizes: NDArray[np.int32], largest_of: Callable[[int, int], int]) -> Iterator[list[int]]:
    """Yield runs of neighbouring images of one size in order, at most `largest_of(height, width)` at a time."""
    for size, run in groupby(range(len(sizes)), key=lambda index: (int(sizes[index, 0]), int(sizes[index, 1]))):
        indices, largest = list(run), largest_of(*size)
        yield from (indices[start : start + largest] for start in range(0, len(indices), largest))


@torch.inference_mode()
def score_regions(
    predict: Predict,
    grid: Grid,
    signals: Mapping[str, Signal],
    *,
    with_features: bool,
    profiles: Mapping[str, Profile] | None = None,
    device: torch.device,
    dropout_seed: DropoutSeed | None = None,
    folder: Path | None = None,
    on_image: OnImage | None = None,
) -> RegionScores:
    """Return signals, features and profiles of every region of the pool in one pass.

    A signal of a region is the mean of its per-pixel map, or what it says of the region itself, a feature vector the
    mean of the decoder's features over the region's area, a profile the means of its maps; all are exact for clipped
    regions and any region size.

    Args:
        predict: Indices of images of one size to what the network says of them, on `device`.
        grid: The regions.
        signals: What to compute, by name; nothing else is.
        with_features: Whether the decoder's features are wanted.
        profiles: What else to compute, by name.
        device: Where to compute.
        dropout_seed: What the dropout of signals that want several passes is drawn from; needed for those only.
        folder: Where features and profiles are streamed to as `features.npy` and `profile-<name>.npy`, and mapped
            from; None keeps them in memory.
        on_image: Told (images done, images in all).

    Raises:
        TrainingError: The network's output is not finite somewhere.
        ResultsError: The disk is full or not writable.
    """
    profiles = profiles or {}
    pointwise = {name: signal for name, signal in signals.items() if signal.is_pointwise}
    others = {name: signal for name, signal in signals.items() if not signal.is_pointwise}
    gathered = _Gathered(grid, folder)
    weights = _OverlapWeights(grid.region_size, device)
    for indices in same_size_batches(grid.sizes, lambda height, width: images_per_batch(device, height, width)):
        height, width = (int(side) for side in grid.sizes[indices[0]])
        prediction = predict(indices)
        means: dict[str, Tensor] = {}
        if with_features:
            map_BhwD = prediction.features_BDhw.permute(0, 2, 3, 1)
            means_BrcD = region_means(map_BhwD, *weights.of(height, width, CELL, *map_BhwD.shape[1:3]))
            means[_FEATURES] = means_BrcD.flatten(0, 2)
        maps_BHW = pointwise_maps(prediction.logits_BChw, height, width, pointwise)
        if others or profiles:
            outputs = Outputs(
                logits_BCHW=upsample(prediction.logits_BChw, CELL)[:, :, :height, :width],
                cells=prediction,
                run_passes=_passes(prediction, indices, dropout_seed, height, width),
            )
            for name, signal in others.items():
                if signal.per_region is not None:
                    means[f"{_SIGNAL}{name}"] = signal.per_region(outputs, grid.region_size).reshape(-1)
                else:
                    assert signal.per_pixel is not None
                    maps_BHW[name] = signal.per_pixel(outputs)
            for name, profile in profiles.items():
                stride = {"pixel": 1, "cell": CELL}[profile.per]
                maps = [
                    region_means(map_Byxk, *weights.of(height, width, stride, *map_Byxk.shape[1:3]))
                    for map_Byxk in profile.maps(outputs)
                ]
                means[f"{_PROFILE}{name}"] = torch.cat(maps, dim=3).flatten(0, 2)
        for name, map_BHW in maps_BHW.items():
            means_Brc1 = region_means(map_BHW.unsqueeze(-1), *weights.of(height, width, 1, height, width))
            means[f"{_SIGNAL}{name}"] = means_Brc1.reshape(-1)
        # Images of one size are neighbours, so are the ids of their regions: batches come in the order of regions.
        gathered.add(means)
        if on_image is not None:
            on_image(indices[-1] + 1, len(grid.sizes))
    found = gathered.finish()
    return RegionScores(
        signals={name: found[f"{_SIGNAL}{name}"] for name in signals},
        features=found.get(_FEATURES),
        profiles={name: found[f"{_PROFILE}{name}"] for name in profiles},
    )


@torch.inference_mode()
def confusion_matrix(
    predict: Predict,
    masks: Masks,
    num_classes: int,
    *,
    device: torch.device,
    on_image: OnImage | None = None,
) -> NDArray[np.int64]:
    """Return pixels by truth (rows) and prediction (columns) over the whole set, int64 (C, C).

    Every image is predicted whole, at one scale and at its own resolution; void pixels are left out.

    Args:
        predict: As for `score_regions`, of the images that `masks` belong to.
        masks: The ground truth.
        num_classes: C.
        device: Where to compute.
        on_image: Told (images done, images in all).

    Raises:
        DataError: A mask holds a class id that is neither below C nor void.
    """
    counts_CC = torch.zeros((num_classes, num_classes), dtype=torch.int64, device=device)
    for indices in same_size_batches(masks.sizes, lambda height, width: images_per_batch(device, height, width)):
        truth = np.stack([masks.mask(index) for index in indices])
        wrong = truth[(truth >= num_classes) & (truth != VOID)]
        if wrong.size:
            raise DataError(
                f"mask {indices[0]} holds class id {int(wrong[0])}: expected ids below {num_classes}, or {VOID}, void"
            )
        height, width = truth.shape[1:]
        logits_BCHW = upsample(predict(indices).logits_BChw, CELL)[:, :, :height, :width]
        predicted_BHW = logits_BCHW.max(dim=1).indices  # on a CPU six times faster than argmax
        counts_CC += count_confusion(to_device(truth, device), predicted_BHW, num_classes)
        if on_image is not None:
            on_image(indices[-1] + 1, len(masks))
    counts: NDArray[np.int64] = counts_CC.cpu().numpy()
    return counts


def count_confusion(truth_BHW: Tensor, predicted_BHW: Tensor, num_classes: int) -> Tensor:
    """Return pixels by truth (rows) and prediction (columns), int64 (C, C); void counts nowhere.

    Void is counted in a row of its own that is dropped, so no pixel has to be picked out first.
    """
    row_BHW = truth_BHW.long().clamp(max=num_classes)
    index = (row_BHW * num_classes + predicted_BHW).reshape(-1)
    num_counts = (num_classes + 1) * num_classes
    if index.is_cuda:
        return _count_on_device(index, num_counts).reshape(num_classes + 1, num_classes)[:num_classes]
    return torch.bincount(index, minlength=num_counts).reshape(num_classes + 1, num_classes)[:num_classes]


def _count_on_device(index_P: Tensor, num_counts: int) -> Tensor:
    """Return how often each index occurs; `bincount` waits for the device to learn the largest index."""
    counts = torch.zeros(num_counts, dtype=torch.int64, device=index_P.device)
    return counts.index_put_((index_P,), torch.ones((), dtype=torch.int64, device=index_P.device), accumulate=True)


def _passes(
    prediction: Prediction, indices: list[int], dropout_seed: DropoutSeed | None, height: int, width: int
) -> Callable[[], Iterator[Tensor]] | None:
    """Return what runs the passes of a batch at full resolution, or None where there is no dropout to be drawn."""
    run, seed_of = prediction.dropout_passes, dropout_seed
    if run is None or seed_of is None:
        return None
    seeds = [[seed_of(image, number) for image in indices] for number in range(NUM_PASSES)]
    return lambda: (upsample(logits_BChw, CELL)[:, :, :height, :width] for logits_BChw in run(seeds))


class _OverlapWeights:
    """Overlap weights along both axes, made once per image size and map."""

    def __init__(self, region_size: int, device: torch.device) -> None:
        self._region_size = region_size
        self._device = device
        self._made: dict[tuple[int, int, int], Tensor] = {}

    def of(self, height: int, width: int, stride: int, rows: int, columns: int) -> tuple[Tensor, Tensor]:
        return self._axis(height, stride, rows), self._axis(width, stride, columns)

    def _axis(self, length: int, stride: int, num_cells: int) -> Tensor:
        key = (length, stride, num_cells)
        if key not in self._made:
            share = overlap(length, self._region_size, stride, num_cells)
            self._made[key] = torch.from_numpy(share).float().to(self._device)
        return self._made[key]


class _Gathered:
    """What a pass found so far. A batch's numbers are fetched when the next batch is under way, so no device waits."""

    def __init__(self, grid: Grid, folder: Path | None) -> None:
        self._grid = grid
        self._folder = folder
        self._rows: dict[str, RegionRows] = {}
        self._pending: dict[str, Tensor] = {}

    def add(self, means: dict[str, Tensor]) -> None:
        """Take the numbers of the next batch, still on the device."""
        before, self._pending = self._pending, means
        for key, values in before.items():
            if key not in self._rows:
                name = key.removeprefix(_SIGNAL).removeprefix(_PROFILE)
                self._rows[key] = RegionRows(name, self._grid, self._path(key, name))
            self._rows[key].append(values.cpu().numpy())

    def finish(self) -> dict[str, NDArray[np.float32]]:
        """Return all numbers by what they are."""
        self.add({})
        return {key: rows.finish() for key, rows in self._rows.items()}

    def _path(self, key: str, name: str) -> Path | None:
        if self._folder is None or key.startswith(_SIGNAL):
            return None
        return self._folder / (f"{_FEATURES}.npy" if key == _FEATURES else f"profile-{name}.npy")
