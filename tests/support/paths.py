"""Where tests find the repository, their golden files, and what processes of their own need in order to import them."""

import os
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent
ROOT = TESTS.parent
GOLDEN = TESTS / "golden"
PLUGIN_EXAMPLE = TESTS / "support" / "plugin_example"


def python_path(*folders: Path) -> str:
    """Return a PYTHONPATH on which `support` and `folders` are found before what is there already."""
    paths = [*map(str, folders), str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.pathsep.join(paths)
