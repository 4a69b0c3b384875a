"""Time and memory of a selection, relative to two naive baselines in the same run.

Measures the paper's table V-G [Cai2021] for a pool of any size.

References:
    [Cai2021] L. Cai et al. "Exploring Spatial Diversity for Region-based Active Learning". IEEE TIP, 2021.

Axes: R regions, D features, C classes.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from quadrat.benchmark.planning.naive_selection import time_baseline, time_reference
from quadrat.strategies import Needs, Pool, StrategyError, load
from quadrat.strategies.diversity import Diversification
from quadrat.strategies.greedy.cuda import runs_on_device
from quadrat.strategies.greedy.lazy import maximise_lazily
from quadrat.strategies.greedy.nearest import squared_distance_to_labelled
from quadrat.strategies.greedy.objective import Objective

__all__ = ["STRATEGIES", "bench_select", "jittered", "read_pool", "synthetic_pool", "write_pool"]

STRATEGIES = ("random", "entropy", "entropy-spatial", "core-set", "entropy-feature", "entropy-feature-spatial")
"""The strategies that are timed by default."""

# Cityscapes at region size 128: 8 x 16 regions an image [Cai2021, section IV-B].
_NUM_ROWS, _NUM_COLS, _NUM_CLASSES = 8, 16, 20


def synthetic_pool(
    *, num_regions: int = 380_800, num_features: int = 128, num_labelled: int = 16_000, seed: int = 0
) -> Pool:
    """Return a synthetic pool with statistics like those of street scenes.

    A region is a mixture of classes that vary smoothly over an image. Its feature is the mixture of class centres plus
    noise per image and noise per region, with a spectrum that falls like that of principal components. Its entropy is
    that of the mixture times a heavy-tailed factor. Labelled regions are spread at random.

    Args:
        num_regions: Rounded down to whole images of 8 x 16 regions.
        num_features: D.
        num_labelled: Number of labelled regions.
        seed: Equal seeds give equal pools.
    """
    rng = np.random.default_rng(seed)
    per_image = _NUM_ROWS * _NUM_COLS
    num_images = max(1, num_regions // per_image)
    cell = np.tile(np.arange(per_image, dtype=np.int32), num_images)
    image = np.repeat(np.arange(num_images, dtype=np.int32), per_image)
    spectrum_D = (1.0 + np.arange(num_features, dtype=np.float32)) ** -0.6
    class_CD = 2.0 * spectrum_D * rng.standard_normal((_NUM_CLASSES, num_features), np.float32)
    features_RD = np.empty((len(image), num_features), np.float32)
    entropy_R = np.empty(len(image), np.float32)
    for start in range(0, num_images, 256):  # a few images at a time: the temporary arrays are larger than the pool
        count = min(256, num_images - start)
        coarse = rng.standard_normal((count, _NUM_ROWS // 2, _NUM_COLS // 2, _NUM_CLASSES), np.float32)
        smooth = coarse.repeat(2, axis=1).repeat(2, axis=2).reshape(-1, _NUM_CLASSES)
        share_RC = np.exp(2.0 * smooth + 0.6 * rng.standard_normal(smooth.shape, np.float32))
        share_RC /= share_RC.sum(axis=1, keepdims=True)
        rows = slice(start * per_image, (start + count) * per_image)
        own = rng.standard_normal((count * per_image, num_features), np.float32)
        shared = rng.standard_normal((count, num_features), np.float32).repeat(per_image, axis=0)
        features_RD[rows] = share_RC @ class_CD + spectrum_D * (0.5 * own + 0.4 * shared)
        entropy_R[rows] = -(share_RC * np.log(share_RC)).sum(axis=1) * rng.gamma(2.0, 0.5, len(share_RC))
    labelled = np.zeros(len(image), np.bool_)
    labelled[rng.choice(len(image), size=min(num_labelled, len(image)), replace=False)] = True
    return Pool(
        image=image,
        row=cell // _NUM_COLS,
        col=cell % _NUM_COLS,
        pixels=np.full(len(image), 128 * 128),
        labelled=labelled,
        signals={"entropy": entropy_R},
        features=features_RD,
    )


def jittered(pool: Pool, by: float, seed: int = 0) -> Pool:
    """Return a grid's pool as one of regions of any shape.

    Args:
        pool: The cells of grids.
        by: Each coordinate of a centre is moved by up to this many region sizes, below 0.5.
        seed: Equal seeds give equal pools.

    Returns:
        The pool with centres, and the borders of the cells.

    Raises:
        StrategyError: The pool has centres already.
    """
    if not pool.has_cells:
        raise StrategyError("expected a pool of grid cells to move, got one of centres; leave --jitter out")
    rng = np.random.default_rng(seed)
    row, col = (axis + 0.5 + rng.uniform(-by, by, pool.num_regions) for axis in (pool.row, pool.col))
    return dataclasses.replace(pool, row=row, col=col, borders=pool.only(Needs(borders=True)).borders)


_COLUMNS = ("image", "row", "col", "pixels", "labelled")


def write_pool(path: Path, pool: Pool) -> None:
    """Write a pool as npz: its arrays by name, signals as ``signals.<name>``, profiles as ``profiles.<name>``."""
    arrays: dict[str, Any] = {name: getattr(pool, name) for name in _COLUMNS}
    arrays |= {f"signals.{name}": value for name, value in pool.signals.items()}
    arrays |= {f"profiles.{name}": value for name, value in pool.profiles.items()}
    for name in ("features", "borders"):
        if getattr(pool, name) is not None:
            arrays[name] = getattr(pool, name)
    np.savez(path, **arrays)


def read_pool(path: Path) -> Pool:
    """Return a pool that ``write_pool`` wrote.

    Raises:
        StrategyError: An array that every pool has is missing.
    """
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    missing = set(_COLUMNS) - set(arrays)
    if missing:
        raise StrategyError(f"{path}: expected a pool that write_pool wrote, found no array {sorted(missing)[0]!r}")
    return Pool(
        **{name: arrays[name] for name in _COLUMNS},
        signals={name.removeprefix("signals."): arrays[name] for name in arrays if name.startswith("signals.")},
        features=arrays.get("features"),
        borders=arrays.get("borders"),
        profiles={name.removeprefix("profiles."): arrays[name] for name in arrays if name.startswith("profiles.")},
    )


def bench_select(
    pool: Pool,
    *,
    strategies: Sequence[str] = STRATEGIES,
    budget: int = 16_000,
    baseline_steps: int = 20,
    reference_steps: int = 3,
    repeats: int = 1,
    grid: Pool | None = None,
    on_row: Callable[[dict[str, Any]], None] | None = None,
) -> dict[str, Any]:
    """Return seconds and memory of whole ``select`` calls, and their speedup over two naive baselines.

    A whole call computes distances to labelled regions only where they matter. To compare the selection loops alone,
    the engine is timed again from known distances to all labelled regions, which both baselines start from.

    Args:
        pool: The pool to select from.
        strategies: Registered names; the baselines exist for the diversification family only.
        budget: Number of regions to select.
        baseline_steps: Timed steps of the float32 baseline; its total is extrapolated.
        reference_steps: Timed steps of the float64 reference implementation; 0 leaves it out.
        repeats: Number of timed calls, of which the fastest and the largest memory count. An untimed call before them
            loads libraries.
        grid: A pool of cells to compare with; its calls are timed in turns with those of ``pool``.
        on_row: Called with the row of each strategy when it is measured.

    Returns:
        A JSON object: ``pool``, ``budget``, ``cpus``, and ``rows``, see ``_row``.
    """
    rows = []
    for name in strategies:
        row = _row(name, pool, budget, baseline_steps, reference_steps, repeats, grid)
        rows.append(row)
        if on_row is not None:
            on_row(row)
    num_features = 0 if pool.features is None else pool.features.shape[1]
    return {
        "pool": {
            "num_regions": pool.num_regions,
            "num_features": num_features,
            "num_labelled": int(pool.labelled.sum()),
            "features_mib": round(0 if pool.features is None else pool.features.nbytes / 2**20, 1),
        },
        "budget": budget,
        "baseline_steps_timed": baseline_steps,
        "reference_steps_timed": reference_steps,
        "repeats": repeats,
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load_1min": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "rows": rows,
    }


def _row(
    name: str, pool: Pool, budget: int, baseline_steps: int, reference_steps: int, repeats: int, grid: Pool | None
) -> dict[str, Any]:
    """Return the measurements of one strategy.

    | key               | value                                                                            |
    |-------------------|----------------------------------------------------------------------------------|
    | ``seconds``       | the whole call                                                                   |
    | ``grid_seconds``  | the same call on the cells of a grid, if any                                     |
    | ``grid_factor``   | ``seconds`` over that                                                            |
    | ``peak_mib``      | its peak memory above the resident size before                                   |
    | ``search_s``      | distances of all regions to the labelled ones (with features, on the CPU)        |
    | ``loop_s``        | the engine after that search (with features, on the CPU)                         |
    | ``*_search_s``    | the search of ``baseline`` (float32 loop) and ``reference`` (float64 loop)       |
    | ``*_loop_s``      | their loop                                                                       |
    | ``*_ratio``       | their search and loop over ``seconds``                                           |
    | ``*_ratio_loop``  | their loop over ``loop_s``                                                       |
    """
    strategy = load(name)
    load(name).select(_part(pool), 1, np.random.default_rng(0))
    resident_mib, times, peaks, grid_times = _reset_peak(), [], [], []
    for _ in range(repeats):
        if grid is not None:
            begin = time.perf_counter()
            strategy.select(grid, budget, np.random.default_rng(0))
            grid_times.append(time.perf_counter() - begin)
        begin = time.perf_counter()
        selection = strategy.select(pool, budget, np.random.default_rng(0))
        times.append(time.perf_counter() - begin)
        if resident_mib is not None:
            peaks.append(_status_mib("VmHWM") - resident_mib)
    row: dict[str, Any] = {
        "strategy": name,
        "seconds": _rounded(min(times)),
        "selected": len(selection),
        "peak_mib": round(max(peaks), 1) if peaks else None,
    }
    if grid_times:
        row |= {
            "grid_seconds": _rounded(min(grid_times)),
            "grid_factor": _rounded(min(times) / min(grid_times)),
        }
    if not isinstance(strategy, Diversification) or len(selection) == 0:
        return row
    objective = strategy.objective(pool, np.random.default_rng(0))
    loop_s = None
    is_lazy = objective.features is not None and not runs_on_device(objective, len(selection))
    if is_lazy and pool.labelled.any():
        search_s, loop_s = _time_search_and_loop(objective, len(selection), repeats)
        row |= {"search_s": _rounded(search_s), "loop_s": _rounded(loop_s)}
    times_by_loop = {"baseline": time_baseline(objective, baseline_steps)}
    if reference_steps:
        times_by_loop["reference"] = time_reference(objective, reference_steps)
    for prefix, loop in times_by_loop.items():
        total_s = loop.step_s * len(selection)
        row[f"{prefix}_search_s"] = _rounded(loop.search_s)
        row[f"{prefix}_loop_s"] = _rounded(total_s)
        row[f"{prefix}_ratio"] = _rounded((loop.search_s + total_s) / min(times))
        if loop_s is not None:
            row[f"{prefix}_ratio_loop"] = _rounded(total_s / loop_s)
    return row


def _time_search_and_loop(objective: Objective, budget: int, repeats: int) -> tuple[float, float]:
    """Return the seconds of the distances of all regions to the labelled ones, and of the engine after that."""
    assert objective.features is not None
    begin = time.perf_counter()
    squared_R = squared_distance_to_labelled(objective.features, np.flatnonzero(objective.labelled))
    search_s = time.perf_counter() - begin
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        maximise_lazily(objective, budget, squared_R)
        times.append(time.perf_counter() - begin)
    return search_s, min(times)


def _rounded(value: float) -> float:
    """Return ``value`` with three significant digits."""
    return float(f"{value:.3g}")


def _part(pool: Pool) -> Pool:
    """Return the first 128 regions of a pool."""
    rows = np.arange(min(pool.num_regions, _NUM_ROWS * _NUM_COLS))
    columns = {name: getattr(pool, name)[rows] for name in ("image", "row", "col", "pixels")}
    return Pool(
        **columns,
        labelled=rows == 0,
        signals={name: value[rows] for name, value in pool.signals.items()},
        features=None if pool.features is None else pool.features[rows],
        profiles={name: value[rows] for name, value in pool.profiles.items()},
    )


def _reset_peak() -> float | None:
    """Reset the peak resident size of the process and return the present size; None where the system can't.

    Memory that the allocator keeps is returned to the system first: it would hide allocations of the next call.
    """
    with contextlib.suppress(OSError, AttributeError):  # glibc only
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return None
    return _status_mib("VmRSS")


def _status_mib(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) / 1024 for line in lines if line.startswith(field))
