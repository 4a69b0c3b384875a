"""Stories of nodes: one on which every trial fails, and one that comes after the only other node is lost."""

import contextlib
import os
import random
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from support.chaos.check import Fault, faults
from support.chaos.on_ray import INSTANTS, Driver, reference_of_seeds
from support.chaos.tally import Tally
from support.ray_nodes import add_node

__all__ = ["bad_nodes", "late_nodes"]


@contextlib.contextmanager
def _head() -> Iterator[Any]:
    """Start a cluster whose head runs no trials."""
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    cluster = Cluster()
    try:
        add_node(cluster, num_cpus=0, include_dashboard=False)
        yield cluster
    finally:
        cluster.shutdown()


def bad_nodes(work: Path, tally: Tally, num_kills: int, rng: random.Random) -> None:
    """Run on a good node and one whose disk cannot be written, with more slots than the good one.

    Results are on a URL, of which each machine keeps a copy below `QUADRAT_WORK`; on the bad node nothing can be there.
    The bad node joins first, or some time after the good one.
    """
    suite, reference = reference_of_seeds(work)
    with _head() as cluster:
        while tally.num_kills < num_kills and not tally.is_over:
            name = f"scenario-{tally.num_scenarios}"
            there, num_slots, is_first = work / name / "there", rng.randrange(1, 4), rng.random() < 0.5
            os.environ["QUADRAT_WORK"] = str(work / name / "machine")

            def join_bad(num_slots: int = num_slots) -> Any:
                return add_node(cluster, num_cpus=num_slots, env_vars={"QUADRAT_WORK": "/proc/nowhere"})

            nodes = [join_bad()] if is_first else []
            nodes.append(add_node(cluster, num_cpus=1))
            options = ["--results", f"file://{there}", "--mlflow", "none", "--no-report", "--ray", cluster.address]
            driver = Driver(["run", str(suite), *options], work / name)
            try:
                if not is_first:
                    time.sleep(5 * rng.random())
                    nodes.append(join_bad())
                code = driver.wait()
                tally.kill(f"bad node of {num_slots} slots {'first' if is_first else 'later'}", code)
            finally:
                driver.close()
                for node in nodes:
                    cluster.remove_node(node, allow_graceful=False)

            def compare(there: Path = there, output: str = driver.output) -> list[Fault]:
                found = faults(reference, there)
                excluded = re.findall(r"node ([0-9a-f]+)\) gets no", output)
                if len(set(excluded)) > 1:
                    found.append(Fault("ended wrongly", f"excluded the good node too: {excluded}"))
                return found

            tally.end(work / name, code, driver.output, compare)
    del os.environ["QUADRAT_WORK"]


def late_nodes(work: Path, tally: Tally, num_kills: int, rng: random.Random) -> None:
    """Lose the only node at a drawn instant; the next one joins some seconds later, or a moment before."""
    suite, reference = reference_of_seeds(work)
    with _head() as cluster:
        while tally.num_kills < num_kills and not tally.is_over:
            folder = work / f"scenario-{tally.num_scenarios}"
            first, pause_s = add_node(cluster, num_cpus=1), rng.choice([0.0, 2.0, 8.0])
            options = ["--results", str(folder), "--mlflow", "none", "--no-report", "--ray", cluster.address]
            driver = Driver(["run", str(suite), *options], folder)
            late = None
            try:
                place = driver.await_instant(rng, INSTANTS)
                if not pause_s:
                    late = add_node(cluster, num_cpus=1)
                cluster.remove_node(first, allow_graceful=False)  # SIGKILL to all of it
                time.sleep(pause_s)
                late = late or add_node(cluster, num_cpus=1)
                code = driver.wait()
                tally.kill(f"only node lost {place}, the next {pause_s:.0f} s later", code)
            finally:
                driver.close()
                if late is not None:
                    cluster.remove_node(late, allow_graceful=False)
            tally.end(folder, code, driver.output, lambda folder=folder: faults(reference, folder))  # type: ignore[misc]
