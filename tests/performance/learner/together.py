"""Several trials on one machine at once against one that has it alone: how many actors give a suite the most."""

import dataclasses
import statistics
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

from performance.learner.case import Case
from performance.learner.process import SideProcess, started

__all__ = ["bench_together"]


def bench_together(
    case: Case,
    num_trials: Sequence[int],
    *,
    phase: Literal["fit", "score"],
    count: int,
    repeats: int = 3,
    on_row: Callable[[dict[str, Any]], None] | None = None,
) -> dict[str, Any]:
    """Return the images per second of several processes that train or score at once, for several numbers of them.

    On a CPU they divide the case's threads among them, on CUDA they share the device, as actors with a fraction of a
    GPU do. For each number, blocks of one process alone and of all at once take turns. What all have done in a block is
    divided by the time of the slowest of them, so what overlaps badly counts as slow.

    Args:
        case: What each trains or scores; `threads` are those of the whole machine.
        num_trials: How many at once; each number is compared with 1.
        phase: What they do.
        count: Iterations of a block, or images.
        repeats: Pairs of blocks.
        on_row: Called with each row.

    Returns:
        JSON-plain. Of each row: `images_per_s` of all together, `ratio` to one alone (the median over pairs), and the
        memory that they held together at their peaks.
    """
    rows = []
    for num in num_trials:
        threads_each = max(1, case.threads // num) if case.device == "cpu" else case.threads
        shared = dataclasses.replace(case, threads=threads_each)
        name = f"quadrat {phase}"
        with started([(name, case), *[(name, shared)] * num]) as (one, *together), ThreadPoolExecutor(num) as pool:
            pairs = []
            for repeat in range(repeats):
                # Every other time the other way round: what drifts on the machine then falls on both.
                if repeat % 2 == 0:
                    of_one, of_all = _rate([one], count, pool), _rate(together, count, pool)
                else:
                    of_all, of_one = _rate(together, count, pool), _rate([one], count, pool)
                pairs.append((of_one, of_all))
            memory = list(pool.map(lambda side: side.peak(count), together))
        ratios = [round(of_all / of_one, 2) for of_one, of_all in pairs]
        on_device = [held.device_mib for held in memory if held.device_mib is not None]
        row = {
            "trials": num,
            "threads_each": threads_each,
            "images_per_s": round(statistics.median(of_all for _, of_all in pairs), 3),
            "ratio": round(statistics.median(ratios), 2),
            "ratios": ratios,
            "peak_mib": round(sum(held.host_mib for held in memory), 1),
            "device_peak_mib": round(sum(on_device), 1) if on_device else None,
        }
        rows.append(row)
        if on_row is not None:
            on_row(row)
    return {"phase": phase, **case.describe(), "rows": rows}


def _rate(sides: Sequence[SideProcess], count: int, pool: ThreadPoolExecutor) -> float:
    """Return the images per second of processes that begin a block together."""
    blocks = list(pool.map(lambda side: side.run(count), sides))
    rate: float = sum(images for images, _, _ in blocks) / max(elapsed_s for _, elapsed_s, _ in blocks)
    return rate
