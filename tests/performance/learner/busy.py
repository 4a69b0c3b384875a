"""How much of a stretch of work a GPU computes: the time in which at least one kernel runs, over all time."""

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from torch.profiler import ProfilerActivity, profile

__all__ = ["busy_share", "covered_share", "share_after_warm_up"]

_NOT_COMPUTING = ("Memcpy", "Memset")  # how the profiler names what its copy engines do


class _Timed(Protocol):
    @property
    def elapsed_s(self) -> float: ...


def busy_share(work: Callable[[], _Timed], *, device: str = "cuda") -> float:
    """Return the share of a block, after its warm-up, in which a kernel of this process ran.

    Launches cost a little more while they are recorded, so a GPU that waits for the processor appears idler than it is;
    blocks that are recorded are not timed otherwise.

    Args:
        work: Does a block and says how long its part after the warm-up took; it waits for the device at the end.
        device: `"cuda"`, or `"cpu"`, whose operators are then taken for kernels.

    Raises:
        RuntimeError: Nothing was recorded: the profiler may not look at this device.
    """
    activity = {"cuda": ProfilerActivity.CUDA, "cpu": ProfilerActivity.CPU}[device]
    with profile(activities=[activity]) as profiler:
        elapsed_s = work().elapsed_s
    spans_us = [
        (event.time_range.start, event.time_range.end)
        for event in profiler.events() or ()
        if event.device_type.name == activity.name and not event.name.startswith(_NOT_COMPUTING)
    ]
    return share_after_warm_up(spans_us, elapsed_s)


def share_after_warm_up(spans_us: Sequence[tuple[float, float]], elapsed_s: float) -> float:
    """Return how much of the last `elapsed_s` seconds before the end of the last span the spans cover, 0 .. 1.

    Both the timed part of a block and its last kernel end when the device has done all it was given.

    Raises:
        RuntimeError: There is no span: an idle device and a profiler that may not look at it record the same.
    """
    if not spans_us:
        raise RuntimeError("torch's profiler recorded no kernel: it may not be allowed to look at this device")
    end_us = max(end for _, end in spans_us)
    return covered_share(spans_us, end_us - 1e6 * elapsed_s, end_us)


def covered_share(spans: Iterable[tuple[float, float]], start: float, end: float) -> float:
    """Return how much of `start .. end` at least one of the (start, end) spans covers, 0 .. 1.

    Examples:
        >>> covered_share([(-1.0, 1.0), (0.5, 2.0), (3.0, 9.0)], 0.0, 4.0)
        0.75
    """
    covered, reached = 0.0, start
    for span_start, span_end in sorted(spans):
        begin, stop = max(span_start, reached), min(span_end, end)
        if stop > begin:
            covered += stop - begin
            reached = stop
    return covered / (end - start)
