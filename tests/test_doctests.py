"""The examples in docstrings, of the packages and of the measuring harness, print what they say."""

import doctest
import importlib

import pytest
from support.paths import ROOT, TESTS

PACKAGES = {"quadrat": "api", **{f"quadrat.{name}": name for name in ("strategies", "benchmark", "cluster")}}


def modules_with_examples() -> list[str]:
    """Return the names of the modules that hold an example, without importing any."""
    ours = [(package, ROOT / folder) for package, folder in PACKAGES.items()]
    names = []
    for package, folder in [*ours, ("performance", TESTS / "performance")]:
        for path in sorted(folder.rglob("*.py")):
            if ">>> " in path.read_text(encoding="utf-8"):
                parts = path.relative_to(folder).with_suffix("").parts
                names.append(".".join([package, *(part for part in parts if part != "__init__")]))
    return names


@pytest.mark.parametrize("name", modules_with_examples())
def test_examples_print_what_they_say(name: str) -> None:
    results = doctest.testmod(importlib.import_module(name), verbose=False, report=True)
    assert results.attempted > 0, f"{name} has '>>>' outside of docstrings"
    assert results.failed == 0
