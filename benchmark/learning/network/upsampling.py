"""Bilinear enlargement of maps by a whole factor, for training and for inference.

Axes: B images, C channels, h w cells, H W enlarged.

Both treat a cell as the square that it stands for (`align_corners=False`) and agree up to rounding. Forwards, torch's
own kernel is the fast one on CUDA; on a CPU it looks up four cells for every pixel, and one axis after the other is
three to five times faster. At a factor of 4 that has the same bits, on CPUs with FMA and but for tiny maps (height +
width of 128 pixels or less), where torch takes another kernel. torch's gradient is several times slower than two small
matrix products on a CPU, and on CUDA it adds in an order that changes from run to run; so what is trained through is
enlarged by products.
"""

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["TrainableUpsample", "upsample", "upsample_for_training"]


def upsample(map_BChw: Tensor, factor: int) -> Tensor:
    """Return the map enlarged `factor` times, (B, C, H, W), class after class in memory; for inference."""
    if map_BChw.device.type != "cpu":
        return F.interpolate(map_BChw, scale_factor=factor, mode="bilinear", align_corners=False)
    batch, channels, height, width = map_BChw.shape
    rows = map_BChw.reshape(batch, channels * height, width)
    wide = F.interpolate(rows, scale_factor=float(factor), mode="linear", align_corners=False)
    return _enlarge_rows(wide.reshape(batch, channels, height, width * factor), factor)


def _enlarge_rows(wide_BChW: Tensor, factor: int) -> Tensor:
    """Return the map enlarged along its rows: pixel k of a cell lies between the centres of two cells."""
    batch, channels, height, width = wide_BChW.shape
    tall = wide_BChW.new_empty(batch, channels, height, factor, width)
    above, below = wide_BChW[:, :, :-1], wide_BChW[:, :, 1:]
    first, last = wide_BChW[:, :, 0], wide_BChW[:, :, -1]
    for k in range(factor):
        place = (k + 0.5) / factor - 0.5  # of the pixel, in cells from the centre of its own
        share = place % 1.0  # of the lower of the two cells
        if place < 0:
            _blend_rows(above, below, share, tall[:, :, 1:, k])
            tall[:, :, 0, k] = first
        else:
            _blend_rows(above, below, share, tall[:, :, :-1, k])
            _blend_rows(last, last, share, tall[:, :, -1, k])
    return tall.reshape(batch, channels, height * factor, width)


def _blend_rows(above: Tensor, below: Tensor, share: float, out: Tensor) -> None:
    """Write `share` of one and the rest of the other, rounded as torch's bilinear kernel rounds."""
    torch.mul(below, share, out=out).add_(above, alpha=1.0 - share)


def upsample_for_training(map_BChw: Tensor, factor: int) -> Tensor:
    """Return the same as `upsample`, in channels-last memory, with a fast and deterministic gradient.

    A row of the enlarged map is a fixed blend of rows, a column of columns: rows_Hh @ map_hw @ columns_Ww^T.
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
        """Return the map enlarged."""
        return upsample_for_training(map_BChw, self.factor)


def _blend(length: int, factor: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return the weights of `length` cells in each of the `length * factor` positions, rows sum to 1.

    Kept on the device: copying them there each time would wait for all that it still has to do.
    """
    return _made_blend(length, factor, device, dtype)


# Marks it: where training is compiled, what it returns is a constant, and nothing is made or copied in an iteration.
torch.compiler.assume_constant_result(_blend)  # type: ignore[no-untyped-call]


@lru_cache(maxsize=64)
def _made_blend(length: int, factor: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    with torch.inference_mode(False):
        unit = torch.eye(length, dtype=torch.float64)[None]
        enlarged = F.interpolate(unit, scale_factor=float(factor), mode="linear", align_corners=False)
        return enlarged[0].T.float().contiguous().to(device, dtype)
