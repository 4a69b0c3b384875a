"""Triton's kernels without a device: by its interpreter, in a process of its own, since a variable switches it on."""

import importlib.metadata
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import numpy as np
import pytest

__all__ = ["HAS_TRITON", "check_interpreted", "needs_interpreter"]

HAS_TRITON: Final = importlib.util.find_spec("triton") is not None

needs_interpreter = pytest.mark.skipif(
    HAS_TRITON
    and importlib.metadata.version("triton").startswith("3.6.")
    and np.lib.NumpyVersion(np.__version__) >= "2.4.0",
    reason="the interpreter of Triton 3.6 makes an int of an array of one number, which numpy 2.4 refuses",
)


def check_interpreted(code: str, folder: Path) -> None:
    """Run code on one thread, with the modules of `folder` beside those of this process; it raises where it must."""
    environment = dict(os.environ, TRITON_INTERPRET="1", OMP_NUM_THREADS="1")
    environment["PYTHONPATH"] = os.pathsep.join([str(folder), *(path for path in sys.path if path)])
    whole = f"import torch\ntorch.set_num_threads(1)\n{code}\nprint('done')\n"
    done = subprocess.run([sys.executable, "-c", whole], env=environment, capture_output=True, text=True)
    assert done.stdout == "done\n", done.stderr
