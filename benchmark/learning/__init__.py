"""DeepLabv3+ trained on labelled regions: fit, one scoring pass, evaluation."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from quadrat.benchmark.learning.inputs import Labels
    from quadrat.benchmark.learning.learner import Learner
    from quadrat.benchmark.learning.recipe import Recipe
    from quadrat.benchmark.learning.scoring.score import Scores
    from quadrat.benchmark.learning.training.checkpoint import Fitted

__all__ = ["Fitted", "Labels", "Learner", "Recipe", "Scores"]

# Lazy, since reading a suite needs only `Recipe` and importing torch takes seconds.
_MODULES = {
    "Fitted": "training.checkpoint",
    "Labels": "inputs",
    "Learner": "learner",
    "Recipe": "recipe",
    "Scores": "scoring.score",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
