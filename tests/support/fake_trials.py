"""Trials that do not train, for tests of what goes on around them; importable by Ray workers."""

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from quadrat.benchmark.config.suite import Suite
from quadrat.benchmark.config.trial import TrialSpec
from quadrat.benchmark.errors import DataError, TrainingError
from quadrat.benchmark.results.records import Record, read_records, without_timings
from quadrat.benchmark.storage.atomic import write_json
from quadrat.benchmark.storage.remote import Remote
from quadrat.benchmark.trial.progress import Progress
from quadrat.cluster.runner.actor import here
from quadrat.cluster.runner.context import RunOptions
from quadrat.cluster.runner.engine import Engine, OnPack, TrialRunner
from quadrat.strategies import StrategyError

CLASSES = ("road", "sky")


STUDY: dict[str, Any] = {
    "strategy": "entropy-spatial",
    "params": {"norm": 2, "d2_d1": 2.0, "d3_d2": 1.0, "w_spatial": 1.0},
    "candidates": 4,
    "search_seeds": [10, 11],
    "sampler": "RandomSampler",
    "pruner": "none",
}
"""A study of one candidate parameter, the cut-off, without pruning."""


def make_suite(**changes: Any) -> Suite:
    """Return a suite of two strategies, two seeds and three rounds."""
    values: dict[str, Any] = {
        "name": "fake",
        "dataset": {"name": "scenes"},
        "region_size": 16,
        "budgets": [4, 8, 16],
        "learner": {"encoder": "test_resnet", "weights": "none", "iterations": 3},
        "strategies": ["random", "entropy"],
        "seeds": [0, 1],
    }
    return Suite.model_validate({**values, **changes})


def make_record(spec: TrialSpec, round_: int, **changes: Any) -> Record:
    """Return the record of a round of a fake trial: a function of its identity."""
    miou = 0.2 + 0.1 * round_ + 0.01 * spec.seed
    budgets = spec.budgets or (100,)  # full supervision has none: all of a pool of 100 regions
    values: dict[str, Any] = {
        "suite": "fake",
        "trial_id": spec.trial_id,
        "label": spec.label,
        "strategy": spec.strategy,
        "params": spec.params,
        "dataset": spec.dataset.name,
        "region_size": spec.region_size,
        "recipe": spec.learner.digest(),
        "seed": spec.seed,
        "round": round_,
        "regions": budgets[round_],
        "picked": budgets[round_] - (budgets[round_ - 1] if round_ else 0),
        "labelled_px": budgets[round_] * 256,
        "labelled_fraction": budgets[round_] / 100,
        "clicks": budgets[round_] * 5,
        "class_px": (budgets[round_] * 200, budgets[round_] * 50),
        "void_px": budgets[round_] * 6,
        "void_regions": 0,
        "images_opened": round_ + 1,
        "exhausted": False,
        "miou": miou,
        "iou": (miou, None),
        "test_classes": 1,
        "pixel_accuracy": 0.9,
        "steps": 3,
        "loss": 1.0,
        "picks_digest": "0" * 64,
        "seconds": {"select": 0.0, "fit": time.perf_counter() % 1, "evaluate": 0.0, "score": 0.0},
    }
    return Record(**{**values, **changes})


def make_progress(spec: TrialSpec, round_: int, phase: Any, done: int, total: int) -> Progress:
    """Return a progress event of a fake trial."""
    return Progress(
        trial_id=spec.trial_id,
        label=spec.label,
        seed=spec.seed,
        round=round_,
        num_rounds=spec.num_rounds,
        phase=phase,
        done=done,
        total=total,
        miou=None,
    )


def write_suite_json(suite: Suite, results_dir: Path) -> None:
    """Write what `prepare_results` writes, for a pool without images."""
    split = {"fingerprint": "0" * 64, "path": "-", "num_images": 4, "num_px": 25600, "num_regions": {"16": 100}}
    trials = [
        {
            **{
                name: getattr(spec, name) for name in ("trial_id", "label", "strategy", "params", "seed", "region_size")
            },
            "num_rounds": spec.num_rounds,
            "spec": json.loads(spec.model_dump_json()),
        }
        for spec in suite.trials()
    ]
    dataset = {"classes": list(CLASSES), "colours": [[0, 0, 0]] * 2, "pool": split, "test": split}
    document = {
        "schema": 1,
        "id": "f" * 16,
        "suite": json.loads(suite.model_dump_json()),
        "dataset": dataset,
        "trials": trials,
    }
    write_json(results_dir / "suite.json", document)
    write_json(results_dir / "environment.json", {"commit": "c0ffee"})


def plan(results_dir: Path, spec: TrialSpec, *, what: str, times: int) -> None:
    """Have the trial do `what` at its second round, the first `times` times.

    "raise", "reject", "exit" (as `sys.exit(0)` in a plugin), "mute" (an error without a message), "die", "hang" (for
    ever), or "pause" (until there is a file `plans/release`).
    """
    folder = results_dir / "plans"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / spec.trial_id).write_text(json.dumps({"what": what, "times": times}), encoding="utf-8")


def is_spent(results_dir: Path, spec: TrialSpec) -> bool:
    """Return whether the trial has done all that was planned for it, or hangs as planned."""
    return bool(
        json.loads((results_dir / "plans" / spec.trial_id).read_text(encoding="utf-8") or "{}").get("times") == 0
    )


def times_run(results_dir: Path, spec: TrialSpec) -> int:
    """Return how often the trial was started."""
    path = results_dir / "plans" / f"{spec.trial_id}.starts"
    return path.stat().st_size if path.exists() else 0


def pids_of(results_dir: Path, spec: TrialSpec) -> list[int]:
    """Return the processes that have run the trial, in the order in which they started it."""
    path = results_dir / "plans" / f"{spec.trial_id}.pids"
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def open_fake(suite: Suite, results_dir: Path) -> TrialRunner:
    """Return a runner whose trials take no time and do what was planned for them."""

    def run(spec: TrialSpec, on_progress: Callable[[Progress], None]) -> Iterator[Record]:
        folder = results_dir / "plans"
        folder.mkdir(exist_ok=True)
        with (folder / f"{spec.trial_id}.starts").open("a") as file:
            file.write(".")
        with (folder / f"{spec.trial_id}.pids").open("a") as file:
            file.write(f"{os.getpid()}\n")
        for round_ in range(spec.num_rounds):
            for done in range(1, 4):
                on_progress(make_progress(spec, round_, "fit", done, 3))
            if round_ == 1:
                _misbehave(folder / spec.trial_id, spec, on_progress)
            yield make_record(spec, round_)

    return run


class MuteError(Exception):
    """An error of a plugin whose message can't be made."""

    def __str__(self) -> str:
        raise RuntimeError("no message")


def _misbehave(path: Path, spec: TrialSpec, on_progress: Callable[[Progress], None]) -> None:
    if not path.exists():
        return
    planned = json.loads(path.read_text(encoding="utf-8"))
    if planned["times"] <= 0:
        return
    path.write_text(json.dumps({**planned, "times": planned["times"] - 1}), encoding="utf-8")
    if planned["what"] == "raise":
        raise RuntimeError("the GPU fell off the bus")
    if planned["what"] == "reject":
        raise StrategyError("signal entropy is not finite")
    if planned["what"] == "exit":
        sys.exit(0)
    if planned["what"] == "mute":
        raise MuteError
    if planned["what"] == "die":
        time.sleep(0.3)  # events before it reach the driver meanwhile, as they would in a long fit
        os.kill(os.getpid(), signal.SIGKILL)
    while planned["what"] == "hang" or (planned["what"] == "pause" and not (path.parent / "release").exists()):
        on_progress(make_progress(spec, 1, "fit", 1, 3))
        time.sleep(0.02)


def _prepare(suite: Suite, results_dir: Path, on_pack: OnPack) -> None:
    write_suite_json(suite, results_dir)


def _check(suite: Suite) -> None:
    """Find nothing missing: there are no images."""


def _warm_up(suite: Suite) -> None:
    """Load nothing: nothing is trained."""


def _find_gaps(results_dir: Path, records: Sequence[Record], remote: Remote | None) -> dict[tuple[str, int], str]:
    """Find none: there are no selections."""
    return {}


ENGINE = Engine(check=_check, prepare=_prepare, open_runner=open_fake, warm_up=_warm_up, find_gaps=_find_gaps)


def _refuse(suite: Suite) -> None:
    raise TrainingError(f"unknown encoder {suite.learner.encoder!r}: expected the name of a timm model")


REFUSED = replace(ENGINE, warm_up=_refuse)
"""An engine whose workers find the recipe wrong before any trial."""


def open_graded(suite: Suite, results_dir: Path) -> TrialRunner:
    """Return the runner of `open_fake` with a mIoU that grows with the strategy's `cutoff`."""
    run = open_fake(suite, results_dir)

    def graded(spec: TrialSpec, on_progress: Callable[[Progress], None]) -> Iterator[Record]:
        for record in run(spec, on_progress):
            yield replace(record, miou=record.miou + 0.05 * spec.params.get("cutoff", 0.0))

    return graded


GRADED = replace(ENGINE, open_runner=open_graded)
"""An engine for studies: candidates differ."""


def _refuse_on_a_broken_node(suite: Suite, error: Exception) -> None:
    """Raise `error` on a Ray node that was added with a resource `broken`, and count it (see `num_refused`)."""
    import ray

    (own,) = [node for node in ray.nodes() if node["NodeID"] == here().node]
    if "broken" in own["Resources"]:
        with Path(suite.description).open("a") as file:
            file.write(".")
        raise error


def num_refused(suite: Suite) -> int:
    """Return how often a broken node has raised; the suite's description names the file that counts it."""
    path = Path(suite.description)
    return path.stat().st_size if path.exists() else 0


def open_where_data_are(suite: Suite, results_dir: Path) -> TrialRunner:
    """Return the runner of `open_fake`, but on a broken node find no data."""
    _refuse_on_a_broken_node(suite, DataError("no such folder: /data"))
    return open_fake(suite, results_dir)


def _load_where_it_is_installed(suite: Suite) -> None:
    _refuse_on_a_broken_node(suite, ImportError("libcudart.so: cannot open shared object file"))


NO_DATA = replace(ENGINE, open_runner=open_where_data_are)
"""An engine whose trials raise on a broken node."""
NO_PACKAGE = replace(ENGINE, warm_up=_load_where_it_is_installed)
"""An engine whose workers cannot start on a broken node."""


def _find_a_gpu(suite: Suite) -> None:
    """Put a stand-in for torch, with a GPU in use, in the place of the real one."""
    cuda = SimpleNamespace(is_initialized=lambda: True, memory_reserved=lambda: 3 * 2**30)
    sys.modules["torch"] = SimpleNamespace(cuda=cuda)  # type: ignore[assignment]


ON_GPU = replace(ENGINE, warm_up=_find_a_gpu)
"""An engine whose workers hold 3 GiB of a GPU."""


def run_options(results_dir: Path, address: str | None = None) -> RunOptions:
    """Return the options of a run of fake trials."""
    return RunOptions(results_dir=results_dir, engine=ENGINE, logs_to_mlflow=False, ray_address=address)


def plain_records(results_dir: Path) -> list[dict[str, Any]]:
    """Return the records of a results folder without what differs between two runs."""
    return [without_timings(record) for record in read_records(results_dir)]
