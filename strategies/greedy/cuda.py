"""Whether a selection runs on a CUDA device; imports torch only where the machine has an NVIDIA driver."""

from __future__ import annotations

import ctypes
import importlib.util
import logging
import subprocess
from functools import lru_cache

import numpy as np

from quadrat.strategies.greedy.objective import Objective

__all__ = ["load_device", "runs_on_device"]

_log = logging.getLogger(__name__)

# Regions below which the CPU is fast enough that moving the features to the device does not pay.
_LEAST_REGIONS = 1 << 15
# Features above which the kernels, whose sums are unrolled in blocks of 128, take minutes to compile.
_MOST_FEATURES = 512


def runs_on_device(objective: Objective, budget: int) -> bool:
    """Return whether this selection is large enough for a CUDA device, and there is one that can do it.

    The selection is the same on either, so what is logged says only why it takes longer.

    Args:
        objective: A max-min objective with features, normalised once.
        budget: K.
    """
    assert objective.features is not None
    num_regions, num_features = objective.features.shape
    if not _is_wanted(num_regions, num_features):
        return False
    num_members = int(np.count_nonzero(objective.labelled)) + budget
    return _has_memory(num_regions, num_features, num_members) and _is_exact(num_features)


def load_device(num_regions: int, num_features: int) -> None:
    """Import torch and compile the kernels, if selections of this size run on a device.

    That takes seconds in the first process of a machine, so that no selection is timed with it.
    """
    if _is_wanted(num_regions, num_features) and _is_exact(num_features):
        from quadrat.strategies.greedy.device import compile_kernels

        compile_kernels(num_features)


def _is_wanted(num_regions: int, num_features: int) -> bool:
    return num_regions >= _LEAST_REGIONS and num_features <= _MOST_FEATURES and _has_device()


@lru_cache(maxsize=1)
def _has_device() -> bool:
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:  # no driver: torch, which takes seconds to import, would find no device either
        return False
    missing = [name for name in ("torch", "triton") if importlib.util.find_spec(name) is None]
    if missing:
        _log.info("selections use the CPU: %s is not installed", " and ".join(missing))
        return False
    import torch

    return torch.cuda.is_available()


def _has_memory(num_regions: int, num_features: int, num_members: int) -> bool:
    import torch

    from quadrat.strategies.greedy.device import needed_bytes

    needed = needed_bytes(num_regions, num_features, num_members)
    # What torch keeps of freed tensors is free for others of this process.
    free = torch.cuda.mem_get_info()[0] + torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
    if needed > free:
        _log.warning("a selection uses the CPU: it needs %d MiB, the device has %d MiB", needed >> 20, free >> 20)
    return needed <= free


@lru_cache(maxsize=8)
def _is_exact(num_features: int) -> bool:
    from quadrat.strategies.greedy.device import adds_like_numpy

    try:
        is_exact = adds_like_numpy(num_features)
    except (RuntimeError, OSError, subprocess.CalledProcessError) as cause:  # Triton runs a C compiler
        _log.warning("selections use the CPU: Triton's kernels do not compile here: %s", cause)
        return False
    if not is_exact:
        _log.warning(
            "selections use the CPU: numpy %s adds %d numbers in another order than the kernels",
            np.__version__,
            num_features,
        )
    return is_exact
