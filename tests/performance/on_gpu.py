"""What a machine with a GPU has to show: the GPU tests, the learner's benchmarks and the plan of a suite, in one go.

    python -m performance.on_gpu --out results/bench-gpu --set dataset.root=DIR

Every step is a process of its own and leaves a file in the folder: JSON, or the tests' output. A step whose file is
there is not run again, so the same command goes on where it was stopped. At the end every aim stands beside what was
measured; exit code 1 where one is missed, or a step failed. `--device cpu` tries the script itself.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from support.paths import TESTS, python_path

BIN = Path(sys.executable).parent


class Aim(NamedTuple):
    """A number that is to be reached."""

    what: str
    measured: float | None  # None: its step has no result
    aim: float
    is_upper_bound: bool = False

    @property
    def is_met(self) -> bool:
        """Whether it was measured and is good enough."""
        if self.measured is None:
            return False
        return self.measured <= self.aim if self.is_upper_bound else self.measured >= self.aim


def aims(results: Mapping[str, Mapping[str, Any]]) -> Iterator[Aim]:
    """Yield what the steps' JSON says of each aim."""
    yield Aim("fit, quadrat over naive", results.get("fit", {}).get("ratio"), 4.0)
    yield Aim(
        "share of time in which fit keeps the GPU busy", _row(results, "fit", "quadrat fit", "gpu_busy_share"), 0.85
    )
    yield Aim("score, quadrat over naive", results.get("score", {}).get("ratio"), 4.0)
    yield Aim("score over the bare forward pass", _row(results, "score", "quadrat score", "over_forward"), 0.1, True)
    wall_s = results.get("plan", {}).get("estimate", {}).get("wall_s")
    yield Aim("hours of the suite on one GPU", None if wall_s is None else round(wall_s / 3600, 2), 1.0, True)


def _row(results: Mapping[str, Mapping[str, Any]], step: str, side: str, field: str) -> float | None:
    rows = results.get(step, {}).get("rows", ())
    return next((row.get(field) for row in rows if row["side"] == side), None)


def steps(options: argparse.Namespace) -> dict[str, list[str]]:
    """Return the command of each step, by the name of its file."""
    settings = [part for setting in options.settings for part in ("--set", setting)]
    quadrat = str(BIN / "quadrat")

    def bench(what: str, *more: str) -> list[str]:
        return [
            sys.executable, "-m", "performance", what, options.suite, *settings, "--device", options.device,
            "--images", str(options.images), "--repeats", str(options.repeats), "--json", *more,
        ]  # fmt: skip

    length = ("--iterations", str(options.iterations))
    test_file = str(TESTS / "benchmark" / "learning" / "test_gpu.py")
    return {
        "tests.txt": [sys.executable, "-m", "pytest", "-m", "gpu", "-rs", "-q", test_file],
        "fit.json": bench("fit", *length),
        "fit-default.json": bench("fit", *length, "--set", "learner.compile=default"),
        "fit-reduce-overhead.json": bench("fit", *length, "--set", "learner.compile=reduce-overhead"),
        "score.json": bench("score"),
        "together.json": bench("together", *length, "--trials", "2,4"),
        "plan.json": [quadrat, "show", options.suite, *settings, "--plan", "--json", "--devices", "1"],
    }


def run_step(command: list[str], path: Path) -> bool:
    """Run a step; its file appears when it is done. Return whether it succeeded."""
    partial = path.with_name(f"{path.name}.partial")
    environment = {**os.environ, "PYTHONPATH": python_path()}
    with partial.open("wb") as file:
        done = subprocess.run(command, env=environment, stdout=file, stderr=None if path.suffix == ".json" else file)
    if done.returncode != 0:
        print(f"  failed with {done.returncode}, see {partial}", flush=True)
        return False
    partial.rename(path)
    return True


def main() -> int:
    """Run what is not there yet, and say what was reached."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the files")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--suite", default="camvid")
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--images", type=int, default=96)
    parser.add_argument("--iterations", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    num_failed = 0
    for name, command in steps(options).items():
        path = options.out / name
        if path.is_file():
            print(f"{name}: there", flush=True)
            continue
        print(f"{name}: {' '.join(command)}", flush=True)
        begin_s = time.monotonic()
        num_failed += not run_step(command, path)
        print(f"  {time.monotonic() - begin_s:.0f} s", flush=True)
    results = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in options.out.glob("*.json")}
    found = list(aims(results))
    for what, measured, aim, is_upper_bound in found:
        bound = "at most" if is_upper_bound else "at least"
        print(f"{what}: {'not measured' if measured is None else measured} ({bound} {aim:g})")
    for mode in ("default", "reduce-overhead"):
        ratio = results.get(f"fit-{mode}", {}).get("ratio")
        print(f"fit with compile: {mode}, quadrat over naive: {'not measured' if ratio is None else ratio}")
    return 1 if num_failed or not all(aim.is_met for aim in found) else 0


if __name__ == "__main__":
    sys.exit(main())
