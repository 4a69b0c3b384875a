"""Selections as published files: which regions were picked, in which order, with which potential."""

import io
from pathlib import Path

import numpy as np

from quadrat.benchmark.data import RegionGrid
from quadrat.benchmark.errors import ResultsError
from quadrat.benchmark.storage.atomic import atomic_write
from quadrat.strategies import Selection

__all__ = ["read_selection", "selection_path", "write_selection"]


def selection_path(results_dir: Path, trial_id: str, round_: int) -> Path:
    """Return where the selection of a round lies."""
    return Path(results_dir) / "selections" / trial_id / f"round-{round_}.npz"


def write_selection(
    path: Path, selection: Selection, grid: RegionGrid, *, score_s: float = 0.0, select_s: float = 0.0
) -> None:
    """Write a selection, atomically, so that it can be replayed by region id or by image, row and column.

    Args:
        path: The file.
        selection: The picks.
        grid: The pool's regions.
        score_s: Seconds of the scoring pass before it.
        select_s: Seconds the strategy took.
    """
    regions = selection.regions
    buffer = io.BytesIO()
    np.savez(
        buffer,
        regions=regions,
        potential=selection.potential,
        image=grid.image[regions],
        row=grid.row[regions],
        col=grid.col[regions],
        region_size=np.int64(grid.region_size),
        score_s=np.float64(score_s),
        select_s=np.float64(select_s),
    )
    atomic_write(path, buffer.getvalue())


def read_selection(path: Path, grid: RegionGrid | None = None) -> tuple[Selection, dict[str, float]] | None:
    """Return a selection and the seconds of "score" and "select", or None when it has not been made.

    Args:
        path: The file.
        grid: When given, the file must belong to it.

    Raises:
        ResultsError: When the selection belongs to another grid.
    """
    if not path.is_file():
        return None
    with np.load(path) as file:
        regions, potential = file["regions"], file["potential"]
        if grid is not None:
            same_size = int(file["region_size"]) == grid.region_size
            inside = regions.size == 0 or (regions.min() >= 0 and regions.max() < grid.num_regions)
            if not (same_size and inside and np.array_equal(file["image"], grid.image[regions])):
                raise ResultsError(
                    f"{path}: expected regions of a grid of {grid.region_size} px over this pool, got a selection of "
                    "another; use another --results folder"
                )
        seconds = {"score": float(file["score_s"]), "select": float(file["select_s"])}
    return Selection(regions=regions, potential=potential), seconds
