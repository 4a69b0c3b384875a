"""Whether the memory of scoring grows with the pool: the same scores for more and more images."""

from collections.abc import Callable, Sequence
from typing import Any

from performance.learner.case import Case
from performance.learner.process import started

__all__ = ["bench_growth"]


def bench_growth(
    case: Case, num_images: Sequence[int], *, on_row: Callable[[dict[str, Any]], None] | None = None
) -> dict[str, Any]:
    """Return the peak memory of scoring the first images of a pool, for several numbers of images.

    Entropy, features and class histograms of every region are computed, features and histograms streamed to files as in
    a trial. Each number of images has a process of its own, which is read before it scores (interpreter, libraries,
    network) and every 20 ms while it does.

    Args:
        case: The pool.
        num_images: Ascending.
        on_row: Called with each row.

    Returns:
        JSON-plain. Of each row: `peak_mib` is the largest resident size with the mapped files' pages, which the system
        takes back when it needs them, `peak_own_mib` without them, `before_mib` what was resident before the first
        image without them, `streamed_mib` what was written.
    """
    rows = []
    for count in num_images:
        with started([("quadrat growth", case)]) as (side,):
            before_mib, peak_mib, peak_own_mib, streamed_mib, elapsed_s = side.grow(count)
        row = {
            "images": min(count, len(case.files)),
            "before_mib": before_mib,
            "peak_mib": peak_mib,
            "peak_own_mib": peak_own_mib,
            "streamed_mib": streamed_mib,
            "images_per_s": round(min(count, len(case.files)) / elapsed_s, 3),
        }
        rows.append(row)
        if on_row is not None:
            on_row(row)
    return {**case.describe(), "rows": rows}
