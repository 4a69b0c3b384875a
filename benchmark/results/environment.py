"""Versions, hardware and commit of a run, written beside its records."""

import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from quadrat.benchmark.config.suite import Suite
from quadrat.benchmark.redaction import redact, redact_argv

__all__ = [
    "COMMAND",
    "COMMIT_FILE",
    "commit_of",
    "describe_environment",
    "device_of",
    "environment_differences",
    "own_commit",
]

COMMIT_FILE: Final = "COMMIT"
"""File in a wheel's metadata that `quadrat submit` adds: commit and changes of the checkout that it was built from."""

COMMAND: Final = "QUADRAT_COMMAND"
"""Variable of a submitted job: the command that submitted it, without passwords."""

_PACKAGES = (
    "quadrat",
    "numpy",
    "torch",
    "torchvision",
    "timm",
    "segmentation-models-pytorch",
    "faiss-gpu",
    "faiss-cpu",
    "pillow",
    "opencv-contrib-python-headless",
    "ray",
    "mlflow",
    "optuna",
)


def describe_environment(suite: Suite, device: str) -> dict[str, Any]:
    """Return versions, hardware, commit and weights behind a run of `suite` on `device`, JSON-plain."""
    import torch  # here: `quadrat show` needs no torch

    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "gpus": [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())],
        "cuda": torch.version.cuda,
        "packages": {name: version for name in _PACKAGES if (version := _version(name)) is not None},
        "device": device,
        "threads": suite.resources.cpus,
        "encoder": suite.learner.encoder,
        "weights": suite.learner.weights,
        "commit": own_commit(),
        "command": redact(os.environ.get(COMMAND, ""))
        or " ".join([Path(sys.argv[0]).name, *redact_argv(sys.argv[1:])]),
    }


def device_of(environment: Mapping[str, Any]) -> str | None:
    """Return the GPUs of an environment, else its processor; None where neither is recorded."""
    return ", ".join(environment.get("gpus") or ()) or environment.get("processor") or None


def environment_differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """Return what differs between two environments and may change the last bits of a number.

    Args:
        there: environment.json of the published results.
        here: The same of this machine.
    """
    lines = [
        f"{name} {there[name]} there, {here.get(name)} here"
        for name in ("device", "threads", "processor", "gpus", "cuda", "python")
        if name in there and there[name] != here.get(name)
    ]
    packages, ours = there.get("packages", {}), here.get("packages", {})
    for name in sorted(packages.keys() | ours.keys()):
        if packages.get(name) != ours.get(name):
            lines.append(f"{name} {packages.get(name, 'absent')} there, {ours.get(name, 'absent')} here")
    return lines


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def own_commit() -> str | None:
    """Return the commit that this installation was made from, None where neither checkout nor wheel tells."""
    return commit_of(Path(__file__).resolve().parent) or _sent_commit()


def _sent_commit() -> str | None:
    """Return the commit that the wheel of `quadrat submit` carries, None for another installation."""
    text = metadata.distribution("quadrat").read_text(COMMIT_FILE)
    return text.strip() if text else None


def commit_of(folder: Path) -> str | None:
    """Return the commit of our source checkout at `folder` ("+changes" where it differs), None where there is none."""
    try:
        top = subprocess.run(
            ["git", "-C", str(folder), "rev-parse", "--show-toplevel"], capture_output=True, text=True, check=True
        ).stdout.strip()
        if not (Path(top) / "benchmark" / "results" / "environment.py").is_file():
            return None
        commit = subprocess.run(
            ["git", "-C", top, "rev-parse", "HEAD"], capture_output=True, text=True, check=True
        ).stdout.strip()
        changes = subprocess.run(
            ["git", "-C", top, "status", "--porcelain", "--untracked-files=no"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit + ("+changes" if changes else "")
