"""What the trials of one suite share within a process: the data, the learner, and where files are kept."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from quadrat.benchmark.config.contents import weights_sha256
from quadrat.benchmark.config.sharing import SharedNeeds, needs_of_suite
from quadrat.benchmark.config.suite import Suite
from quadrat.benchmark.learning.recipe import Recipe
from quadrat.benchmark.results.environment import describe_environment
from quadrat.benchmark.results.folder import prepare_results
from quadrat.benchmark.storage.remote import Remote
from quadrat.benchmark.storage.store import Store, open_store
from quadrat.benchmark.trial.data import OnPack, TrialData, open_data

if TYPE_CHECKING:
    from quadrat.benchmark.learning.learner import Learner

__all__ = ["Artefacts", "TrialContext"]


@dataclass(frozen=True, kw_only=True)
class Artefacts:
    """Where the files of trials are kept.

    Attributes:
        results_dir: The results folder: selections, previews.
        store: What phases computed, by the hash of all that it depends on.
        remote: Where the results folder is kept as well, None for the folder alone.
    """

    results_dir: Path
    store: Store
    remote: Remote | None = None

    def sync(self, path: Path) -> Path:
        """Have a file of the results folder both here and in the remote, if it is in either; return its path here."""
        if self.remote is not None:
            self.remote.sync(self.results_dir, path.relative_to(self.results_dir).as_posix())
        return path

    def delete_remote(self, path: Path) -> None:
        """Delete a file of the results folder at the remote, if there is one: it is damaged and is made again."""
        if self.remote is not None:
            self.remote.delete(path.relative_to(self.results_dir).as_posix())


@dataclass(frozen=True, kw_only=True)
class TrialContext:
    """What the trials of one suite share within a process; opened once, used by one trial after another.

    Attributes:
        suite: The suite.
        data: Pool and test set.
        artefacts: Where files are kept.
        cache_dir: Where packed splits and frozen features are kept.
        weights_sha256: Hash of the file that the encoder starts from; None where the recipe names no file. The recipe
            names a file by its path, but what a fit depends on is its content.
    """

    suite: Suite
    data: TrialData
    artefacts: Artefacts
    cache_dir: Path
    weights_sha256: str | None

    @classmethod
    def open(
        cls,
        suite: Suite,
        results_dir: Path,
        *,
        cache_dir: Path | None = None,
        on_pack: OnPack | None = None,
        remote: Remote | None = None,
        store: Store | None = None,
        described: Mapping[str, Any] | None = None,
    ) -> Self:
        """Pack the suite's splits (or find them packed) and return the context of its trials.

        Args:
            suite: The suite.
            results_dir: Its results folder.
            cache_dir: Where packed splits and frozen features are kept; by default `results_dir/cache`.
            on_pack: Called while packing.
            remote: Where the results are kept as well.
            store: Where artefacts are kept, by default in the results folder.
            described: What suite.json says of the data, for all but the driver: the data here must be the same. Of a
                data set at a URL the splits that the driver has packed are then used.

        Raises:
            DataError: When the data set is missing or contradicts itself, or is not the one that is described.
            TrainingError: When the recipe names a weight file that is not there.
        """
        results_dir = Path(results_dir)
        cache_dir = Path(cache_dir) if cache_dir is not None else results_dir / "cache"
        data = None
        if described is not None and suite.dataset.url is not None:
            data = TrialData.open_shared(suite.dataset, results_dir, described, cache_dir, remote)
        if data is None:
            data = open_data(suite, cache_dir, on_pack)
        if described is not None:
            data.require(described)
        return cls(
            suite=suite,
            data=data,
            artefacts=Artefacts(
                results_dir=results_dir, store=store or open_store(None, results_dir, remote), remote=remote
            ),
            cache_dir=cache_dir,
            weights_sha256=weights_sha256(suite.learner),
        )

    @property
    def device(self) -> str:
        """`cpu` or `cuda`."""
        if self.suite.resources.device != "auto":
            return self.suite.resources.device
        return "cuda" if self.suite.resources.gpus > 0 else "cpu"

    @functools.cached_property
    def _learners(self) -> dict[str, "Learner"]:
        return {}

    def learner(self, recipe: Recipe) -> "Learner":
        """Return the learner of `recipe`, the suite's or that of full supervision, made when it is first needed."""
        from quadrat.benchmark.learning.learner import Learner  # here: torch takes seconds to import

        if (made := self._learners.get(recipe.digest())) is not None:
            return made
        learner = Learner(
            recipe,
            train=self.data.pool.images,
            test=self.data.test.images,
            num_classes=len(self.data.pool.classes),
            device=self.device,
            threads=self.suite.resources.cpus,
            cache_dir=self.cache_dir,
        )
        self._learners[recipe.digest()] = learner
        return learner

    @functools.cached_property
    def suite_needs(self) -> SharedNeeds:
        """What all strategies of the suite need together."""
        return needs_of_suite(self.suite)

    def prepare_results(self) -> None:
        """Write suite.json and environment.json, or refuse a folder that belongs to other data or another suite.

        Of a data set at a URL the packed splits are put beside results at a URL, for the other machines.

        Raises:
            ResultsError: When suite or data differ from what the folder holds.
        """
        results_dir = self.artefacts.results_dir
        prepare_results(
            results_dir,
            self.suite,
            dataset=self.data.describe(results_dir, self.suite),
            environment=describe_environment(self.suite, self.device),
        )
        if self.suite.dataset.url is not None and self.artefacts.remote is not None:
            self.data.share(self.suite, self.artefacts.remote)
