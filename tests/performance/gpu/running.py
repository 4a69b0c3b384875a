"""A stage in a process of its own, within its time, and the one JSON file that it leaves."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import Any

from support.paths import python_path

from performance.gpu.stages import Stage
from quadrat.benchmark.results.environment import own_commit

__all__ = ["about_machine", "is_done", "read_ahead", "run_stage"]

# Of the versions: what the numbers depend on.
_PACKAGES = ("torch", "torchvision", "triton", "timm", "numpy", "faiss-gpu", "faiss-cpu", "segmentation-models-pytorch")


def read_ahead(packages: Sequence[str] = ("torch", "nvidia", "triton"), threads: int = 16) -> int:
    """Read the shared libraries of some packages into the system's cache, and return their bytes.

    On a machine that has just started, a process would wait for its disk page by page: twelve small tests took 45 s.
    """
    folders = [
        Path(folder)
        for package in packages
        if (found := importlib.util.find_spec(package)) is not None
        for folder in found.submodule_search_locations or ()
    ]
    files = [file for folder in folders for file in folder.rglob("*.so*") if file.is_file()]
    with ThreadPoolExecutor(threads) as pool:
        return sum(pool.map(_read, files))


def _read(file: Path) -> int:
    num_bytes = 0
    with file.open("rb", buffering=0) as opened:
        while block := opened.read(1 << 24):
            num_bytes += len(block)
    return num_bytes


def about_machine() -> dict[str, Any]:
    """Return what every file says of where it was made: commit, card and versions."""
    import torch

    versions = {"python": sys.version.split()[0], "cuda": torch.version.cuda}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "commit": own_commit(),
        "card": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "cpus": os.cpu_count(),
        "versions": versions,
    }


def is_done(path: Path) -> bool:
    """Return whether a stage has its result, and all of it: a suite of which some trials have run goes on."""
    return path.is_file() and not json.loads(path.read_text(encoding="utf-8"))["result"].get("is_partial", False)


def run_stage(stage: Stage, folder: Path, about: dict[str, Any]) -> bool:
    """Run a stage; `NAME.json` appears when it is done, `NAME.log` holds what it said on the way.

    Returns:
        Whether it succeeded. A stage that fails, prints no JSON or takes too long leaves no JSON.
    """
    begin = time.monotonic()
    with (folder / f"{stage.name}.log").open("wb") as log:
        process = subprocess.Popen(
            stage.command,
            env={**os.environ, "PYTHONPATH": python_path()},
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
        )
        try:
            output, _ = process.communicate(timeout=stage.limit_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            print(f"  stopped after its {stage.limit_s:.0f} s", flush=True)
            return False
    if process.returncode != 0:
        print(f"  failed with {process.returncode}, see {stage.name}.log", flush=True)
        return False
    try:
        result = json.loads(output)
    except ValueError:
        print(f"  printed no JSON: {output[:200]!r}", flush=True)
        return False
    wall_s = round(time.monotonic() - begin, 1)
    text = json.dumps({"command": _shown(stage.command), **about, "wall_s": wall_s, "result": result}, indent=1)
    partial = folder / f"{stage.name}.partial"
    partial.write_text(f"{text}\n", encoding="utf-8")
    partial.rename(folder / f"{stage.name}.json")
    return True


def _shown(command: list[str]) -> str:
    """Return the command as a reader would type it, without this machine's folders."""
    return " ".join(["python", *command[1:]])
