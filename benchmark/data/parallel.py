"""Doing something with every item on a few threads, in order and with bounded memory."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, TypeVar

__all__ = ["in_order"]

THREADS: Final = 4
"""Decoding images scales over threads, since Pillow lets go of the interpreter lock."""

Given = TypeVar("Given")
Made = TypeVar("Made")


def in_order(make: Callable[[Given], Made], given: Iterable[Given]) -> Iterator[Made]:
    """Yield `make(x)` for every x of `given`, in that order, working at most two results a thread ahead.

    An exception of `make` is raised in its turn, and nothing further is started.
    """
    with ThreadPoolExecutor(THREADS, thread_name_prefix="in-order") as executor:
        ahead: deque[Future[Made]] = deque()
        try:
            for one in given:
                ahead.append(executor.submit(make, one))
                if len(ahead) >= 2 * THREADS:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for future in ahead:
                future.cancel()
