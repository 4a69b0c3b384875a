"""One selection in a process of its own: seconds, CPU seconds, memory, and what was selected.

`python -m performance.selection_side SIDE FILE JSON` writes the selection to FILE and prints the measurements.
"""

import dataclasses
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quadrat.benchmark.planning.selection_time import _reset_peak, _status_mib, synthetic_pool
from quadrat.strategies import OracleStrategy, Pool, Truth, load

__all__ = ["NUM_GRADIENTS", "RIVALS", "Problem", "full_pool", "measure"]

NUM_GRADIENTS = 256
"""Dimension of the synthetic gradients. Real ones have C x D numbers; `pca_dim` brings either to 128."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Problem:
    """A pool and a budget.

    Attributes:
        num_regions: R.
        num_features: D.
        num_labelled: Labelled regions; 1 for the rivals, which start from one point.
        budget: Regions to select.
        is_full: Whether the pool has all signals and profiles.
    """

    num_regions: int
    num_features: int
    num_labelled: int
    budget: int
    is_full: bool = False


def full_pool(pool: Pool, seed: int = 1) -> tuple[Pool, Truth]:
    """Return the pool with all signals and profiles that a shipped strategy needs, and its truth; random ones."""
    rng = np.random.default_rng(seed)
    num, num_classes = pool.num_regions, 20
    names = ("margin", "bvsb", "least-confidence", "mc-entropy", "bald", "vote-entropy", "ensemble-entropy")

    def shares() -> NDArray[np.float32]:
        values = rng.exponential(size=(num, num_classes)).astype(np.float32)
        values /= values.sum(axis=1, keepdims=True)
        return values

    profiles = ("class-histogram", "class-probability", "class-entropy", "class-bvsb", "class-soft-entropy")
    assert pool.features is not None
    mix = rng.standard_normal((pool.features.shape[1], NUM_GRADIENTS), np.float32)
    gradients = pool.features @ mix * pool.signals["entropy"][:, None]
    filled = dataclasses.replace(
        pool,
        signals={
            **pool.signals,
            **{name: rng.random(num, np.float32) for name in names},
            "predicted-clicks": rng.integers(1, 30, num).astype(np.float32),
        },
        profiles={**{name: shares() for name in profiles}, "gradient-embedding": gradients},
    )
    return filled, Truth(class_shares=shares(), errors=rng.random(num, np.float32))


_Select = Callable[[Pool, Truth | None, int], NDArray[np.int64]]


def _strategy(name: str) -> _Select:
    strategy = load(name)

    def select(pool: Pool, truth: Truth | None, budget: int) -> NDArray[np.int64]:
        rng = np.random.default_rng(0)
        if isinstance(strategy, OracleStrategy):
            assert truth is not None
            return strategy.select(pool, budget, rng, truth).regions
        return strategy.select(pool, budget, rng).regions

    return select


def _fpsample() -> _Select:
    import fpsample  # type: ignore[import-not-found]  # not in the lock file

    def select(pool: Pool, truth: Truth | None, budget: int) -> NDArray[np.int64]:
        # Its faster variant in buckets is built for at most 8 dimensions, and fails beyond.
        found = fpsample.fps_sampling(pool.features, budget + 1, start_idx=_start(pool))
        return np.asarray(found[1:], np.int64)

    return select


def _torch_quickfps() -> _Select:
    import torch
    import torch_quickfps  # type: ignore[import-not-found]

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)))

    def select(pool: Pool, truth: Truth | None, budget: int) -> NDArray[np.int64]:
        assert pool.features is not None
        found = torch_quickfps.sample_idx(torch.from_numpy(pool.features)[None], budget + 1, 9, _start(pool))
        return np.asarray(found[0, 1:].numpy(), np.int64)

    return select


def _skmatter() -> _Select:
    from skmatter.sample_selection import FPS  # type: ignore[import-not-found]

    def select(pool: Pool, truth: Truth | None, budget: int) -> NDArray[np.int64]:
        fps = FPS(n_to_select=budget + 1, initialize=_start(pool)).fit(pool.features)
        return np.asarray(fps.selected_idx_[1:], np.int64)

    return select


RIVALS: dict[str, Callable[[], _Select]] = {
    "fpsample": _fpsample,
    "torch-quickfps": _torch_quickfps,
    "skmatter": _skmatter,
}
"""Packages with farthest point sampling, by their name on PyPI."""


def _start(pool: Pool) -> int:
    """Return the region that is labelled: the point from which all start."""
    return int(np.flatnonzero(pool.labelled)[0])


def measure(side: str, problem: Problem) -> tuple[dict[str, Any], NDArray[np.int64]]:
    """Return the measurements of one selection, and the regions in the order selected."""
    pool = synthetic_pool(
        num_regions=problem.num_regions, num_features=problem.num_features, num_labelled=problem.num_labelled
    )
    truth = None
    if problem.is_full:
        pool, truth = full_pool(pool)
    select = RIVALS[side]() if side in RIVALS else _strategy(side)
    small = synthetic_pool(num_regions=1024, num_features=problem.num_features, num_labelled=1)
    small_truth = None
    if problem.is_full:
        small, small_truth = full_pool(small)
    select(small, small_truth, 16)  # loads libraries
    before_mib = _reset_peak()
    cpu_s, wall_s = time.process_time(), time.perf_counter()
    regions = select(pool, truth, problem.budget)
    wall_s, cpu_s = time.perf_counter() - wall_s, time.process_time() - cpu_s
    peak_mib = None if before_mib is None else round(_status_mib("VmHWM") - before_mib)
    return {"wall_s": round(wall_s, 3), "cpu_s": round(cpu_s, 3), "peak_mib": peak_mib}, regions


def _main(side: str, path: str, problem: str) -> None:
    row, regions = measure(side, Problem(**json.loads(problem)))
    with Path(path).open("wb") as file:
        np.save(file, regions)
    print(json.dumps(row))


if __name__ == "__main__":
    _main(*sys.argv[1:])
