"""The report of a results folder: an HTML page with summary, figures and tables, and the same as files beside it."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from quadrat.benchmark.reporting.leaderboard import leaderboard_text, write_leaderboard
    from quadrat.benchmark.reporting.page import write_report
    from quadrat.benchmark.reporting.readme import update_readme

__all__ = ["leaderboard_text", "update_readme", "write_leaderboard", "write_report"]

# Lazy, since `quadrat stats` needs the numbers in words, and no figure.
_MODULES = {
    "leaderboard_text": "leaderboard",
    "update_readme": "readme",
    "write_leaderboard": "leaderboard",
    "write_report": "page",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
