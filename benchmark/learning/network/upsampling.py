"""Bilinear upsampling of maps by an integer factor, for training and for inference.

Axes: B images, C channels, h w cells, H W upsampled.

Both variants use `align_corners=False` and agree up to rounding. They exist for speed and determinism:

- Inference on CUDA: torch's kernel. On a CPU, one axis after the other, since torch's kernel reads four cells for every
  pixel: three to five times faster. At a factor of 4 the results equal torch's bit for bit on CPUs with FMA, except for
  maps of height + width <= 128 pixels, for which torch uses another kernel.
- Training: matrix products. The gradient of torch's kernel is several times slower on a CPU and not deterministic on
CUDA.
"""

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["TrainableUpsample", "upsample", "upsample_for_training"]


def upsample(map_BChw: Tensor, factor: int) -> Tensor:
    """Return the map upsampled by `factor`, (B, C, H, W), contiguous; for inference."""
    if map_BChw.device.type != "cpu":
        # torch's kernel by its own name: where algorithms have to be deterministic, F.interpolate takes a slow way for
        # the sake of the gradient, which inference has not.
        scales = [float(factor), float(factor)]
        upsampled: Tensor = torch.ops.aten.upsample_bilinear2d.vec(map_BChw, None, False, scales)
        return upsampled
    batch, channels, height, width = map_BChw.shape
    rows = map_BChw.reshape(batch, channels * height, width)
    wide = F.interpolate(rows, scale_factor=float(factor), mode="linear", align_corners=False)
    return _upsample_rows(wide.reshape(batch, channels, height, width * factor), factor)


def _upsample_rows(wide_BChW: Tensor, factor: int) -> Tensor:
    """Return the map upsampled along its height: pixel k of a cell is a blend of the two nearest cells."""
    batch, channels, height, width = wide_BChW.shape
    tall = wide_BChW.new_empty(batch, channels, height, factor, width)
    above, below = wide_BChW[:, :, :-1], wide_BChW[:, :, 1:]
    first, last = wide_BChW[:, :, 0], wide_BChW[:, :, -1]
    for k in range(factor):
        offset = (k + 0.5) / factor - 0.5  # from the centre of the pixel's own cell, in cells
        share = offset % 1.0  # weight of the lower of the two cells
        if offset < 0:
            _blend_rows(above, below, share, tall[:, :, 1:, k])
            tall[:, :, 0, k] = first
        else:
            _blend_rows(above, below, share, tall[:, :, :-1, k])
            _blend_rows(last, last, share, tall[:, :, -1, k])
    return tall.reshape(batch, channels, height * factor, width)


def _blend_rows(above: Tensor, below: Tensor, share: float, out: Tensor) -> None:
    """Write above * (1 - share) + below * share to `out`, rounded as torch's bilinear kernel rounds."""
    torch.mul(below, share, out=out).add_(above, alpha=1.0 - share)


def upsample_for_training(map_BChw: Tensor, factor: int) -> Tensor:
    """Return `upsample(map_BChw, factor)`, channels-last, with a fast and deterministic gradient.

    Upsampling is linear along each axis: rows_Hh @ map_hw @ columns_Ww^T.
    """
    batch, channels, height, width = map_BChw.shape
    rows_Hh = _blend(height, factor, map_BChw.device, map_BChw.dtype)
    columns_Ww = _blend(width, factor, map_BChw.device, map_BChw.dtype)
    tall = rows_Hh @ map_BChw.permute(0, 2, 3, 1).reshape(batch, height, width * channels)
    large = columns_Ww @ tall.reshape(batch * height * factor, width, channels)
    return large.reshape(batch, height * factor, width * factor, channels).permute(0, 3, 1, 2)


class TrainableUpsample(nn.Module):
    """`upsample_for_training` as a layer."""

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, map_BChw: Tensor) -> Tensor:
        """Return the map upsampled."""
        return upsample_for_training(map_BChw, self.factor)


def _blend(length: int, factor: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return the interpolation matrix along one axis, (length * factor, length); rows sum to 1.

    Cached on the device, since copying it in every iteration would synchronise. torch.compile computes it on the device
    instead: a tensor from outside would be an input whose copy a CUDA graph repeats.
    """
    if torch.compiler.is_compiling():
        return _computed_blend(length, factor, device, dtype)
    return _cached_blend(length, factor, device, dtype)


def _computed_blend(length: int, factor: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return the weights max(0, 1 - |position of the pixel - cell|), in cells, positions clamped to the outer cells."""
    cell_h = torch.arange(length, dtype=torch.float32, device=device)
    position_H = (torch.arange(length * factor, dtype=torch.float32, device=device) + 0.5) / factor - 0.5
    position_H = position_H.clamp(0.0, length - 1.0)
    return (1.0 - (position_H[:, None] - cell_h).abs()).clamp(min=0.0).to(dtype)


@lru_cache(maxsize=64)
def _cached_blend(length: int, factor: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    with torch.inference_mode(False):
        unit = torch.eye(length, dtype=torch.float64)[None]
        upsampled = F.interpolate(unit, scale_factor=float(factor), mode="linear", align_corners=False)
        return upsampled[0].T.float().contiguous().to(device, dtype)
