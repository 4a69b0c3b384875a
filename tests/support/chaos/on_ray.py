"""Stories of `quadrat run` and `quadrat study` on Ray, hit at drawn instants; the same command then runs to the end."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import psutil
import yaml

from quadrat.benchmark.results.lock import lock_results
from support.chaos.check import Fault, faults, mlflow_faults
from support.chaos.forked import SUITE, TRIALS
from support.chaos.forked_run import RUN_LIMIT_S, ForkedRun
from support.chaos.tally import Tally
from support.ray_nodes import add_node

__all__ = ["INSTANTS", "Driver", "clusters", "own_rays", "reference_of_seeds", "studies"]

_LIMIT_S = 6 * RUN_LIMIT_S
_SEEDS = [0, 1]
STUDY: dict[str, Any] = {
    "strategy": "entropy-spatial",
    "params": {"norm": 2, "d2_d1": 2.0, "d3_d2": 1.0, "w_spatial": 1.0},
    "candidates": 3,
    "search_seeds": [10],
    "sampler": "RandomSampler",
    "pruner": "none",
}


class Driver:
    """A `quadrat` command in a process of its own."""

    def __init__(self, arguments: Sequence[str], folder: Path) -> None:
        self.folder = folder
        self._command = [sys.executable, "-c", "from quadrat.cluster.cli.main import main; main()", *arguments]
        self._log = (folder.parent / f"{folder.name}.log").open("w+")
        self.process = self._start()

    def _start(self) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(self._command, stdout=self._log, stderr=subprocess.STDOUT)

    def again(self) -> None:
        """Run the same command again."""
        self.process = self._start()

    def await_instant(self, rng: random.Random, places: Sequence[tuple[str, int]]) -> str:
        """Wait for a drawn instant: some time after a folder is there, or a file has so many lines."""
        name, number = rng.choice(list(places))
        path = self.folder / name
        until_s = time.monotonic() + _LIMIT_S
        while not (path.is_dir() or (path.is_file() and path.read_bytes().count(b"\n") >= number)):
            if time.monotonic() > until_s or self.process.poll() is not None:
                raise SystemExit(f"{self.folder}: the run ended, or hung, before it could be hit:\n{self.output}")
            time.sleep(0.01)
        time.sleep(rng.random() * 0.5)
        return f"after line {number} of {name}" if path.is_file() else f"after {name}"

    def await_process(self, name: str, rng: random.Random) -> psutil.Process:
        """Return a process below the driver whose command line names `name`."""
        driver = psutil.Process(self.process.pid)
        return _await_one(lambda: _named(driver.children(recursive=True), [name]), rng)

    def wait(self) -> int:
        """Wait for the end and return the exit code; a run that hangs is killed, and counts as ended by SIGKILL."""
        try:
            return self.process.wait(_LIMIT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    @property
    def output(self) -> str:
        return Path(self._log.name).read_text(encoding="utf-8", errors="replace")

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._log.close()


def _named(processes: Sequence[psutil.Process], names: Sequence[str]) -> list[psutil.Process]:
    found = []
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):  # it has ended
            if any(name in " ".join(process.cmdline()) for name in names):
                found.append(process)
    return found


def _await_one(find: Callable[[], list[psutil.Process]], rng: random.Random) -> psutil.Process:
    """Return one of the processes that `find` finds; there may be none for a moment, as between two trials."""
    until_s = time.monotonic() + 60.0
    while time.monotonic() < until_s:
        if found := find():
            return rng.choice(found)
        time.sleep(0.05)
    raise SystemExit("there was no process to hit")


def _stand_still(process: psutil.Process, seconds: float) -> None:
    process.send_signal(signal.SIGSTOP)
    time.sleep(seconds)
    process.send_signal(signal.SIGCONT)


def _terminate_twice(process: "subprocess.Popen[bytes]", rng: random.Random) -> None:
    process.terminate()
    time.sleep(rng.random())
    process.terminate()


def reference_of_seeds(work: Path) -> tuple[Path, Path]:
    """Run the suite with two seeds undisturbed, and return suite and results folder."""
    suite, reference = work / "suite.yaml", work / "reference"
    suite.write_text(yaml.safe_dump({**SUITE, "seeds": _SEEDS}), encoding="utf-8")
    alone = [
        ["trial", str(suite), "--strategy", name, "--seed", str(seed), "--results", str(reference)]
        for name in TRIALS
        for seed in _SEEDS
    ]
    whole = ForkedRun(alone, reference).end()
    if whole.code:
        raise SystemExit(f"the undisturbed run failed:\n{whole.output}")
    return suite, reference


INSTANTS: Final = (("store/fit", 1), ("records.jsonl", 1), ("records.jsonl", 4), ("records.jsonl", 8))


def clusters(work: Path, tally: Tally, num_kills: int, rng: random.Random) -> None:
    """Hit an actor, a node (its raylet) or the driver of a run on a cluster of two nodes: killed, stopped, ended."""
    from ray.cluster_utils import Cluster

    suite, reference = reference_of_seeds(work)
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    cluster = Cluster()
    add_node(cluster, num_cpus=0, include_dashboard=False)
    targets = (
        "actor killed",
        "node killed",
        "driver killed",
        "actor stopped",
        "driver stopped",
        "driver SIGTERM twice",
    )
    try:
        nodes = [add_node(cluster, num_cpus=1) for _ in range(2)]
        while tally.num_kills < num_kills and not tally.is_over:
            target = targets[tally.num_kills % len(targets)]
            folder = work / f"scenario-{tally.num_scenarios}"
            options = ["--results", str(folder), "--mlflow", "none", "--no-report", "--ray", cluster.address]
            driver = Driver(["run", str(suite), *options], folder)
            try:
                place = driver.await_instant(rng, INSTANTS)
                if target == "driver killed":
                    driver.process.kill()
                elif target == "driver stopped":
                    _stand_still(psutil.Process(driver.process.pid), 5.0)
                elif target == "driver SIGTERM twice":
                    _terminate_twice(driver.process, rng)
                elif target == "node killed":
                    cluster.remove_node(nodes.pop(rng.randrange(2)), allow_graceful=False)  # SIGKILL to all of it
                    nodes.append(add_node(cluster, num_cpus=1))
                else:
                    actor = _await_one(lambda: _actors(cluster), rng)
                    actor.kill() if target == "actor killed" else _stand_still(actor, 5.0)
                code = driver.wait()
                tally.kill(f"{target}, {place}", code)
                if target.startswith("driver") and code:
                    driver.again()
                    code = driver.wait()
            finally:
                driver.close()
            with lock_results(folder):  # as the next command does, which removes temporary files
                pass
            tally.end(folder, code, driver.output, lambda folder=folder: faults(reference, folder))  # type: ignore[misc]
    finally:
        cluster.shutdown()


def _actors(cluster: Any) -> list[psutil.Process]:
    """Return the processes that run a trial: a worker process is named after its task."""
    raylets = [
        psutil.Process(info.process.pid)
        for node in cluster.worker_nodes
        for info in node.all_processes["raylet"]
        if psutil.pid_exists(info.process.pid)
    ]
    workers = [child for raylet in raylets for child in raylet.children(recursive=True)]
    return _named(workers, [f"ray::{name} seed" for name in TRIALS])


def own_rays(work: Path, tally: Tally, num_kills: int, rng: random.Random) -> None:
    """Hit a run that started Ray itself, with MLflow and report on: its GCS, its raylet, itself."""
    suite, reference = reference_of_seeds(work)
    tracked = work / "tracked"

    def command(folder: Path) -> list[str]:
        return ["run", str(suite), "--results", str(folder)]

    first = Driver(command(tracked), tracked)
    if first.wait() or (found := faults(reference, tracked)):
        raise SystemExit(f"the undisturbed run is wrong:\n{first.output}\n{found}")
    targets = ("GCS killed", "raylet killed", "driver killed", "driver SIGTERM twice")
    while tally.num_kills < num_kills and not tally.is_over:
        target = targets[tally.num_kills % len(targets)]
        folder = work / f"scenario-{tally.num_scenarios}"
        driver = Driver(command(folder), folder)
        try:
            place = driver.await_instant(rng, (*INSTANTS, ("mlflow.db", 0)))
            if target == "driver killed":
                driver.process.kill()
            elif target == "driver SIGTERM twice":
                _terminate_twice(driver.process, rng)
            else:
                name = "/gcs_server" if target == "GCS killed" else "/raylet/raylet"
                driver.await_process(name, rng).kill()
            code = driver.wait()
            tally.kill(f"{target}, {place}", code)
            if code:
                driver.again()
                code = driver.wait()
        finally:
            driver.close()

        def compare(folder: Path = folder) -> list[Fault]:
            found = faults(reference, folder) + mlflow_faults(tracked, folder, is_anew=True)
            if not (folder / "report" / "index.html").is_file():
                found.append(Fault("lost", "the report"))
            return found

        tally.end(folder, code, driver.output, compare)


def studies(work: Path, tally: Tally, num_kills: int, rng: random.Random) -> None:
    """Kill the driver of a study, one candidate at a time; search and report then equal those of an undisturbed one."""
    suite = work / "suite.yaml"
    one_at_a_time = {"max_in_flight": 1}
    suite.write_text(yaml.safe_dump({**SUITE, "resources": one_at_a_time, "study": STUDY}), encoding="utf-8")

    def command(folder: Path) -> list[str]:
        return ["study", str(suite), "--results", str(folder), "--mlflow", "none", "--no-report"]

    reference = work / "reference"
    first = Driver(command(reference), reference)
    if first.wait():
        raise SystemExit(f"the undisturbed study failed:\n{first.output}")
    while tally.num_kills < num_kills and not tally.is_over:
        folder = work / f"scenario-{tally.num_scenarios}"
        driver = Driver(command(folder), folder)
        try:
            instants = [("study/records.jsonl", number) for number in (1, 4, 8)] + [("records.jsonl", 1)]
            place = driver.await_instant(rng, instants)
            driver.process.kill()
            tally.kill(f"driver killed, {place}", driver.wait())
            driver.again()
            code = driver.wait()
        finally:
            driver.close()

        def compare(folder: Path = folder) -> list[Fault]:
            found = faults(reference, folder) + faults(reference / "study", folder / "study")
            studied = [(one / "study" / "study.json").read_bytes() for one in (reference, folder)]
            return found if studied[0] == studied[1] else [*found, Fault("different", "study.json")]

        tally.end(folder, code, driver.output, compare)
