"""The loss of a training step, eager or compiled by `torch.compile`.

Compiling fuses the operations between convolutions into fewer kernels; with CUDA graphs all kernels of a step are
launched at once. Dropout uses torch's own generators, so a compiled fit draws the same masks as an eager one and
differs from it by rounding only. A function is compiled once per process for each architecture and batch shape; later
rounds and trials reuse it.
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

LossOf = Callable[[nn.Module, Any, Tensor, Tensor | None], Tensor]
"""Network, inputs, labels (B, H, W) and sets of classes of a batch -> mean loss in nats, differentiable."""


def loss_function(recipe: Recipe, device: torch.device) -> LossOf:
    """Return the function from a network and a batch to the recipe's loss on `device`.

    The function raises TrainingError where torch can't compile it.
    """
    precision, loss_stride, mode = recipe.precision, recipe.loss_stride, recipe.compile
    if mode is None:
        return lambda network, inputs, label_BHW, sets_KC: _loss(
            network, inputs, label_BHW, sets_KC, device, precision, loss_stride
        )
    has_graphs = mode == "reduce-overhead" and device.type == "cuda"
    compiled = _compiled(has_graphs)

    def loss_of(network: nn.Module, inputs: Any, label_BHW: Tensor, sets_KC: Tensor | None) -> Tensor:
        if has_graphs:
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        try:
            return compiled(network, inputs, label_BHW, sets_KC, device, precision, loss_stride)
        except TorchDynamoException as error:
            # The first line names the backend, the second says what it met.
            reason = " ".join([line.strip() for line in str(error).splitlines() if line.strip()][:2])
            raise TrainingError(
                f"torch.compile can't compile the training of {recipe.encoder!r} here ({type(error).__name__}: "
                f"{reason}): leave learner.compile out (--set learner.compile=null), or, "
                "where what is missing is a compiler, install one (a C++ compiler for a CPU, Triton for CUDA)"
            ) from error

    return loss_of


def _loss(
    network: nn.Module,
    inputs: Any,
    label_BHW: Tensor,
    sets_KC: Tensor | None,
    device: torch.device,
    precision: str,
    loss_stride: int,
) -> Tensor:
    with autocast(device, precision):
        logits_BChw = network(inputs)
    return segmentation_loss(logits_BChw, label_BHW, loss_stride, sets_KC)


@lru_cache
def _compiled(has_graphs: bool) -> Callable[..., Tensor]:
    """Return the compiled loss; with `fullgraph`, since a graph break would silently leave a part slow."""
    if not torch.cuda.is_available():
        # Suppress the warning that there is no CUDA runtime.
        logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    options: dict[str, str | int | bool | Callable[..., Any]] = {
        "fallback_random": True,
        "triton.cudagraphs": has_graphs,
    }
    compiled: Callable[..., Tensor] = torch.compile(_loss, fullgraph=True, dynamic=False, options=options)
    return compiled
