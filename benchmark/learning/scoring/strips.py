"""Maps of pointwise signals, computed strip by strip so that a strip stays in the CPU's caches.

Axes: B images, C classes, H W pixels, h w cells of 4 pixels, y rows of a strip.

A map of all classes at full resolution is larger than the caches of a CPU, and torch allocates fresh memory for each
step of softmax and entropy; that costs several times the arithmetic. A strip of a few rows stays in the caches. On a
GPU all rows are one strip. The values equal those of whole maps: a pixel depends on its own logits only, and upsampling
a strip with one extra cell on either side reads the same cells with the same weights. Strips hold a whole number of
SIMD vectors, so that with one thread the results are equal bit for bit.
"""

import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from quadrat.benchmark.learning.network.model import CELL
from quadrat.benchmark.learning.network.upsampling import upsample
from quadrat.benchmark.learning.scoring.signals import Outputs, Signal

__all__ = ["pointwise_maps", "strips"]

# Logits of a strip per thread: 512 KiB, so that they and what is derived from them fit in a core's second-level cache.
_STRIP_LOGITS = 2**17
# Pixels that torch's kernels process together at most: four 512-bit vectors of fp32.
_VECTOR_PX = 64


class _Strip(NamedTuple):
    rows: slice
    logits_BCyW: Tensor


def pointwise_maps(logits_BChw: Tensor, height: int, width: int, signals: Mapping[str, Signal]) -> dict[str, Tensor]:
    """Return the map (B, H, W) of each signal, all of which have `is_pointwise`.

    Args:
        logits_BChw: Logits at stride 4; the cells cover the image and perhaps padding.
        height: H, pixels.
        width: W, pixels.
        signals: The signals to compute, by name.
    """
    if not signals:
        return {}
    size = (logits_BChw.shape[0], height, width)
    maps = {name: torch.empty(size, dtype=logits_BChw.dtype, device=logits_BChw.device) for name in signals}
    for strip in strips(logits_BChw, height, width):
        outputs = Outputs(logits_BCHW=strip.logits_BCyW)
        for name, signal in signals.items():
            assert signal.per_pixel is not None
            maps[name][:, strip.rows] = signal.per_pixel(outputs)
    return maps


def strips(logits_BChw: Tensor, height: int, width: int) -> Iterator[_Strip]:
    """Yield the logits of images at full resolution, top to bottom: on a CPU a strip at a time, else all at once."""
    num_cells = -(-height // CELL)
    cells_each = num_cells
    if logits_BChw.device.type == "cpu":
        batch, num_classes = logits_BChw.shape[:2]
        whole_vectors = _VECTOR_PX // math.gcd(_VECTOR_PX, CELL * width)
        num_fitting = torch.get_num_threads() * _STRIP_LOGITS // (batch * num_classes * width * CELL)
        cells_each = max(1, num_fitting // whole_vectors) * whole_vectors
    for first in range(0, num_cells, cells_each):
        after = min(first + cells_each, num_cells)
        above, below = max(first - 1, 0), min(after + 1, logits_BChw.shape[2])
        upsampled = upsample(logits_BChw[:, :, above:below], CELL)
        start, stop = first * CELL, min(after * CELL, height)
        yield _Strip(slice(start, stop), upsampled[:, :, start - above * CELL : stop - above * CELL, :width])
