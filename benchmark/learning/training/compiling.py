"""The loss of a training step, run as it stands or compiled by torch.

`torch.compile` fuses what lies between the convolutions into fewer kernels, and with CUDA graphs the kernels of a step
are launched at once. Dropout is left to torch's own generators, so a compiled fit draws the masks of a plain one and
differs from it by rounding alone. A function is compiled once per process for a network's architecture and a batch's
shape: networks of later rounds and trials find it there.
"""

import logging
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch._dynamo.exc import TorchDynamoException

from quadrat.benchmark.errors import TrainingError
from quadrat.benchmark.learning.recipe import Recipe
from quadrat.benchmark.learning.runtime import autocast
from quadrat.benchmark.learning.training.losses import segmentation_loss

__all__ = ["LossOf", "loss_function"]

# Network, inputs and labels (B, H, W) of a batch -> mean cross-entropy in nats, to be differentiated.
LossOf = Callable[[nn.Module, Any, Tensor], Tensor]


def loss_function(recipe: Recipe, device: torch.device) -> LossOf:
    """Return the function from a network and a batch to the recipe's loss on `device`.

    The function raises a TrainingError where torch can't compile it.
    """
    precision, loss_stride, mode = recipe.precision, recipe.loss_stride, recipe.compile
    if mode is None:
        return lambda network, inputs, label_BHW: _loss(network, inputs, label_BHW, device, precision, loss_stride)
    has_graphs = mode == "reduce-overhead" and device.type == "cuda"
    compiled = _compiled(has_graphs)

    def loss_of(network: nn.Module, inputs: Any, label_BHW: Tensor) -> Tensor:
        if has_graphs:
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        try:
            return compiled(network, inputs, label_BHW, device, precision, loss_stride)
        except TorchDynamoException as error:
            raise TrainingError(
                f"torch.compile can't compile the training of {recipe.encoder!r} here ({type(error).__name__}: "
                f"{str(error).strip().splitlines()[0]}): leave learner.compile out (--set learner.compile=null), or, "
                "where what is missing is a compiler, install one (a C++ compiler for a CPU, Triton for CUDA)"
            ) from error

    return loss_of


def _loss(
    network: nn.Module, inputs: Any, label_BHW: Tensor, device: torch.device, precision: str, loss_stride: int
) -> Tensor:
    with autocast(device, precision):
        logits_BChw = network(inputs)
    return segmentation_loss(logits_BChw, label_BHW, loss_stride)


@lru_cache
def _compiled(has_graphs: bool) -> Callable[..., Tensor]:
    """Return the compiled loss; whole (`fullgraph`), since a part that torch left out would stay slow unnoticed."""
    if not torch.cuda.is_available():
        # It would warn that there is no CUDA runtime, which nobody asked for.
        logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    options: dict[str, str | int | bool | Callable[..., Any]] = {
        "fallback_random": True,
        "triton.cudagraphs": has_graphs,
    }
    compiled: Callable[..., Tensor] = torch.compile(_loss, fullgraph=True, dynamic=False, options=options)
    return compiled
