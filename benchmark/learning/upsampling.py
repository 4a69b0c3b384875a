"""Bilinear enlargement of maps by a whole factor, for training and for inference.

Axes: B images, C channels, h w cells, H W enlarged.

Both treat a cell as the square that it stands for (`align_corners=False`) and agree up to rounding. torch's own kernel
is the fast one forwards. Its gradient is several times slower than two small matrix products on a CPU, and on CUDA it
adds in an order that changes from run to run; so what is trained through is enlarged by products.
"""

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["TrainableUpsample", "upsample", "upsample_for_training"]


def upsample(map_BChw: Tensor, factor: int) -> Tensor:
    """Return the map enlarged `factor` times, (B, C, H, W); for inference."""
    return F.interpolate(map_BChw, scale_factor=factor, mode="bilinear", align_corners=False)


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


@lru_cache(maxsize=64)
def _blend(length: int, factor: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return the weights of `length` cells in each of the `length * factor` positions, rows sum to 1.

    Kept on the device: copying them there each time would wait for all that it still has to do.
    """
    with torch.inference_mode(False):
        unit = torch.eye(length, dtype=torch.float64)[None]
        enlarged = F.interpolate(unit, scale_factor=float(factor), mode="linear", align_corners=False)
        return enlarged[0].T.float().contiguous().to(device, dtype)
