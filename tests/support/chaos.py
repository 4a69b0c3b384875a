"""Fault injection: kill quadrat repeatedly, run the same command again, and compare with a run that was never killed.

    cd tests && python -m support.chaos --kills 100 --url-kills 20 --ray-kills 9

A scenario is a results folder whose runs are killed with SIGKILL at drawn places until one reaches the end. Places are
all operations on the file system that the uninterrupted run made (before it; at an fsync also with the file truncated,
as a kill inside the write leaves it), every step of every phase, and instants on the clock. Then records, selections
and leftover files are compared. Exit code 1 on any difference.

With --url-kills the results are on a local S3-compatible server, and every call to it is a place. After half of these
kills the local files are lost too, as with the machine. With --ray-kills a suite runs on a local Ray cluster of two
nodes, and an actor, a node (its raylet) and the driver are killed in turn, at drawn instants.
"""

import argparse
import contextlib
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil
import yaml

from quadrat.benchmark.results.comparison import differences
from quadrat.benchmark.results.lock import lock_results
from support.fault_injection import RUN_LIMIT_S, Ended, Kill, run_once
from support.tiny_suite import TINY_SUITE

SUITE = {**TINY_SUITE, "learner": {**TINY_SUITE["learner"], "iterations": 4}}
TRIALS = ("random", "entropy-spatial")
_MAX_BAD = 3
"""Scenarios that may differ before the rest is skipped."""


def records_without_seconds(folder: Path) -> list[str]:
    """Return the lines of records.jsonl, each with its `seconds` cut out of the text: all other bytes stay."""
    lines = (folder / "records.jsonl").read_text(encoding="utf-8").splitlines()
    return [re.sub(r', "seconds": \{[^}]*\}', "", line) for line in lines]


def faults(reference: Path, folder: Path) -> list[str]:
    """Return what is wrong with `folder`, one line each; none when it equals `reference`."""
    lines = list(differences(reference, folder))  # what `quadrat compare` prints
    expected, got = records_without_seconds(reference), records_without_seconds(folder)
    if expected != got:
        lines.append(f"records.jsonl: expected {len(expected)} lines, got {len(got)}, or other bytes in them")
    keys = Counter((json.loads(line)["trial_id"], json.loads(line)["round"]) for line in got)
    lines += [f"{key} is there {number} times" for key, number in keys.items() if number > 1]
    for path in sorted((reference / "selections").rglob("*.npz")):
        other = folder / path.relative_to(reference)
        if not other.is_file():
            lines.append(f"{other}: missing")
            continue
        with np.load(path) as first, np.load(other) as second:
            names = set(first.files) - {"score_s", "select_s"}
            lines += [f"{other}: {name} differs" for name in names if first[name].tobytes() != second[name].tobytes()]
    lines += [f"left over: {path.relative_to(folder)}" for path in sorted(folder.rglob("*.tmp"))]
    lines += [f"left over: {path.relative_to(folder)}" for path in sorted((folder / "store/checkpoints").glob("*"))]
    if (folder / "failures.jsonl").exists():
        lines.append("failures.jsonl is there")
    return lines


class Tally:
    """Kills, scenarios and faults so far."""

    def __init__(self) -> None:
        self.kills: Counter[str] = Counter()
        self.num_scenarios = 0
        self.num_bad = 0
        self.faults: list[str] = []

    @property
    def num_kills(self) -> int:
        return sum(self.kills.values())

    def add(self, folder: Path, ended: Ended, found: list[str] | None, report: Callable[[str], None]) -> None:
        """Count a scenario with the faults that were found; None when its last run failed."""
        self.num_scenarios += 1
        if found is None:
            found = [f"exit code {ended.code}:\n{ended.output}"]
        if found:
            self.num_bad += 1
            self.faults += [f"{folder.name}: {line}" for line in found]
            report(f"{folder.name} DIFFERS, kept at {folder}")
        else:
            shutil.rmtree(folder)

    def table(self) -> str:
        width = max(map(len, self.kills), default=0)
        return "\n".join(f"{place:<{width}}  {number:>4}" for place, number in sorted(self.kills.items()))


def draw_kill(rng: random.Random, first: float, last: float, run_s: float) -> Kill:
    """Draw a place between two parts (0..1) of a whole run's operations; a quarter of the kills go by the clock."""
    how = rng.choices(("before", "inside", "clock"), (2, 1, 1))[0]
    part = first + (last - first) * rng.random()
    return Kill(how, part, rng.random()) if how != "clock" else Kill(how, part * run_s)  # type: ignore[arg-type]


class Place(NamedTuple):
    """Location of the results of a scenario."""

    argument: str
    """Value of --results."""
    folder: Path
    """Parent of all local files."""
    bucket: Any = None
    """Bucket of results on S3, a resource of boto3 (which, unlike s3fs, works after a fork)."""

    def environment(self, machine: int) -> dict[str, str]:
        """Return the environment variables of a run on machine number `machine`."""
        if self.bucket is None:
            return {}
        return {"QUADRAT_WORK": str(self.folder / f"machine-{machine}"), "QUADRAT_LEASE_S": "4"}

    def collected(self) -> Path:
        """Return a folder with the results, downloaded if they are on S3."""
        if self.bucket is None:
            return self.folder
        folder = self.folder / "collected"
        prefix = self.argument.split("/", 3)[3] + "/"
        for item in self.bucket.objects.filter(Prefix=prefix):
            path = folder / item.key.removeprefix(prefix)
            path.parent.mkdir(parents=True, exist_ok=True)
            self.bucket.download_file(item.key, str(path))
        return folder


def run_scenarios(
    work: Path, num_kills: int, rng: random.Random, report: Callable[[str], None], bucket: Any = None
) -> Tally:
    """Kill `quadrat trial` until `num_kills` kills have hit, and compare every scenario with the uninterrupted run."""
    suite = work / "suite.yaml"
    suite.write_text(yaml.safe_dump(SUITE), encoding="utf-8")

    def commands(results: str) -> list[list[str]]:
        return [["trial", str(suite), "--strategy", name, "--seed", "0", "--results", results] for name in TRIALS]

    def place(name: str) -> Place:
        folder = work / name
        return Place(f"s3://{bucket.name}/{name}" if bucket is not None else str(folder), folder, bucket)

    reference = work / "reference"
    whole = run_once(commands(str(reference)), reference, None)
    if bucket is not None and not whole.code:
        there = place("whole")
        whole = run_once(commands(there.argument), there.folder, None, there.environment(0))
        if not whole.code and (found := faults(reference, there.collected())):
            raise SystemExit("the uninterrupted run on S3 differs:\n" + "\n".join(found))
    if whole.code:
        raise SystemExit(f"the uninterrupted run failed:\n{whole.output}")
    report(f"uninterrupted: {whole.num_operations} places, {whole.elapsed_s:.1f} s")
    tally = Tally()
    while tally.num_kills < num_kills and tally.num_bad < _MAX_BAD:
        scenario = place(f"scenario-{tally.num_scenarios}")
        # The first kills of the scenarios go through the whole run in order, so that no phase is left out by chance.
        share = tally.num_kills / num_kills
        first, last, left, machine = share, min(1.0, share + 0.1), rng.randrange(1, 5), 0
        while True:
            kill = None
            if left and tally.num_kills < num_kills:
                kill = draw_kill(rng, first, last, whole.elapsed_s)
                if kill.how != "clock":
                    kill = kill._replace(place=int(kill.place * whole.num_operations))
            ended = run_once(commands(scenario.argument), scenario.folder, kill, scenario.environment(machine))
            if ended.code != -signal.SIGKILL:
                break
            left -= 1
            first, last = 0.0, 0.7
            assert kill is not None
            tally.kills[f"{'by the clock, after: ' if kill.how == 'clock' else ''}{ended.place}"] += 1
            if bucket is not None and rng.random() < 0.5:
                shutil.rmtree(scenario.folder / f"machine-{machine}", ignore_errors=True)
                machine += 1
        tally.add(scenario.folder, ended, faults(reference, scenario.collected()) if ended.code == 0 else None, report)
        if tally.num_scenarios % 10 == 0:
            report(f"{tally.num_kills} kills in {tally.num_scenarios} scenarios, {len(tally.faults)} faults")
    return tally


def run_ray_scenarios(work: Path, num_kills: int, rng: random.Random, report: Callable[[str], None]) -> Tally:
    """Kill actors, nodes and drivers of `quadrat run` on a cluster of two nodes, one kill a scenario."""
    from ray.cluster_utils import Cluster

    suite = work / "suite-on-ray.yaml"
    seeds = [0, 1]
    suite.write_text(yaml.safe_dump({**SUITE, "seeds": seeds}), encoding="utf-8")
    reference = work / "reference-on-ray"
    alone = [
        ["trial", str(suite), "--strategy", name, "--seed", str(seed), "--results", str(reference)]
        for name in TRIALS
        for seed in seeds
    ]
    whole = run_once(alone, reference, None)
    if whole.code:
        raise SystemExit(f"the uninterrupted run failed:\n{whole.output}")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    cluster = _with_retries(
        lambda: Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    )
    tally = Tally()
    try:
        nodes = [_with_retries(lambda: cluster.add_node(num_cpus=1)) for _ in range(2)]
        while tally.num_kills < num_kills and tally.num_bad < _MAX_BAD:
            target = ("actor", "node", "driver")[tally.num_kills % 3]
            folder = work / f"ray-scenario-{tally.num_scenarios}"
            command = [sys.executable, "-c", "from quadrat.cluster.cli.main import main; main()", "run", str(suite)]
            command += ["--results", str(folder), "--mlflow", "none", "--no-report", "--ray", cluster.address]
            with (work / f"{folder.name}.log").open("w+") as log:
                driver = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
                try:
                    place = _await_instant(driver, folder, rng)
                    if target == "driver":
                        driver.kill()
                    elif target == "node":
                        node = nodes.pop(rng.randrange(2))
                        cluster.remove_node(node, allow_graceful=False)  # SIGKILL to all of its processes
                        nodes.append(_with_retries(lambda: cluster.add_node(num_cpus=1)))
                    else:
                        os.kill(rng.choice(_actors(cluster)), signal.SIGKILL)
                    tally.kills[f"{target}, {place}"] += 1
                    code = driver.wait(RUN_LIMIT_S * 3)
                    if target == "driver":
                        driver = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
                        code = driver.wait(RUN_LIMIT_S * 3)
                finally:
                    driver.kill()
                log.seek(0)
                ended = Ended(code, "", 0, 0.0, log.read())
            with lock_results(folder):  # as the next command does, which removes temporary files
                pass
            tally.add(folder, ended, faults(reference, folder) if code == 0 else None, report)
            report(f"{tally.num_kills} kills on Ray, {len(tally.faults)} faults")
    finally:
        cluster.shutdown()
    return tally


def _with_retries(start: Callable[[], Any]) -> Any:
    """Start a part of Ray, up to four times: on a busy machine Ray's limit of 30 s is not always enough."""
    for _ in range(3):
        try:
            return start()
        except Exception as error:  # Ray raises a bare Exception here
            print(f"retry: {error}", flush=True)
    return start()


def _await_instant(driver: "subprocess.Popen[bytes]", folder: Path, rng: random.Random) -> str:
    """Wait for a drawn instant: some time after the run's first or a later record, or after its first fit began."""
    name, number = rng.choice([("store/fit", 1), ("records.jsonl", 1), ("records.jsonl", 4), ("records.jsonl", 8)])
    path = folder / name
    until_s = time.monotonic() + RUN_LIMIT_S * 3
    while True:
        if time.monotonic() > until_s or driver.poll() is not None:
            raise SystemExit(f"{folder}: the run ended, or hung, before it could be killed")
        if path.is_dir() or (path.is_file() and path.read_bytes().count(b"\n") >= number):
            break
        time.sleep(0.01)
    time.sleep(rng.random() * 0.5)
    return f"after record {number}" if path.is_file() else "in the first fit"


def _actors(cluster: Any) -> list[int]:
    """Return the processes of the actors that run a trial; wait for one, as there is none between two trials."""
    names = tuple(f"ray::{name} seed" for name in TRIALS)  # a worker process is named after its task
    until_s = time.monotonic() + 30.0
    while time.monotonic() < until_s:
        raylets = [
            psutil.Process(info.process.pid)
            for node in cluster.worker_nodes
            for info in node.all_processes["raylet"]
            if psutil.pid_exists(info.process.pid)
        ]
        found = []
        for worker in [child for raylet in raylets for child in raylet.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):  # it has ended
                if " ".join(worker.cmdline()).startswith(names):
                    found.append(worker.pid)
        if found:
            return found
        time.sleep(0.05)
    raise SystemExit("no actor ran a trial that could be killed")


@contextlib.contextmanager
def s3_bucket() -> Iterator[Any]:
    """Yield a bucket on a local S3-compatible server; the environment variables are set for it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    names = {"AWS_ACCESS_KEY_ID": "chaos", "AWS_SECRET_ACCESS_KEY": "chaos", "AWS_DEFAULT_REGION": "us-east-1"}
    os.environ.update({**names, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"})
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        import boto3

        bucket = boto3.resource("s3").Bucket("chaos")
        for _ in range(240):
            try:
                socket.create_connection(("127.0.0.1", port), 1.0).close()
                break
            except OSError:
                time.sleep(0.25)
        bucket.create()
        yield bucket
    finally:
        server.kill()
        server.wait()


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=100, help="kills of a foreground process (default 100)")
    parser.add_argument("--url-kills", type=int, default=0, help="the same with results on S3 (default 0)")
    parser.add_argument("--ray-kills", type=int, default=0, help="kills of actors, nodes, drivers on Ray (default 0)")
    parser.add_argument("--seed", type=int, default=0, help="of the places that are drawn (default 0)")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="where to work; default: a folder that is removed")
    options = parser.parse_args()
    # Imported before the forks; nothing of it may compute here: threads of torch do not survive a fork.
    from quadrat.benchmark.learning import learner  # noqa: F401
    from quadrat.cluster.runner import driver, engine  # noqa: F401

    def report(text: str) -> None:
        print(text, flush=True)

    def run_on_s3(work: Path, num_kills: int, rng: random.Random, report: Callable[[str], None]) -> Tally:
        with s3_bucket() as bucket:
            return run_scenarios(work, num_kills, rng, report, bucket)

    num_kills, num_scenarios, num_faults, start_s = 0, 0, 0, time.monotonic()
    with tempfile.TemporaryDirectory(prefix="chaos-") as scratch:
        top = options.keep.absolute() if options.keep else Path(scratch)
        parts: list[tuple[str, int, Callable[[Path, int, random.Random, Callable[[str], None]], Tally]]] = [
            ("the foreground", options.kills, run_scenarios),
            ("results on S3", options.url_kills, run_on_s3),
            ("Ray", options.ray_kills, run_ray_scenarios),
        ]
        for name, number, run in parts:
            if not number:
                continue
            report(f"\n{name}: {number} kills")
            work = top / name.replace(" ", "-")
            work.mkdir(parents=True, exist_ok=True)
            tally = run(work, number, random.Random(options.seed), report)
            report(f"where the kills fell\n{tally.table()}")
            for line in tally.faults:
                report(f"FAULT {line}")
            num_kills, num_scenarios = num_kills + tally.num_kills, num_scenarios + tally.num_scenarios
            num_faults += len(tally.faults)
    report(
        f"\n{num_kills} kills in {num_scenarios} scenarios, {time.monotonic() - start_s:.0f} s: "
        + (f"{num_faults} faults" if num_faults else "records equal, none lost, none doubled")
    )
    return 1 if num_faults else 0


if __name__ == "__main__":
    sys.exit(main())
