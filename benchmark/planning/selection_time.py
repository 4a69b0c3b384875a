"""How long a selection takes, against two plain loops in the same run (the paper's table V-G for any pool).

References:
    [Cai2021] L. Cai et al. "Exploring Spatial Diversity for Region-based Active Learning". IEEE TIP, 2021.

Axes: R regions, D features, I images, C classes.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from quadrat.benchmark.planning.naive_selection import time_baseline, time_reference
from quadrat.strategies import Pool, StrategyError, load
from quadrat.strategies.diversity import Diversification
from quadrat.strategies.greedy.lazy import maximise_lazily
from quadrat.strategies.greedy.nearest import squared_distance_to_labelled
from quadrat.strategies.greedy.objective import Objective

__all__ = ["STRATEGIES", "bench_select", "read_pool", "synthetic_pool", "write_pool"]

STRATEGIES = ("random", "entropy", "entropy-spatial", "core-set", "entropy-feature", "entropy-feature-spatial")
"""What is timed by default."""

# Cityscapes at region size 128: 8 x 16 regions an image [Cai2021, section IV-B].
_NUM_ROWS, _NUM_COLS, _NUM_CLASSES = 8, 16, 20


def synthetic_pool(
    *, num_regions: int = 380_800, num_features: int = 128, num_labelled: int = 16_000, seed: int = 0
) -> Pool:
    """Return a pool that looks like one of street scenes to a strategy.

    Each region mixes classes that are smooth over an image; its feature is the mixture of class centres plus what its
    image and it alone add, with a spectrum that falls like that of principal components; its entropy is that of the
    mixture times a heavy-tailed factor. Labelled regions are spread at random.

    Args:
        num_regions: Rounded down to whole images of 8 x 16 regions.
        num_features: D.
        num_labelled: How many are labelled.
        seed: Same seed, same pool.
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
    for start in range(0, num_images, 256):  # a few images at a time: the pool may be larger than what makes it
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


_COLUMNS = ("image", "row", "col", "pixels", "labelled")


def write_pool(path: Path, pool: Pool) -> None:
    """Record a pool: an npz with its arrays by name, each signal as ``signals.<name>``, profiles alike."""
    arrays: dict[str, Any] = {name: getattr(pool, name) for name in _COLUMNS}
    arrays |= {f"signals.{name}": value for name, value in pool.signals.items()}
    arrays |= {f"profiles.{name}": value for name, value in pool.profiles.items()}
    if pool.features is not None:
        arrays["features"] = pool.features
    np.savez(path, **arrays)


def read_pool(path: Path) -> Pool:
    """Return a pool that ``write_pool`` recorded.

    Raises:
        StrategyError: An array that every pool has is missing.
    """
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    missing = set(_COLUMNS) - set(arrays)
    if missing:
        raise StrategyError(f"{path}: expected a pool that write_pool recorded, found no array {sorted(missing)[0]!r}")
    return Pool(
        **{name: arrays[name] for name in _COLUMNS},
        signals={name.removeprefix("signals."): arrays[name] for name in arrays if name.startswith("signals.")},
        features=arrays.get("features"),
        profiles={name.removeprefix("profiles."): arrays[name] for name in arrays if name.startswith("profiles.")},
    )


def bench_select(
    pool: Pool,
    *,
    strategies: Sequence[str] = STRATEGIES,
    budget: int = 16_000,
    plain_picks: int = 20,
    reference_picks: int = 3,
    repeats: int = 1,
    on_row: Callable[[dict[str, Any]], None] | None = None,
) -> dict[str, Any]:
    """Return seconds, memory and the ratio to two plain loops of whole ``select`` calls.

    A whole call searches the labelled regions only where it matters. For a ratio of loops alone, the engine is timed
    once more from distances to the labelled regions that are all known, as both plain loops are.

    Args:
        pool: What to select from.
        strategies: Registered names; the plain loops are there for the diversification family only.
        budget: Picks.
        plain_picks: Picks of the tuned float32 loop that are timed; its total is extrapolated.
        reference_picks: The same of the float64 reference; 0: it is left out.
        repeats: The fastest of so many calls counts, and the largest memory; a call before them loads libraries and is
            not timed.
        on_row: Told of each strategy when it is done.

    Returns:
        JSON-plain: ``pool``, ``budget``, ``cpus``, and ``rows``, see ``_row``.
    """
    rows = []
    for name in strategies:
        row = _row(name, pool, budget, plain_picks, reference_picks, repeats)
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
        "plain_picks_timed": plain_picks,
        "reference_picks_timed": reference_picks,
        "repeats": repeats,
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load_1min": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "rows": rows,
    }


def _row(name: str, pool: Pool, budget: int, plain_picks: int, reference_picks: int, repeats: int) -> dict[str, Any]:
    """Return the measurements of one strategy.

    ``seconds`` and ``peak_mib`` (above what was resident before) of the whole call. With features: ``search_s``, the
    search for all regions, and ``loop_s``, the engine when it is done. Then ``search_s``, ``loop_s``, ``ratio`` (search
    and loop over the whole call) and ``ratio_loop`` (loop alone over loop alone) against ``plain``, the tuned float32
    loop, and ``reference``, the float64 one that the picks are defined by.
    """
    strategy = load(name)
    load(name).select(_part(pool), 1, np.random.default_rng(0))
    resident_mib, times, peaks = _reset_peak(), [], []
    for _ in range(repeats):
        begin = time.perf_counter()
        selection = strategy.select(pool, budget, np.random.default_rng(0))
        times.append(time.perf_counter() - begin)
        if resident_mib is not None:
            peaks.append(_status_mib("VmHWM") - resident_mib)
    row: dict[str, Any] = {
        "strategy": name,
        "seconds": _rounded(min(times)),
        "picks": len(selection),
        "peak_mib": round(max(peaks), 1) if peaks else None,
    }
    if not isinstance(strategy, Diversification) or len(selection) == 0:
        return row
    objective = strategy.objective(pool)
    loop_s = None
    if objective.features is not None and pool.labelled.any():
        search_s, loop_s = _time_apart(objective, len(selection), repeats)
        row |= {"search_s": _rounded(search_s), "loop_s": _rounded(loop_s)}
    costs = {"plain": time_baseline(objective, plain_picks)}
    if reference_picks:
        costs["reference"] = time_reference(objective, reference_picks)
    for prefix, cost in costs.items():
        total_s = cost.pick_s * len(selection)
        row[f"{prefix}_search_s"] = _rounded(cost.search_s)
        row[f"{prefix}_loop_s"] = _rounded(total_s)
        row[f"{prefix}_ratio"] = _rounded((cost.search_s + total_s) / min(times))
        if loop_s is not None:
            row[f"{prefix}_ratio_loop"] = _rounded(total_s / loop_s)
    return row


def _time_apart(objective: Objective, budget: int, repeats: int) -> tuple[float, float]:
    """Return the seconds of the search to the labelled regions for all regions, and of the engine after it."""
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
    """Return ``value`` with the digits that a measurement has."""
    return float(f"{value:.3g}")


def _part(pool: Pool) -> Pool:
    """Return the first image or so of a pool."""
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
    """Forget the largest resident size so far and return the present one; None where the system can't.

    What earlier calls freed is given back first: kept by the allocator it would hide what the next one takes.
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
