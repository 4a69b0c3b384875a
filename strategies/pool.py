"""The arrays that a strategy receives and returns: Pool in, Selection out."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from quadrat.strategies.borders import borders_of_cells
from quadrat.strategies.errors import StrategyError

__all__ = ["Coordinates", "Needs", "Pool", "Selection"]

Coordinates = NDArray[Any]
"""One coordinate of each region: of its grid cell (int32), or of its centre in region sizes (float64)."""


class Needs(NamedTuple):
    """Inputs of a strategy; the pool that its ``_select`` receives has these and no others."""

    signals: tuple[str, ...] = ()
    """Names of the signals, as ``quadrat list signals`` prints them."""
    features: bool = False
    """Whether pooled decoder features are needed."""
    profiles: tuple[str, ...] = ()
    """Names of the profiles, as ``quadrat list profiles`` prints them."""
    borders: bool = False
    """Whether the pairs of regions that share a border are needed; for the cells of a grid they need not be given."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Pool:
    """All regions of the images to select from, labelled ones included, as read-only arrays.

    Labelled regions stay in the pool: normalisation is over all regions, and distances start from the labelled ones.
    No label can be read from a pool. The arrays are checked for shape and dtype and exposed read-only, without a copy
    where they have the right dtype (``features`` may be a memory map).

    Regions are the cells of a grid, or of any shape. Cells have whole numbers as ``row`` and ``col``. Regions of any
    shape have the centre there, the mean of their pixels' centres divided by the region size, as floats: the centres of
    two cells side by side are 1 apart, so a cut-off or radius means the same for both. Two regions may have one centre,
    a disc and the ring around it for example.

    Raises:
        StrategyError: An array has another length or dtype than documented, ``row`` and ``col`` are of two kinds, two
            regions share one grid cell, a centre is negative or not finite, or a border is not one between two regions
            of one image.
    """

    image: NDArray[np.int32]
    """(R,) index of the image that contains the region."""
    row: Coordinates
    """(R,) row of its grid cell, or of its centre as a float, in units of the region size."""
    col: Coordinates
    """(R,) column of its grid cell, or of its centre as a float, in units of the region size."""
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
    borders: NDArray[np.int64] | None = None
    """(E, 2) row numbers of two regions that share a border, in any order, or None. Two squares of a grid share one
    where they have an edge in common, not where they touch at a corner."""

    def __post_init__(self) -> None:
        coordinate = _coordinate_dtype(self.row, self.col)
        columns = {"image": np.int32, "row": coordinate, "col": coordinate, "pixels": np.int64, "labelled": np.bool_}
        for name, dtype in columns.items():
            object.__setattr__(self, name, _read_only(name, getattr(self, name), dtype))
        num_regions = len(self.image)
        for name in columns:
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
        if self.borders is not None:
            borders = _read_only("borders", self.borders, np.int64, num_axes=2)
            _check_borders(borders, self.image)
            object.__setattr__(self, "borders", borders)
        for name in ("image", "row", "col"):
            _check_coordinate(name, getattr(self, name))
        if self.has_cells:
            _check_cells(self.image, self.row, self.col)

    @property
    def num_regions(self) -> int:
        """Return the number of regions, labelled or not."""
        return len(self.image)

    @property
    def candidates(self) -> NDArray[np.int64]:
        """Return the row numbers of the unlabelled regions, ascending."""
        return np.flatnonzero(~self.labelled)

    @property
    def has_cells(self) -> bool:
        """Return whether the regions are cells of a grid: ``row`` and ``col`` are whole numbers."""
        return self.row.dtype.kind == "i"

    def only(self, needs: Needs) -> Pool:
        """Return this pool with the signals, features, profiles and borders of ``needs`` and no others.

        Borders of cells that the pool lacks are computed.
        """
        borders = self.borders if needs.borders else None
        if needs.borders and borders is None and self.has_cells:
            borders = borders_of_cells(self.image, self.row, self.col)
        return dataclasses.replace(
            self,
            signals={name: self.signals[name] for name in needs.signals},
            features=self.features if needs.features else None,
            profiles={name: self.profiles[name] for name in needs.profiles},
            borders=borders,
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


def _coordinate_dtype(row: Any, col: Any) -> Any:
    """Return float64 where both coordinates are floats, else int32; refuse one of each."""
    kinds = {np.asarray(value).dtype for value in (row, col) if np.size(value)}
    are_floats = {kind.kind == "f" for kind in kinds}
    if len(are_floats) > 1:
        raise StrategyError(
            f"row, col: expected both whole numbers (grid cells) or both floats (centres), got {np.asarray(row).dtype} "
            f"and {np.asarray(col).dtype}"
        )
    return np.float64 if True in are_floats else np.int32


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


def _check_coordinate(name: str, array: NDArray[Any]) -> None:
    """Refuse negative and infinite coordinates, and NaN."""
    if len(array) and not (array.min() >= 0 and array.max() < np.inf):
        region = int(np.argmin((array >= 0) & (array < np.inf)))
        raise StrategyError(f"{name}: expected 0 or more, got {array[region]} for region {region}")


def _check_borders(borders: NDArray[np.int64], image: NDArray[np.int32]) -> None:
    """Refuse what is no pair, out of range, a region with itself, or a pair of two images."""
    if borders.shape[1] != 2:
        raise StrategyError(f"borders: expected two regions in each row, got an array of shape {borders.shape}")
    if borders.size == 0:
        return
    if borders.min() < 0 or borders.max() >= len(image):
        wrong = borders[(borders < 0) | (borders >= len(image))][0]
        raise StrategyError(f"borders: expected regions 0 to {len(image) - 1}, got {wrong}")
    first, second = borders.T
    wrong_pairs = np.flatnonzero((first == second) | (image[first] != image[second]))
    if wrong_pairs.size:
        pair = borders[wrong_pairs[0]]
        raise StrategyError(
            f"borders: expected pairs of two regions of one image, got {pair[0]} and {pair[1]} of images "
            f"{image[pair[0]]} and {image[pair[1]]}"
        )


def _check_cells(image: NDArray[np.int32], row: Coordinates, col: Coordinates) -> None:
    """Refuse two regions in one cell of one image."""
    if len(image) == 0:
        return
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
