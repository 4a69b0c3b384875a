"""Starting Ray on this machine, or joining a running cluster."""

import logging
import os
import signal
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import ray
from ray.exceptions import RayError

from quadrat.benchmark.config.resources import Resources
from quadrat.benchmark.errors import QuadratError, TransientError
from quadrat.cluster.runner.address import resolve
from quadrat.cluster.runner.context import RunContext
from quadrat.cluster.runner.forwarded import check_command_line, forwarded_variables, withheld_variables
from quadrat.cluster.runner.metrics import RunMetrics

__all__ = [
    "ClusterError",
    "ClusterUnavailableError",
    "check_address",
    "num_slots",
    "ray_for",
    "ray_session",
    "shared_status_name",
    "slots_by_node",
]

NAMESPACE: Final = "quadrat"

_OBJECT_STORE_BYTES: Final = 256 * 2**20
"""Only records and progress travel through Ray; its default is a third of the memory, which trials need."""

_CONNECT_S: Final = 10.0


class ClusterError(QuadratError):
    """Ray cannot be started or joined, or the cluster cannot run what the suite asks for."""


class ClusterUnavailableError(ClusterError, TransientError):
    """Ray does not answer, or has gone while it was in use."""


@contextmanager
def ray_for(context: RunContext) -> Iterator[bool]:
    """Start or join Ray for a run, and yield whether it was started for this run alone.

    While it is open, the status file has a copy among Ray's logs, which the cluster's dashboard serves to
    `quadrat status`: a laptop reaches the dashboard, but often not the results folder. The same status is exported as
    metrics of Ray.

    Raises:
        ClusterError: When the cluster does not answer or goes away, or this machine is too small.
        KeyboardInterrupt: On SIGTERM while Ray starts.
    """
    address = resolve(context.options.ray_address)
    if not ray.is_initialized():  # a study opens it for its search and for the trials after it
        context.announce("joining Ray" if address else "starting Ray")
        if address and (withheld := withheld_variables()):
            context.display.print(
                f"! {' and '.join(withheld)}: not sent to the workers, since Ray would show the password to all; every "
                "node needs it in its environment, set before `ray start`"
            )
    try:
        with ray_session(address or "local", context.suite.resources) as logs_dir:
            context.stop.listen()
            context.status.also_write_to(logs_dir / shared_status_name(ray.get_runtime_context().get_job_id()))
            with context.status.passed_to(RunMetrics(context.suite.name).update):
                yield address is None
    except RayError as error:
        raise ClusterUnavailableError(
            f"expected the Ray cluster to go on, got {type(error).__name__}: {error}. Nothing is lost: run the same "
            "command again to go on"
        ) from error
    except SystemExit as error:
        # Ray installs a handler of SIGTERM that exits with 15; until `listen` has replaced it, it gets the signal.
        if error.code != signal.SIGTERM:
            raise
        context.stop.request(signal.SIGTERM)
        raise KeyboardInterrupt from error


@contextmanager
def ray_session(address: str | None, resources: Resources | None = None) -> Iterator[Path]:
    """Start or join Ray while the context is open, and yield the folder of its logs on this machine.

    Where this process has an open session already, that one is used, and left open.

    A cluster is joined only when it was named (Ray sets `RAY_ADDRESS` for submitted jobs). A Ray that happens to run on
    the machine is left alone: two suites of two users must not share actors by accident. Ray's token authentication is
    used as it is configured; the command line protects a Ray of its own, see `protect_own_ray`.

    Args:
        address: "host:port" of a cluster, "auto" for the one that runs on this machine, "local" to start Ray here.
            None for the value of `RAY_ADDRESS`, or "local" if that is not set.
        resources: What one trial needs. A cluster that is joined may grow into it, one on this machine cannot.

    Raises:
        ClusterError: When the cluster does not answer, or this machine is too small.
    """
    # Set before Ray reads them; a value that the user chose is kept.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # With num_gpus=0 newer Ray leaves CUDA_VISIBLE_DEVICES alone, older Ray only then: the suite sets the device.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    address = resolve(address)
    if ray.is_initialized():
        # At INFO Ray writes that it is initialised again, into the live table of a study.
        again = ray.init(ignore_reinit_error=True, log_to_driver=False, logging_level=logging.ERROR)
        yield Path(again.address_info["session_dir"]) / "logs"
        return
    if address is not None:
        check_command_line()
    try:
        session_dir = _init(address)
    except SystemExit:  # SIGTERM while it starts
        ray.shutdown()
        raise
    except Exception as error:  # Ray raises a bare Exception, for one, when a busy machine takes 30 s to start it
        where = f"the Ray cluster at {address}" if address else "Ray on this machine"
        reason = f"{type(error).__name__}: {error}".rstrip(".")
        is_lasting = any(text in reason for text in ("AF_UNIX path", "No space left", "Authentication"))
        kind = ClusterError if is_lasting else ClusterUnavailableError
        raise kind(
            f"expected to {'join' if address else 'start'} {where}, got {reason}. {_way_on(address, reason)}"
        ) from error
    try:
        if address is None and resources is not None and not num_slots(resources):
            raise ClusterError(_explain_no_room(resources))
        yield session_dir / "logs"
    finally:
        ray.shutdown()


def _way_on(address: str | None, reason: str) -> str:
    """Return what to do when Ray could not be started or joined."""
    if address:
        return "Check the address (`ray status --address ...`) and the token (RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH)."
    if "AF_UNIX path" in reason:
        return (
            f"The names of Ray's sockets begin with the folder for temporary files, {tempfile.gettempdir()}: set "
            "TMPDIR to one with a short name, such as /tmp"
        )
    if "No space left" in reason:
        return f"Make room in {tempfile.gettempdir()} and in /dev/shm (`df -h`), or set TMPDIR to a folder with room"
    return "Is the machine busy? Run the same command again, or one trial without Ray: `quadrat trial`."


def _init(address: str | None) -> Path:
    """Start or join Ray and return its session folder. Ray gives a raylet 30 s to start; starting is tried 3 times."""
    for is_last in (False, False, True):
        try:
            return Path(ray.init(**_options(address)).address_info["session_dir"])
        except Exception as error:
            if is_last or address is not None or "timed out during startup" not in str(error):
                raise
            ray.shutdown()
    raise AssertionError("unreachable: the last try returns or raises")


def shared_status_name(job_id: str) -> str:
    """Return the file name of the status among Ray's logs, for Ray's job `job_id`."""
    return f"quadrat-{job_id}.json"


def check_address(address: str | None) -> None:
    """Check within seconds that a cluster listens at the address to join; Ray itself takes minutes to find out.

    Raises:
        ClusterError: When the address is of another kind, or nothing listens there.
        QuadratError: When a password is among the arguments of this process, which the cluster would show.
    """
    address = resolve(address)
    if address is None:
        return
    check_command_line()
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if "://" in address or not host or not port.isdigit():
        raise ClusterError(
            f"--ray (or RAY_ADDRESS): expected host:port of a cluster's head node, such as 10.0.0.1:6379, or auto, got "
            f"'{address}'. From outside a cluster, submit `quadrat run` as a Ray job instead"
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_S).close()
    except OSError as error:
        raise ClusterUnavailableError(
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
    return {**common, "address": address, "runtime_env": {"env_vars": forwarded_variables()}}


def num_slots(resources: Resources) -> int:
    """Return how many trials the nodes that are alive can hold at a time, summed over nodes."""
    return sum(slots_by_node(resources).values())


def slots_by_node(resources: Resources) -> dict[str, int]:
    """Return how many trials each node that is alive can hold at a time, for nodes that can hold one, by Ray's id."""
    has = {node["NodeID"]: node["Resources"] for node in ray.nodes() if node["Alive"]}
    slots = {node: resources.slots(num_cpus=one.get("CPU", 0), num_gpus=one.get("GPU", 0)) for node, one in has.items()}
    return {node: num for node, num in slots.items() if num}
