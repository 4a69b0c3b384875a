"""What a trained network says of whole images, before anything is enlarged."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from quadrat.benchmark.errors import TrainingError
from quadrat.benchmark.learning.network.model import Decoder, Encoded
from quadrat.benchmark.learning.runtime import autocast

__all__ = ["DropoutPasses", "Predict", "Prediction", "predict_from"]

# Seeds of one pass, one per image -> what follows; takes the seeds of every pass.
DropoutPasses = Callable[[Sequence[Sequence[int]]], Iterator[Tensor]]


class Prediction(NamedTuple):
    """A batch of whole images at stride 4, fp32; the cells cover the images and perhaps padding.

    The logits lie class after class in memory: what is done per pixel over classes is then vectorised over pixels.
    """

    features_BDhw: Tensor
    logits_BChw: Tensor
    dropout_passes: DropoutPasses | None = None
    """Seeds [pass][image] to the logits (B, C, h, w) of each pass with dropout; nothing is run until it is asked."""


# Indices of images of one size -> what the network says of them.
Predict = Callable[[Sequence[int]], Prediction]


def predict_from(decoder: Decoder, encoded: Encoded, device: torch.device, precision: str) -> Prediction:
    """Return the prediction of encoded images; `decoder` is in eval mode."""

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
    """Yield the logits of each pass. Encoder and ASPP come before dropout and are not run again.

    Each image of each pass has its own generator on the CPU, so a mask depends neither on the batch nor on the device.
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
