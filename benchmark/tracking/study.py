"""A study in MLflow: one run per candidate, below one run for the search."""

from pathlib import Path
from typing import Final

from quadrat.benchmark.results.study_results import read_study
from quadrat.benchmark.tracking.client import Experiment
from quadrat.benchmark.tracking.values import SuiteFacts

__all__ = ["log_candidates"]

_RUNNING: Final = "running"
"""Metric with the first objective after each round. The objectives themselves are metrics of their own names."""


def log_candidates(experiment: Experiment, results_dir: Path, facts: SuiteFacts) -> int:
    """Log the candidates of a results folder's study and return their number; logging twice changes nothing.

    Args:
        experiment: The suite's experiment.
        results_dir: The results folder; nothing is logged when it has no study.
        facts: The suite.
    """
    found = read_study(results_dir)
    if found is None or not found.candidates:
        return 0
    tags = {
        **facts.source_tags(),
        "mlflow.source.name": f"quadrat study {facts.name}",
        "strategy": found.study.strategy,
        "dataset": facts.dataset_name,
    }
    search = experiment.run("search", "search", {**tags, "kind": "search", "candidate": "search"}, {})
    experiment.link_datasets(search, facts.splits, facts.dataset_name, facts.dataset_source)
    tags |= {"mlflow.parentRunId": search.run_id, "seeds": ", ".join(map(str, found.study.search_seeds))}
    ranks = {best.candidate: str(rank) for rank, best in enumerate(found.best, start=1)}
    width = len(str(found.candidates[-1].number))
    for candidate in found.candidates:
        key, name = str(candidate.number), f"candidate {candidate.number:0{width}d}"
        params = {"strategy": found.study.strategy, "dataset.name": facts.dataset_name}
        params |= {param: str(value) for param, value in candidate.params.items()}
        run = experiment.run(key, name, {**tags, "kind": "candidate", "candidate": key}, params)
        experiment.link_datasets(run, facts.splits, facts.dataset_name, facts.dataset_source)
        for num_rounds, value in enumerate(candidate.running, start=1):
            if num_rounds not in experiment.points(run, _RUNNING):
                experiment.log(run, num_rounds, {_RUNNING: value})
        for objective, value in zip(found.study.objective, candidate.values, strict=False):
            if experiment.points(run, objective).get(0) != value:
                experiment.log(run, 0, {objective: value})
        if candidate.number in ranks or "best" in run.tags:
            experiment.set_tag(run, "best", ranks.get(candidate.number, ""))
        experiment.set_state(run, candidate.state)
    is_running = any(candidate.state == "running" for candidate in found.candidates) or not found.best
    experiment.set_state(search, "running" if is_running else "done")
    return len(found.candidates)
