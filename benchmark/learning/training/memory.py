"""What a fit needs at least, counted without running it: a fit that can't fit is refused before its first iteration.

Without this the kernel ends the process in the middle of the first iteration, without a word.
"""

import copy
import os
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from quadrat.benchmark.errors import TrainingError
from quadrat.benchmark.learning.network.model import Network
from quadrat.benchmark.learning.recipe import Recipe

__all__ = ["check_memory", "fit_bytes", "largest_window", "memory_of"]

_CGROUP: Final = Path("/sys/fs/cgroup/memory.max")
"""Limit of the memory of a container (cgroup v2): bytes, or "max"."""


def fit_bytes(network: Network, recipe: Recipe) -> int:
    """Return the bytes that an iteration of a fine-tuned recipe needs at least.

    Counted are weights, gradients and the optimiser's state, the batch, the windows that it is rescaled from where all
    of them are the largest, and all that the forward pass keeps for the backward pass, from shapes alone (torch's meta
    device). Not counted: loss, workspaces, what an operator needs for a moment. In bf16 activations count half.

    Args:
        network: The network that is trained; it is not changed.
        recipe: Its recipe.
    """
    shape = copy.deepcopy(network).to("meta").train()
    weights = sum(_bytes_of(parameter) for parameter in shape.parameters())
    own = {id(tensor) for tensor in (*shape.parameters(), *shape.buffers())}
    kept: dict[int, Tensor] = {}  # by storage, since views of one tensor count once

    def keep(tensor: Tensor) -> Tensor:
        if id(tensor) not in own:
            kept.setdefault(tensor.untyped_storage()._cdata, tensor)
        return tensor

    image_BHWx = torch.empty((recipe.batch_size, recipe.crop, recipe.crop, 3), device="meta")
    images_B3HW = shape.encoder.prepare(image_BHWx)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        shape(images_B3HW)
    kept_bytes = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
    if recipe.precision == "bf16":
        kept_bytes //= 2
    num_states = 1 if recipe.optimizer == "sgd" else 2
    windows_bytes = recipe.batch_size * largest_window(recipe) ** 2 * (3 + 1)  # colours and label of a pixel
    return kept_bytes + weights * (2 + num_states) + _bytes_of(images_B3HW) + windows_bytes


def largest_window(recipe: Recipe) -> int:
    """Return the side of the largest window of an image that is rescaled to a crop, pixels."""
    return max(1, round(recipe.crop / recipe.scale[0]))


def memory_of(device: torch.device) -> int:
    """Return the memory of a device in bytes; on a CPU that of the machine, or of the container where it has less."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = _CGROUP.read_text().strip() if _CGROUP.is_file() else "max"
    return min(total, int(limit)) if limit.isdigit() else total


def check_memory(network: Network, recipe: Recipe, device: torch.device) -> None:
    """Check that an iteration fits into the memory of a device.

    Raises:
        TrainingError: When it needs more than there is, whatever else runs.
    """
    needed, there = fit_bytes(network, recipe), memory_of(device)
    if needed > there:
        where = "the GPU" if device.type == "cuda" else "this machine"
        raise TrainingError(
            f"expected a fit that fits into the {there / 2**30:.1f} GiB of {where}, got one that needs at least "
            f"{needed / 2**30:.1f} GiB: {recipe.batch_size} crops of {recipe.crop} x {recipe.crop} px an iteration, "
            f"from windows of up to {largest_window(recipe)} px. Lower learner.batch_size or crop, or raise the "
            "smaller learner.scale"
        )


def _bytes_of(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
