"""Size of a suite's data: exact where it was packed, else from one image, else as the data set declares it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from quadrat.benchmark.config.suite import Suite
from quadrat.benchmark.config.trial import GRID_REGIONS, DatasetSpec, RegionsSpec
from quadrat.benchmark.data import PackedSplit, RegionGrid, items_of, load_dataset, open_packed
from quadrat.benchmark.data.check import glance
from quadrat.benchmark.data.dataset import DATASETS
from quadrat.benchmark.data.overlap import LISTED
from quadrat.benchmark.errors import DataError
from quadrat.benchmark.redaction import first_line
from quadrat.benchmark.results.folder import read_suite_json
from quadrat.benchmark.trial.data import list_splits

__all__ = ["DataExtent", "ExactCounts", "data_extent", "data_warnings"]


class ExactCounts(NamedTuple):
    """What was counted over all images when they were packed.

    Attributes:
        pool_px: Pixels of the pool.
        test_px: Pixels of the test set.
        regions: Square regions of the pool, by region size.
        maps: Regions of the pool's maps that were cut, by the name that suite.json has for them.
    """

    pool_px: int
    test_px: int
    regions: Mapping[int, int]
    maps: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class DataExtent:
    """How much data a suite works on.

    Attributes:
        num_pool: Images of the pool.
        num_test: Images of the test set.
        height: Height of an image, pixels; of a typical one where they differ.
        width: Width of an image, pixels.
        num_classes: Classes.
        source: Where the size comes from, for people.
        exact: Counts over all images; None where every image is taken to be as large as the typical one.
    """

    num_pool: int
    num_test: int
    height: int
    width: int
    num_classes: int
    source: str
    exact: ExactCounts | None = None

    @property
    def pool_px(self) -> int:
        """Pixels of the pool."""
        return self.exact.pool_px if self.exact else self.num_pool * self.height * self.width

    @property
    def packed_bytes(self) -> int:
        """Bytes of both splits when they are packed: three channels and a mask a pixel."""
        test_px = self.exact.test_px if self.exact else self.num_test * self.height * self.width
        return 4 * (self.pool_px + test_px)

    def num_regions(self, region_size: int, regions: RegionsSpec = GRID_REGIONS) -> int:
        """Return the regions of the pool, clipped ones at the borders included.

        Of a map whose images have not been cut it is an estimate, as many as squares of the intended area: see
        `is_counted`.
        """
        if (counted := self._counted(region_size, regions)) is not None:
            return counted
        if not regions.is_grid:
            return max(1, round(self.pool_px / region_size**2))
        return self.num_pool * -(-self.height // region_size) * -(-self.width // region_size)

    def is_counted(self, region_size: int, regions: RegionsSpec = GRID_REGIONS) -> bool:
        """Return whether `num_regions` was counted on all images, rather than estimated."""
        return self._counted(region_size, regions) is not None

    def _counted(self, region_size: int, regions: RegionsSpec) -> int | None:
        if self.exact is None:
            return None
        if regions.is_grid:
            return self.exact.regions.get(region_size)
        return self.exact.maps.get(regions.map_name(region_size))


def data_extent(suite: Suite, results_dir: Path) -> DataExtent:
    """Return the size of a suite's data.

    The first of these that is there: the packed images of the results folder; what its suite.json counted when they
    were packed; the data set, of which the first image stands for all; the sizes that the data set declares.

    Raises:
        DataError: When the data is missing and the data set declares no sizes.
    """
    recorded = _recorded(suite, results_dir)
    if recorded is None:
        return _of_dataset(suite)
    try:
        pool, test = (open_packed(results_dir, recorded[split]) for split in ("pool", "test"))
    except DataError:  # a cache, which may be deleted
        return _of_counts(suite, recorded)
    return _of_packed(suite, recorded, pool, test)


def data_warnings(suite: Suite, results_dir: Path) -> tuple[str, ...]:
    """Return what is wrong with the suite's data: as the last run found it, else by a look at a few masks.

    Data that is not there has no warnings here.
    """
    recorded = _recorded(suite, results_dir)
    if recorded is not None and "warnings" in recorded:
        return tuple(recorded["warnings"])
    spec = suite.dataset
    try:
        listed = list_splits(spec)
        found = [text for name in dict.fromkeys((spec.pool, spec.test)) for text in glance(listed.dataset, name)]
    except DataError as error:
        return (str(error),) if error.kind == LISTED else ()
    return (*(overlap.text for overlap in listed.overlap), *found)


def _recorded(suite: Suite, results_dir: Path) -> Mapping[str, Any] | None:
    """Return the data described in suite.json, None when there is no such file, or it is of other data."""
    if not (results_dir / "suite.json").is_file():
        return None
    document = read_suite_json(results_dir)
    recorded = DatasetSpec.model_validate(document["suite"]["dataset"])
    is_same = recorded == suite.dataset.model_copy(update={"allow_overlap": recorded.allow_overlap})
    return document["dataset"] if is_same else None


def _of_packed(suite: Suite, recorded: Mapping[str, Any], pool: PackedSplit, test: PackedSplit) -> DataExtent:
    height, width = pool.commonest_size
    region_sizes = {*suite.region_sizes, *(spec.region_size for spec in suite.trials())}
    regions = {size: RegionGrid(pool.sizes, size).num_regions for size in region_sizes}
    return DataExtent(
        num_pool=len(pool),
        num_test=len(test),
        height=height,
        width=width,
        num_classes=len(pool.classes),
        source="the commonest size of the packed images",
        exact=ExactCounts(pool.num_px, test.num_px, regions, _of_maps(recorded)),
    )


def _of_counts(suite: Suite, recorded: Mapping[str, Any]) -> DataExtent:
    """Return the counts of suite.json; the typical image is the data set's, or of mean area where that is gone."""
    pool, test = recorded["pool"], recorded["test"]
    try:
        typical = _of_dataset(suite)
        height, width, source = typical.height, typical.width, typical.source
    except DataError:
        area = pool["num_px"] / pool["num_images"]
        height = round((area * 3 / 4) ** 0.5)
        width, source = (
            round(area / height),
            "mean area, taken to be 4:3, since neither packed images nor data are here",
        )
    return DataExtent(
        num_pool=pool["num_images"],
        num_test=test["num_images"],
        height=height,
        width=width,
        num_classes=len(recorded["classes"]),
        source=source,
        exact=ExactCounts(
            pool["num_px"],
            test["num_px"],
            {int(size): num for size, num in pool["num_regions"].items()},
            _of_maps(recorded),
        ),
    )


def _of_maps(recorded: Mapping[str, Any]) -> dict[str, int]:
    return {one["name"]: one["num_regions"] for one in recorded["pool"].get("maps", ())}


def _of_dataset(suite: Suite) -> DataExtent:
    """Return the data set's images, each taken to be as large as the first one, or its declared sizes."""
    spec = suite.dataset
    try:
        dataset = load_dataset(spec.name, spec.root, **spec.params)
        pool, test = items_of(dataset, spec.pool), items_of(dataset, spec.test)
        height, width, _ = pool[0].read_image().shape
    except DataError as error:
        published = getattr(DATASETS.get(spec.name), "published", None)
        if published is None or not {spec.pool, spec.test} <= published.num_images.keys():
            raise
        return DataExtent(
            num_pool=published.num_images[spec.pool],
            num_test=published.num_images[spec.test],
            height=published.height,
            width=published.width,
            num_classes=published.num_classes,
            source=f"as published; {first_line(error)}",
        )
    return DataExtent(
        num_pool=len(pool),
        num_test=len(test),
        height=height,
        width=width,
        num_classes=len(dataset.classes),
        source="the first image's size",
    )
