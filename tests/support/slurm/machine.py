"""One machine: it runs what `srun` sends, and the batch script if it is given one.

`python -m support.slurm.machine NUMBER [SCRIPT...]`, in namespaces of its own.
"""

import os
import signal
import subprocess
import sys
import tempfile
import threading
from multiprocessing.connection import Connection, Listener
from pathlib import Path
from typing import cast

from support.slurm.machines import AUTHKEY, PORT, await_, ip_of

_RAY_DIR = f"/tmp/ray-{os.environ['SLURM_JOB_ID']}"
"""Where the batch script keeps Ray's files, which real nodes do not share: a folder of its own for each machine."""

__all__: list[str] = []


def main(number: int, script: list[str]) -> int:
    """Join the network; then serve for ever, or as long as the batch script runs."""
    _join_network(number)
    listener = Listener((ip_of(number), PORT), authkey=AUTHKEY)
    server = threading.Thread(target=_serve, args=(listener,), daemon=True)
    server.start()
    if not script:
        server.join()
    return subprocess.run(script, check=False).returncode


def _join_network(number: int) -> None:
    await_(lambda: Path("/sys/class/net/eth0").exists() or "eth0" in Path("/proc/net/dev").read_text())
    with tempfile.NamedTemporaryFile("w", suffix=".hosts", delete=False) as hosts:
        hosts.write("127.0.0.1 localhost\n" + "".join(f"{ip_of(one)} node{one}\n" for one in (1, 2)))
    ray_dir = Path(f"ray-of-node{number}").absolute()
    ray_dir.mkdir()
    for command in (
        f"hostname node{number}",
        f"mount --bind {hosts.name} /etc/hosts",
        "ip link set lo up",
        f"ip addr add {ip_of(number)}/24 dev eth0",
        "ip link set eth0 up",
        f"ip route add default via {ip_of(3 - number)}",
        f"mkdir -p {_RAY_DIR}",
        f"mount --bind {ray_dir} {_RAY_DIR}",
    ):
        subprocess.run(command.split(), check=True)
    os.unlink(hosts.name)


def _serve(listener: Listener) -> None:
    while True:
        threading.Thread(target=_run_task, args=(listener.accept(),), daemon=True).start()


def _run_task(connection: "Connection[object, object]") -> None:
    """Run a task of a step and send its exit code; end it, with all its processes, when `srun` says so."""
    argv, environment, folder = cast(tuple[list[str], dict[str, str], str], connection.recv())
    task = subprocess.Popen(argv, env=environment, cwd=folder, start_new_session=True)

    def end_if_told() -> None:
        try:
            connection.recv()
        except EOFError:
            return  # the step is over
        os.killpg(task.pid, signal.SIGTERM)

    threading.Thread(target=end_if_told, daemon=True).start()
    connection.send(task.wait())


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
