"""Importance of the searched dimensions of a study, by PED-ANOVA.

References:
    [PED-ANOVA] Watanabe, Bansal, Hutter, "PED-ANOVA: Efficiently Quantifying Hyperparameter Importance in Arbitrary
        Subspaces", IJCAI 2023.
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from quadrat.benchmark.results.study_results import StudyResults

__all__ = ["Importance", "importance_of"]

_MIN_BEST: Final = 5
"""Candidates that the best group needs; Optuna's documentation of the method asks for as many."""

_SHARE_BEST: Final = 0.25
"""Share of the candidates that are the best group, unless ties make it larger."""


@dataclass(frozen=True, kw_only=True)
class Importance:
    """Importance of each dimension for the first objective, or why there is none.

    Attributes:
        shares: Dimension -> share of the sum, the largest first; empty where the method can't say.
        num_best: Candidates whose distribution was compared with that of all; 0 where the method can't say.
        reason: Why there are no shares; empty where there are.
    """

    shares: dict[str, float]
    num_best: int = 0
    reason: str = ""


def importance_of(found: StudyResults) -> Importance:
    """Return the importance of each dimension for the first objective.

    [PED-ANOVA] compares how the best candidates spread over a dimension with how all do. The best are a quarter of the
    completed ones, 5 at least, and all that tie with the last of them: a group that ends between equal candidates would
    depend on their order. Where less than half of the candidates are left outside of it, it is not distinguished.

    It needs no random forest, unlike fANOVA, hence no scikit-learn.
    """
    done = [candidate for candidate in found.candidates if candidate.state == "done"]
    minimum = math.ceil(_MIN_BEST / _SHARE_BEST)
    if len(done) < minimum:
        return _none(f"it needs {minimum} completed candidates, and there are {len(done)}")
    sign = -1.0 if found.directions[0] == "maximize" else 1.0
    costs = [sign * candidate.values[0] for candidate in done]
    num_best = _num_best(costs)
    if num_best > len(done) / 2:
        return _none(f"{num_best} of the {len(done)} completed candidates tie for the best quarter")
    import optuna  # here: it takes seconds to import
    from optuna.distributions import json_to_distribution

    space = {name: json_to_distribution(text) for name, text in found.space.items()}
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="minimize")
    for candidate, cost in zip(done, costs, strict=True):
        study.add_trial(optuna.trial.create_trial(params=candidate.params, distributions=space, value=cost))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the evaluator is experimental in Optuna
        evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=num_best / len(done))
        shares = optuna.importance.get_param_importances(study, evaluator=evaluator)
    if not any(shares.values()):
        return _none("in no dimension do the best candidates differ from all of them")
    return Importance(shares=shares, num_best=num_best)


def _num_best(costs: Sequence[float]) -> int:
    """Return the size of the best group: a quarter, and what ties with its last."""
    last = sorted(costs)[math.ceil(_SHARE_BEST * len(costs)) - 1]
    return sum(cost <= last for cost in costs)


def _none(reason: str) -> Importance:
    return Importance(shares={}, reason=reason)
