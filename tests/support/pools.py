"""Pools that are small enough to check a selection by hand."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from quadrat.strategies import Pool


def line_pool(
    num_regions: int,
    *,
    labelled: Sequence[int] = (),
    image: npt.ArrayLike = 0,
    pixels: npt.ArrayLike = 1,
    signals: Mapping[str, npt.ArrayLike] | None = None,
    features: npt.ArrayLike | None = None,
    profiles: Mapping[str, npt.ArrayLike] | None = None,
) -> Pool:
    """Return `num_regions` regions side by side in one row of the grid, of one image unless `image` names one each."""
    return Pool(
        image=np.broadcast_to(image, num_regions),
        row=np.zeros(num_regions, int),
        col=np.arange(num_regions, dtype=np.int32),
        pixels=np.broadcast_to(pixels, num_regions),
        labelled=np.isin(np.arange(num_regions), labelled),
        signals={name: float32(values) for name, values in (signals or {}).items()},
        features=None if features is None else float32(features),
        profiles={name: float32(values) for name, values in (profiles or {}).items()},
    )


def entropy_pool(entropy: Sequence[float], **arrays: Any) -> Pool:
    """Return a `line_pool` of regions with this entropy."""
    return line_pool(len(entropy), signals={"entropy": entropy}, **arrays)


def float32(values: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Return `values` as a float32 array."""
    return np.asarray(values, np.float32)
