"""What trials that run side by side on a CPU cost each other: they share memory, caches and, with SMT, cores."""

import contextlib
import multiprocessing
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

__all__ = ["MAX_BESIDE", "beside"]

MAX_BESIDE: Final = 7
"""Processes that work beside the one that is measured, at most: each loads torch, some 300 MB."""

_START_S: Final = 120.0

Fit = Callable[[Path, Callable[[int, int], None]], Any]
"""Trains without an end, with a folder of its own, and calls back after each iteration."""


@contextlib.contextmanager
def beside(num: int, fit: Fit) -> Iterator[bool]:
    """Have `num` other processes train while the context is open, and yield whether all of them have begun.

    Args:
        num: Number of processes, at most `MAX_BESIDE` of which are started.
        fit: What they run; pickled.
    """
    spawn = multiprocessing.get_context("spawn")
    begun = spawn.Semaphore(0)
    processes = [spawn.Process(target=_work, args=(fit, begun), daemon=True) for _ in range(min(num, MAX_BESIDE))]
    for process in processes:
        process.start()
    try:
        yield all(begun.acquire(timeout=_START_S) for _ in processes)
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.join()


def _work(fit: Fit, begun: Any) -> None:
    has_begun = False

    def on_step(done: int, total: int) -> None:
        nonlocal has_begun
        if not has_begun:
            has_begun = True
            begun.release()

    with tempfile.TemporaryDirectory(prefix="quadrat-plan-") as folder:
        fit(Path(folder), on_step)
