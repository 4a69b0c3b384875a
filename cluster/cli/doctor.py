"""The command `doctor`: check what runs depend on."""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Final

import click

from quadrat.cluster.cli.clean import sizes
from quadrat.cluster.cli.console import filled, pasteable
from quadrat.cluster.cli.options import results_option
from quadrat.cluster.cli.places import remote_of, results_root

__all__ = ["COMMANDS"]

_PACKAGES: Final = ("quadrat", "torch", "timm", "segmentation-models-pytorch", "ray", "mlflow", "optuna", "numpy")
_MIN_FREE_BYTES: Final = 5 * 2**30
_MAX_BF16_RATIO: Final = 0.8
"""Share of fp32's time below which a layer gains more than the conversions between the two types cost a network."""


@click.command()
@results_option
def doctor(results: Path | str | None) -> None:
    """Check versions, devices, weights, plugins, Ray, MLflow, disk.

    The exit code is 1 when something is bad. With --results, check that folder's disk or that URL.
    """
    is_ok = True
    if (remote := remote_of(results)) is not None:
        remote.check()
    folder = results_root() if results is None or isinstance(results, str) else results
    for finding in _findings(folder.absolute()):
        mark = "ok  " if finding.is_ok else "BAD "
        is_ok &= finding.is_ok
        # Filled without colour, whose codes have no width.
        shown = "\n".join(filled(line, " " * 16) for line in f"{mark} {finding.name:<10} {finding.text}".splitlines())
        click.echo(click.style(mark, fg="green" if finding.is_ok else "red") + shown.removeprefix(mark))
    sys.exit(0 if is_ok else 1)


@dataclass(frozen=True, kw_only=True)
class _Finding:
    """Result of one check.

    Attributes:
        name: Name of the check.
        is_ok: Whether runs can work with it.
        text: What was found.
    """

    name: str
    is_ok: bool
    text: str


def _findings(results_dir: Path) -> Iterator[_Finding]:
    """Yield the result of each check; one that raises is a bad result, and the others are still made."""
    checks: dict[str, Callable[[], tuple[bool, str]]] = {
        "versions": _versions,
        "device": _device,
        "bf16": _bf16,
        "weights": _weights,
        "plugins": _plugins,
        "ray": _ray,
        "mlflow": _mlflow,
        "disk": lambda: _disk(results_dir),
        "locks": lambda: _locks(results_dir),
    }
    for name, check in checks.items():
        try:
            is_ok, text = check()
        except Exception as error:  # the purpose is to say what is broken, whatever it raises
            is_ok, text = False, f"{type(error).__name__}: {error}"
        yield _Finding(name=name, is_ok=is_ok, text=text)


def _versions() -> tuple[bool, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "missing"
    return "missing" not in found.values(), ", ".join(f"{name} {version}" for name, version in found.items())


def _device() -> tuple[bool, str]:
    import torch

    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return True, f"{os.cpu_count()} CPUs, {memory:.0f} GiB memory, {', '.join(gpus) or 'no CUDA device'}"


def _bf16() -> tuple[bool, str]:
    """Compare bf16 with fp32 in a forward pass on the CPU; without instructions for it, bf16 is emulated and slower."""
    import torch

    layer = torch.nn.Conv2d(256, 256, kernel_size=1).eval().to(memory_format=torch.channels_last)
    map_BDhw = torch.zeros(1, 256, 90, 120).to(memory_format=torch.channels_last)
    with torch.inference_mode():
        fp32_s = _fastest(lambda: layer(map_BDhw))
        half, half_map_BDhw = layer.bfloat16(), map_BDhw.bfloat16()
        ratio = _fastest(lambda: half(half_map_BDhw)) / fp32_s
    advice = "try learner.inference_precision: bf16" if ratio < _MAX_BF16_RATIO else "stay with fp32"
    return True, f"a 1x1 convolution takes {ratio:.2f} of its fp32 time in bf16; on the CPU {advice}"


def _fastest(call: Callable[[], object], num_calls: int = 10) -> float:
    """Return the seconds of the fastest of some calls; the first is not timed."""
    call()
    seconds = []
    for _ in range(num_calls):
        begin = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - begin)
    return min(seconds)


def _weights() -> tuple[bool, str]:
    from quadrat.benchmark.learning.network.weights import PACKAGED_ENCODER, load_weights

    weights = load_weights(PACKAGED_ENCODER, "packaged")
    assert weights is not None
    return (
        True,
        f"packaged {weights.encoder}, sha256 {weights.sha256[:12]} (other encoders: from timm's hub, or a file)",
    )


def _plugins() -> tuple[bool, str]:
    from quadrat.strategies.registry import PLUGINS, registry_of

    found = {what: registry_of(what).listing() for what in PLUGINS}
    broken = [plugin for plugins in found.values() for plugin in plugins if plugin.error]
    counts = ", ".join(f"{len(plugins)} {what}" for what, plugins in found.items())
    return not broken, counts + "".join(f"\n     {plugin.name}: {plugin.error}" for plugin in broken)


def _ray() -> tuple[bool, str]:
    import ray

    address = os.environ.get("RAY_ADDRESS")
    return True, f"{ray.__version__}, " + (f"joins $RAY_ADDRESS {address}" if address else "starts on this machine")


def _mlflow() -> tuple[bool, str]:
    from quadrat.benchmark.redaction import redact_url

    uri = os.environ.get("MLFLOW_TRACKING_URI")
    return (
        True,
        f"logs to $MLFLOW_TRACKING_URI {redact_url(uri)}" if uri else "logs to mlflow.db in the results folder",
    )


def _disk(results_dir: Path) -> tuple[bool, str]:
    folder = _existing(results_dir)
    free = shutil.disk_usage(folder).free
    largest = _largest(results_dir)
    return free >= _MIN_FREE_BYTES, f"{free / 2**30:.1f} GiB free at {folder}" + "".join(
        f"\n     {it}" for it in largest
    )


def _largest(results_dir: Path, num: int = 5) -> list[str]:
    """Return the largest results below a folder with the sizes of their parts, and how to remove them."""
    from quadrat.cluster.cli.suite_view import show_bytes

    folders = [path.parent for path in (*results_dir.glob("suite.json"), *results_dir.glob("*/suite.json"))]
    found = {path.name: sizes(path) for path in folders}
    lines = []
    for name in sorted(found, key=lambda name: -sum(found[name].values()))[:num]:
        parts = ", ".join(f"{part} {show_bytes(size)}" for part, size in found[name].items())
        lines.append(f"{show_bytes(sum(found[name].values()))} in {name}: {parts}")
    return [*lines, f"{pasteable('clean', 'SUITE')} removes what can be made again"] if lines else []


def _locks(results_dir: Path) -> tuple[bool, str]:
    """Check that the file system has locks that exclude: some network file systems do not."""
    from filelock import FileLock, Timeout

    with tempfile.TemporaryDirectory(dir=_existing(results_dir)) as folder:
        path = Path(folder) / "lock"
        with FileLock(path):
            try:
                FileLock(path, is_singleton=False).acquire(timeout=0)
            except Timeout:
                return True, "file locks work there"
    return (
        False,
        "file locks do not exclude each other there: two drivers could write to one folder; use another file system",
    )


def _existing(path: Path) -> Path:
    return next(folder for folder in (path, *path.parents) if folder.is_dir())


COMMANDS: Final = (doctor,)
