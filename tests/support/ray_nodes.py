"""A Ray cluster of several nodes on this machine, whose workers can import the test's own modules."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from support.paths import TESTS

__all__ = ["add_node", "ray_nodes"]

_NUM_TRIES: Final = 4


def add_node(cluster: Any, **resources: Any) -> Any:
    """Add a node, with further tries: Ray gives a raylet 30 s to start, which a busy machine may exceed."""
    for num_left in reversed(range(_NUM_TRIES)):
        try:
            return cluster.add_node(**resources)
        except Exception as error:  # Ray raises a bare Exception
            if not num_left or "timed out during startup" not in str(error):
                raise
    raise AssertionError("unreachable: the last try returns or raises")


@contextlib.contextmanager
def ray_nodes(*num_cpus: int, paths: tuple[Path, ...] = ()) -> Iterator[Any]:
    """Start a `ray.cluster_utils.Cluster` of one node for each entry of `num_cpus`, the head first.

    Args:
        num_cpus: CPUs of each node.
        paths: Folders that workers can import from, besides `tests`.
    """
    from ray.cluster_utils import Cluster

    found = [*map(str, (TESTS, *paths)), os.environ.get("PYTHONPATH", "")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(path for path in found if path))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        # Ray sets a signal handler with every node, which only the main thread may do; some tests add nodes elsewhere.
        patch.setattr("ray._private.utils.set_sigterm_handler", lambda handler: None)
        cluster = Cluster()
        try:
            for place, num in enumerate(num_cpus):
                add_node(cluster, num_cpus=num, **({"include_dashboard": False} if place == 0 else {}))
            yield cluster
        finally:
            cluster.shutdown()
