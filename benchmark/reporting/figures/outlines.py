"""The selections of a results folder as places in images, and as SVG paths over them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from quadrat.benchmark.errors import ResultsError
from quadrat.benchmark.results.trials import Results

__all__ = ["Picks", "cells_path", "paths_in_image", "read_picks"]


class Picks(NamedTuple):
    """The picks of one round of one trial: where each region lies."""

    image: npt.NDArray[np.int32]
    row: npt.NDArray[np.int32]
    col: npt.NDArray[np.int32]
    region_size: int


def read_picks(results: Results) -> dict[str, dict[int, Picks]]:
    """Return trial_id -> round -> picks, for every trial of a strategy that has a selection.

    Raises:
        ResultsError: When a selection file is damaged.
    """
    picks: dict[str, dict[int, Picks]] = {}
    for trial in results.trials:
        if trial.is_reference:
            continue
        folder = results.path / "selections" / trial.trial_id
        for record in trial.records:
            path = folder / f"round-{record.round}.npz"
            if path.is_file():
                picks.setdefault(trial.trial_id, {})[record.round] = _read_selection(path)
    return picks


def _read_selection(path: Path) -> Picks:
    try:
        with np.load(path, allow_pickle=False) as file:
            return Picks(file["image"], file["row"], file["col"], int(file["region_size"]))
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise ResultsError(
            f"{path}: expected a selection with image, row, col and region_size, got a damaged file ({error}); "
            "delete it and run the suite again to write it anew."
        ) from error


def cells_path(row: Sequence[int], col: Sequence[int], region_size: int, height: int, width: int) -> str:
    """Return an SVG path of grid cells, clipped to the image.

    Examples:
        >>> cells_path([0], [1], 16, 10, 24)
        'M16,0h8v10h-8z'
    """
    parts = []
    for top, left in zip((r * region_size for r in row), (c * region_size for c in col), strict=True):
        down, right = min(region_size, height - top), min(region_size, width - left)
        parts.append(f"M{left},{top}h{right}v{down}h-{right}z")
    return "".join(parts)


def paths_in_image(by_round: Mapping[int, Picks], index: int, height: int, width: int) -> dict[int, str]:
    """Return round -> SVG path of the regions picked in one image; rounds without any are left out.

    Args:
        by_round: The picks of one trial.
        index: Which image of the pool.
        height: Its height, pixels.
        width: Its width, pixels.
    """
    paths = {}
    for round_, found in sorted(by_round.items()):
        here = found.image == index
        if here.any():
            row, col = found.row[here].tolist(), found.col[here].tolist()
            paths[round_] = cells_path(row, col, found.region_size, height, width)
    return paths
