"""Greedy selection with features on a CUDA device: seconds, phases, floors, and equality with the CPU's engine."""

import contextlib
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from performance.gpu.card import measure_rates, seconds_of
from quadrat.benchmark.planning.selection_time import synthetic_pool
from quadrat.strategies import Pool, load
from quadrat.strategies.diversity import Diversification
from quadrat.strategies.greedy.lazy import maximise_lazily
from quadrat.strategies.greedy.objective import Objective
from quadrat.strategies.pool import Selection

__all__ = ["STRATEGIES", "bench_device_selection"]

STRATEGIES = ("core-set", "entropy-feature", "feature-spatial", "entropy-feature-spatial")
"""The strategies that the engine for a device serves."""


def bench_device_selection(
    *,
    num_regions: int,
    num_features: int,
    num_labelled: int,
    budget: int,
    names: Sequence[str] = STRATEGIES,
    batches: Sequence[int] = (1024, 4096),
    repeats: int = 5,
    device: str = "cuda",
    checks: bool = True,
    on_part: Callable[[dict[str, Any]], None] | None = None,
) -> dict[str, Any]:
    """Return what a selection on the device costs.

    Args:
        num_regions: R, rounded down to whole images.
        num_features: D.
        num_labelled: L.
        budget: K.
        names: Strategies to time.
        batches: Other batch sizes to time core-set with.
        repeats: Timed calls after a warm-up, of which the median counts.
        device: "cuda"; "cpu" tries the script on a small pool, in a process with TRITON_INTERPRET=1.
        checks: Whether to select on the CPU too, and compare.
        on_part: Called with all that is measured so far, after each part.

    Returns:
        A JSON object: `rows` by strategy, `batches`, `loop` (a plain loop in torch), `quickfps`, `rates`, `floors_s`.
    """
    if device == "cpu":
        batches = ()
    import torch

    from quadrat.strategies.greedy import device as engine

    pool = synthetic_pool(num_regions=num_regions, num_features=num_features, num_labelled=num_labelled)
    result: dict[str, Any] = {"problem": _problem(pool, budget), "context": _context(device), "rows": []}

    def done() -> None:
        if on_part is not None:
            on_part(result)

    for name in names:
        row, selection, objective = _timed(name, pool, budget, repeats, device)
        result["rows"].append(row)
        done()
        row["phases_s"], row["num_batches"] = _phases(objective, budget, device)
        if checks:
            begin_s = time.perf_counter()
            expected = maximise_lazily(objective, budget)
            row["cpu_engine_s"] = _rounded(time.perf_counter() - begin_s)
            row |= _equality(selection, expected)
        done()
    result["rates"] = _rates(device)
    num_members = int(pool.labelled.sum()) + budget
    assert pool.features is not None
    result["floors_s"] = {
        "features to the device": _rounded(pool.features.nbytes / result["rates"]["host_to_device_bytes_per_s"]),
        "products": _rounded(2 * pool.features.size * num_members / result["rates"]["fp32_flop_per_s"]),
    }
    for row in result["rows"]:
        row["floor"] = ", ".join(f"{seconds:g} ({what})" for what, seconds in result["floors_s"].items())
    done()
    result["batches"] = []
    default = engine._BATCH
    for size in (*batches, default):
        engine._BATCH = size
        row, _, objective = _timed(names[0], pool, budget, repeats, device)
        result["batches"].append({"batch": size, "num_batches": _phases(objective, budget, device)[1], **row})
    engine._BATCH = default
    done()
    result["loop"] = _plain_loop(pool, budget, device)
    done()
    result["quickfps"] = _quickfps(pool, min(budget, 4000), device, repeats)
    if device == "cuda":
        result["peak_mib"] = torch.cuda.max_memory_allocated() >> 20
    done()
    return result


def _problem(pool: Pool, budget: int) -> dict[str, int]:
    assert pool.features is not None
    num_regions, num_features = pool.features.shape
    num_labelled = int(pool.labelled.sum())
    return {"regions": num_regions, "features": num_features, "labelled": num_labelled, "budget": budget}


def _context(device: str) -> dict[str, Any]:
    import torch
    import triton

    return {
        "card": torch.cuda.get_device_name() if device == "cuda" else "none: Triton's interpreter",
        "torch": torch.__version__,
        "triton": triton.__version__,
        "numpy": np.__version__,
        "cuda": torch.version.cuda,
    }


def _timed(
    name: str, pool: Pool, budget: int, repeats: int, device: str
) -> tuple[dict[str, Any], Selection, Objective]:
    """Time whole `select` calls; on the CPU, where those would take another engine, the engine alone."""
    from quadrat.strategies.greedy import cuda
    from quadrat.strategies.greedy.device import maximise_on_device

    strategy = load(name)
    assert isinstance(strategy, Diversification)
    objective = strategy.objective(pool, np.random.default_rng(0))
    if device == "cuda" and not cuda.runs_on_device(objective, budget):
        raise RuntimeError(f"{name}: expected the engine for CUDA, maximise takes another one; see the log")
    times = []
    for _ in range(1 + repeats):
        begin_s = time.perf_counter()
        if device == "cuda":
            selection = strategy.select(pool, budget, np.random.default_rng(0))
        else:
            selection = maximise_on_device(objective, budget, device)
        times.append(time.perf_counter() - begin_s)
    row = {
        "side": name,
        "seconds": _rounded(statistics.median(times[1:])),
        "each_s": [_rounded(seconds) for seconds in times[1:]],
        "warm_up_s": _rounded(times[0]),
    }
    return row, selection, objective


def _phases(objective: Objective, budget: int, device: str) -> tuple[dict[str, float], int]:
    """Return the seconds of each phase in one more selection, in which the host waits after each, and its batches.

    Phases lie inside each other: `start` holds the transfer and the labelled bounds; `refresh` is exact distances of a
    batch to the set.
    """
    import torch

    from quadrat.strategies.greedy import device as engine

    spent: dict[str, float] = defaultdict(float)
    calls: dict[str, int] = defaultdict(int)

    def recorded(phase: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            begin_s = time.perf_counter()
            found = function(*arguments, **options)
            if device == "cuda":
                torch.cuda.synchronize()
            spent[phase] += time.perf_counter() - begin_s
            calls[phase] += 1
            return found

        return call

    greedy = engine._DeviceGreedy
    with contextlib.ExitStack() as stack:
        for owner, name, phase in (
            (engine, "_moved", "features to the device"),
            (engine, "_squared_distances", "distances inside batches"),
            (greedy, "__init__", "start"),
            (greedy, "_add", "bounds of all regions"),
            (greedy, "_largest", "scale"),
            (greedy, "_largest_of", "drawing batches"),
            (greedy, "_refreshed", "refresh"),
            (greedy, "_greedy", "greedy inside batches"),
            (greedy, "_spatial_within", "spatial distances inside batches"),
            (greedy, "_update_spatial_term", "spatial term"),
            (greedy, "select_batch", "all batches"),
        ):
            stack.enter_context(_replaced(owner, name, recorded(phase, getattr(owner, name))))
        begin_s = time.perf_counter()
        engine.maximise_on_device(objective, budget, device)
        spent["whole engine"] = time.perf_counter() - begin_s
    return {phase: _rounded(seconds) for phase, seconds in spent.items()}, calls["all batches"]


@contextlib.contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


def _equality(found: Selection, expected: Selection) -> dict[str, Any]:
    different = np.flatnonzero(found.regions != expected.regions)
    return {
        "regions_equal": len(different) == 0,
        "first_different": int(different[0]) if len(different) else None,
        "potentials_equal": bool(np.array_equal(found.potential, expected.potential)),
        "largest_difference": float(np.abs(found.potential - expected.potential).max()),
    }


def _rates(device: str) -> dict[str, float]:
    """Return what the card reaches, and how fast bytes are copied to it from pinned memory."""
    import torch

    is_cuda = device == "cuda"
    num_bytes = 1 << (29 if is_cuda else 23)
    host = torch.zeros(num_bytes // 4, pin_memory=is_cuda)
    target = torch.empty_like(host, device=device)
    elapsed_s = seconds_of(lambda: target.copy_(host, non_blocking=True), device)
    return {**measure_rates(device), "host_to_device_bytes_per_s": num_bytes / elapsed_s}


def _plain_loop(pool: Pool, budget: int, device: str, limit_s: float = 15.0) -> dict[str, Any]:
    """Time the usual loop for core-set in torch: argmax, then the distances of all regions to one, in float32.

    Features are on the device already, and the distances to labelled regions, by `cdist`, are timed apart.
    """
    import torch

    assert pool.features is not None
    point_RD = torch.tensor(pool.features, device=device)
    labelled = torch.from_numpy(np.flatnonzero(pool.labelled)).to(device)
    begin_s = time.perf_counter()
    nearest_R = torch.cat(
        [torch.cdist(part, point_RD[labelled]).amin(dim=1) for part in torch.split(point_RD, 1 << 14)]
    )
    nearest_R = nearest_R.square()
    float(nearest_R.sum())
    search_s = time.perf_counter() - begin_s
    norm_R = point_RD.square().sum(dim=1)
    begin_s, num_steps = time.perf_counter(), 0
    while num_steps < budget and time.perf_counter() - begin_s < limit_s:
        best = nearest_R.argmax()
        squared_R = torch.addmv(norm_R, point_RD, point_RD[best], alpha=-2.0) + norm_R[best]
        torch.minimum(nearest_R, squared_R.clamp_(min=0.0), out=nearest_R)
        nearest_R[best] = -1.0
        num_steps += 1
        if num_steps % 256 == 0:
            float(nearest_R[0])  # the host runs ahead of the device otherwise, and the limit means nothing
    float(nearest_R[0])
    loop_s = time.perf_counter() - begin_s
    return {
        "search_s": _rounded(search_s),
        "timed_steps": num_steps,
        "loop_s": _rounded(loop_s / num_steps * budget),
    }


def _quickfps(pool: Pool, budget: int, device: str, repeats: int) -> dict[str, Any]:
    """Time torch-quickfps and core-set from one and the same region; equal picks are counted."""
    import dataclasses

    import torch

    try:
        import torch_quickfps  # type: ignore[import-not-found]  # not in the lock file
    except ModuleNotFoundError:
        return {"error": "torch-quickfps is not installed"}
    assert pool.features is not None
    first = int(np.flatnonzero(pool.labelled)[0])
    one = dataclasses.replace(pool, labelled=np.arange(pool.num_regions) == first)
    row, selection, _ = _timed("core-set", one, budget, repeats, device)
    point_RD = torch.tensor(pool.features, device=device)
    times = []
    try:
        for _ in range(2):
            begin_s = time.perf_counter()
            # Its tree takes 64 dimensions at most: points are projected to these for the tree, not for distances.
            low_d = min(64, point_RD.shape[1])
            found = torch_quickfps.sample_idx(point_RD[None], budget + 1, start_idx=first, low_d=low_d)
            found = found[0, 1:].cpu().numpy()
            times.append(time.perf_counter() - begin_s)
    except (RuntimeError, TypeError, ValueError) as error:
        return {"budget": budget, "core_set": row, "error": f"{type(error).__name__}: {error}"}
    different = np.flatnonzero(found != selection.regions)
    return {
        "budget": budget,
        "core_set": row,
        "seconds_features_on_the_device": _rounded(min(times)),
        "equal_first": int(different[0]) if len(different) else budget,
        "in_both": len(np.intersect1d(found, selection.regions)),
    }


def _rounded(value: float) -> float:
    """Return `value` with three significant digits."""
    return float(f"{value:.3g}")
