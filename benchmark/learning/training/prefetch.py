"""Batches cut on a thread while the device works on the one before."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

__all__ = ["Prefetched"]

_Cut = TypeVar("_Cut")
# Batches that are cut before they are asked for.
_DEPTH = 2


class Prefetched(Generic[_Cut]):
    """A function of the iteration, computed for the next iterations while this one is used.

    Batch i is a function of i alone, so what is asked for is right whether it was expected or not: a resumed fit begins
    anywhere.
    """

    def __init__(self, cut: Callable[[int], _Cut]) -> None:
        """Take the function; it is called on one other thread, one iteration at a time."""
        self._cut = cut
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="cut")
        self._coming: dict[int, Future[_Cut]] = {}

    def __call__(self, step: int) -> _Cut:
        """Return the result of iteration `step`; what went wrong on the thread is raised here."""
        wanted = range(step, step + _DEPTH + 1)
        for other in [other for other in self._coming if other not in wanted]:
            self._coming.pop(other).cancel()
        for other in wanted:
            if other not in self._coming:
                self._coming[other] = self._pool.submit(self._cut, other)
        return self._coming.pop(step).result()

    def close(self) -> None:
        """End the thread; what was cut ahead is dropped."""
        self._pool.shutdown(wait=True, cancel_futures=True)
