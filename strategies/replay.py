"""Replay of a published selection."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from quadrat.strategies.base import Strategy
from quadrat.strategies.errors import QuadratError, StrategyError
from quadrat.strategies.pool import Pool, Selection
from quadrat.strategies.selection_file import Place, SelectionFile, folders_matching, rounds_in

__all__ = ["Precomputed"]


@dataclass(frozen=True, kw_only=True)
class Precomputed(Strategy):
    """Replays a published selection: its regions in the order of its rounds, without those already labelled.

    A selection is what quadrat writes to ``selections/<trial>/``, see ``quadrat.strategies.selection_file``. Regions
    are matched by image, row and column, so the pool must list its images in the same order; those of any shape by the
    exact centre, and among regions of one centre by the row number in the pool. The potential is the published one.

    A replay starts from the published round 0, which a suite draws again from the seed of the replayed trial. Budgets
    may differ: they divide the same order of regions into other rounds.
    """

    name: ClassVar[str] = "precomputed"

    folder: str = ""
    """Folder of the ``round-<n>.npz`` files, such as ``results/camvid/selections/<trial>``, or inside a zip file,
    ``results/camvid/selections.zip/<trial>``. A pattern (``*``) that matches one folder is allowed, so that a suite
    need not know the hash in a trial's name. A trial is known by the selections in the folder, not by this text."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.folder, str) or not self.folder:
            raise StrategyError(
                f"{self.name}: folder must be the path of a folder with round-<n>.npz files, such as "
                f"selections/<trial>/ of a results folder, got {self.folder!r}"
            )

    def _select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        """Return the next ``budget`` published regions; nothing is drawn."""
        places = _Places(pool)
        labelled = set(np.flatnonzero(pool.labelled).tolist())
        regions: dict[int, float] = {}
        folder, files = self._files()
        for path in files.values():
            published = self._read(path, pool)
            for region, potential in zip(places.find(published), published.potential.tolist(), strict=True):
                if region is None:
                    continue
                labelled.discard(region)
                if not pool.labelled[region]:
                    regions.setdefault(region, potential)  # a region published twice is selected once
        if labelled and 0 in files:
            raise StrategyError(
                f"{self.name}: expected a trial that starts from the published round 0 in {folder}, got "
                f"{len(labelled)} labelled regions that were never published; give it the seed (and region size and "
                "pool) of the trial that is replayed"
            )
        if len(regions) < budget:
            raise StrategyError(
                f"{self.name}: expected at least {budget} regions of this pool in {self.folder} that are not labelled "
                f"yet, got {len(regions)}; lower the budget, or replay a selection of the same pool"
            )
        return Selection.of(np.array(list(regions)[:budget], np.int64), np.array(list(regions.values())[:budget]))

    def contents(self) -> dict[str, str]:
        """Return the digest of the published regions and potentials, in the order of the rounds."""
        found = hashlib.sha256()
        for round_, path in self._files()[1].items():
            published = self._parse(path)
            found.update(f"{round_} {published.region_size} {len(published.regions)};".encode())
            coordinate = "<i8" if published.has_cells else "<f8"
            for column, kind in (("image", "<i8"), ("row", coordinate), ("col", coordinate), ("potential", "<f8")):
                found.update(getattr(published, column).astype(kind).tobytes())
        return {"folder": found.hexdigest()}

    def _files(self) -> tuple[Place, dict[int, Place]]:
        """Return the folder of the selection, and round -> file."""
        try:
            found = folders_matching(self.folder)
        except QuadratError as error:
            raise StrategyError(f"{self.name}: {error}; check folder") from error
        if len(found) != 1:
            names = ": " + ", ".join(folder.name for folder in found) if found else ""
            raise StrategyError(
                f"{self.name}: expected one folder that matches {self.folder}, got {len(found)}{names}; check folder"
            )
        files = rounds_in(found[0])
        if not files:
            raise StrategyError(f"{self.name}: expected files round-<n>.npz in {found[0]}, got none; check folder")
        return found[0], files

    def _parse(self, path: Place) -> SelectionFile:
        try:
            return SelectionFile.read(path)
        except QuadratError as error:
            raise StrategyError(
                f"{self.name}: {error}; restore the file from where it was published, or check folder"
            ) from error

    def _read(self, path: Place, pool: Pool) -> SelectionFile:
        published = self._parse(path)
        if published.has_cells != pool.has_cells:
            kinds = ("centres of regions of any shape", "cells of a grid")
            raise StrategyError(
                f"{self.name}: expected a selection of {kinds[pool.has_cells]}, as the pool has, got "
                f"{kinds[published.has_cells]} in {path}; set the regions that were published"
            )
        # The largest region of a grid is never clipped.
        area = published.region_size**2
        if pool.has_cells and area != pool.pixels.max():
            raise StrategyError(
                f"{self.name}: expected a selection of regions of {pool.pixels.max()} px, got {area} px in {path}; "
                f"set region_size to {published.region_size}"
            )
        return published


class _Places:
    """The regions of a pool by image, row and column."""

    def __init__(self, pool: Pool) -> None:
        self._regions_at: dict[tuple[float, ...], list[int]] = {}
        for region, place in enumerate(_places(pool)):
            self._regions_at.setdefault(place, []).append(region)

    def find(self, published: SelectionFile) -> list[int | None]:
        """Return the region of the pool for each that was published, None where the pool has none there."""
        found: list[int | None] = []
        for place, row_number in zip(_places(published), published.regions.tolist(), strict=True):
            here = self._regions_at.get(place, [])
            # Several regions of any shape may have one centre.
            found.append(here[0] if len(here) == 1 else row_number if row_number in here else None)
        return found


def _places(where: Pool | SelectionFile) -> Iterator[tuple[float, ...]]:
    return zip(where.image.tolist(), where.row.tolist(), where.col.tolist(), strict=True)
