"""Replay of selections that were published: what was picked elsewhere, picked again."""

from __future__ import annotations

import glob
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from quadrat.strategies.base import Strategy
from quadrat.strategies.errors import StrategyError
from quadrat.strategies.pool import Pool, Selection

__all__ = ["Precomputed"]


@dataclass(frozen=True, kw_only=True)
class Precomputed(Strategy):
    """Replays a published selection: its regions in the order of its rounds, those left out that are labelled already.

    A selection is what quadrat writes to ``selections/<trial>/``: ``round-<n>.npz`` with ``image``, ``row``, ``col``,
    ``potential`` and ``region_size``. Regions are matched by image, row and column, so the pool must list its images in
    the same order. The potential is the published one.

    A replay starts from the published round 0: with the seed of the trial that is replayed, the suite draws the same.
    Other budgets are fine, they cut the same order of picks elsewhere.
    """

    name: ClassVar[str] = "precomputed"

    folder: str = ""
    """The folder of the ``round-<n>.npz`` files, or a pattern (``*``) that one folder matches, so that a suite need not
    know the hash in a trial's name. Only this text is part of a trial's identity, not what is in the folder."""

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
        files = self._files()
        for path in files:
            published = self._read(path, pool)
            columns = (published[name].tolist() for name in ("image", "row", "col"))
            for *cell, potential in zip(*columns, published["potential"].tolist(), strict=True):
                # Taken out when it is picked, so that a region that was published twice is picked once.
                labelled.discard(tuple(cell))
                region = region_of.pop(tuple(cell), None)
                if region is not None:
                    regions.append(region)
                    potentials.append(potential)
        if labelled and files[0].name == "round-0.npz":
            raise StrategyError(
                f"{self.name}: expected a trial that starts from the published round 0 in {files[0].parent}, got "
                f"{len(labelled)} labelled regions that were never published; give it the seed (and region size and "
                "pool) of the trial that is replayed"
            )
        if len(regions) < budget:
            raise StrategyError(
                f"{self.name}: expected at least {budget} regions of this pool in {self.folder} that are not labelled "
                f"yet, got {len(regions)}; lower the budget, or replay a selection of the same pool"
            )
        return Selection.of(np.array(regions[:budget], np.int64), np.array(potentials[:budget], np.float64))

    def _files(self) -> list[Path]:
        folder = Path(self.folder)
        if glob.has_magic(self.folder) and not folder.is_dir():
            found = sorted(path for path in map(Path, glob.glob(self.folder)) if path.is_dir())
            if len(found) != 1:
                names = ": " + ", ".join(path.name for path in found) if found else ""
                raise StrategyError(
                    f"{self.name}: expected one folder that matches {self.folder}, got {len(found)}{names}; check "
                    "folder"
                )
            folder = found[0]
        files = sorted(folder.glob("round-*.npz"), key=lambda path: (len(path.name), path.name))
        if not files:
            raise StrategyError(f"{self.name}: expected files round-<n>.npz in {folder}, got none; check folder")
        return files

    def _read(self, path: Path, pool: Pool) -> dict[str, NDArray[Any]]:
        with np.load(path) as file:
            missing = {"image", "row", "col", "potential", "region_size"} - set(file.files)
            if missing:
                raise StrategyError(f"{self.name}: {path} has no array {sorted(missing)[0]!r}; is it a selection?")
            published = {name: file[name] for name in file.files}
        # The largest region of a grid is never clipped.
        area = int(published["region_size"]) ** 2
        if area != pool.pixels.max():
            raise StrategyError(
                f"{self.name}: expected a selection of regions of {pool.pixels.max()} px, got {area} px in {path}; "
                f"set region_size to {int(published['region_size'])}"
            )
        return published
