"""A study in MLflow: a run a candidate, whose params, objective and state can be filtered and compared."""

from dataclasses import replace
from pathlib import Path

import pytest
from support.fake_trials import make_suite, write_suite_json

from quadrat.benchmark.config.candidates import Best, Candidate
from quadrat.benchmark.config.study import Study
from quadrat.benchmark.results.study_results import StudyResults, write_study
from quadrat.benchmark.tracking.addresses import default_uri
from quadrat.benchmark.tracking.writer import ResultsWriter


def results(*candidates: Candidate) -> StudyResults:
    study = Study(strategy="entropy-spatial", candidates=4, search_seeds=(10, 11))
    return StudyResults(study=study, space={}, directions=("maximize",), candidates=candidates)


def candidate(number: int, state: str, **changes: object) -> Candidate:
    values = {
        "number": number,
        "state": state,
        "params": {"cutoff": 1.5 + number, "norm": "inf"},
        "running": (0.2, 0.3),
    }
    return Candidate(**{**values, **changes})  # type: ignore[arg-type]


def take(folder: Path) -> None:
    ResultsWriter(folder, default_uri(folder)).log_files()


@pytest.mark.slow
def test_candidates_are_runs_with_params_objective_and_state_and_twice_is_as_once(tmp_path: Path) -> None:
    write_suite_json(make_suite(), tmp_path)
    write_study(tmp_path, results(candidate(0, "done", values=(0.4,)), candidate(1, "running")))
    take(tmp_path)
    ended = results(
        candidate(0, "done", values=(0.4,)),
        candidate(1, "pruned", running=(0.2, 0.25)),
        candidate(2, "failed", running=()),
        candidate(3, "done", values=(0.5,), running=(0.2, 0.3, 0.5)),
    )
    write_study(tmp_path, replace(ended, best=(Best(candidate=3, label="candidate 3"),)))
    take(tmp_path)
    take(tmp_path)
    client = ResultsWriter(tmp_path, default_uri(tmp_path))._experiment.client
    experiment = client.get_experiment_by_name("fake").experiment_id
    found = client.search_runs([experiment])
    runs = {run.info.run_name: run for run in found if "candidate" in run.data.tags}
    assert set(runs) == {"search", "candidate 0", "candidate 1", "candidate 2", "candidate 3"}
    assert {name: (run.data.tags["state"], run.info.status) for name, run in runs.items()} == {
        "search": ("done", "FINISHED"),
        "candidate 0": ("done", "FINISHED"),
        "candidate 1": ("pruned", "KILLED"),
        "candidate 2": ("failed", "FAILED"),
        "candidate 3": ("done", "FINISHED"),
    }
    about = {"strategy": "entropy-spatial", "dataset.name": "scenes"}
    assert runs["candidate 3"].data.params == {**about, "cutoff": "4.5", "norm": "inf"}
    tags = runs["candidate 3"].data.tags
    assert (tags["kind"], tags["strategy"], tags["dataset"]) == ("candidate", "entropy-spatial", "scenes")
    assert len(runs["candidate 3"].inputs.dataset_inputs) == 2
    assert runs["candidate 3"].data.metrics == {"running": 0.5, "area": 0.5}
    history = client.get_metric_history(runs["candidate 3"].info.run_id, "running")
    assert [(metric.step, metric.value) for metric in history] == [(1, 0.2), (2, 0.3), (3, 0.5)]
    found = client.search_runs([experiment], filter_string="tags.best = '1'")
    assert [run.info.run_name for run in found] == ["candidate 3"]
    parents = {run.data.tags.get("mlflow.parentRunId") for name, run in runs.items() if name != "search"}
    assert parents == {runs["search"].info.run_id}
