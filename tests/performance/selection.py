"""Selections by every shipped strategy, and core-set against other packages' farthest point sampling."""

import dataclasses
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from performance.selection_side import RIVALS, Problem
from quadrat.strategies import available

__all__ = ["PROBLEMS", "agreement", "bench_rivals", "bench_strategies", "shipped"]

PROBLEMS: Final = (
    Problem(num_regions=47_488, num_features=128, num_labelled=1, budget=400),
    Problem(num_regions=47_488, num_features=128, num_labelled=1, budget=4_000),
    Problem(num_regions=380_800, num_features=128, num_labelled=1, budget=1_600),
)
"""Pools of an eighth of Cityscapes and of all of it, at region size 128."""

_NEEDS: Final = {"fpsample": "fpsample", "torch-quickfps": "torch_quickfps", "skmatter": "skmatter"}

_ELSEWHERE: Final = {"precomputed"}  # reads a file


def shipped() -> list[str]:
    """Return the strategies that quadrat ships and that compute a selection."""
    found = {name for name, plugin in available().items() if plugin.distribution == "quadrat"}
    return sorted(found - _ELSEWHERE)


def bench_rivals(
    problems: Sequence[Problem] = PROBLEMS,
    *,
    threads: Sequence[int] = (1,),
    limit_s: float = 600.0,
    on_row: Callable[[dict[str, Any]], None] | None = None,
) -> dict[str, Any]:
    """Return seconds and memory of core-set and of farthest point sampling by other packages, from the same point.

    Args:
        problems: Pools with one labelled region.
        threads: Numbers of threads.
        limit_s: A side that takes longer is stopped, and said to be slower.
        on_row: Called with each row when it is measured.

    Returns:
        A JSON object: `rows`; `missing`, packages that are not installed; and what `_context` gives.
    """
    missing = [name for name, module in _NEEDS.items() if importlib.util.find_spec(module) is None]
    rows = []
    for problem in problems:
        for num in threads:
            own: NDArray[np.int64] | None = None
            for side in ("core-set", *(name for name in RIVALS if name not in missing)):
                row, regions = _run(side, problem, num, limit_s)
                if side == "core-set":
                    own = regions
                elif own is not None and regions is not None:
                    row |= agreement(own, regions)
                rows.append(row)
                if on_row is not None:
                    on_row(row)
    return {"rows": rows, "missing": missing, **_context()}


def bench_strategies(
    problem: Problem,
    names: Sequence[str] = (),
    *,
    threads: Sequence[int] = (1,),
    limit_s: float = 600.0,
    on_row: Callable[[dict[str, Any]], None] | None = None,
) -> dict[str, Any]:
    """Return seconds and memory of every shipped strategy, or of `names`, on one pool; as `bench_rivals`."""
    rows = []
    for name in names or shipped():
        for num in threads:
            row, _ = _run(name, problem, num, limit_s)
            rows.append(row)
            if on_row is not None:
                on_row(row)
    return {"rows": rows, **_context()}


def agreement(own: NDArray[np.int64], other: NDArray[np.int64]) -> dict[str, int]:
    """Return how many first selections are equal, one after the other, and how many regions are in both selections.

    >>> agreement(np.array([3, 1, 2, 5]), np.array([3, 1, 5, 2]))
    {'equal_first': 2, 'in_both': 4}
    """
    different = np.flatnonzero(own != other)
    return {
        "equal_first": int(different[0]) if len(different) else len(own),
        "in_both": len(np.intersect1d(own, other)),
    }


def _run(side: str, problem: Problem, threads: int, limit_s: float) -> tuple[dict[str, Any], NDArray[np.int64] | None]:
    """Run a side in a process of its own, on so many threads, and return its measurements and its selection."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")
    path = os.pathsep.join(filter(None, [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, **dict.fromkeys(names, str(threads)), "PYTHONPATH": path}
    row: dict[str, Any] = {"side": side, "threads": threads, **dataclasses.asdict(problem)}
    with tempfile.TemporaryDirectory(prefix="quadrat-bench-") as folder:
        file = Path(folder, "regions.npy")
        asked = json.dumps(dataclasses.asdict(problem))
        command = [sys.executable, "-m", "performance.selection_side", side, str(file), asked]
        try:
            done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=limit_s)
        except subprocess.TimeoutExpired:
            return {**row, "longer_than_s": limit_s}, None
        if done.returncode:
            return {**row, "error": (done.stderr.strip().splitlines() or ["no message"])[-1]}, None
        return {**row, **json.loads(done.stdout.splitlines()[-1])}, np.load(file)


def _context() -> dict[str, Any]:
    return {"cpus": len(os.sched_getaffinity(0)), "load_1min": round(os.getloadavg()[0], 2)}
