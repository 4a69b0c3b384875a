"""The checks of one image and its mask, the same for `data check`, `data pack` and a run."""

import hashlib
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from quadrat.benchmark.data.clicks import Outlined
from quadrat.benchmark.data.dataset import Item, Sample, decode

__all__ = ["Inspected", "inspect_item"]


class Inspected(NamedTuple):
    """An image and its mask that passed all checks.

    Attributes:
        sample: Image and mask, C-contiguous.
        histogram: int64 (256,), pixels of each mask value.
        digest: Of the pixels and the size of the image.
    """

    sample: Sample
    histogram: npt.NDArray[np.int64]
    digest: str


def inspect_item(item: Item, num_classes: int) -> Inspected:
    """Return the decoded image and mask of `item` with their counts, after all checks that need one image alone.

    Raises:
        DataError: As `decode`; also when the polygons of its annotators cannot be read.
    """
    image, mask = decode(item, num_classes)
    if isinstance(item, Outlined) and item.has_outlines:
        item.outline_vertices()
    sample = Sample(np.ascontiguousarray(image), np.ascontiguousarray(mask))
    digest = hashlib.blake2b(f"{mask.shape[0]}x{mask.shape[1]};".encode(), digest_size=16)
    digest.update(sample.image.data)
    return Inspected(sample, np.bincount(mask.ravel(), minlength=256), digest.hexdigest())
