"""Starting Ray on this machine, or joining a cluster that runs."""

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import ray

from quadrat.benchmark.config.suite import Resources
from quadrat.benchmark.errors import QuadratError
from quadrat.cluster.runner.job_folder import job_environment

__all__ = ["ClusterError", "check_address", "num_slots", "ray_session", "shared_log", "shared_log_name"]

NAMESPACE: Final = "quadrat"

_OBJECT_STORE_BYTES: Final = 256 * 2**20
"""Records and progress are all that travels through Ray; its default is a third of the memory, which trials need."""

_CONNECT_S: Final = 10.0

_PASSED_ON: Final = (
    "QUADRAT_DATA",
    "QUADRAT_LEASE_S",
    "AWS_ENDPOINT_URL",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_PROFILE",
)
"""Environment variables of the driver that workers on other machines need as well."""


class ClusterError(QuadratError):
    """Ray cannot be started or joined, or the cluster cannot run what the suite asks for."""


@contextmanager
def ray_session(address: str | None, resources: Resources | None = None) -> Iterator[None]:
    """Have Ray inside the block: the cluster at `address`, or that of `RAY_ADDRESS`, or one of our own.

    A cluster is joined only when it was named (Ray sets `RAY_ADDRESS` for submitted jobs). What happens to run on the
    machine is left alone: two suites of two users must not end up on one another's actors by accident. Ray's token
    authentication is used as it is configured.

    Args:
        address: "host:port" of a cluster, "auto" for the one that runs on this machine, None for the default above.
        resources: What one trial needs. A cluster that is joined may grow into it, a machine of our own cannot.

    Raises:
        ClusterError: When the cluster does not answer, or this machine is too small.
    """
    # Asked for before Ray reads it; a choice that the user made stands.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # With num_gpus=0 newer Ray leaves CUDA_VISIBLE_DEVICES alone, older Ray asks to choose; the device is ours to say.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    address = address or os.environ.get("RAY_ADDRESS")
    address = None if address == "local" else address
    try:
        _init(address)
    except Exception as error:  # Ray raises a bare Exception, for one, when a busy machine takes 30 s to start it
        where = f"the Ray cluster at {address}" if address else "Ray on this machine"
        reason = f"{type(error).__name__}: {error}".rstrip(".")
        raise ClusterError(
            f"expected to {'join' if address else 'start'} {where}, got {reason}. "
            + (
                "Check the address (`ray status --address ...`) and the token (RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH)."
                if address
                else "Is the machine busy? Run the same command again, or one trial without Ray: `quadrat trial`."
            )
        ) from error
    try:
        if address is None and resources is not None and not num_slots(resources):
            raise ClusterError(_explain_no_room(resources))
        yield
    finally:
        ray.shutdown()


def _init(address: str | None) -> None:
    """Start or join Ray. It gives its own raylet 30 s to start; a busy machine has more tries."""
    for is_last in (False, False, True):
        try:
            ray.init(**_options(address))
            return
        except Exception as error:
            if is_last or address is not None or "timed out during startup" not in str(error):
                raise
            ray.shutdown()


def shared_log() -> Path:
    """Return where the driver's bulletin lies among Ray's logs, which the dashboard serves to `quadrat status`.

    A results folder can be out of reach of whoever asks; the dashboard, behind the token, is what a laptop reaches.
    """
    # Ray has no public name for the log folder of the node that a driver is on.
    folder = ray._private.worker.global_worker.node.get_logs_dir_path()
    return Path(folder) / shared_log_name(ray.get_runtime_context().get_job_id())


def shared_log_name(job_id: str) -> str:
    """Return the file name of the bulletin of Ray's job `job_id`."""
    return f"quadrat-{job_id}.json"


def check_address(address: str | None) -> None:
    """Find out in seconds what Ray finds out in minutes: that nobody listens at the address that it would join.

    Raises:
        ClusterError: When the address is of another kind, or nobody listens there.
    """
    address = address or os.environ.get("RAY_ADDRESS")
    if address in (None, "auto", "local"):
        return
    assert address is not None
    host, _, port = address.rpartition(":")
    if "://" in address or not host or not port.isdigit():
        raise ClusterError(
            f"--ray (or RAY_ADDRESS): expected host:port of a cluster's head node, such as 10.0.0.1:6379, or auto, got "
            f"'{address}'. From outside a cluster, submit `quadrat run` as a Ray job instead"
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_S).close()
    except OSError as error:
        raise ClusterError(
            f"expected a Ray cluster at {address}, got: {error}. Check the address and that the head node runs "
            "(`ray status` there)"
        ) from error


def _explain_no_room(resources: Resources) -> str:
    has = ray.cluster_resources()
    return (
        f"one trial of this suite asks for {resources.cpus} CPUs and {resources.gpus:g} GPUs; this machine has "
        f"{has.get('CPU', 0):g} CPUs and {has.get('GPU', 0):g} GPUs. Ask for less (--set resources.gpus=0), or join a "
        "cluster (--ray ADDRESS)"
    )


def _options(address: str | None) -> dict[str, Any]:
    common = {"namespace": NAMESPACE, "log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        return {
            **common,
            "address": "local",
            "include_dashboard": False,
            "object_store_memory": _OBJECT_STORE_BYTES,
        }
    # What a submitted job has for its workers already may not be given again: Ray calls that a conflict.
    given = job_environment().get("env_vars") or {}
    env_vars = {name: os.environ[name] for name in _PASSED_ON if name in os.environ and name not in given}
    return {**common, "address": address, "runtime_env": {"env_vars": env_vars}}


def num_slots(resources: Resources) -> int:
    """Return how many trials the nodes that are alive now can hold at a time, node by node."""
    return sum(
        _slots_of(node["Resources"], cpus=resources.cpus, gpus=resources.gpus) for node in ray.nodes() if node["Alive"]
    )


def _slots_of(node: dict[str, float], *, cpus: int, gpus: float) -> int:
    by_cpu = int(node.get("CPU", 0) // cpus)
    if not gpus:
        return by_cpu
    # A GPU is shared by whole fractions only: three trials of 0.4 do not fit on one, and 1.5 GPUs are two devices.
    num_gpus = int(node.get("GPU", 0))
    by_gpu = num_gpus * int(1 / gpus + 1e-9) if gpus <= 1 else int(num_gpus // gpus)
    return min(by_cpu, by_gpu)
