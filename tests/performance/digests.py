"""What the check of digests adds to reading a file: once from the page cache, once from the disk."""

import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from quadrat.benchmark.storage.digest import digest_of_file

__all__ = ["bench_digests", "read_file"]

_BLOCK = 4 * 2**20


def read_file(path: Path) -> int:
    """Read a file block by block, as `digest_of_file` does, and return its length."""
    block, length = memoryview(bytearray(_BLOCK)), 0
    with open(path, "rb", buffering=0) as file:
        while count := file.readinto(block):
            length += count
    return length


def bench_digests(folder: Path, *, mib: int = 512, repeats: int = 7) -> dict[str, Any]:
    """Return rates of reading a file with and without its digest, in turns, and the median of their ratios.

    Args:
        folder: Where the file is written.
        mib: Its size.
        repeats: Pairs.
    """
    path = folder / "data.bin"
    rng = np.random.default_rng(0)
    with open(path, "wb") as file:
        for _ in range(mib // 16):
            file.write(rng.bytes(16 * 2**20))
        file.flush()
        os.fsync(file.fileno())
    rows = []
    for place in ("page cache", "disk"):
        pairs = []
        for _ in range(repeats):
            read_s = _timed(lambda: read_file(path), path, place)
            checked_s = _timed(lambda: digest_of_file(path), path, place)
            pairs.append((read_s, checked_s))
        ratios = [checked_s / read_s for read_s, checked_s in pairs]
        rows.append(
            {
                "from": place,
                "read_gib_per_s": round(mib / 1024 / statistics.median(read_s for read_s, _ in pairs), 2),
                "checked_gib_per_s": round(mib / 1024 / statistics.median(checked_s for _, checked_s in pairs), 2),
                "ratio": round(statistics.median(ratios), 3),
                "ratios": [round(ratio, 3) for ratio in ratios],
            }
        )
    return {"mib": mib, "rows": rows, "cpus": os.cpu_count(), "load_1min": round(os.getloadavg()[0], 2)}


def _timed(call: Callable[[], object], path: Path, place: str) -> float:
    if place == "disk":
        descriptor = os.open(path, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)
    else:
        read_file(path)
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
