"""An ordered map over a few threads with bounded memory."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, TypeVar

__all__ = ["in_order"]

THREADS: Final = 4
"""Decoding images scales over threads, since Pillow releases the interpreter lock."""

Input = TypeVar("Input")
Result = TypeVar("Result")


def in_order(function: Callable[[Input], Result], inputs: Iterable[Input]) -> Iterator[Result]:
    """Yield `function(x)` for every x of `inputs` in order, computing at most two results per thread ahead.

    An exception of `function` is raised when its result is due, and no further call is started.
    """
    with ThreadPoolExecutor(THREADS, thread_name_prefix="in-order") as executor:
        ahead: deque[Future[Result]] = deque()
        try:
            for item in inputs:
                ahead.append(executor.submit(function, item))
                if len(ahead) >= 2 * THREADS:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for future in ahead:
                future.cancel()
