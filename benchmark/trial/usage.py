"""What a process uses while it makes a round: processor, memory, GPU memory. Shown in MLflow, part of no result."""

import resource
import sys
import time

__all__ = ["Usage"]


class Usage:
    """Measures this process from now on.

    What the round took from the store was not computed here, and cost other processes more than is measured.
    """

    def __init__(self) -> None:
        self._start_s, self._cpu_s = time.monotonic(), time.process_time()

    def read(self) -> dict[str, float]:
        """Return what was used so far, by name.

        `wall_s` and `cpu_s` are seconds since the beginning, the latter summed over threads; `memory_bytes` and, where
        the process uses a GPU, `gpu_memory_bytes` (PyTorch's, used and cached) are the highest since it started.
        """
        found = {
            "wall_s": round(time.monotonic() - self._start_s, 3),
            "cpu_s": round(time.process_time() - self._cpu_s, 3),
            "memory_bytes": 1024.0 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        }
        torch = sys.modules.get("torch")  # not imported here: trials that do not train do without
        if torch is not None and torch.cuda.is_initialized():
            found["gpu_memory_bytes"] = float(torch.cuda.max_memory_reserved())
        return found
