"""Triton kernels of `depthwise`: dilated depthwise convolutions of maps in channels-last layout.

Axes: P cells of all images, C channels, S parts of P, T taps of a kernel of side k (k * k, row by row). Imports Triton,
so it is imported only where there is a device.
"""

import math
from typing import Any, Final

import torch
import triton
import triton.language as tl
from torch import Tensor

__all__ = ["convolve", "weight_gradient"]

# Cells and channels of a program.
_CELLS: Final = 32
_CHANNELS: Final = 64
_PARTS: Final = 32
"""Parts of the cells whose sums are added at the end: always the same number, so that sums are rounded the same way."""
_FUSED: Final[dict[str, Any]] = {"enable_fp_fusion": True}
"""Launch options: a product and a sum may be rounded once."""


@triton.jit
def _convolve_kernel(
    map_PC, weight_TC, bias_C, out_PC, num_cells, height, width, channels, dilation,
    K: tl.constexpr, HAS_BIAS: tl.constexpr, BLOCK_P: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """Write the convolution of some cells and channels."""
    cell = tl.program_id(0).to(tl.int64) * BLOCK_P + tl.arange(0, BLOCK_P)
    channel = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    is_channel = channel < channels
    row, column = cell // width % height, cell % width
    total = tl.zeros((BLOCK_P, BLOCK_C), dtype=tl.float32)
    for tap in tl.static_range(K * K):
        down, across = (tap // K - K // 2) * dilation, (tap % K - K // 2) * dilation
        is_there = (row + down >= 0) & (row + down < height) & (column + across >= 0) & (column + across < width)
        is_there = is_there & (cell < num_cells)
        source = cell + down * width + across
        value = tl.load(
            map_PC + source[:, None] * channels + channel[None, :],
            mask=is_there[:, None] & is_channel[None, :],
            other=0.0,
        )
        weight = tl.load(weight_TC + tap * channels + channel, mask=is_channel, other=0.0)
        total += value.to(tl.float32) * weight.to(tl.float32)[None, :]
    if HAS_BIAS:
        total += tl.load(bias_C + channel, mask=is_channel, other=0.0).to(tl.float32)[None, :]
    tl.store(
        out_PC + cell[:, None] * channels + channel[None, :],
        total.to(out_PC.dtype.element_ty),
        mask=(cell < num_cells)[:, None] & is_channel[None, :],
    )


@triton.jit
def _weight_gradient_kernel(
    gradient_PC, map_PC, out_STC, num_cells, cells_each, height, width, channels, dilation,
    K: tl.constexpr, BLOCK_P: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """Write the sum over a part of the cells of what each adds to the gradient of one tap, for some channels."""
    part, tap = tl.program_id(0), tl.program_id(2)
    channel = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    is_channel = channel < channels
    down, across = (tap // K - K // 2) * dilation, (tap % K - K // 2) * dilation
    total = tl.zeros((BLOCK_P, BLOCK_C), dtype=tl.float32)
    first = part.to(tl.int64) * cells_each
    for start in range(0, cells_each, BLOCK_P):
        inside = start + tl.arange(0, BLOCK_P)
        cell = first + inside
        row, column = cell // width % height, cell % width
        is_there = (row + down >= 0) & (row + down < height) & (column + across >= 0) & (column + across < width)
        is_there = is_there & (inside < cells_each) & (cell < num_cells)
        mask = is_there[:, None] & is_channel[None, :]
        source = cell + down * width + across
        value = tl.load(map_PC + source[:, None] * channels + channel[None, :], mask=mask, other=0.0)
        gradient = tl.load(gradient_PC + cell[:, None] * channels + channel[None, :], mask=mask, other=0.0)
        total += value.to(tl.float32) * gradient.to(tl.float32)
    tl.store(out_STC + (part * K * K + tap) * channels + channel, tl.sum(total, axis=0), mask=is_channel)


def convolve(map_BHWC: Tensor, weight_TC: Tensor, bias_C: Tensor | None, dilation: int) -> Tensor:
    """Return the depthwise convolution of contiguous maps, which has their size and type.

    Args:
        map_BHWC: The maps.
        weight_TC: Weights by tap.
        bias_C: Added to every cell; None adds nothing.
        dilation: Cells between two taps of a row or column.
    """
    batch, height, width, channels = map_BHWC.shape
    out_BHWC = torch.empty_like(map_BHWC)
    num_cells = batch * height * width
    grid = (triton.cdiv(num_cells, _CELLS), triton.cdiv(channels, _CHANNELS))
    _convolve_kernel[grid](
        map_BHWC, weight_TC, weight_TC if bias_C is None else bias_C, out_BHWC,
        num_cells, height, width, channels, dilation,
        K=_side(weight_TC), HAS_BIAS=bias_C is not None, BLOCK_P=_CELLS, BLOCK_C=_CHANNELS, **_FUSED,
    )  # fmt: skip
    return out_BHWC


def weight_gradient(gradient_BHWC: Tensor, map_BHWC: Tensor, num_taps: int, dilation: int) -> Tensor:
    """Return the gradient of the weights, float32 (T, C), for the gradient of the convolution of contiguous maps."""
    batch, height, width, channels = map_BHWC.shape
    num_cells = batch * height * width
    out_STC = torch.empty((_PARTS, num_taps, channels), dtype=torch.float32, device=map_BHWC.device)
    _weight_gradient_kernel[(_PARTS, triton.cdiv(channels, _CHANNELS), num_taps)](
        gradient_BHWC, map_BHWC, out_STC, num_cells, triton.cdiv(num_cells, _PARTS), height, width, channels, dilation,
        K=math.isqrt(num_taps), BLOCK_P=_CELLS, BLOCK_C=_CHANNELS, **_FUSED,
    )  # fmt: skip
    return out_STC.sum(dim=0)


def _side(weight_TC: Tensor) -> int:
    return math.isqrt(weight_TC.shape[0])
