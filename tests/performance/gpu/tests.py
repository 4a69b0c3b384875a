"""Run the tests that need a GPU, and print one JSON object: counts, and what failed."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from support.paths import ROOT

from performance.gpu.stages import gpu_test_files

__all__ = ["read_junit"]


def read_junit(text: str) -> dict[str, Any]:
    """Return the counts of a JUnit report, the names and last lines of what failed, and the slowest tests."""
    cases = list(ElementTree.fromstring(text).iter("testcase"))
    failed = {_name(case): _reason(case) for case in cases if _reason(case) is not None}
    skipped = [_name(case) for case in cases if case.find("skipped") is not None]
    slowest = sorted(((float(case.get("time", 0)), _name(case)) for case in cases), reverse=True)[:5]
    return {
        "passed": len(cases) - len(failed) - len(skipped),
        "failed": failed,
        "skipped": skipped,
        "slowest": [{"test": name, "seconds": round(elapsed_s, 1)} for elapsed_s, name in slowest],
    }


def _name(case: ElementTree.Element) -> str:
    return f"{case.get('classname', '').rpartition('.')[2]}::{case.get('name')}"


def _reason(case: ElementTree.Element) -> str | None:
    for kind in ("failure", "error"):
        found = case.find(kind)
        if found is not None:
            return (found.get("message") or "").strip().splitlines()[0][:300] if found.get("message") else kind
    return None


def main() -> int:
    """Run them in a few processes, which share the device."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "junit.xml"
        command = [sys.executable, "-m", "pytest", "-m", "gpu", "-q", "-n", "6", "--dist", "worksteal", "-p"]
        command += ["no:cacheprovider", f"--junitxml={report}", *gpu_test_files()]
        done = subprocess.run(command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "2"}, stdout=sys.stderr)
        if done.returncode not in (0, 1):  # 1: some failed, which the result says
            return done.returncode
        print(json.dumps(read_junit(report.read_text(encoding="utf-8")), indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
