"""Stand-in for `srun`: runs a command once on each machine and returns the highest exit code, as SLURM's does."""

import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Client
from typing import Final

from support.slurm.machines import AUTHKEY, PORT, await_, ip_of

__all__: list[str] = []

_KNOWN: Final = {"--kill-on-bad-exit=0", "--wait=0", "--no-kill", "--cpu-bind=none"}
"""Options that ask for what this stand-in does anyway."""


def main(arguments: list[str]) -> int:
    """Run a step."""
    options = [argument for argument in arguments[: arguments.index("bash")]]
    if set(options) - _KNOWN:
        raise SystemExit(f"srun (stand-in): unknown options {sorted(set(options) - _KNOWN)}")
    command = arguments[len(options) :]
    count = int(os.environ["SLURM_JOB_NUM_NODES"])
    connections = [await_(lambda number=number: _connect(number)) for number in range(1, count + 1)]

    def end(number: int, frame: object) -> None:
        for connection in connections:
            connection.send("end")

    signal.signal(signal.SIGTERM, end)

    def run(task: int) -> int:
        own = {"SLURM_PROCID": str(task), "SLURM_NODEID": str(task), "SLURMD_NODENAME": f"node{task + 1}"}
        connections[task].send((command, {**os.environ, **own, "SLURM_NTASKS": str(count)}, os.getcwd()))
        code = int(connections[task].recv())
        print(f"srun (stand-in): task {task} ended with {code}", flush=True)
        return 128 - code if code < 0 else code

    with ThreadPoolExecutor(count) as threads:
        return max(threads.map(run, range(count)))


def _connect(number: int) -> object:
    try:
        return Client((ip_of(number), PORT), authkey=AUTHKEY)
    except ConnectionError:
        return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
