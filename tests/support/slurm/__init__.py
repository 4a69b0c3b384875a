"""A stand-in for SLURM on this machine: two machines made of Linux namespaces, `srun` and `scontrol`.

Each machine has processes, network and host name of its own, as nodes of SLURM have: `ray stop` on one ends nothing on
the other, nor anything of this machine. It needs `unshare` and `ip`, and the right to make a user namespace.
"""

import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final, NamedTuple

from support.paths import python_path

__all__ = ["JOB_ID", "Ended", "can_make_machines", "directives", "run_job", "write_program"]

JOB_ID: Final = "4217"
_LIMIT_S: Final = 300.0
_NAMESPACES: Final = (
    "--user",
    "--map-root-user",
    "--net",
    "--pid",
    "--mount",
    "--mount-proc",
    "--fork",
    "--kill-child",
)


class Ended(NamedTuple):
    """A job that has ended: exit code of its script, what was printed, and how often it went back into the queue."""

    code: int
    output: str
    num_requeued: int


def directives(script: Path) -> dict[str, str]:
    """Return the options that `sbatch` reads from a script, without their dashes."""
    lines = [line for line in script.read_text(encoding="utf-8").splitlines() if line.startswith("#SBATCH ")]
    pairs = [line.removeprefix("#SBATCH --").partition("=") for line in lines]
    return {name: value for name, _, value in pairs}


def write_program(folder: Path, name: str, text: str) -> None:
    """Write an executable for the PATH."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text, encoding="utf-8")
    (folder / name).chmod(0o755)


def can_make_machines() -> bool:
    """Return whether this machine has what the stand-in is made of."""
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        return False
    return subprocess.run(["unshare", *_NAMESPACES, "true"], capture_output=True, check=False).returncode == 0


def run_job(script: Path, arguments: list[str], folder: Path, environment: dict[str, str] | None = None) -> Ended:
    """Run a batch script on the first of two machines.

    Args:
        script: The batch script.
        arguments: Its arguments.
        folder: Working directory; its `bin` is first on the PATH.
        environment: Variables besides those of this process.
    """
    for name in ("srun", "scontrol"):
        write_program(folder / "bin", name, f'#!/bin/sh\nexec {sys.executable} -m support.slurm.{name} "$@"\n')
    path = os.pathsep.join([str(folder / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]])
    job = {
        "SLURM_JOB_ID": JOB_ID,
        "SLURM_JOB_NUM_NODES": "2",
        "SLURM_JOB_NODELIST": "node[1-2]",
        "SLURM_SUBMIT_DIR": str(folder),
    }
    names = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    command = [sys.executable, "-m", "support.slurm.machines", "bash", str(script), *arguments]
    done = subprocess.run(
        ["unshare", *_NAMESPACES, *command],
        cwd=folder,
        env={**names, **job, "PATH": path, "PYTHONPATH": python_path(), **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_LIMIT_S,
        check=False,
    )
    with contextlib.suppress(OSError):
        Path(f"/tmp/ray-{JOB_ID}").rmdir()  # a place to mount on
    requeued = folder / "requeued"
    return Ended(done.returncode, done.stdout, len(requeued.read_text().split()) if requeued.exists() else 0)
