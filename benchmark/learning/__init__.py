"""DeepLabv3+ learned from labelled regions: fit, one scoring pass, evaluation."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from quadrat.benchmark.learning.inputs import Labels
    from quadrat.benchmark.learning.learner import Fitted, Learner, Scores
    from quadrat.benchmark.learning.recipe import Recipe

__all__ = ["Fitted", "Labels", "Learner", "Recipe", "Scores"]

# A suite is read with `Recipe` alone: torch is imported when a name that needs it is asked for.
_MODULES = {"Fitted": "learner", "Labels": "base", "Learner": "learner", "Recipe": "recipe", "Scores": "learner"}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
