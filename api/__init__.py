"""Benchmark of strategies for region-based active learning, from Python: `load`, `run`, `trial`.

`load(results)` opens a results folder, its URL or the results of a suite; `run(suite)` and `trial(suite, ...)` train in
this process, without Ray. Every error of theirs is a `QuadratError`. Strategies for arrays of one's own:
`quadrat.strategies`. Nothing slow is imported before it is used: no torch by `import quadrat` or `load`.
"""

from importlib import import_module, metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from quadrat.foreground import run, trial
    from quadrat.loaded import Figure, SuiteResults, Summary, load
    from quadrat.strategies import QuadratError

    __version__: str

__all__ = ["Figure", "QuadratError", "SuiteResults", "Summary", "__version__", "load", "run", "trial"]

_MODULES = {
    "Figure": "loaded",
    "QuadratError": "strategies",
    "SuiteResults": "loaded",
    "Summary": "loaded",
    "load": "loaded",
    "run": "foreground",
    "trial": "foreground",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return metadata.version("quadrat")
    if name == "strategies":
        return import_module(f"{__name__}.strategies")
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*__all__, "strategies", *(name for name in globals() if name.startswith("__"))})
