"""BatchNorm folded into the preceding convolutions, for inference.

[Jacob2018]  Jacob et al. Quantization and training of neural networks for efficient integer-arithmetic-only inference.
             CVPR 2018. Section 3.2: the fold.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from quadrat.benchmark.errors import TrainingError

__all__ = ["fold_batchnorm"]

# Largest deviation of the folded network's output, relative to the largest output: fp32 rounding on a CPU, tf32
# rounding through some fifty layers on CUDA. A wrong fold deviates by tens of per cent.
_MAX_DEVIATION = {"cpu": 1e-3, "cuda": 3e-2}


@torch.no_grad()
def fold_batchnorm(network: nn.Module, example: Any) -> int:
    """Fold every BatchNorm2d that directly follows a convolution, in place, and return their number.

    With BatchNorm's running statistics, bn(conv(x)) is one convolution with other weights and a bias [Jacob2018]. Pairs
    of layers are found by tracing a forward pass, so any architecture works. The folded network is run once to verify
    that its output is equal up to rounding.

    Args:
        network: In eval mode; afterwards it can't be trained, since its BatchNorm layers are gone.
        example: An input of the network; a small one suffices.

    Raises:
        TrainingError: The output changed, because the output of a convolution is used elsewhere too.
    """
    expected = network(example)
    pairs = _pairs(network, example)
    for convolution, norm in pairs:
        assert norm.running_mean is not None and norm.running_var is not None
        convolution.weight, bias = fuse_conv_bn_weights(
            convolution.weight, convolution.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
        )
        convolution.bias = bias
        # timm's norm layer includes the activation.
        _replace(network, norm, getattr(norm, "act", None) or nn.Identity())
    network.to(memory_format=torch.channels_last)
    found: Tensor = network(example)
    difference = float((found - expected).abs().max() / expected.abs().max().clamp(min=1e-6))
    if not difference <= _MAX_DEVIATION[found.device.type]:
        raise TrainingError(
            f"BatchNorm can't be folded into this encoder's convolutions: outputs differ by {difference:.1%}, expected "
            "rounding; set learner.fold_batchnorm to false"
        )
    return len(pairs)


def _pairs(network: nn.Module, example: Any) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """Return each BatchNorm layer whose input is the output of a convolution, with that convolution."""
    made: dict[int, tuple[nn.Conv2d, Tensor]] = {}  # keeps the tensor alive, so that its id is not reused
    pairs: list[tuple[nn.Conv2d, nn.BatchNorm2d]] = []

    def remember(module: nn.Module, _: Any, output: Tensor) -> None:
        assert isinstance(module, nn.Conv2d)
        made[id(output)] = (module, output)

    def look(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(module, nn.BatchNorm2d)
        if id(inputs[0]) in made:
            pairs.append((made[id(inputs[0])][0], module))

    hooks = [
        module.register_forward_hook(remember)
        if isinstance(module, nn.Conv2d)
        else module.register_forward_pre_hook(look)
        for module in network.modules()
        if isinstance(module, nn.Conv2d | nn.BatchNorm2d)
    ]
    try:
        network(example)
    finally:
        for hook in hooks:
            hook.remove()
    return pairs


def _replace(network: nn.Module, old: nn.Module, new: nn.Module) -> None:
    for module in network.modules():
        for name, child in module.named_children():
            if child is old:
                setattr(module, name, new)
