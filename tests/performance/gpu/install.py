"""Install a folder of wheels without network: `python3 tests/performance/gpu/install.py WHEELS SITE`.

Runs before anything else is there, so it imports the standard library alone. Parts of a wheel are joined first.
"""

import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

PART = ".part-"
"""Between the name of a wheel and the number of its part."""


def join_parts(folder: Path, target: Path) -> list[Path]:
    """Return the wheels of `folder`; those that were split are joined in `target`."""
    parts = defaultdict(list)
    for path in sorted(folder.glob(f"*.whl{PART}*")):
        parts[path.name.partition(PART)[0]].append(path)
    wheels = sorted(folder.glob("*.whl"))
    for name, paths in parts.items():
        wheels.append(target / name)
        wheels[-1].write_bytes(b"".join(path.read_bytes() for path in paths))
    return wheels


def main() -> int:
    """Install into SITE, a folder for PYTHONPATH."""
    wheels, site = Path(sys.argv[1]), Path(sys.argv[2])
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-compile"]
        command += ["--no-cache-dir", "--disable-pip-version-check", "--upgrade", "--target", str(site)]
        return subprocess.run([*command, *map(str, join_parts(wheels, Path(folder)))]).returncode


if __name__ == "__main__":
    sys.exit(main())
