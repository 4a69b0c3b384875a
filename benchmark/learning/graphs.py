"""CUDA graphs: work of one shape that is launched as a whole instead of kernel by kernel.

A training step of a small network is about a thousand kernels of some microseconds, which a processor launches slower
than a GPU computes. The first calls run eagerly, one more is captured, all later ones are replayed: the same kernels on
the same numbers, so the results are those of eager calls, bit for bit.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

__all__ = ["Replayed"]

# Calls before the capture: libraries choose kernels and take their workspaces, which can't be captured.
_EAGER_CALLS = 3


class Replayed:
    """A function of tensors whose shapes never change, as one CUDA graph after its first calls.

    What the function returns, and the gradients that it leaves in parameters, lie in the graph's memory: the next call
    overwrites them. Random numbers come from torch's generator of the device, which may be seeded before each call.
    """

    def __init__(self, function: Callable[..., Any], device: torch.device, before: Callable[[], None]) -> None:
        """Take the function.

        Args:
            function: Tensors, or tuples of them, to the same; on `device` alone, without waiting for it.
            device: A CUDA device.
            before: Called before every call that is not replayed; for training, it drops the gradients, so that a
                backward pass sets them.
        """
        self._function, self._before = function, before
        # One stream for the first calls and the capture: autograd remembers the stream on which it met a parameter.
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._graph: torch.cuda.CUDAGraph | None = None
        self._num_calls = 0
        self._arguments: Any = None
        self._result: Any = None

    def __call__(self, *arguments: Any) -> Any:
        """Return the function's result; tensors must have the shapes and types of the first call."""
        self._num_calls += 1
        if self._num_calls <= _EAGER_CALLS:
            return self._eager(arguments)
        if self._graph is None:
            self._capture(arguments)
            assert self._graph is not None
        else:
            for own, given in zip(*(pytree.tree_leaves(tree) for tree in (self._arguments, arguments)), strict=True):
                if isinstance(own, Tensor) and own is not given:
                    own.copy_(given, non_blocking=True)
        self._graph.replay()
        return self._result

    def _eager(self, arguments: tuple[Any, ...]) -> Any:
        current = torch.cuda.current_stream(self._stream.device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            self._before()
            result = self._function(*arguments)
        current.wait_stream(self._stream)
        return result

    def _capture(self, arguments: tuple[Any, ...]) -> None:
        self._arguments = pytree.tree_map(lambda leaf: leaf.clone() if isinstance(leaf, Tensor) else leaf, arguments)
        self._before()
        graph = torch.cuda.CUDAGraph()
        # Another thread, which cuts batches ahead, may go on allocating memory meanwhile.
        with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
            self._result = self._function(*self._arguments)
        self._graph = graph
