"""Scoring on regions of other shapes against the grid's: the same network, images and pass, two layouts in turns."""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from performance.learner.case import Case
from performance.learner.sides import QuadratScore
from quadrat.benchmark.data import Layout
from quadrat.benchmark.data.shapes import pack_regions
from quadrat.benchmark.data.shapes.kind import load_kind

__all__ = ["bench_shapes"]

_PASSES: Final = {"entropy": False, "entropy and features": True}
"""Title -> whether features are computed."""


def bench_shapes(
    case: Case,
    kinds: Sequence[str] = ("slic", "seeds"),
    *,
    repeats: int = 5,
    on_row: Callable[[dict[str, Any]], None] | None = None,
) -> dict[str, Any]:
    """Return how much longer a scoring pass over a pool takes on maps of regions than on the grid.

    On a CPU seconds are CPU time of the process, which other programs do not lengthen much; on CUDA wall time.

    Args:
        case: The pool, the recipe, the region size.
        kinds: Registered kinds of regions, with their default parameters.
        repeats: Pairs of passes, one on the grid and one on the map, in turns; one more before them is not timed.
        on_row: Called with each row.

    Returns:
        JSON-plain. Of each row: `ratio` is the median over pairs of the map's seconds by the grid's, `ratios` are all
        of them, `regions` the number of regions of the map and of the grid.
    """
    side, split = QuadratScore(case), case.split()
    rows = []
    for kind in kinds:
        layout: Layout = pack_regions(split, load_kind(kind), case.region_size)
        for title, features in _PASSES.items():
            ratios, grid_s = [], []
            for repeat in range(repeats + 1):
                pair = (side.grid, layout) if repeat % 2 == 0 else (layout, side.grid)
                seconds = {id(one): _seconds(case, side, one, features=features) for one in pair}
                if repeat:
                    grid_s.append(seconds[id(side.grid)])
                    ratios.append(seconds[id(layout)] / seconds[id(side.grid)])
            row = {
                "regions of": kind,
                "pass": title,
                "ratio": round(statistics.median(ratios), 3),
                "ratios": [round(ratio, 3) for ratio in ratios],
                "grid_ms_per_image": round(1000 * statistics.median(grid_s) / len(split), 1),
                "regions": [layout.num_regions, side.grid.num_regions],
            }
            rows.append(row)
            if on_row is not None:
                on_row(row)
    return {**case.describe(), "clock": "CPU time" if case.device == "cpu" else "wall time", "rows": rows}


def _seconds(case: Case, side: QuadratScore, layout: Layout, *, features: bool) -> float:
    clock = time.process_time if case.device == "cpu" else time.perf_counter
    begin = clock()
    side.score(layout, features=features)  # ends with arrays on the host, so a GPU has done all of it
    return clock() - begin
