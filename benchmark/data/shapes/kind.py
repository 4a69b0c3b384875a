"""Kinds of regions: how an image is cut, by registered name (entry-point group `quadrat.regions`)."""

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt

from quadrat.benchmark.errors import DataError
from quadrat.strategies.registry import closest, registry_of

__all__ = ["GRID", "KINDS", "Grid", "RegionKind", "load_kind"]

GRID: Final = "grid"
"""Name of the square cells; they need no map, see `quadrat.benchmark.data.RegionGrid`."""


@dataclass(frozen=True, kw_only=True)
class RegionKind:
    """A way to cut images into regions: a frozen dataclass whose fields are its parameters.

    A subclass sets `name`, declares its parameters as fields with defaults, checks them in `__post_init__` (a
    `DataError` for a bad one) and implements `cut`. Raise `version` when the same parameters give other regions than
    before: maps are cut again then, and trials on them are other trials.
    """

    name: ClassVar[str]
    """The registered name."""
    version: ClassVar[int] = 1
    """Part of what a map is known by."""
    has_size: ClassVar[bool] = True
    """Whether `region_size` decides how large regions are; else it is only a unit, and no suite compares sizes."""

    def params(self) -> dict[str, Any]:
        """Return all parameters by name, including defaults; JSON-plain."""
        return {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}

    def contents(self) -> dict[str, str]:
        """Return a digest of what the files hold that parameters name, by parameter; most kinds name none.

        Maps and trials are known by this content and not by the path.

        Raises:
            DataError: A file or folder is missing.
        """
        return {}

    def cut(self, image: npt.NDArray[np.uint8], *, region_size: int, id: str) -> npt.NDArray[np.integer[Any]]:
        """Return the region of every pixel, integers (H, W); 0 = in none, never offered for labelling.

        Ids may have gaps and need not start at 1: they are renumbered in ascending order. A pure function of its
        arguments, called from several threads.

        Args:
            image: uint8 (H, W, 3) RGB, read-only.
            region_size: Edge of a square of the intended area, pixels.
            id: Name of the image within its split.

        Raises:
            DataError: There is no map of this image, or it cannot be read.
        """
        raise NotImplementedError(f"{type(self).__name__} must define cut(image, *, region_size, id)")


@dataclass(frozen=True, kw_only=True)
class Grid(RegionKind):
    """Square cells, clipped at the right and bottom border; a suite on them needs no map and has no parameters."""

    name: ClassVar[str] = GRID

    def cut(self, image: npt.NDArray[np.uint8], *, region_size: int, id: str) -> npt.NDArray[np.integer[Any]]:
        """Return 1 + the cell of every pixel, row-major."""
        row, col = (np.arange(side) // region_size for side in image.shape[:2])
        cell: npt.NDArray[np.int64] = 1 + row[:, None] * (int(col[-1]) + 1) + col
        return cell


def _check_kind(name: str, value: object) -> str | None:
    if not (isinstance(value, type) and issubclass(value, RegionKind)):
        return f"is {value!r}, expected a subclass of quadrat.benchmark.data.shapes.RegionKind"
    if getattr(value, "name", None) != name:
        return f"calls itself {getattr(value, 'name', None)!r}; its class attribute `name` must be {name!r}"
    if value.cut is RegionKind.cut:
        return "defines no method `cut`"
    return None


KINDS: Final = registry_of("regions", _check_kind)
"""Kinds of regions by registered name: built-in ones and those of plugins."""


def load_kind(name: str, **params: Any) -> RegionKind:
    """Return the kind of regions registered under `name` with these parameters.

    Raises:
        PluginError: The name is unknown, offered twice, or its plugin is broken.
        DataError: A parameter is unknown or out of its range.
    """
    kind: type[RegionKind] = KINDS.get(name)
    known = [item.name for item in dataclasses.fields(kind)]
    for parameter in params:
        if parameter not in known:
            raise DataError(f"regions: {name} has no parameter {parameter!r}{closest(parameter, known)}")
    return kind(**params)
