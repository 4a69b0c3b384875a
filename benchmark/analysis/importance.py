"""Importance of the searched dimensions of a study, by PED-ANOVA."""

import warnings
from typing import Final

from quadrat.benchmark.results.study_results import StudyResults

__all__ = ["importance_of"]

_MIN_DONE: Final = 5
"""Candidates below which no importance is computed: it would be noise."""


def importance_of(found: StudyResults) -> dict[str, float] | None:
    """Return the importance of each dimension for the first objective, the largest first; None with too few candidates.

    PED-ANOVA rather than fANOVA: it needs no random forest, hence no scikit-learn, and measures which dimensions set
    the best candidates apart from all.
    """
    done = [candidate for candidate in found.candidates if candidate.state == "done"]
    if len(done) < _MIN_DONE or len({candidate.values[0] for candidate in done}) < 2:
        return None
    import optuna  # here: it takes seconds to import
    from optuna.distributions import json_to_distribution

    space = {name: json_to_distribution(text) for name, text in found.space.items()}
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction=found.directions[0])
    for candidate in done:
        study.add_trial(
            optuna.trial.create_trial(params=candidate.params, distributions=space, value=candidate.values[0])
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the evaluator is experimental in Optuna
        evaluator = optuna.importance.PedAnovaImportanceEvaluator()
        return dict(optuna.importance.get_param_importances(study, evaluator=evaluator))
