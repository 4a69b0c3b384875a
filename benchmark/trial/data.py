"""The images that the trials of a suite work on: the pool whose regions are labelled, and the test set."""

import functools
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from quadrat.benchmark.config.candidates import search_dataset
from quadrat.benchmark.config.suite import Suite
from quadrat.benchmark.config.trial import GRID_REGIONS, DatasetSpec, RegionsSpec, cuts
from quadrat.benchmark.data import Dataset, Layout, PackedSplit, RegionGrid, items_of, load_dataset, pack
from quadrat.benchmark.data.clicks import click_source, region_clicks
from quadrat.benchmark.data.findings import Finding, class_findings, raise_errors
from quadrat.benchmark.data.overlap import Split, overlap_findings
from quadrat.benchmark.data.region_arrays import class_counts, void_regions
from quadrat.benchmark.data.shapes import RegionMap, pack_regions

__all__ = ["OnPack", "TrialData", "list_splits", "open_data"]

OnPack = Callable[[str, int, int], None]
"""Called with (split, images done, images in all) while images are packed."""


class ListedSplits(NamedTuple):
    """A suite's data set, and the images of its splits, none of them decoded."""

    dataset: Dataset
    pool: Split
    test: Split
    overlap: tuple[Finding, ...]


def list_splits(spec: DatasetSpec) -> ListedSplits:
    """Return the images of pool and test set, without decoding any.

    Raises:
        DataError: When the data set or a split is missing, both lists have images in common, or only some images of the
            pool have polygons.
    """
    dataset = load_dataset(spec.name, spec.root, **spec.params)
    pool, test = (Split(name, items_of(dataset, name)) for name in (spec.pool, spec.test))
    overlap = overlap_findings(pool, test, is_allowed=spec.allow_overlap)
    raise_errors(overlap)
    click_source(pool.items)  # fails where only some images have polygons
    return ListedSplits(dataset, pool, test, tuple(overlap))


class TrialData:
    """Pool and test set, packed, with the regions of the pool and what each region costs.

    Args:
        dataset: The data set that the splits were packed from.
        pool: Packed split whose regions can be labelled.
        test: Packed split that is reported on.
        overlap: What both have in common.

    Attributes:
        warnings: What makes results on these splits wrong or unfair unless it is meant so, a sentence each.
    """

    def __init__(
        self, *, dataset: Dataset, pool: PackedSplit, test: PackedSplit, overlap: Sequence[Finding] = ()
    ) -> None:
        self.dataset = dataset
        self.pool = pool
        self.test = test
        self._layouts: dict[str, Layout] = {}
        self._clicks: dict[str, npt.NDArray[np.int64]] = {}
        self._void: dict[str, npt.NDArray[np.bool_]] = {}
        self._class_counts: dict[str, npt.NDArray[np.int32]] = {}
        of_classes = [class_findings(dataset, split.split, split.statistics) for split in (pool, test)]
        findings = itertools.chain(overlap, *of_classes)
        self.warnings = tuple(found.text for found in findings if found.severity != "note")

    @classmethod
    def open(cls, spec: DatasetSpec, cache_dir: Path, on_pack: OnPack | None = None) -> Self:
        """Pack both splits, or find them packed.

        Args:
            spec: The data set.
            cache_dir: Where packed splits are kept.
            on_pack: Called while packing.

        Raises:
            DataError: When the data set is missing or contradicts itself, or pool and test set have images in common.
        """
        listed = list_splits(spec)
        packed = [
            pack(listed.dataset, name, cache_dir, on_progress=functools.partial(on_pack, name) if on_pack else None)
            for name in (spec.pool, spec.test)
        ]
        pool, test = (
            split._replace(digests=found.statistics.digests)
            for split, found in zip((listed.pool, listed.test), packed, strict=True)
        )
        overlap = overlap_findings(pool, test, is_allowed=spec.allow_overlap)
        raise_errors(overlap)
        return cls(dataset=listed.dataset, pool=packed[0], test=packed[1], overlap=overlap)

    def layout(
        self,
        region_size: int,
        regions: RegionsSpec = GRID_REGIONS,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> Layout:
        """Return the regions of the pool, made once; a map of them is packed beside the images.

        Args:
            region_size: Edge of a region, pixels.
            regions: How images are cut.
            on_progress: Called with (images done, images in all) while they are cut into other shapes than squares.

        Raises:
            DataError: When a region is larger than an image, or a map is missing or holds what is no region.
        """
        key = _key(region_size, regions)
        if key not in self._layouts:
            grid = RegionGrid(self.pool.sizes, region_size, ids=self.pool.ids)  # refuses what is larger than an image
            self._layouts[key] = (
                grid if regions.is_grid else pack_regions(self.pool, regions.kind(), region_size, on_progress)
            )
        return self._layouts[key]

    def void_regions(self, region_size: int, regions: RegionsSpec = GRID_REGIONS) -> npt.NDArray[np.bool_]:
        """Return which regions of the pool are wholly void, bool (R,); found once for all trials."""
        key = _key(region_size, regions)
        if key not in self._void:
            self._void[key] = void_regions(self.pool, self.layout(region_size, regions))
        return self._void[key]

    def class_counts(self, region_size: int, regions: RegionsSpec = GRID_REGIONS) -> npt.NDArray[np.int32]:
        """Return the pixels of each class in every region of the pool, int32 (R, C); counted once for all trials."""
        key = _key(region_size, regions)
        if key not in self._class_counts:
            self._class_counts[key] = class_counts(self.pool, self.layout(region_size, regions))
        return self._class_counts[key]

    def clicks(
        self,
        region_size: int,
        regions: RegionsSpec = GRID_REGIONS,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> npt.NDArray[np.int64]:
        """Return what precise labels of each region cost in clicks, int64 (R,); counted once for all trials.

        Args:
            region_size: Edge of a region, pixels.
            regions: How images are cut.
            on_progress: Called with (images done, images in all) while counting.

        Raises:
            DataError: When polygons are missing or damaged.
        """
        key = _key(region_size, regions)
        if key not in self._clicks:
            items = items_of(self.dataset, self.pool.split)
            self._clicks[key] = region_clicks(self.pool, self.layout(region_size, regions), items, on_progress)
        return self._clicks[key]

    def describe(self, results_dir: Path, suite: Suite) -> dict[str, Any]:
        """Return the data as suite.json describes it, JSON-plain; paths inside `results_dir` are relative to it."""
        sizes = suite.region_sizes if suite.regions.is_grid else ()
        pool = {
            **_describe(self.pool, results_dir),
            "num_regions": {str(size): self.layout(size).num_regions for size in sizes},
            "void_regions": {str(size): int(self.void_regions(size).sum()) for size in sizes},
            "clicks_from": click_source(items_of(self.dataset, self.pool.split)),
        }
        if maps := [self._describe_map(*cut, results_dir) for cut in cuts(suite.trials()) if not cut[1].is_grid]:
            pool["maps"] = maps
        return {
            "title": getattr(self.dataset, "title", self.dataset.name),
            "classes": list(self.pool.classes),
            "colours": [list(colour) for colour in self.pool.colours],
            "pool": pool,
            "test": _describe(self.test, results_dir),
            "warnings": list(self.warnings),
        }

    def _describe_map(self, region_size: int, regions: RegionsSpec, results_dir: Path) -> dict[str, Any]:
        layout = self.layout(region_size, regions)
        assert isinstance(layout, RegionMap), "grids have no map"
        inside = layout.path.is_relative_to(results_dir)
        return {
            "name": regions.map_name(region_size),
            "path": str(layout.path.relative_to(results_dir) if inside else layout.path),
            "digest": layout.digest,
            "by_content": bool(regions.kind().contents()),
            "num_regions": layout.num_regions,
            "void_regions": int(self.void_regions(region_size, regions).sum()),
            "in_pieces": int((layout.pieces > 1).sum()),
            "offered_px": int(layout.pixels.sum()),
        }


def _key(region_size: int, regions: RegionsSpec) -> str:
    return regions.map_name(region_size)


def open_data(suite: Suite, cache_dir: Path, on_pack: OnPack | None = None) -> TrialData:
    """Return pool and test set of a suite after all checks that a run makes of its data.

    The split of a study is packed and checked too: its candidates would fail one by one. What is found wrong with it,
    but no error, is among the warnings.

    Args:
        suite: The suite.
        cache_dir: Where packed splits are kept.
        on_pack: Called while packing.

    Raises:
        DataError: When the data set is missing or contradicts itself, pool and test set have images in common, or a
            region is larger than an image.
    """
    data = TrialData.open(suite.dataset, cache_dir, on_pack)
    for region_size, regions in cuts(suite.trials()):
        on_cut = functools.partial(on_pack, f"{suite.dataset.pool}, {regions.title}") if on_pack else None
        data.layout(region_size, regions, on_cut)
    if suite.study is not None and suite.study.test not in (None, suite.dataset.test):
        data.warnings += TrialData.open(search_dataset(suite), cache_dir, on_pack).warnings
        data.warnings = tuple(dict.fromkeys(data.warnings))
    return data


def _describe(split: PackedSplit, results_dir: Path) -> dict[str, Any]:
    sizes: npt.NDArray[np.int64] = split.sizes.astype(np.int64)
    inside = split.path.is_relative_to(results_dir)
    return {
        "split": split.split,
        "fingerprint": split.fingerprint,
        "path": str(split.path.relative_to(results_dir) if inside else split.path),
        "num_images": len(split.ids),
        "num_px": int((sizes[:, 0] * sizes[:, 1]).sum()),
        "void_px": split.statistics.void_px,
    }
