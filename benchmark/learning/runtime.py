"""Process-wide settings of torch (device, threads, determinism, precision), set for one block and then restored."""

import ctypes
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils import deterministic

from quadrat.benchmark.errors import TrainingError

__all__ = ["autocast", "keep_freed_memory", "resolve_device", "stack_on_device", "to_device", "torch_settings"]

# Parameters of glibc's mallopt(3), from malloc.h, and the values set here. 32 MiB is the most that it takes as the size
# from which a block is mapped by itself.
_TRIM_THRESHOLD: Final = -1, 1 << 30
_MMAP_THRESHOLD: Final = -3, 32 << 20


@contextmanager
def torch_settings(device: torch.device, threads: int) -> Iterator[None]:
    """Run a block with `threads` CPU threads and deterministic kernels, then restore the previous settings.

    On CUDA a kernel without a deterministic variant warns instead of failing; on a CPU no such kernel is used. Filling
    uninitialised memory, which torch does in deterministic mode, is switched off: no such memory is read here, and it
    costs a seventh of an iteration. On a CPU freed memory is kept for the next tensor, see `keep_freed_memory`.
    """
    if device.type == "cpu":
        keep_freed_memory()
    threads_before = torch.get_num_threads()
    deterministic_before = torch.are_deterministic_algorithms_enabled()
    warn_only_before = torch.is_deterministic_algorithms_warn_only_enabled()
    fill_before = deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]  # the module is a proxy
    torch.set_num_threads(threads)
    deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.use_deterministic_algorithms(True, warn_only=device.type != "cpu")
    try:
        yield
    finally:
        torch.set_num_threads(threads_before)
        deterministic.fill_uninitialized_memory = fill_before  # type: ignore[attr-defined]
        torch.use_deterministic_algorithms(deterministic_before, warn_only=warn_only_before)


@cache
def keep_freed_memory() -> bool:
    """Let the process keep up to 1 GiB of freed memory, for good; return whether the C library can do that (glibc).

    By default glibc maps each block of some MiB by itself and unmaps it when it is freed, or returns the end of its
    heap: then every activation of every iteration lies in fresh pages, which the kernel clears first. No number
    changes, only the time.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:  # musl, macOS
        return False
    return all(mallopt(*setting) == 1 for setting in (_TRIM_THRESHOLD, _MMAP_THRESHOLD))


def resolve_device(device: str) -> torch.device:
    """Return the torch device of that name.

    For CUDA, `CUBLAS_WORKSPACE_CONFIG` is set to a value for which cuBLAS is deterministic, unless the environment sets
    it; cuBLAS reads it once, on first use.

    Raises:
        TrainingError: The name is unknown, or there is no such device.
    """
    try:
        resolved = torch.device(device)
    except RuntimeError as error:
        raise TrainingError(f"unknown device {device!r}: expected 'cpu', 'cuda' or 'cuda:<number>'") from error
    if resolved.type == "cuda" and not torch.cuda.is_available():
        raise TrainingError(f"device {device!r} was asked for and torch sees no CUDA device: take 'cpu'")
    if resolved.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    return resolved


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Return the autocast context of a recipe's precision; disabled for `"fp32"`."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")


def to_device(array: NDArray[Any], device: torch.device) -> Tensor:
    """Return an array as a tensor on `device`; to CUDA it is copied asynchronously from pinned memory."""
    tensor = torch.from_numpy(array)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def stack_on_device(arrays: Sequence[NDArray[Any]], device: torch.device) -> Tensor:
    """Return arrays of one shape stacked on `device`; for CUDA each is copied once, into pinned memory."""
    if device.type != "cuda":
        return torch.from_numpy(np.stack(arrays)).to(device)
    dtype = torch.from_numpy(np.empty(0, arrays[0].dtype)).dtype
    pinned = torch.empty((len(arrays), *arrays[0].shape), dtype=dtype, pin_memory=True)
    np.stack(arrays, out=pinned.numpy())
    return pinned.to(device, non_blocking=True)
