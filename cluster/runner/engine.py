"""The engine that runs trials: an argument of drivers and workers, so that tests can pass one that does not train."""

import functools
import importlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from quadrat.benchmark.config.candidates import search_dataset
from quadrat.benchmark.config.suite import Suite
from quadrat.benchmark.config.trial import TrialSpec
from quadrat.benchmark.results.records import Record
from quadrat.benchmark.results.selections import find_gaps
from quadrat.benchmark.storage.remote import Remote
from quadrat.benchmark.trial.data import OnPack
from quadrat.benchmark.trial.progress import OnProgress
from quadrat.cluster.runner.forwarded import check_variables

if TYPE_CHECKING:
    from quadrat.benchmark.trial.context import TrialContext

__all__ = ["Engine", "OnPack", "OpenRunner", "TrialRunner", "WarmUp", "benchmark_engine"]


class TrialRunner(Protocol):
    """Runs the trials of one suite."""

    def __call__(self, spec: TrialSpec, on_progress: OnProgress) -> Iterator[Record]:
        """Yield the records of `spec` round by round, those of rounds that were finished before too."""


OpenRunner = Callable[[Suite, Path], TrialRunner]
"""Opens what the trials of a process share: `open_runner(suite, results_dir)`. It is pickled and sent to workers."""

WarmUp = Callable[[Suite], None]
"""Loads what trials will need; raises a `QuadratError` when the suite's recipe is wrong. Also sent to workers."""

FindGaps = Callable[[Path, Sequence[Record], Remote | None], Mapping[tuple[str, int], str]]
"""Returns what is wrong with the selections of records, by trial and round."""


@dataclass(frozen=True, kw_only=True)
class Engine:
    """Functions by which a run checks data, prepares it and runs trials.

    Attributes:
        check: Called once by the driver before anything is started: whether the data set is there at all.
        prepare: Called once by the driver with (suite, results_dir, on_pack): checks the data and writes suite.json.
        open_runner: Called once in each process that runs trials.
        warm_up: Called once in each process that will run trials, before the data are known to be there: loads what
            takes seconds to load, and refuses a recipe that no trial could be run by.
        find_gaps: Called by the driver with recorded rounds: which of their selections are missing or wrong.
    """

    check: Callable[[Suite], None]
    prepare: Callable[[Suite, Path, OnPack], None]
    open_runner: OpenRunner
    warm_up: WarmUp
    find_gaps: FindGaps = find_gaps


def benchmark_engine(cache_dir: Path | None = None, *, url: str | None = None, store: str | None = None) -> Engine:
    """Return the engine that trains: the benchmark's loop over real images.

    Args:
        cache_dir: Where packed images and frozen features are kept; by default inside the results folder.
        url: Where the results are kept as well, so that each machine can have a results folder of its own.
        store: Folder or URL of a store that several suites share; by default inside the results folder.
    """
    open_context = functools.partial(_open_context, cache_dir=cache_dir, url=url, store=store)
    return Engine(
        check=_check,
        prepare=functools.partial(_prepare, open_context=open_context),
        open_runner=functools.partial(_open_runner, open_context=open_context),
        warm_up=_warm_up,
    )


def _check(suite: Suite) -> None:
    from quadrat.benchmark.trial.data import check_data_set

    check_data_set(suite.dataset)
    if suite.study is not None:
        check_data_set(search_dataset(suite))


def _warm_up(suite: Suite) -> None:
    from quadrat.benchmark.learning.network.model import check_encoder

    importlib.import_module("quadrat.benchmark.learning.learner")  # torch, timm, torchvision: seconds
    check_encoder(suite.learner.encoder)


def _open_context(
    suite: Suite,
    results_dir: Path,
    on_pack: OnPack | None = None,
    *,
    is_driver: bool = False,
    cache_dir: Path | None,
    url: str | None,
    store: str | None,
) -> "TrialContext":
    from quadrat.benchmark.storage.remote import is_url, working_folder
    from quadrat.benchmark.storage.store import open_store
    from quadrat.benchmark.trial.context import TrialContext

    check_variables()
    remote = None
    if url is not None:  # the driver's folder need not be here; it holds the lease, so the storage has answered
        results_dir, remote = working_folder(url), Remote(url, has_answered=True)
    if is_driver and store is not None and is_url(store):
        Remote(store).check()
    return TrialContext.open(
        suite,
        results_dir,
        cache_dir=cache_dir,
        on_pack=on_pack,
        remote=remote,
        store=open_store(store, results_dir, remote, has_answered=not is_driver),
        described=None if is_driver else _described(results_dir, remote),
    )


def _described(results_dir: Path, remote: Remote | None) -> Mapping[str, Any]:
    """Return what the driver has written of the data to suite.json, before any trial was started."""
    from quadrat.benchmark.results.folder import read_suite_json

    # Of a machine that is not the driver's, a copy in the working folder may be of an earlier run.
    found = remote.read("suite.json") if remote is not None else None
    document = read_suite_json(results_dir) if found is None else json.loads(found)
    described: Mapping[str, Any] = document["dataset"]
    return described


def _prepare(suite: Suite, results_dir: Path, on_pack: OnPack, *, open_context: "Callable[..., TrialContext]") -> None:
    open_context(suite, results_dir, on_pack, is_driver=True).prepare_results()


def _open_runner(suite: Suite, results_dir: Path, *, open_context: "Callable[..., TrialContext]") -> TrialRunner:
    from quadrat.benchmark.trial.loop import run_trial

    context = open_context(suite, results_dir)
    return lambda spec, on_progress: run_trial(spec, context, on_progress)
