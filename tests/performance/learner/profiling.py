"""Where the time of a side goes: operators of torch's profiler, by time on the device and by time of the processor."""

from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from performance.learner.case import Case
from performance.learner.sides import SIDES

__all__ = ["profile_side"]


def profile_side(case: Case, name: str, count: int, *, num_rows: int = 25) -> dict[str, Any]:
    """Return the costliest kernels and operators of one block, JSON-plain; recorded blocks run slower than others.

    Args:
        case: What the side works on.
        name: A key of `SIDES`.
        count: Iterations or images of the block, after one block that is not recorded.
        num_rows: Of each list.
    """
    side = SIDES[name](case)
    side.run(count)
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if case.device != "cpu" else [])]
    with profile(activities=activities) as profiler:
        block = side.run(count)
    events = profiler.key_averages()
    kernels = [event for event in events if event.device_type.name == "CUDA"]
    operators = [event for event in events if event.device_type.name == "CPU"]
    device_us = sum(event.self_device_time_total for event in kernels)
    return {
        "side": name,
        **case.describe(),
        "torch": torch.__version__,
        "images_per_s": round(block.images / block.elapsed_s, 1),
        "elapsed_ms": round(1e3 * block.elapsed_s, 1),
        "device_ms": round(device_us / 1e3, 1),
        "kernels": _costliest(kernels, "self_device_time_total", num_rows),
        "operators": _costliest(operators, "self_cpu_time_total", num_rows),
    }


def _costliest(events: list[Any], attribute: str, num_rows: int) -> list[dict[str, Any]]:
    ordered = sorted(events, key=lambda event: -getattr(event, attribute))[:num_rows]
    return [{"name": e.key[:90], "ms": round(getattr(e, attribute) / 1e3, 2), "calls": e.count} for e in ordered]
