"""The true border of a region, along the sides of its pixels."""

import itertools
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

__all__ = ["outline_path", "outlines"]

Corner = tuple[int, int]
"""x and y of a pixel's corner."""


def outlines(is_in: npt.NDArray[np.bool_]) -> Iterator[list[Corner]]:
    """Yield the closed lines around the pixels of a region, the corners where they turn; holes have lines of their own.

    A line has the region on its right. Pixels that touch at a corner only have lines of their own.

    Args:
        is_in: bool (height, width), which pixels are in the region.

    Examples:
        >>> list(outlines(np.array([[True, True], [True, False]])))
        [[(0, 0), (2, 0), (2, 1), (1, 1), (1, 2), (0, 2)]]
    """
    framed = np.pad(is_in, 1)
    inner = framed[1:-1, 1:-1]
    steps: dict[Corner, list[Corner]] = {}
    # Sides of pixels as steps from corner to corner, clockwise: start of the side, and direction.
    for beside, start, direction in (
        (framed[:-2, 1:-1], (0, 0), (1, 0)),  # above: to the right
        (framed[1:-1, 2:], (1, 0), (0, 1)),  # to the right: down
        (framed[2:, 1:-1], (1, 1), (-1, 0)),  # below: to the left
        (framed[1:-1, :-2], (0, 1), (0, -1)),  # to the left: up
    ):
        for y, x in np.argwhere(inner & ~beside).tolist():
            steps.setdefault((x + start[0], y + start[1]), []).append(direction)
    for corner in sorted(steps, key=lambda place: (place[1], place[0])):
        while steps[corner]:
            yield _follow(steps, corner)


def _follow(steps: dict[Corner, list[Corner]], first: Corner) -> list[Corner]:
    """Return the corners of one line and remove its steps."""
    line: list[Corner] = []
    (x, y), direction = first, (0, 0)
    while (x, y) != first or not line:
        ways = steps[x, y]
        # Where two pixels touch at a corner, turning right stays on the pixel.
        right = (-direction[1], direction[0])
        way = right if right in ways else ways[0]
        ways.remove(way)
        if way != direction:
            line.append((x, y))
        direction = way
        x, y = x + way[0], y + way[1]
    return line


def outline_path(is_in: npt.NDArray[np.bool_], top: int = 0, left: int = 0) -> str:
    """Return the border of a region as an SVG path.

    Args:
        is_in: bool (height, width), which pixels of a window are in the region.
        top: First row of the window.
        left: First column of the window.

    Examples:
        >>> outline_path(np.array([[True, True], [True, False]]), top=5, left=10)
        'M10,5h2v1h-1v1h-1z'
    """
    parts = []
    for line in outlines(is_in):
        parts.append(f"M{line[0][0] + left},{line[0][1] + top}")
        for (x, y), (next_x, next_y) in itertools.pairwise(line):
            parts.append(f"h{next_x - x}" if next_y == y else f"v{next_y - y}")
        parts.append("z")
    return "".join(parts)
