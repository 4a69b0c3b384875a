"""A side in a process of its own, so that neither's memory, threads nor caches are the other's."""

import multiprocessing
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from performance.learner.case import Case
from quadrat.benchmark.errors import QuadratError

__all__ = ["Grown", "Memory", "SideProcess", "started", "watch"]

_SAMPLE_EVERY_S = 0.02


class Memory(NamedTuple):
    """Peaks of a block, with the processes that decode; MiB."""

    host_mib: float
    device_mib: float | None


class Grown(NamedTuple):
    """What scoring a pool took; MiB and seconds."""

    before_mib: float
    peak_mib: float
    peak_own_mib: float
    streamed_mib: float
    elapsed_s: float


class SideProcess:
    """Asks a side in another process to work."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def run(self, count: int) -> tuple[int, float, float | None]:
        """Return (images, seconds, seconds waited for data) of a block."""
        images, elapsed_s, waited_s = self._ask("run", count)
        return images, elapsed_s, waited_s

    def peak(self, count: int) -> Memory:
        """Return the peaks of memory over a block that is not timed."""
        return Memory(*self._ask("peak", count))

    def busy(self, count: int) -> float:
        """Return the share of a block that is not timed in which the GPU computed."""
        (share,) = self._ask("busy", count)
        return float(share)

    def grow(self, count: int) -> Grown:
        """Return what scoring so many images took."""
        return Grown(*self._ask("grow", count))

    def wait_until_ready(self) -> None:
        """Return when the side is built.

        Raises:
            QuadratError: It can't be built.
        """
        self._receive()

    def _ask(self, request: str, count: int) -> Any:
        self._connection.send((request, count))
        return self._receive()

    def _receive(self) -> Any:
        try:
            is_fine, answer = self._connection.recv()
        except EOFError as error:
            raise QuadratError(
                "a process of the benchmark ended by itself, perhaps for want of memory: take fewer or smaller images"
            ) from error
        if not is_fine:
            raise QuadratError(answer)
        return answer


@contextmanager
def started(sides: Sequence[tuple[str, Case]]) -> Iterator[list[SideProcess]]:
    """Start the sides of these names, yield them when all are built, and end them."""
    with ExitStack() as stack:
        # All at once: what takes longest is to load torch.
        processes = [stack.enter_context(_begun(name, case)) for name, case in sides]
        for process in processes:
            process.wait_until_ready()
        yield processes


@contextmanager
def _begun(name: str, case: Case) -> Iterator[SideProcess]:
    """Start a side, yield it while it is still being built, and end it."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, name, case))
    process.start()
    theirs.close()
    try:
        yield SideProcess(ours)
    finally:
        ours.close()  # the other end's next receive then fails, and it ends
        process.join()


@contextmanager
def watch(sample: Callable[[], tuple[float, ...]]) -> Iterator[list[float]]:
    """Yield a list that holds, after the block, the largest value of each number that `sample` gave within it."""
    peaks = list(sample())
    is_done = threading.Event()

    def look() -> None:
        while not is_done.wait(_SAMPLE_EVERY_S):
            peaks[:] = map(max, peaks, sample())

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield peaks
    finally:
        is_done.set()
        watcher.join()


def _serve(connection: Connection, name: str, case: Case) -> None:
    """Do what is asked until the other end is closed."""
    from performance.learner.busy import busy_share
    from performance.learner.sides import SIDES

    try:
        side = SIDES[name](case)
        connection.send((True, None))
        answers: dict[str, Callable[[int], tuple[Any, ...]]] = {
            "run": side.run,
            "peak": lambda count: _peak(side, count, case.device),
            "busy": lambda count: (busy_share(lambda: side.run(count)),),
            "grow": lambda count: _grow(side, count),
        }
        while True:
            try:
                request, count = connection.recv()
            except EOFError:
                return
            connection.send((True, tuple(answers[request](count))))
    except QuadratError as error:  # sent to the parent process, which raises it
        connection.send((False, str(error)))
    except Exception:
        connection.send((False, f"a process of the benchmark failed:\n{traceback.format_exc()}"))


def _peak(side: Any, count: int, device: str) -> Memory:
    import torch

    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
    with watch(lambda: (_tree_mib(),)) as peaks:
        side.run(count)
    return Memory(round(peaks[0], 1), None if device == "cpu" else round(torch.cuda.max_memory_allocated() / 2**20, 1))


def _grow(side: Any, count: int) -> Grown:
    before_mib = _own_mib()[1]
    begin = time.perf_counter()
    with watch(_own_mib) as peaks:
        streamed = side.score_first(count)
    elapsed_s = time.perf_counter() - begin
    return Grown(round(before_mib, 1), round(peaks[0], 1), round(peaks[1], 1), round(streamed / 2**20, 3), elapsed_s)


def _tree_mib() -> float:
    """Return what this process and its children hold, a page that several share counted once where that is known."""
    import psutil

    own = psutil.Process()
    total = 0
    for process in (own, *own.children(recursive=True)):
        try:
            info = process.memory_full_info()
        except psutil.NoSuchProcess:  # a decoding process that has just ended
            continue
        total += getattr(info, "pss", info.uss)
    return total / 2**20


def _own_mib() -> tuple[float, float]:
    """Return the resident size of this process with and without the pages of mapped files."""
    import psutil

    info = psutil.Process().memory_info()
    return info.rss / 2**20, (info.rss - getattr(info, "shared", 0)) / 2**20
