"""What the trials of one process share: the packed images, the grids, the learner, the store."""

import functools
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from quadrat.benchmark.config.sharing import SharedNeeds, needs_of_suite
from quadrat.benchmark.config.suite import Suite
from quadrat.benchmark.config.trial import FULL_SUPERVISION, TrialSpec
from quadrat.benchmark.data import Dataset, PackedSplit, RegionGrid, load_dataset, pack
from quadrat.benchmark.data.clicks import click_source, region_clicks
from quadrat.benchmark.errors import TrainingError
from quadrat.benchmark.results.environment import describe_environment
from quadrat.benchmark.results.folder import prepare_results
from quadrat.benchmark.storage.remote import Remote
from quadrat.benchmark.storage.store import Store, open_store

if TYPE_CHECKING:
    from quadrat.benchmark.learning.learner import Learner

__all__ = ["TrialContext"]


class TrialContext:
    """Everything that trials of one suite share within a process. Opened once, used by one trial after another.

    Args:
        suite: The suite.
        results_dir: Everything written lies below it.
        dataset: The data set that the splits were packed from.
        pool: Packed split whose regions can be bought.
        test: Packed split that is reported on.
        device: "cpu" or "cuda".
        remote: Where the results are kept as well, None for a folder alone.
        store: Where artefacts lie, by default in the results folder.
    """

    def __init__(
        self,
        *,
        suite: Suite,
        results_dir: Path,
        cache_dir: Path,
        dataset: Dataset,
        pool: PackedSplit,
        test: PackedSplit,
        device: str,
        remote: Remote | None = None,
        store: Store | None = None,
    ) -> None:
        self.suite = suite
        self.dataset = dataset
        self.results_dir = results_dir
        self.cache_dir = cache_dir
        self.pool = pool
        self.test = test
        self.device = device
        self.remote = remote
        self.store = store or open_store(None, results_dir, remote)
        self._grids: dict[int, RegionGrid] = {}
        self._clicks: dict[int, npt.NDArray[np.int64]] = {}
        self._learner: Learner | None = None

    @classmethod
    def open(
        cls,
        suite: Suite,
        results_dir: Path,
        *,
        cache_dir: Path | None = None,
        on_pack: Callable[[str, int, int], None] | None = None,
        remote: Remote | None = None,
        store: Store | None = None,
    ) -> "TrialContext":
        """Pack the suite's splits (or find them packed) and return the workbench on them.

        Args:
            suite: The suite.
            results_dir: Its results folder.
            cache_dir: Where packed splits and frozen features are kept; by default `results_dir/cache`.
            on_pack: Called with (split, images done, images in all) while packing.
            remote: Where the results are kept as well.
            store: Where artefacts lie, by default in the results folder.

        Raises:
            DataError: When the data set is missing or contradicts itself.
            TrainingError: When the recipe names a weight file that is not there.
        """
        results_dir = Path(results_dir)
        cache_dir = Path(cache_dir) if cache_dir is not None else results_dir / "cache"
        dataset = load_dataset(suite.dataset.name, suite.dataset.root, **suite.dataset.params)
        pool, test = (
            pack(dataset, split, cache_dir, on_progress=functools.partial(on_pack, split) if on_pack else None)
            for split in (suite.dataset.pool, suite.dataset.test)
        )
        bench = cls(
            suite=suite,
            results_dir=results_dir,
            cache_dir=cache_dir,
            dataset=dataset,
            pool=pool,
            test=test,
            device=_device(suite),
            remote=remote,
            store=store,
        )
        # Said here, before any trial starts, when it is wrong.
        _ = bench.weight_file_sha256
        return bench

    def sync(self, path: Path) -> Path:
        """Return `path`, a file of the results folder, after having it here and remote if it is at either."""
        if self.remote is not None:
            self.remote.sync(self.results_dir, path.relative_to(self.results_dir).as_posix())
        return path

    def grid(self, region_size: int) -> RegionGrid:
        """Return the grid of `region_size` over the pool, made once.

        Raises:
            DataError: When a region is larger than an image.
        """
        if region_size not in self._grids:
            self._grids[region_size] = RegionGrid(self.pool.sizes, region_size, ids=self.pool.ids)
        return self._grids[region_size]

    def clicks(self, region_size: int, on_progress: Callable[[int, int], None] | None = None) -> npt.NDArray[np.int64]:
        """Return what each region of the pool costs in clicks, int64 (R,); counted once for all trials.

        Args:
            region_size: Edge of a region, pixels.
            on_progress: Called with (images done, images in all) while counting.

        Raises:
            DataError: When polygons are missing or damaged.
        """
        if region_size not in self._clicks:
            items = self.dataset.items(self.suite.dataset.pool)
            self._clicks[region_size] = region_clicks(self.pool, self.grid(region_size), items, on_progress)
        return self._clicks[region_size]

    @property
    def learner(self) -> "Learner":
        """The learner of the suite's recipe, made when it is first needed."""
        if self._learner is None:
            from quadrat.benchmark.learning.learner import Learner  # here: torch takes seconds to import

            self._learner = Learner(
                self.suite.learner,
                train=self.pool.images,
                test=self.test.images,
                num_classes=len(self.pool.classes),
                device=self.device,
                threads=self.suite.resources.cpus,
                cache_dir=self.cache_dir,
            )
        return self._learner

    @functools.cached_property
    def weight_file_sha256(self) -> str | None:
        """SHA-256 of the file that the encoder starts from; None where the recipe names no file.

        The recipe names a file by its path, but what a fit depends on is its content.

        Raises:
            TrainingError: When the file is not there.
        """
        weights = self.suite.learner.weights
        if weights in ("imagenet", "packaged", "none"):
            return None
        try:
            with open(weights, "rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise TrainingError(
                f"learner.weights: expected 'imagenet', 'packaged', 'none' or a weight file, got '{weights}' "
                f"({error.strerror})"
            ) from error

    @functools.cached_property
    def suite_needs(self) -> SharedNeeds:
        """What all strategies of the suite need together."""
        return needs_of_suite(self.suite)

    def budgets(self, spec: TrialSpec) -> tuple[int, ...]:
        """Return the cumulative budgets of a trial; the reference trial labels every region in its one round."""
        if spec.strategy == FULL_SUPERVISION:
            return (self.grid(spec.region_size).num_regions,)
        return spec.budgets

    def prepare_results(self) -> None:
        """Write suite.json and environment.json, or refuse a folder that belongs to other data or another suite.

        Raises:
            ResultsError: When suite or data differ from what the folder holds.
        """
        prepare_results(
            self.results_dir,
            self.suite,
            dataset=self.describe(),
            environment=describe_environment(self.suite, self.device),
        )

    def describe(self) -> dict[str, Any]:
        """Return the data behind the suite, JSON-plain, as it is written to suite.json."""
        return {
            "classes": list(self.pool.classes),
            "colours": [list(colour) for colour in self.pool.colours],
            "pool": {
                **self._describe(self.pool),
                "num_regions": {str(size): self.grid(size).num_regions for size in self.suite.region_sizes},
                "clicks_from": click_source(self.dataset.items(self.suite.dataset.pool)),
            },
            "test": self._describe(self.test),
        }

    def _describe(self, split: PackedSplit) -> dict[str, Any]:
        sizes: npt.NDArray[np.int64] = split.sizes.astype(np.int64)
        inside = split.path.is_relative_to(self.results_dir)
        return {
            "split": split.split,
            "fingerprint": split.fingerprint,
            "path": str(split.path.relative_to(self.results_dir) if inside else split.path),
            "num_images": len(split.ids),
            "num_px": int((sizes[:, 0] * sizes[:, 1]).sum()),
        }


def _device(suite: Suite) -> str:
    if suite.resources.device != "auto":
        return suite.resources.device
    return "cuda" if suite.resources.gpus > 0 else "cpu"
