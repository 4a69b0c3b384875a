"""Replay of a published selection."""

from __future__ import annotations

import hashlib
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
    are matched by image, row and column, so the pool must list its images in the same order. The potential is the
    published one.

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
        cells = list(zip(pool.image.tolist(), pool.row.tolist(), pool.col.tolist(), strict=True))
        region_of = {cell: region for region, cell in enumerate(cells) if not pool.labelled[region]}
        labelled = {cells[region] for region in np.flatnonzero(pool.labelled).tolist()}
        regions: list[int] = []
        potentials: list[float] = []
        folder, files = self._files()
        for path in files.values():
            published = self._read(path, pool)
            columns = (column.tolist() for column in (published.image, published.row, published.col))
            for *cell, potential in zip(*columns, published.potential.tolist(), strict=True):
                # Removed when selected, so that a region published twice is selected once.
                labelled.discard(tuple(cell))
                region = region_of.pop(tuple(cell), None)
                if region is not None:
                    regions.append(region)
                    potentials.append(potential)
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
        return Selection.of(np.array(regions[:budget], np.int64), np.array(potentials[:budget], np.float64))

    def contents(self) -> dict[str, str]:
        """Return the digest of the published regions and potentials, in the order of the rounds."""
        found = hashlib.sha256()
        for round_, path in self._files()[1].items():
            published = self._parse(path)
            found.update(f"{round_} {published.region_size} {len(published.regions)};".encode())
            for column, kind in (("image", "<i8"), ("row", "<i8"), ("col", "<i8"), ("potential", "<f8")):
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
        # The largest region of a grid is never clipped.
        area = published.region_size**2
        if area != pool.pixels.max():
            raise StrategyError(
                f"{self.name}: expected a selection of regions of {pool.pixels.max()} px, got {area} px in {path}; "
                f"set region_size to {published.region_size}"
            )
        return published
