"""The selections of a results folder as places in images, and as SVG paths over them."""

from collections.abc import Mapping, Sequence

from quadrat.benchmark.results.selections import Selections
from quadrat.benchmark.results.trials import Results
from quadrat.strategies.selection_file import SelectionFile

__all__ = ["cells_path", "paths_in_image", "read_picks"]


def read_picks(results: Results) -> dict[str, dict[int, SelectionFile]]:
    """Return trial_id -> round -> selection, for every trial of a strategy that has a selection.

    Raises:
        ResultsError: When a selection file is damaged.
    """
    selections = Selections(results.path)
    found: dict[str, dict[int, SelectionFile]] = {}
    for trial in results.trials:
        for record in trial.records:
            if (file := selections.read(trial.trial_id, record.round)) is not None:
                found.setdefault(trial.trial_id, {})[record.round] = file
    return found


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


def paths_in_image(by_round: Mapping[int, SelectionFile], index: int, height: int, width: int) -> dict[int, str]:
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
