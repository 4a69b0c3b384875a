"""What `quadrat data check` finds in the region maps of a data set: every image is cut, nothing is written."""

from collections.abc import Callable, Sequence

import numpy as np

from quadrat.benchmark.data.dataset import Dataset, Item, decode, items_of
from quadrat.benchmark.data.findings import Finding
from quadrat.benchmark.data.parallel import in_order
from quadrat.benchmark.data.shapes.kind import RegionKind
from quadrat.benchmark.data.shapes.packing import Cut, cut_image
from quadrat.benchmark.errors import DataError

__all__ = ["region_findings"]


def region_findings(
    dataset: Dataset,
    splits: Sequence[str],
    kind: RegionKind,
    region_size: int,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> list[Finding]:
    """Return what is wrong with the regions of some splits, or worth knowing: pieces, pixels in no region, sizes.

    Args:
        dataset: The data set.
        splits: The splits whose regions would be labelled.
        kind: How images are cut.
        region_size: Edge of a square of the intended area, pixels.
        on_progress: Called with (split, images done, images in total).

    Raises:
        DataError: When a split cannot be listed.
    """
    findings: list[Finding] = []

    def cut(item: Item) -> Cut | DataError:
        try:
            return cut_image(kind, decode(item, len(dataset.classes)).image, region_size=region_size, id=item.id)
        except DataError as error:
            return error

    for split in splits:
        items, found = items_of(dataset, split), []
        for done, (item, result) in enumerate(zip(items, in_order(cut, items), strict=True), start=1):
            if isinstance(result, DataError):
                findings.append(Finding(severity="error", kind=result.kind, text=f"{split}/{item.id}: {result}"))
            else:
                found.append(result.shapes)
                findings += _pieces(f"{split}/{item.id}", result)
            if on_progress is not None:
                on_progress(f"{split}, regions", done, len(items))
        if found:
            pixels = np.concatenate([one.pixels for one in found])
            numbers = [len(one.pixels) for one in found]
            text = (
                f"{split}: {len(pixels):,} regions, {min(numbers):,} to {max(numbers):,} an image, of {pixels.min():,} "
                f"to {pixels.max():,} pixels, {pixels.mean():,.0f} on average."
            )
            findings.append(Finding(severity="note", kind="regions", text=text))
    return findings


def _pieces(name: str, cut: Cut) -> list[Finding]:
    """Return notes on regions in several pieces, which are allowed, and on pixels that are never offered."""
    found = []
    if num := int((cut.shapes.pieces > 1).sum()):
        text = f"{name}: {num} region{'s lie' if num > 1 else ' lies'} in several pieces, labelled together."
        found.append(Finding(severity="note", kind="regions in several pieces", text=text))
    if num := int((cut.ids == 0).sum()):
        text = f"{name}: {num:,} of {cut.ids.size:,} pixels are in no region (id 0) and never offered."
        found.append(Finding(severity="note", kind="pixels in no region", text=text))
    return found
