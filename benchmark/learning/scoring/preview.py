"""Predicted classes and entropy of one image at low resolution, for figures.

Axes: C classes, H W pixels, h w pixels of the preview.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from quadrat.benchmark.learning.network.model import CELL
from quadrat.benchmark.learning.network.upsampling import upsample
from quadrat.benchmark.learning.scoring.predict import Predict

__all__ = ["ENTROPY_LEVELS", "Preview", "preview"]

ENTROPY_LEVELS = 32
"""Levels that the entropy is quantised to: enough for the eye, at a tenth of the bytes of 256."""


class Preview(NamedTuple):
    """Prediction for one image, subsampled to every `step`-th pixel of every `step`-th row."""

    predicted: NDArray[np.uint8]  # (h, w) class ids
    entropy: NDArray[np.uint8]  # (h, w) 0 (certain) .. 255 (ln C, uniform)


@torch.inference_mode()
def preview(predict: Predict, index: int, height: int, width: int, *, max_edge: int) -> Preview:
    """Return prediction and entropy of image `index`, subsampled so that no edge is longer than `max_edge`.

    Args:
        predict: Indices of images of one size to their prediction.
        index: Which image.
        height: Its height, pixels.
        width: Its width, pixels.
        max_edge: Longest edge of the maps.
    """
    step = -(-max(height, width) // max_edge)
    logits_CHW = upsample(predict([index]).logits_BChw, CELL)[0, :, :height, :width]
    sampled_Chw = logits_CHW[:, step // 2 :: step, step // 2 :: step]
    log_prob_Chw = torch.log_softmax(sampled_Chw, dim=0)
    entropy_hw = -(log_prob_Chw.exp() * log_prob_Chw).sum(dim=0) / math.log(len(log_prob_Chw))
    levels_hw = (entropy_hw.clamp(0, 1) * (ENTROPY_LEVELS - 1)).round() * (255 / (ENTROPY_LEVELS - 1))
    return Preview(
        predicted=sampled_Chw.max(dim=0).indices.to(torch.uint8).cpu().numpy(),
        entropy=levels_hw.round().to(torch.uint8).cpu().numpy(),
    )
