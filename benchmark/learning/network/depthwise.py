"""Dilated depthwise convolutions on CUDA, by kernels of our own.

cuDNN has fast kernels for undilated depthwise convolutions in channels-last layout and a slow, general one for dilated
ones. DeepLabv3+ has these in ASPP and in the encoder's last stages [Chen2018, section 3.1].

Axes: B images, C channels, H W cells, T taps of a kernel of side k (k * k, row by row).

[Chen2018]  Chen, Zhu, Papandreou, Schroff, Adam. Encoder-decoder with atrous separable convolution. ECCV 2018.
"""

import importlib.util
from typing import Any, Final

import torch
from torch import Tensor, nn

__all__ = ["DilatedDepthwise", "convolve_depthwise", "use_depthwise_kernels"]

_HAS_TRITON: Final = importlib.util.find_spec("triton") is not None
_LEAST_DILATION: Final = 2


class DilatedDepthwise(nn.Conv2d):
    """A depthwise convolution by Triton's kernels on CUDA; elsewhere `nn.Conv2d`."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the convolution of (B, C, H, W), which has the same size; in autocast's type where that is on."""
        if not (input.is_cuda and _HAS_TRITON):
            return super().forward(input)
        dtype = torch.get_autocast_dtype("cuda") if torch.is_autocast_enabled("cuda") else input.dtype
        bias_C = None if self.bias is None else self.bias.to(dtype)
        return convolve_depthwise(input.to(dtype), self.weight.to(dtype), bias_C, self.dilation[0])


def convolve_depthwise(map_BCHW: Tensor, weight_C1kk: Tensor, bias_C: Tensor | None, dilation: int) -> Tensor:
    """Return the depthwise convolution of stride 1 whose padding keeps the size, (B, C, H, W), channels-last.

    Equal to `F.conv2d(..., dilation=dilation)` up to the order in which k * k products are added, which is always the
    same. Sums are float32.
    """
    map_BHWC = map_BCHW.permute(0, 2, 3, 1).contiguous()
    found: Tensor = _convolve(map_BHWC, weight_C1kk.flatten(1).T.contiguous(), bias_C, dilation)
    return found.permute(0, 3, 1, 2)


# Custom operators, so that torch.compile takes them as they are.
@torch.library.custom_op("quadrat::dilated_depthwise", mutates_args=())
def _convolve(map_BHWC: Tensor, weight_TC: Tensor, bias_C: Tensor | None, dilation: int) -> Tensor:
    from quadrat.benchmark.learning.network.depthwise_kernels import convolve

    return convolve(map_BHWC, weight_TC, bias_C, dilation)


@_convolve.register_fake
def _(map_BHWC: Tensor, weight_TC: Tensor, bias_C: Tensor | None, dilation: int) -> Tensor:
    return torch.empty_like(map_BHWC)


@torch.library.custom_op("quadrat::dilated_depthwise_weight_gradient", mutates_args=())
def _weight_gradient(gradient_BHWC: Tensor, map_BHWC: Tensor, num_taps: int, dilation: int) -> Tensor:
    from quadrat.benchmark.learning.network.depthwise_kernels import weight_gradient

    return weight_gradient(gradient_BHWC, map_BHWC, num_taps, dilation)


@_weight_gradient.register_fake
def _(gradient_BHWC: Tensor, map_BHWC: Tensor, num_taps: int, dilation: int) -> Tensor:
    return map_BHWC.new_empty((num_taps, map_BHWC.shape[3]), dtype=torch.float32)


def _keep(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor | None, int], output: Tensor) -> None:
    map_BHWC, weight_TC, bias_C, dilation = inputs
    ctx.save_for_backward(map_BHWC, weight_TC)
    ctx.dilation, ctx.has_bias = dilation, bias_C is not None


def _gradients(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
    map_BHWC, weight_TC = ctx.saved_tensors
    gradient = gradient.contiguous()
    to_map, to_weight, to_bias = None, None, None
    if ctx.needs_input_grad[0]:  # what a tap took from one side, it gives back from the other
        to_map = _convolve(gradient, weight_TC.flip(0), None, ctx.dilation)
    if ctx.needs_input_grad[1]:
        to_weight = _weight_gradient(gradient, map_BHWC, weight_TC.shape[0], ctx.dilation).to(weight_TC.dtype)
    if ctx.has_bias and ctx.needs_input_grad[2]:
        to_bias = gradient.sum(dim=(0, 1, 2), dtype=torch.float32).to(gradient.dtype)
    return to_map, to_weight, to_bias, None


_convolve.register_autograd(_gradients, setup_context=_keep)


def use_depthwise_kernels(network: nn.Module) -> nn.Module:
    """Let the dilated depthwise convolutions of a network be computed by our kernels; return the network."""
    for module in network.modules():
        if type(module) is nn.Conv2d and _is_eligible(module):
            module.__class__ = DilatedDepthwise
    return network


def _is_eligible(module: nn.Conv2d) -> bool:
    (height, width), (down, across) = module.kernel_size, module.dilation
    return (
        module.groups == module.in_channels == module.out_channels
        and height == width
        and height % 2 == 1
        and down == across >= _LEAST_DILATION
        and module.stride == (1, 1)
        and module.padding_mode == "zeros"
        and module.padding == (down * (height // 2),) * 2
    )
