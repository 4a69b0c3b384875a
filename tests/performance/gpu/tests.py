"""Run the tests that need a GPU, and print one JSON object: counts, and what failed.

`--only-compiled` runs those of torch.compile, which take minutes; without it, all others run. What has not ended after
`--limit` seconds is stopped and named.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from support.paths import ROOT

from performance.gpu.stages import gpu_test_files

__all__ = ["make_parser", "read_junit", "read_lines"]


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
        "is_complete": True,
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


def read_lines(text: str) -> dict[str, Any]:
    """Return the counts by what `pytest -v` printed until it was stopped; why a test failed is not known then."""
    outcomes = {}
    for match in re.finditer(r"(PASSED|FAILED|ERROR|SKIPPED) \S*?([\w]+)\.py::(.+?)\s*$", text, re.MULTILINE):
        outcomes[f"{match[2]}::{match[3]}"] = match[1]
    failed = {
        name: "stopped before its reason was said" for name, how in outcomes.items() if how in ("FAILED", "ERROR")
    }
    return {
        "passed": sum(how == "PASSED" for how in outcomes.values()),
        "failed": failed,
        "skipped": [name for name, how in outcomes.items() if how == "SKIPPED"],
        "is_complete": False,
    }


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only-compiled", action="store_true")
    parser.add_argument("--limit", dest="limit_s", type=float, default=200.0)
    return parser


def main() -> int:
    """Run them in a few processes, which share the device."""
    options = make_parser().parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report, console = Path(folder) / "junit.xml", Path(folder) / "console.txt"
        command = [sys.executable, "-m", "pytest", "-m", "gpu", "-v", "-n", "10", "--dist", "worksteal", "-p"]
        command += [
            "no:cacheprovider",
            "-k",
            "compiled" if options.only_compiled else "not compiled",
        ]
        command += [f"--junitxml={report}", *gpu_test_files()]
        with console.open("w", encoding="utf-8") as file:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, "OMP_NUM_THREADS": "2"},
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                process.wait(options.limit_s)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        text = console.read_text(encoding="utf-8")
        print(text, file=sys.stderr)
        if process.returncode in (0, 1):  # 1: some failed, which the result says
            print(json.dumps(read_junit(report.read_text(encoding="utf-8")), indent=1))
            return 0
        if process.returncode == -signal.SIGKILL:
            print(json.dumps(read_lines(text), indent=1))
            return 0
        return process.returncode


if __name__ == "__main__":
    sys.exit(main())
