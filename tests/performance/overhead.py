"""What a suite of short trials costs beyond its trials: starting workers, handing out, recording, waiting."""

import functools
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from quadrat.benchmark.config.suite import Suite
from quadrat.benchmark.config.trial import TrialSpec
from quadrat.benchmark.results.records import Record
from quadrat.benchmark.trial.progress import Progress
from quadrat.cluster.runner.context import RunOptions
from quadrat.cluster.runner.driver import run_on_ray
from quadrat.cluster.runner.engine import OpenRunner, TrialRunner, benchmark_engine

__all__ = ["LIMIT", "bench_overhead", "open_timed", "short_trials"]

LIMIT: Final = 1.25
"""Times that the wall time may be the time of the trials over the number of actors, after the start of Ray."""

_TIMES: Final = "trial-seconds.jsonl"


def short_trials(*, num_seeds: int, iterations: int, actors: int) -> Suite:
    """Return a suite of two strategies whose trials train a tiny network for moments."""
    return Suite.model_validate(
        {
            "name": "overhead",
            "dataset": {"name": "scenes", "params": {"num_train": 16, "num_test": 4, "height": 64, "width": 96}},
            "region_size": 16,
            "budgets": [10, 20, 40],
            "learner": {
                "encoder": "test_resnet",
                "weights": "none",
                "decoder_channels": 16,
                "optimizer": "adamw",
                "lr": 0.003,
                "iterations": iterations,
                "batch_size": 4,
                "crop": 64,
            },
            "strategies": ["random", "entropy-spatial"],
            "seeds": list(range(num_seeds)),
            "resources": {"cpus": 1, "max_in_flight": actors},
        }
    )


def bench_overhead(
    *, num_seeds: int = 32, iterations: int = 30, actors: int = 2, logs_to_mlflow: bool = False
) -> dict[str, Any]:
    """Return the wall time of a suite on `actors` actors, and what of it the trials and the start of Ray were.

    All of it is measured in this run, one after the other on this machine: the start of Ray (`ray.init` and as many
    empty actors, in a session of their own), then the suite with the loop that every suite has. The seconds of a trial
    are those that its worker spent on it, less those in which it waited for a round that another one trained.

    Args:
        num_seeds: Seeds; two trials each.
        iterations: Training steps of a fit.
        actors: Trials in flight.
        logs_to_mlflow: Whether the run logs to MLflow.
    """
    suite = short_trials(num_seeds=num_seeds, iterations=iterations, actors=actors)
    with tempfile.TemporaryDirectory(prefix="quadrat-bench-") as folder:
        results_dir = Path(folder)
        ray_start_s = _start_ray(actors)
        engine = benchmark_engine()
        engine = replace(engine, open_runner=functools.partial(open_timed, open_runner=engine.open_runner))
        options = RunOptions(results_dir=results_dir, engine=engine, logs_to_mlflow=logs_to_mlflow, ray_address="local")
        start = time.perf_counter()
        outcome = run_on_ray(suite, suite.trials(), options)
        wall_s = time.perf_counter() - start
        rows = [json.loads(line) for path in results_dir.glob(f"*-{_TIMES}") for line in path.read_text().splitlines()]
    trials_s = sum(row["seconds"] for row in rows)
    return {
        "trials": outcome.num_complete,
        "rounds_each": len(suite.budgets),
        "actors": actors,
        "wall_s": round(wall_s, 2),
        "ray_start_s": round(ray_start_s, 2),
        "trials_s": round(trials_s, 2),
        "waited_s": round(sum(row["waited"] for row in rows), 2),
        "opening_s": round(sum(row["opening"] for row in rows), 2),
        "ratio": round((wall_s - ray_start_s) / (trials_s / actors), 3),
        "limit": LIMIT,
        "logs_to_mlflow": logs_to_mlflow,
        "cpus": os.cpu_count(),
        "load_1min": round(os.getloadavg()[0], 2),
    }


def _start_ray(actors: int) -> float:
    """Return the seconds until Ray runs with `actors` actors that do nothing."""
    import ray

    from quadrat.cluster.runner.ray_session import ray_session

    class Nothing:
        def answer(self) -> None:
            pass

    start = time.perf_counter()
    with ray_session("local"):
        handles = [ray.remote(Nothing).options(num_cpus=1).remote() for _ in range(actors)]
        ray.get([handle.answer.remote() for handle in handles])
        elapsed_s = time.perf_counter() - start
    return elapsed_s


def open_timed(
    suite: Suite, results_dir: Path, *, open_runner: OpenRunner, clock: Callable[[], float] = time.perf_counter
) -> TrialRunner:
    """Open a runner that writes the seconds of each trial to a file of its process, those spent waiting apart."""
    start = clock()
    runner = open_runner(suite, results_dir)
    opening_s = [clock() - start]

    def run(spec: TrialSpec, on_progress: Callable[[Progress], None]) -> Iterator[Record]:
        waited_s, waits_since = 0.0, None

        def on_timed_progress(progress: Progress) -> None:
            nonlocal waited_s, waits_since
            now = clock()
            if waits_since is not None:
                waited_s += now - waits_since
            waits_since = now if progress.phase == "wait" else None
            on_progress(progress)

        start = clock()
        yield from runner(spec, on_timed_progress)
        elapsed_s = clock() - start - waited_s
        row = {"seconds": elapsed_s, "waited": waited_s, "opening": opening_s.pop() if opening_s else 0.0}
        with (results_dir / f"{os.getpid()}-{_TIMES}").open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    return run
