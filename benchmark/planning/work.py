"""What a suite has to compute, counted before anything runs: fits, passes over images, and the size of its data."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from quadrat.benchmark.config.sharing import SharedNeeds, needs_of_suite, needs_of_trial, planned_round
from quadrat.benchmark.config.suite import Suite
from quadrat.benchmark.config.trial import TrialSpec
from quadrat.benchmark.errors import DataError
from quadrat.benchmark.results.folder import read_suite_json
from quadrat.strategies.registry import Registry

__all__ = ["DataExtent", "Workload", "count_work", "data_extent"]


@dataclass(frozen=True, kw_only=True)
class DataExtent:
    """How much data a suite works on.

    Attributes:
        num_pool: Images of the pool.
        num_test: Images of the test set.
        height: Of an image, pixels; a typical one where they differ.
        width: Of an image, pixels.
        num_classes: Classes.
        source: How that is known, for people.
        counted_regions: Regions of the pool by region size, where they were counted.
    """

    num_pool: int
    num_test: int
    height: int
    width: int
    num_classes: int
    source: str
    counted_regions: Mapping[str, int] = field(default_factory=dict)

    def num_regions(self, region_size: int) -> int:
        """Return the regions of the pool, clipped ones at the borders included."""
        if (counted := self.counted_regions.get(str(region_size))) is not None:
            return counted
        return self.num_pool * -(-self.height // region_size) * -(-self.width // region_size)

    @property
    def packed_bytes(self) -> int:
        """Bytes of both splits when they are packed: three channels and a mask a pixel."""
        return 4 * (self.num_pool + self.num_test) * self.height * self.width


@dataclass(frozen=True, kw_only=True)
class Workload:
    """What is computed when every trial of a suite runs once and shares what it can.

    Attributes:
        num_trials: Trials.
        num_fits: Models that are trained; round 0 once for all strategies of a seed.
        num_iterations: Iterations of all fits together.
        num_evaluations: Passes over the test set.
        scorings: Passes over the pool, by what they compute.
        longest_iterations: Iterations of the longest trial, which no number of devices makes shorter.
        num_picks: Regions picked by all trials together.
        is_upper_bound: Whether the iterations are the most there can be (a recipe by epochs depends on the picks).
    """

    num_trials: int
    num_fits: int
    num_iterations: int
    num_evaluations: int
    scorings: Mapping[SharedNeeds, int]
    longest_iterations: int
    num_picks: int
    is_upper_bound: bool

    @property
    def num_scorings(self) -> int:
        """Passes over the pool, whatever they compute."""
        return sum(self.scorings.values())


def data_extent(suite: Suite, results_dir: Path) -> DataExtent:
    """Return the extent of a suite's data: from its results, from the data, or as the data set declares it.

    Raises:
        DataError: When the data is not at hand and the data set declares no sizes.
    """
    from quadrat.benchmark.data import load_dataset

    if (results_dir / "suite.json").is_file():
        document = read_suite_json(results_dir)
        if document["suite"]["dataset"] == json.loads(suite.dataset.model_dump_json()):
            return _recorded(document["dataset"])
    spec = suite.dataset
    try:
        dataset = load_dataset(spec.name, spec.root, **spec.params)
        pool, test = dataset.items(spec.pool), dataset.items(spec.test)
        height, width, _ = pool[0].read_image().shape
    except DataError as error:
        published = getattr(Registry(group="quadrat.datasets", kind="dataset").get(spec.name), "published", None)
        if published is None or not {spec.pool, spec.test} <= published.num_images.keys():
            raise
        return DataExtent(
            num_pool=published.num_images[spec.pool],
            num_test=published.num_images[spec.test],
            height=published.height,
            width=published.width,
            num_classes=published.num_classes,
            source=f"as published, since {spec.name} is not at hand ({_first_sentence(error)})",
        )
    return DataExtent(
        num_pool=len(pool),
        num_test=len(test),
        height=height,
        width=width,
        num_classes=len(dataset.classes),
        source="counted; the first image's size stands for all",
    )


def count_work(suite: Suite, extent: DataExtent) -> Workload:
    """Return what the suite computes, with all that its trials share counted once."""
    distinct = {spec.trial_id: spec for spec in suite.trials()}
    suite_needs = needs_of_suite(suite)
    iterations: dict[str, int] = {}
    scorings: dict[str, SharedNeeds] = {}
    for spec in distinct.values():
        for round_ in range(spec.num_rounds):
            key = planned_round(spec, round_)
            iterations[key] = _iterations(spec, round_, extent)
            needs = needs_of_trial(spec, round_, suite_needs)
            if round_ < spec.num_rounds - 1 and needs != SharedNeeds():
                scorings.setdefault(key, needs)
    return Workload(
        num_trials=len(distinct),
        num_fits=len(iterations),
        num_iterations=sum(iterations.values()),
        num_evaluations=len(iterations),
        scorings=Counter(scorings.values()),
        longest_iterations=max(
            sum(_iterations(spec, round_, extent) for round_ in range(spec.num_rounds)) for spec in distinct.values()
        ),
        num_picks=sum(_picks(spec, extent) for spec in distinct.values()),
        is_upper_bound=suite.learner.epochs is not None,
    )


def _recorded(dataset: Mapping[str, Any]) -> DataExtent:
    pool, test = dataset["pool"], dataset["test"]
    area = pool["num_px"] / pool["num_images"]
    height = round((area * 3 / 4) ** 0.5)
    return DataExtent(
        num_pool=pool["num_images"],
        num_test=test["num_images"],
        height=height,
        width=round(area / height),
        num_classes=len(dataset["classes"]),
        source="counted when it was packed; an image of mean area and 4:3 stands for all",
        counted_regions=pool.get("num_regions", {}),
    )


def _first_sentence(error: Exception) -> str:
    text = str(error).splitlines()[0]
    return text if len(text) <= 300 else text[:297] + "..."


def _iterations(spec: TrialSpec, round_: int, extent: DataExtent) -> int:
    """Return the iterations of a round's fit; by epochs, as if no image had two labelled regions."""
    labelled = spec.budgets[round_] if spec.budgets else extent.num_pool
    return spec.learner.num_steps(min(labelled, extent.num_pool))


def _picks(spec: TrialSpec, extent: DataExtent) -> int:
    return spec.budgets[-1] if spec.budgets else extent.num_regions(spec.region_size)
