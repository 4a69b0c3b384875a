"""The images that the trials of a suite work on: the pool whose regions are labelled, and the test set."""

import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from quadrat.benchmark.config.candidates import search_dataset
from quadrat.benchmark.config.study import REGION_SIZE, values_of
from quadrat.benchmark.config.suite import Suite
from quadrat.benchmark.config.trial import GRID_REGIONS, DatasetSpec, RegionsSpec, cuts
from quadrat.benchmark.data import Dataset, Layout, PackedSplit, RegionGrid, items_of, load_dataset, pack
from quadrat.benchmark.data.clicks import ClickSource, click_source, region_clicks
from quadrat.benchmark.data.findings import Finding, class_findings, raise_errors
from quadrat.benchmark.data.overlap import Split, overlap_findings
from quadrat.benchmark.data.region_arrays import class_counts, void_regions
from quadrat.benchmark.data.shapes import RegionMap, pack_regions
from quadrat.benchmark.data.shared_packs import find_shared_pack, share_pack
from quadrat.benchmark.errors import DataError
from quadrat.benchmark.storage.local_copy import fetch, require_files
from quadrat.benchmark.storage.remote import Remote

__all__ = ["OnPack", "TrialData", "check_data_set", "list_splits", "open_data"]

OnPack = Callable[[str, int, int], None]
"""Called with (what is done, such as "packing train", images or files done, those in all) before trials can run."""


_TESTS: Final = ("test", "search_test")
"""Keys of suite.json that describe a split to compare on."""


class ListedSplits(NamedTuple):
    """A suite's data set, and the images of its splits, none of them decoded."""

    dataset: Dataset
    pool: Split
    test: Split
    overlap: tuple[Finding, ...]


def check_data_set(spec: DatasetSpec) -> None:
    """Check that a data set is there, without decoding or fetching any of it.

    Raises:
        DataError: As `list_splits`; of a data set at a URL only what is known without its files.
        ResultsError: When its URL cannot be read, or there are no files.
    """
    if spec.url is None:
        list_splits(spec)
    else:
        load_dataset(spec.name, Path(), **spec.params)  # its parameters
        require_files(spec.url)


def list_splits(spec: DatasetSpec) -> ListedSplits:
    """Return the images of pool and test set, without decoding any. A data set at a URL must have been fetched.

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


def _fetched(spec: DatasetSpec, on_pack: OnPack | None = None) -> Dataset:
    """Return a data set, its files fetched where they are at a URL."""
    if spec.url is not None:
        fetch(spec.url, functools.partial(on_pack, f"fetching {spec.name}") if on_pack else None)
    return load_dataset(spec.name, spec.root, **spec.params)


class TrialData:
    """Pool and test set, packed, with the regions of the pool and what each region costs.

    Args:
        load: Returns the data set that the splits were packed from; called when it is first needed, since a machine
            that fetched the packed splits does without.
        pool: Packed split whose regions can be labelled.
        test: Packed split that is reported on.
        click_source: Source of the vertices of clicks, where it is known without the data set.
        search_test: See below.
        warnings: See below.

    Attributes:
        search_test: Packed split that a study compares its candidates on; None where that is the test split, and on
            workers.
        warnings: What makes results on these splits wrong or unfair unless it is meant so, a sentence each. The driver
            says them; workers have none.
    """

    def __init__(
        self,
        *,
        load: Callable[[], Dataset],
        pool: PackedSplit,
        test: PackedSplit,
        click_source: ClickSource | None = None,
        search_test: PackedSplit | None = None,
        warnings: Sequence[str] = (),
    ) -> None:
        self._load = load
        self.search_test = search_test
        self._click_source = click_source
        self.pool = pool
        self.test = test
        self.warnings = tuple(warnings)
        self._layouts: dict[str, Layout] = {}
        self._clicks: dict[str, npt.NDArray[np.int64]] = {}
        self._void: dict[str, npt.NDArray[np.bool_]] = {}
        self._class_counts: dict[str, npt.NDArray[np.int32]] = {}

    @classmethod
    def open(cls, spec: DatasetSpec, cache_dir: Path, on_pack: OnPack | None = None) -> Self:
        """Fetch the data set if it is at a URL, and pack both splits, or find them packed.

        Args:
            spec: The data set.
            cache_dir: Where packed splits are kept.
            on_pack: Called while fetching and packing.

        Raises:
            DataError: When the data set is missing or contradicts itself, or pool and test set have images in common.
            ResultsError: When it is at a URL that cannot be read, or the disk is full.
        """
        _fetched(spec, on_pack)
        listed = list_splits(spec)
        packed = [
            pack(
                listed.dataset,
                name,
                cache_dir,
                on_progress=functools.partial(on_pack, f"packing {name}") if on_pack else None,
            )
            for name in (spec.pool, spec.test)
        ]
        pool, test = (
            split._replace(digests=found.statistics.digests)
            for split, found in zip((listed.pool, listed.test), packed, strict=True)
        )
        overlap = overlap_findings(pool, test, is_allowed=spec.allow_overlap)
        raise_errors(overlap)
        of_classes = [class_findings(listed.dataset, split.split, split.statistics) for split in packed]
        findings = itertools.chain(overlap, *of_classes)
        return cls(
            load=lambda: listed.dataset,
            pool=packed[0],
            test=packed[1],
            warnings=[found.text for found in findings if found.severity != "note"],
        )

    @classmethod
    def open_shared(
        cls, spec: DatasetSpec, results_dir: Path, described: Mapping[str, Any], cache_dir: Path, remote: Remote | None
    ) -> Self | None:
        """Return the data as the driver has packed them, without the data set; None where they are not to be had.

        Args:
            spec: The data set.
            results_dir: The results folder.
            described: What suite.json says of the data, see `describe`.
            cache_dir: Where packed splits are kept.
            remote: URL of the results, with the packed splits beside them.

        Raises:
            ResultsError: When the storage cannot be reached, or the disk is full.
        """
        tests = {described[name]["split"]: described[name] for name in _TESTS if name in described}
        if described["pool"]["split"] != spec.pool or spec.test not in tests:
            return None
        pool, test = (
            find_shared_pack(results_dir, split, cache_dir, remote) for split in (described["pool"], tests[spec.test])
        )
        if pool is None or test is None:
            return None
        return cls(
            load=functools.partial(_fetched, spec), pool=pool, test=test, click_source=described["pool"]["clicks_from"]
        )

    @functools.cached_property
    def dataset(self) -> Dataset:
        """The data set that the splits were packed from; where it is at a URL, it may be fetched now."""
        return self._load()

    def require(self, described: Mapping[str, Any]) -> None:
        """Check that these are the images and masks that suite.json describes: those of the driver.

        Raises:
            DataError: When a split of the same name has other ones.
        """
        pairs = [("pool", self.pool), *((name, self.test) for name in _TESTS)]
        for name, split in pairs:
            there = described.get(name)
            if there and there["split"] == split.split and there["fingerprint"] != split.fingerprint:
                raise DataError(
                    f"{split.split} of {split.name} has other images or masks here (fingerprint "
                    f"{split.fingerprint[:12]}) than where the run was started ({there['fingerprint'][:12]}): its "
                    "folder is another one, or has changed since"
                )

    def share(self, suite: Suite, remote: Remote) -> None:
        """Put the packed splits beside the results at a URL, with the clicks of all regions that trials may label.

        Raises:
            ResultsError: When the storage cannot be reached or written.
        """
        for region_size, regions in cuts(suite.trials()):
            self.clicks(region_size, regions)
        for region_size in _searched_sizes(suite):
            self.clicks(region_size, suite.regions)
        for split in (self.pool, self.test, self.search_test):
            if split is not None:
                share_pack(split, remote)

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
            self._clicks[key] = region_clicks(
                self.pool,
                self.layout(region_size, regions),
                lambda: items_of(self.dataset, self.pool.split),
                on_progress,
                source=self._click_source,
            )
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
            **({} if self.search_test is None else {"search_test": _describe(self.search_test, results_dir)}),
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


def _searched_sizes(suite: Suite) -> tuple[int, ...]:
    """Return the region sizes that the candidates of a study may have, where it searches them."""
    space = {} if suite.study is None else suite.study.distributions()
    return values_of(space[REGION_SIZE]) if REGION_SIZE in space else ()


def open_data(suite: Suite, cache_dir: Path, on_pack: OnPack | None = None) -> TrialData:
    """Return pool and test set of a suite after all checks that a run makes of its data.

    The split of a study is packed and checked too: its candidates would fail one by one. What is found wrong with it,
    but no error, is among the warnings.

    Args:
        suite: The suite.
        cache_dir: Where packed splits are kept.
        on_pack: Called while fetching, packing and cutting.

    Raises:
        DataError: When the data set is missing or contradicts itself, pool and test set have images in common, or a
            region is larger than an image.
        ResultsError: When it is at a URL that cannot be read, or the disk is full.
    """
    data = TrialData.open(suite.dataset, cache_dir, on_pack)
    for region_size, regions in cuts(suite.trials()):
        on_cut = functools.partial(on_pack, f"cutting {suite.dataset.pool} into {regions.title}") if on_pack else None
        data.layout(region_size, regions, on_cut)
    if suite.study is not None and suite.study.test not in (None, suite.dataset.test):
        searched = TrialData.open(search_dataset(suite), cache_dir, on_pack)
        data.search_test = searched.test
        data.warnings += searched.warnings
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
