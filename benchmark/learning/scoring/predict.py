"""Logits and features of whole images, in batches of equal size, at the decoder's resolution.

Axes: B images, C classes, D decoder channels, h w cells of 4 pixels, u v cells of the output stride.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from quadrat.benchmark.errors import TrainingError
from quadrat.benchmark.learning.network.model import Decoder, Encoded
from quadrat.benchmark.learning.runtime import autocast

__all__ = ["DropoutPasses", "OnImage", "Predict", "Prediction", "predict_from", "same_size_batches"]

# Images that go through the network together. On a CPU more than one gains nothing and overflows its caches.
_IMAGES_PER_BATCH = {"cpu": 1, "cuda": 8}
# Pixels of a batch on a GPU. Each takes several maps of all classes at full resolution, about 300 bytes at 19 classes.
# A constant rather than the free memory, because the batch size decides how sums are rounded.
_MAX_BATCH_PX = 8 * 1024 * 1024

OnImage = Callable[[int, int], None]
"""Called with (images done, images in total)."""

DropoutPasses = Callable[[Sequence[Sequence[int]]], Iterator[Tensor]]
"""Seeds[pass][image] -> the logits (B, C, h, w) of each pass, computed as they are consumed."""


class Prediction(NamedTuple):
    """Output of the network for a batch of whole images: fp32 at stride 4, possibly with cells of padding.

    The logits are contiguous class by class, so operations over classes vectorise over pixels.
    """

    features_BDhw: Tensor
    logits_BChw: Tensor
    dropout_passes: DropoutPasses | None = None


Predict = Callable[[Sequence[int]], Prediction]
"""Indices of images of equal size -> their prediction."""


def images_per_batch(device: torch.device, height: int, width: int) -> int:
    """Return how many images of a size the network processes at once on `device`.

    Examples:
        >>> [images_per_batch(torch.device("cuda"), *size) for size in ((360, 480), (1024, 2048), (4000, 6000))]
        [8, 4, 1]
    """
    return max(1, min(_IMAGES_PER_BATCH[device.type], _MAX_BATCH_PX // (height * width)))


def same_size_batches(sizes: NDArray[np.int32], device: torch.device) -> Iterator[list[int]]:
    """Yield the indices of all images in order, as batches of consecutive images of equal size.

    Args:
        sizes: (N, 2), height and width.
        device: Where the batches are processed; bounds their size.
    """
    for size, run in groupby(range(len(sizes)), key=lambda index: (int(sizes[index, 0]), int(sizes[index, 1]))):
        indices, largest = list(run), images_per_batch(device, *size)
        yield from (indices[start : start + largest] for start in range(0, len(indices), largest))


def predict_from(decoder: Decoder, encoded: Encoded, device: torch.device, precision: str) -> Prediction:
    """Return the prediction for encoded images; `decoder` is in eval mode."""

    def dropout_passes(seeds: Sequence[Sequence[int]]) -> Iterator[Tensor]:
        return _dropout_passes(decoder, encoded, seeds, device, precision)

    with autocast(device, precision):
        features_BDhw = decoder.describe(encoded)
        logits_BChw = decoder.classify(features_BDhw)
    return Prediction(
        features_BDhw=features_BDhw.float(),
        logits_BChw=logits_BChw.float().contiguous(),
        dropout_passes=dropout_passes,
    )


def _dropout_passes(
    decoder: Decoder, encoded: Encoded, seeds: Sequence[Sequence[int]], device: torch.device, precision: str
) -> Iterator[Tensor]:
    """Yield the logits of each pass; encoder and ASPP come before the dropout layer and run once.

    Each image of each pass has its own CPU generator, so a dropout mask depends neither on the batch nor on the device.
    """
    keep = 1.0 - decoder.dropout
    if keep == 1.0:
        raise TrainingError(
            "expected a recipe with dropout for a signal of Monte-Carlo dropout, got dropout 0: all passes would be "
            "the same; set learner.dropout, for example to 0.5, or take another signal"
        )
    with autocast(device, precision):
        before_BDuv = decoder.before_dropout(encoded)
    for pass_seeds in seeds:
        generators = [torch.Generator().manual_seed(seed) for seed in pass_seeds]
        kept = [torch.rand(before_BDuv.shape[1:], generator=generator) < keep for generator in generators]
        scale_BDuv = (torch.stack(kept).float() / keep).to(device)
        with autocast(device, precision):
            logits_BChw = decoder.classify(decoder.after_dropout(before_BDuv * scale_BDuv, encoded))
        yield logits_BChw.float().contiguous()
