"""What runs a trial, so that drivers and workers can be tested with something that does not train."""

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from quadrat.benchmark.phases import Progress
from quadrat.benchmark.records import Record
from quadrat.benchmark.spec import TrialSpec
from quadrat.benchmark.suite import Suite

__all__ = ["Engine", "OnPack", "OpenRunner", "TrialRunner", "benchmark_engine"]


class TrialRunner(Protocol):
    """Runs the trials of one suite."""

    def __call__(self, spec: TrialSpec, on_progress: Callable[[Progress], None]) -> Iterator[Record]:
        """Yield the records of `spec` round by round, those of rounds that were finished before too."""


OpenRunner = Callable[[Suite, Path], TrialRunner]
"""Opens what the trials of a process share: `open_runner(suite, results_dir)`. It travels to other machines."""

OnPack = Callable[[str, int, int], None]
"""Told (split, images done, images in all) while images are packed."""


@dataclass(frozen=True, kw_only=True)
class Engine:
    """The two things that a run needs from below.

    Attributes:
        prepare: Called once by the driver with (suite, results_dir, on_pack): checks the data and writes suite.json.
        open_runner: Called once in each process that runs trials.
    """

    prepare: Callable[[Suite, Path, OnPack], None]
    open_runner: OpenRunner


def benchmark_engine(cache_dir: Path | None = None) -> Engine:
    """Return the engine that trains: the benchmark's loop on a workbench.

    Args:
        cache_dir: Where packed images and frozen features are kept; by default inside the results folder.
    """
    return Engine(
        prepare=functools.partial(_prepare, cache_dir=cache_dir),
        open_runner=functools.partial(_open_runner, cache_dir=cache_dir),
    )


def _prepare(suite: Suite, results_dir: Path, on_pack: OnPack, *, cache_dir: Path | None) -> None:
    from quadrat.benchmark.results import prepare_results
    from quadrat.benchmark.workbench import Workbench

    bench = Workbench.open(suite, results_dir, cache_dir=cache_dir, on_pack=on_pack)
    prepare_results(bench)
    for region_size in suite.region_sizes:  # here, so that no worker waits for another that counts
        bench.clicks(region_size, functools.partial(on_pack, f"clicks of {region_size} px regions"))


def _open_runner(suite: Suite, results_dir: Path, *, cache_dir: Path | None) -> TrialRunner:
    from quadrat.benchmark.loop import run_trial
    from quadrat.benchmark.workbench import Workbench

    bench = Workbench.open(suite, results_dir, cache_dir=cache_dir)
    return lambda spec, on_progress: run_trial(spec, bench, on_progress)
