"""A process in which packages seem not to be installed."""

import subprocess
import sys
from collections.abc import Iterable, Sequence
from typing import Any, Final

from support.paths import ROOT

_START: Final = """
import sys

blocked = set({blocked!r})


class Hiding:
    def __init__(self, finder):
        self.finder = finder

    def __getattr__(self, name):
        return getattr(self.finder, name)

    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in blocked else self.finder.find_spec(name, path, target)


sys.meta_path[:] = [Hiding(finder) for finder in sys.meta_path]
sys.argv = {argv!r}
"""


def run_without(
    modules: Iterable[str], code: str, *, argv: Sequence[str] = ("-c",)
) -> "subprocess.CompletedProcess[str]":
    """Run `code` in the repository's root, in a fresh interpreter that finds none of the top-level `modules`."""
    start = _START.format(blocked=sorted(modules), argv=list(argv))
    options: dict[str, Any] = {"cwd": ROOT, "capture_output": True, "text": True, "check": False}
    return subprocess.run([sys.executable, "-c", start + code], **options)
