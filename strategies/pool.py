"""The arrays that a strategy receives and returns: Pool in, Selection out."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from quadrat.strategies.errors import StrategyError

__all__ = ["Needs", "Pool", "Selection"]


class Needs(NamedTuple):
    """Inputs of a strategy; the pool that its ``_select`` receives has these and no others."""

    signals: tuple[str, ...] = ()
    """Names of the signals, as ``quadrat list signals`` prints them."""
    features: bool = False
    """Whether pooled decoder features are needed."""
    profiles: tuple[str, ...] = ()
    """Names of the profiles, as ``quadrat list profiles`` prints them."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Pool:
    """All regions of the images to select from, labelled ones included, as read-only arrays.

    Labelled regions stay in the pool: normalisation is over all regions, and distances start from the labelled ones.
    No label can be read from a pool. The arrays are checked for shape and dtype and exposed read-only, without a copy
    where they have the right dtype (``features`` may be a memory map).

    Raises:
        StrategyError: An array has another length or dtype than documented, or two regions share one grid cell.
    """

    image: NDArray[np.int32]
    """(R,) index of the image that contains the region."""
    row: NDArray[np.int32]
    """(R,) row of its grid cell, in units of the region size."""
    col: NDArray[np.int32]
    """(R,) column of its grid cell, in units of the region size."""
    pixels: NDArray[np.int64]
    """(R,) area in pixels; border cells are clipped to the image."""
    labelled: NDArray[np.bool_]
    """(R,) labelled in an earlier round."""
    signals: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    """(R,) each, by name: one number per region computed from the network's output."""
    features: NDArray[np.float32] | None = None
    """(R, D) pooled decoder features, or None."""
    profiles: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    """(R, K) each, by name: K numbers per region computed from the network's output, for example one per class."""

    def __post_init__(self) -> None:
        for name, dtype in _COLUMNS.items():
            object.__setattr__(self, name, _read_only(name, getattr(self, name), dtype))
        num_regions = len(self.image)
        for name in _COLUMNS:
            _check_length(name, getattr(self, name), num_regions)
        signals = {name: _read_only(f"signals[{name!r}]", value, np.float32) for name, value in self.signals.items()}
        for name, value in signals.items():
            _check_length(f"signals[{name!r}]", value, num_regions)
        object.__setattr__(self, "signals", signals)
        if self.features is not None:
            features = _read_only("features", self.features, np.float32, num_axes=2)
            _check_length("features", features, num_regions)
            if features.shape[1] == 0:
                raise StrategyError(f"features: expected at least one column, got an array of shape {features.shape}")
            object.__setattr__(self, "features", features)
        profiles = {
            name: _read_only(f"profiles[{name!r}]", value, np.float32, num_axes=2)
            for name, value in self.profiles.items()
        }
        for name, value in profiles.items():
            _check_length(f"profiles[{name!r}]", value, num_regions)
        object.__setattr__(self, "profiles", profiles)
        _check_cells(self.image, self.row, self.col)

    @property
    def num_regions(self) -> int:
        """Return the number of regions, labelled or not."""
        return len(self.image)

    @property
    def candidates(self) -> NDArray[np.int64]:
        """Return the row numbers of the unlabelled regions, ascending."""
        return np.flatnonzero(~self.labelled)

    def only(self, needs: Needs) -> Pool:
        """Return this pool with the signals, features and profiles of ``needs`` and no others."""
        return dataclasses.replace(
            self,
            signals={name: self.signals[name] for name in needs.signals},
            features=self.features if needs.features else None,
            profiles={name: self.profiles[name] for name in needs.profiles},
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Selection:
    """Regions in the order they were selected, with the potential each had when selected."""

    regions: NDArray[np.int64]
    """(K,) row numbers of the pool in the order selected, none labelled, none twice."""
    potential: NDArray[np.float64]
    """(K,) the objective when selected; NaN where a strategy has none."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "regions", _read_only("regions", self.regions, np.int64))
        object.__setattr__(self, "potential", _read_only("potential", self.potential, np.float64))
        _check_length("potential", self.potential, len(self.regions))

    @classmethod
    def of(cls, regions: NDArray[np.integer[Any]], potential: NDArray[np.floating[Any]] | None = None) -> Selection:
        """Return the selection of ``regions``; a missing ``potential`` becomes NaN."""
        if potential is None:
            potential = np.full(len(regions), np.nan)
        return cls(regions=regions.astype(np.int64), potential=potential.astype(np.float64))

    def __len__(self) -> int:
        return len(self.regions)


_COLUMNS = {"image": np.int32, "row": np.int32, "col": np.int32, "pixels": np.int64, "labelled": np.bool_}


def _read_only(name: str, value: Any, dtype: Any, num_axes: int = 1) -> NDArray[Any]:
    """Return ``value`` as a read-only array of ``dtype``; a conversion that could change a value is refused."""
    array = np.asarray(value)
    if array.size == 0:  # the dtype of an empty list means nothing
        array = array.astype(dtype)
    if array.ndim != num_axes:
        raise StrategyError(f"{name}: expected {num_axes} axes, got an array of shape {array.shape}")
    if not np.can_cast(array.dtype, dtype, "same_kind") or (array.dtype.kind == "b") != (np.dtype(dtype).kind == "b"):
        raise StrategyError(f"{name}: expected {np.dtype(dtype).name}, got {array.dtype.name}")
    array = array.astype(dtype, copy=False).view()
    array.flags.writeable = False
    return array


def _check_length(name: str, array: NDArray[Any], num_regions: int) -> None:
    if len(array) != num_regions:
        raise StrategyError(f"{name}: expected one entry for each of {num_regions} regions, got {len(array)}")


def _check_cells(image: NDArray[np.int32], row: NDArray[np.int32], col: NDArray[np.int32]) -> None:
    """Refuse negative coordinates and two regions in one cell of one image."""
    if len(image) == 0:
        return
    for name, array in (("image", image), ("row", row), ("col", col)):
        if array.min() < 0:
            raise StrategyError(f"{name}: expected 0 or more, got {array.min()} for region {array.argmin()}")
    cell = image.astype(np.int64) * (int(row.max()) + 1)
    cell += row
    cell *= int(col.max()) + 1
    cell += col
    if np.all(cell[1:] > cell[:-1]):  # regions in grid order: no sort needed
        return
    order = np.argsort(cell, kind="stable")
    repeated = np.flatnonzero(cell[order[1:]] == cell[order[:-1]])
    if repeated.size:
        first, second = order[repeated[0]], order[repeated[0] + 1]
        raise StrategyError(
            f"regions {first} and {second} are the same cell: row {row[first]}, column {col[first]} of image "
            f"{image[first]}; every cell may be in a pool once"
        )
