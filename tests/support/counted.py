"""Trials that train on tiny images and count their iterations; importable by Ray workers."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from quadrat.benchmark.config.suite import Suite
from quadrat.benchmark.config.trial import TrialSpec
from quadrat.benchmark.results.records import Record
from quadrat.benchmark.trial.progress import Progress
from quadrat.cluster.runner.context import RunOptions
from quadrat.cluster.runner.engine import TrialRunner, benchmark_engine
from support.tiny_suite import TINY_SUITE

__all__ = ["SUITE", "counted_options", "iterations"]

_COUNTS = "iterations.txt"

SUITE = Suite.model_validate(
    {
        **TINY_SUITE,
        "budgets": [6, 12],
        "learner": {**TINY_SUITE["learner"], "iterations": 100},
        "strategies": ["random"],
        "resources": {"max_in_flight": 1, "retries": 0},
        "study": {
            "strategy": "entropy-spatial",
            "params": {"norm": 2, "d2_d1": 2.0, "d3_d2": 1.0, "w_spatial": 1.0},
            "candidates": 1,
            "search_seeds": [10],
            "sampler": "RandomSampler",
            "pruner": "none",
        },
    }
)
"""Two rounds of 100 iterations, which take milliseconds each, and a study of one candidate."""


def _open_counted(suite: Suite, results_dir: Path) -> TrialRunner:
    run = benchmark_engine().open_runner(suite, results_dir)

    def counted(spec: TrialSpec, on_progress: Callable[[Progress], None]) -> Iterator[Record]:
        with (results_dir / _COUNTS).open("a") as file:

            def count(progress: Progress) -> None:
                if progress.phase == "fit":
                    file.write(f"{spec.trial_id} {progress.round} {progress.done}\n")
                    file.flush()
                on_progress(progress)

            yield from run(spec, count)

    return counted


def counted_options(results_dir: Path, address: str | None = None) -> RunOptions:
    """Return the options of a run that trains, counts, and logs nowhere."""
    engine = replace(benchmark_engine(), open_runner=_open_counted)
    return RunOptions(results_dir=results_dir, engine=engine, logs_to_mlflow=False, ray_address=address)


def iterations(results_dir: Path) -> Counter[str]:
    """Return how often each iteration of each fit was run: `trial id, round, iteration` to a number."""
    path = results_dir / _COUNTS
    return Counter(path.read_text().splitlines()) if path.exists() else Counter()
