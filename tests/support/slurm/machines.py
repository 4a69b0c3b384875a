"""Two machines made of namespaces, and a command on the first: `python -m support.slurm.machines COMMAND...`.

Run inside a user, network and process namespace of its own, see `support.slurm.run_job`.
"""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

__all__ = ["AUTHKEY", "PORT", "await_", "ip_of"]

PORT: Final = 6818
AUTHKEY: Final = b"slurmd"
_MACHINE: Final = ("unshare", "--net", "--pid", "--uts", "--mount", "--mount-proc", "--fork", "--kill-child")


def ip_of(number: int) -> str:
    """Return the address of machine 1 or 2."""
    return f"10.77.0.{number}"


def await_(find: Any, timeout_s: float = 30.0) -> Any:
    """Return what `find` finds, as soon as it is not false."""
    until_s = time.monotonic() + timeout_s
    while not (found := find()):
        if time.monotonic() > until_s:
            raise SystemExit("a machine of the stand-in for SLURM has not started")
        time.sleep(0.05)
    return found


def main(command: list[str]) -> int:
    """Run a command on machine 1 while machine 2 is up, and return its exit code."""
    # bash as the first process, which waits for those that Ray leaves behind; without it they stay as zombies.
    server = [*_MACHINE, "bash", "-c", '"$@"; exit $?', "machine", sys.executable, "-m", "support.slurm.machine"]
    machines = [
        subprocess.Popen([*server, "1", *command]),
        subprocess.Popen([*server, "2"]),
    ]
    own_net = os.readlink("/proc/self/ns/net")
    pids = [await_(lambda machine=machine: _inside(machine.pid, own_net)) for machine in machines]
    cable = ["ip", "link", "add", "eth0", "netns", pids[0], "type", "veth", "peer", "name", "eth0", "netns", pids[1]]
    subprocess.run(cable, check=True)
    return machines[0].wait()


def _inside(pid: int, own_net: str) -> str | None:
    """Return the process that `unshare` has forked into the new namespaces."""
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        if os.readlink(f"/proc/{child}/ns/net") != own_net:
            return child
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
