"""A run as metrics of Ray, which its nodes serve to Prometheus: what its status says, and GPU memory of workers."""

import os
import socket
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from ray.util.metrics import Counter, Gauge

__all__ = ["FITS", "GAUGES", "GPU_MEMORY", "GpuMemory", "Metric", "RunMetrics", "gpu_memory_bytes"]


class Metric(NamedTuple):
    """A metric; Ray puts `ray_` before its name when it exports it, and `_total` behind that of a counter."""

    name: str
    description: str


FITS: Final = Metric("quadrat_fits", "Fits whose model was trained in this run; a model from the store counts as none")
GPU_MEMORY: Final = Metric("quadrat_gpu_memory_bytes", "Memory of its GPU that a worker's PyTorch holds")
GAUGES: Final[Mapping[Metric, Callable[[dict[str, Any]], int | None]]] = {
    Metric("quadrat_trials_running", "Trials in flight"): lambda status: len(status["in_flight"]),
    Metric("quadrat_trials", "Trials of the run"): lambda status: _part(status, "trials", "num"),
    Metric("quadrat_trials_complete", "Trials that are complete"): lambda status: _part(status, "trials", "complete"),
    Metric("quadrat_trials_failed", "Trials that have failed"): lambda status: _part(status, "trials", "failed"),
    Metric("quadrat_rounds", "Rounds of all trials"): lambda status: _part(status, "rounds", "num"),
    Metric("quadrat_rounds_done", "Rounds that are recorded"): lambda status: _part(status, "rounds", "done"),
    Metric("quadrat_candidates", "Candidates of a study"): lambda status: _part(status, "candidates", "num"),
    Metric("quadrat_candidates_ended", "Candidates that have ended"): lambda status: _part(
        status, "candidates", "ended"
    ),
}
"""Gauges of a driver, each with its value by the status of the run; None where a run, or a study, has none."""


class RunMetrics:
    """Metrics of a run, tagged with the name of its suite. Made once Ray is open.

    Args:
        suite_name: Name of the suite.
    """

    def __init__(self, suite_name: str) -> None:
        self._tags = {"suite": suite_name}
        self._gauges = {metric: Gauge(*metric, tag_keys=tuple(self._tags)) for metric in GAUGES}
        self._fits = Counter(*FITS, tag_keys=tuple(self._tags))
        self._num_fits = 0

    def update(self, status: dict[str, Any]) -> None:
        """Take the status of the run, as `describe` of it returns it."""
        for metric, gauge in self._gauges.items():
            gauge.set(GAUGES[metric](status), self._tags)  # None sets nothing
        num_new = status["fits"]["trained"] - self._num_fits
        if num_new > 0:
            self._fits.inc(num_new, self._tags)
            self._num_fits += num_new


class GpuMemory:
    """GPU memory of this worker, tagged with suite, machine and process.

    Args:
        suite_name: Name of the suite.
    """

    def __init__(self, suite_name: str) -> None:
        self._tags = {"suite": suite_name, "host": socket.gethostname(), "pid": str(os.getpid())}
        self._gauge = Gauge(*GPU_MEMORY, tag_keys=tuple(self._tags))

    def update(self) -> None:
        """Measure it; a worker without a GPU has no such metric."""
        self._gauge.set(gpu_memory_bytes(), self._tags)


def gpu_memory_bytes() -> int | None:
    """Return the bytes of its GPU that this process's PyTorch holds, used and cached; None where it uses no GPU."""
    torch = sys.modules.get("torch")  # not imported here: trials that do not train do without
    if torch is None or not torch.cuda.is_initialized():
        return None
    return int(torch.cuda.memory_reserved())


def _part(status: dict[str, Any], part: str, name: str) -> int | None:
    value = status.get(part, {}).get(name)
    return None if value is None else int(value)
