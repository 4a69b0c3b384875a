"""A study in MLflow: one run a candidate, under one run for the search. The client comes from `tracking`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from quadrat.benchmark.results.candidates import Candidate, State, StudyResults, read_study

__all__ = ["log_candidates"]

_STATUS: Final[dict[State, str]] = {"running": "RUNNING", "done": "FINISHED", "pruned": "KILLED", "failed": "FAILED"}
_RUNNING: Final = "running"
"""Metric that holds the first objective after each round; the objectives themselves are metrics of their own names."""


def log_candidates(client: Any, experiment_id: str, results_dir: Path, source: str) -> int:
    """Log the candidates of a results folder's study, and return how many there are; doing it twice changes nothing.

    Args:
        client: An `mlflow.MlflowClient`.
        experiment_id: The suite's experiment.
        results_dir: The results folder; without a study nothing is done.
        source: What the runs say they come from.
    """
    found = read_study(results_dir)
    if found is None or not found.candidates:
        return 0
    runs = dict(_runs(client, experiment_id))
    parent = runs.get("search") or _create(client, experiment_id, "search", "search", source, {})
    width = len(str(found.candidates[-1].number))
    for candidate in found.candidates:
        key = str(candidate.number)
        tags = {"mlflow.parentRunId": parent.info.run_id, "seeds": ", ".join(map(str, found.study.search_seeds))}
        run = runs.get(key) or _create(
            client, experiment_id, key, f"candidate {candidate.number:0{width}d}", source, tags, candidate.params
        )
        _update(client, run, found, candidate)
    is_running = any(candidate.state == "running" for candidate in found.candidates) or not found.best
    _set_state(client, parent, "running" if is_running else "done")
    return len(found.candidates)


def _runs(client: Any, experiment_id: str) -> Iterator[tuple[str, Any]]:
    token = None
    while True:
        page = client.search_runs([experiment_id], max_results=1000, page_token=token)
        yield from ((run.data.tags["candidate"], run) for run in page if "candidate" in run.data.tags)
        token = page.token
        if not token:
            return


def _create(
    client: Any,
    experiment_id: str,
    key: str,
    name: str,
    source: str,
    tags: dict[str, str],
    params: dict[str, Any] | None = None,
) -> Any:
    about = {**tags, "candidate": key, "state": "running", "mlflow.source.name": source}
    run = client.create_run(experiment_id, tags=about, run_name=name)
    for param, value in (params or {}).items():
        client.log_param(run.info.run_id, param, value)
    return client.get_run(run.info.run_id)


def _update(client: Any, run: Any, found: StudyResults, candidate: Candidate) -> None:
    """Log what the run lacks of a candidate: its running values by round, its objectives, its state."""
    run_id = run.info.run_id
    for param in candidate.params.keys() - run.data.params.keys():  # of a run whose creation was cut short
        client.log_param(run_id, param, candidate.params[param])
    known = {metric.step for metric in client.get_metric_history(run_id, _RUNNING)}
    for num_rounds, value in enumerate(candidate.running, start=1):
        if num_rounds not in known:
            client.log_metric(run_id, _RUNNING, value, step=num_rounds)
    for objective, value in zip(found.study.objective, candidate.values, strict=False):
        if run.data.metrics.get(objective) != value:
            client.log_metric(run_id, objective, value)
    ranks = {best.candidate: str(rank) for rank, best in enumerate(found.best, start=1)}
    rank = ranks.get(candidate.number, "")
    if run.data.tags.get("best", "") != rank:
        client.set_tag(run_id, "best", rank)
    _set_state(client, run, candidate.state)


def _set_state(client: Any, run: Any, state: State) -> None:
    if run.data.tags.get("state") == state and run.info.status == _STATUS[state]:
        return
    client.set_tag(run.info.run_id, "state", state)
    if state == "running":
        client.update_run(run.info.run_id, status="RUNNING")
    else:
        client.set_terminated(run.info.run_id, status=_STATUS[state])
