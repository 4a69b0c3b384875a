"""Dilated depthwise convolutions over subgrids against torch's own, and which layers of a network take that way."""

import pytest
import torch
import torch.nn.functional as F
from support.learning_fakes import tiny_recipe
from torch import nn

from quadrat.benchmark.learning.network.depthwise import SubgridConv, convolve_subgrids, use_subgrids
from quadrat.benchmark.learning.network.model import Network, build_decoder, build_encoder


@pytest.mark.parametrize("has_bias", [False, True])
@pytest.mark.parametrize(("kernel", "dilation"), [(3, 2), (5, 2), (3, 6), (3, 18)])
@pytest.mark.parametrize("size", [(1, 1), (7, 12), (23, 30), (36, 36)])
def test_values_and_gradients_are_those_of_a_dilated_convolution(
    size: tuple[int, int], kernel: int, dilation: int, has_bias: bool
) -> None:
    generator = torch.Generator().manual_seed(0)
    found = []
    tensors = [torch.randn(2, 6, *size, generator=generator), torch.randn(6, 1, kernel, kernel, generator=generator)]
    bias = torch.randn(6, generator=generator) if has_bias else None
    for convolve in (
        lambda x, w, b: convolve_subgrids(x, w, b, dilation),
        lambda x, w, b: F.conv2d(x, w, b, padding=dilation * (kernel // 2), dilation=dilation, groups=6),
    ):
        x, w = (tensor.double().requires_grad_() for tensor in tensors)
        out = convolve(x, w, None if bias is None else bias.double())
        (out * torch.arange(out.numel()).reshape(out.shape)).sum().backward()
        found.append((out.detach(), x.grad, w.grad))
    torch.testing.assert_close(found[0], found[1], rtol=1e-12, atol=1e-12)


def test_all_dilated_depthwise_layers_of_deeplab_take_that_way() -> None:
    recipe = tiny_recipe(encoder="tf_efficientnet_lite0", atrous_rates=(6, 12, 18))
    encoder = build_encoder(recipe, None, seed=0)
    network = Network(encoder, build_decoder(recipe, encoder.channels, 5, seed=0))
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    dilated = [m for m in convolutions if m.groups > 1 and m.dilation != (1, 1)]
    assert len(dilated) == 3 + 4  # the branches of ASPP; the encoder's last stages at output stride 16
    assert all(type(module) is SubgridConv for module in dilated)
    assert not any(type(m) is SubgridConv for m in convolutions if m not in dilated)


def test_others_are_left_alone() -> None:
    strided = nn.Conv2d(4, 4, 3, stride=2, padding=2, dilation=2, groups=4)
    valid = nn.Conv2d(4, 4, 3, dilation=2, groups=4)
    dense = nn.Conv2d(4, 4, 3, padding=2, dilation=2)
    use_subgrids(nn.Sequential(strided, valid, dense))
    assert all(type(module) is nn.Conv2d for module in (strided, valid, dense))
