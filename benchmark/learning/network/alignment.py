"""How far the receptive fields of a network's feature maps lie from their cells.

A convolution of stride 2 can't have its centre on that of the two pixels that its cell covers. Padded symmetrically, a
3 x 3 kernel lies half a pixel to the upper left; padded at the end only (TensorFlow's "SAME"), half a pixel to the
lower right. Over n such layers this adds up to (2^n - 1) / 2 pixels: 1.5 at stride 4, 7.5 at stride 16. Kernels that
were trained can lean to the other side and undo it, pooling can add to it, so it is measured on the network as built.

[Luo2016]  Luo, Li, Urtasun, Zemel. Understanding the effective receptive field in deep convolutional neural networks.
           NeurIPS 2016. The gradient with respect to the input as a measure of the receptive field.

Axes: N inputs, E channels, u v cells of a map, H W pixels.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from quadrat.benchmark.errors import TrainingError
from quadrat.benchmark.learning.network.model import CELL, Network

__all__ = ["FieldOffset", "field_offset", "network_offsets"]


class FieldOffset(NamedTuple):
    """From the centre of a cell to the centre of its receptive field, pixels; positive is down and to the right."""

    down: float
    right: float
    down_error: float
    """Standard error of `down` over the inputs."""
    right_error: float
    """Standard error of `right`."""


def field_offset(features: Callable[[Tensor], Tensor], inputs_NCHW: Tensor, generator: torch.Generator) -> FieldOffset:
    """Return the offset of one feature map's cells, by the centre of mass of the squared input gradient [Luo2016].

    For every input, the gradient of one cell in the middle of the map, of a random direction in feature space. The
    nearest cells to the centre take turns, so that what reaches the border of the input is cut off on all sides alike.

    Args:
        features: (1, C, H, W) -> (1, E, u, v); differentiable, in eval mode.
        inputs_NCHW: Square inputs, a multiple of the map's stride and larger than the receptive field; at least 2.
        generator: Draws the directions.

    Raises:
        TrainingError: No gradient reaches an input.
    """
    offsets = []
    for number, input_CHW in enumerate(inputs_NCHW):
        input_1CHW = input_CHW[None].clone().requires_grad_()
        map_1Euv = features(input_1CHW)
        num_cells = map_1Euv.shape[2]
        stride = input_1CHW.shape[2] // num_cells
        row, column = (num_cells - 1 + number % 2) // 2, (num_cells - 1 + number // 2 % 2) // 2
        direction_E = torch.randn(map_1Euv.shape[1], generator=generator)
        (gradient,) = torch.autograd.grad(map_1Euv[0, :, row, column] @ direction_E, input_1CHW)
        energy_HW = gradient[0].double().square().sum(dim=0)
        total = energy_HW.sum()
        if not float(total) > 0:
            raise TrainingError("the receptive field can't be measured: no gradient of a feature reaches the input")
        position = torch.arange(len(energy_HW), dtype=torch.float64)
        offsets.append(
            [
                float(energy_HW.sum(dim=1 - axis) @ position / total) - (cell * stride + (stride - 1) / 2)
                for axis, cell in ((0, row), (1, column))
            ]
        )
    offset_N2 = torch.tensor(offsets, dtype=torch.float64)
    mean, error = offset_N2.mean(dim=0), offset_N2.std(dim=0) / len(offset_N2) ** 0.5
    return FieldOffset(float(mean[0]), float(mean[1]), float(error[0]), float(error[1]))


def network_offsets(network: Network, *, seed: int, num_inputs: int = 16, side: int = 272) -> dict[str, FieldOffset]:
    """Return the offsets of the encoder's two maps and of the decoder's features, which are the region features.

    Args:
        network: As built; put in eval mode.
        seed: Of the inputs, normally distributed as normalised images are, and of the directions.
        num_inputs: N.
        side: H and W; a multiple of the output stride. 528 gives the same within errors and takes four times as long.

    Returns:
        `stride 4`, `stride 16` (or 8) and `decoder` -> the offset.

    Raises:
        TrainingError: No gradient reaches an input.
    """
    network.eval()
    encoder, decoder = network.encoder, network.decoder
    maps: dict[str, Callable[[Tensor], Tensor]] = {
        f"stride {CELL}": lambda inputs: encoder(inputs).low,
        f"stride {encoder.stride}": lambda inputs: encoder(inputs).high,
        "decoder": lambda inputs: decoder.describe(encoder(inputs)),
    }
    generator = torch.Generator().manual_seed(seed)
    inputs_NCHW = torch.randn(num_inputs, 3, side, side, generator=generator)
    return {name: field_offset(features, inputs_NCHW, generator) for name, features in maps.items()}
