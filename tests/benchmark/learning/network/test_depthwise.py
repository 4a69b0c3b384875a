"""Dilated depthwise convolutions by Triton's kernels against torch's own, and which layers of a network take that way.

Without a CUDA device the kernels run on the CPU by Triton's interpreter, in a process of its own; on a device they are
tested in `test_gpu.py`.
"""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from support.interpreted import HAS_TRITON, check_interpreted, needs_interpreter
from support.learning_fakes import tiny_recipe
from torch import nn

from quadrat.benchmark.learning.network.depthwise import DilatedDepthwise, convolve_depthwise, use_depthwise_kernels
from quadrat.benchmark.learning.network.model import Network, build_decoder, build_encoder


def check_values_and_gradients(size: tuple[int, int], kernel: int, dilation: int, *, has_bias: bool) -> None:
    """Compare with torch's convolution in float64: 70 channels are more than a program takes, and not a multiple."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(2, 70, *size), (70, 1, kernel, kernel), *([(70,)] if has_bias else [])]
    inputs = [torch.randn(shape, generator=generator).requires_grad_() for shape in shapes]
    exact = [tensor.detach().double().requires_grad_() for tensor in inputs]
    found = convolve_depthwise(*inputs[:2], inputs[2] if has_bias else None, dilation)
    bias = exact[2] if has_bias else None
    expected = F.conv2d(*exact[:2], bias, padding=dilation * (kernel // 2), dilation=dilation, groups=70)
    weight = torch.randn(found.shape, generator=generator)
    gradients = torch.autograd.grad((found * weight).sum(), inputs)
    exact_gradients = torch.autograd.grad((expected * weight).sum(), exact)
    for one, other in zip((found, *gradients), (expected, *exact_gradients), strict=True):
        assert float((one - other).norm() / other.norm()) < 1e-6, (size, kernel, dilation, has_bias)


CODE = """
from test_depthwise import check_values_and_gradients
from quadrat.benchmark.learning.network import depthwise_kernels
depthwise_kernels._PARTS = 3  # the interpreter takes milliseconds for each program
for size, kernel, dilation in (((1, 1), 3, 2), ((7, 9), 5, 2), ((9, 8), 3, 6), ((4, 25), 3, 18)):
    check_values_and_gradients(size, kernel, dilation, has_bias=kernel == 5)
"""


@pytest.mark.slow
@pytest.mark.skipif(not HAS_TRITON, reason="Triton is not installed")
@needs_interpreter
def test_values_and_gradients_are_those_of_torch() -> None:
    check_interpreted(CODE, Path(__file__).parent)


@pytest.mark.parametrize("has_bias", [False, True])
def test_on_a_cpu_such_a_layer_is_torch_s_own(has_bias: bool) -> None:
    layer = nn.Conv2d(6, 6, 5, padding=4, dilation=2, groups=6, bias=has_bias)
    maps = torch.randn(2, 6, 9, 11, generator=torch.Generator().manual_seed(0))
    expected = layer(maps)
    assert torch.equal(use_depthwise_kernels(layer)(maps), expected) and type(layer) is DilatedDepthwise


def test_all_dilated_depthwise_layers_of_deeplab_take_that_way() -> None:
    recipe = tiny_recipe(encoder="tf_efficientnet_lite0", atrous_rates=(6, 12, 18))
    encoder = build_encoder(recipe, None, seed=0)
    network = Network(encoder, build_decoder(recipe, encoder.channels, 5, seed=0))
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    dilated = [m for m in convolutions if m.groups > 1 and m.dilation != (1, 1)]
    assert len(dilated) == 3 + 4  # the branches of ASPP; the encoder's last stages at output stride 16
    assert all(type(module) is DilatedDepthwise for module in dilated)
    assert not any(type(m) is DilatedDepthwise for m in convolutions if m not in dilated)


def test_others_are_left_alone() -> None:
    strided = nn.Conv2d(4, 4, 3, stride=2, padding=2, dilation=2, groups=4)
    valid = nn.Conv2d(4, 4, 3, dilation=2, groups=4)
    dense = nn.Conv2d(4, 4, 3, padding=2, dilation=2)
    use_depthwise_kernels(nn.Sequential(strided, valid, dense))
    assert all(type(module) is nn.Conv2d for module in (strided, valid, dense))
