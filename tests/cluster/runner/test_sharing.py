"""Sharing: suites and studies train as many models as `quadrat show` promised, however workers race for them."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from quadrat.benchmark.config.sharing import count_fits
from quadrat.benchmark.config.suite import load_suite
from quadrat.benchmark.planning.work import count_study_fits
from quadrat.cluster.runner.context import RunOptions
from quadrat.cluster.runner.driver import run_in_foreground, run_on_ray
from quadrat.cluster.runner.engine import benchmark_engine
from quadrat.cluster.study.driver import run_study


def fits_in(store: Path) -> list[Path]:
    return list((store / "fit").glob("*/artefact.json"))


@pytest.mark.slow
@pytest.mark.cluster
def test_two_workers_train_as_many_models_as_show_promised(write_suite: Callable[..., Path], tmp_path: Path) -> None:
    suite = load_suite(
        write_suite(
            strategies=["random", "entropy", "entropy-spatial"],
            budgets=[6, 12],
            resources={"keep": "all", "max_in_flight": 2},
        )
    )
    trials = suite.trials()
    promised, without_sharing = count_fits(trials)
    assert (promised, without_sharing) == (1 + 3, 6)
    results_dir = tmp_path / "results"
    options = RunOptions(results_dir=results_dir, engine=benchmark_engine(), logs_to_mlflow=False)
    outcome = run_on_ray(suite, trials, options)
    assert outcome.exit_code == 0
    assert outcome.num_fits == len(fits_in(results_dir / "store")) == promised
    assert outcome.num_fits + outcome.num_shared == without_sharing


def test_a_run_that_goes_on_counts_only_what_it_did_itself(write_suite: Callable[..., Path], tmp_path: Path) -> None:
    suite = load_suite(write_suite(budgets=[6, 12]))
    first, second = suite.trials()
    options = RunOptions(results_dir=tmp_path / "results", engine=benchmark_engine(), logs_to_mlflow=False)
    outcome = run_in_foreground(suite, [first], options)
    assert (outcome.num_fits, outcome.num_shared) == (2, 0)
    outcome = run_in_foreground(suite, [first, second], options)
    assert (outcome.num_fits, outcome.num_shared) == (1, 1)


@pytest.mark.slow
@pytest.mark.cluster
def test_a_study_trains_as_many_models_as_show_promised(write_suite: Callable[..., Path], tmp_path: Path) -> None:
    """Candidates of two region sizes, by uncertainty or by distance: none is pruned, no two select the same regions."""
    study = {
        "strategy": "entropy-spatial",
        "params": {"norm": 2, "cutoff": 2.0, "d2_d1": 2.0, "d3_d2": 1.5},
        "space": {"region_size": [8, 16], "w_spatial": [0.01, 100.0]},
        "candidates": 4,
        "search_seeds": [7],
        "sampler": "BruteForceSampler",
        "pruner": "none",
    }
    resources = {"keep": "all", "max_in_flight": 2}
    suite = load_suite(write_suite(budgets=[8, 16], strategies=["random"], study=study, resources=resources))
    promised = count_study_fits(suite)
    assert promised.search == (2 + 4, 8)
    results_dir = tmp_path / "results"
    outcome = run_study(suite, RunOptions(results_dir=results_dir, engine=benchmark_engine(), logs_to_mlflow=False))
    assert outcome.exit_code == 0 and outcome.report is not None
    assert (outcome.num_fits, outcome.num_shared) == (
        promised.search.shared,
        promised.search.alone - promised.search.shared,
    )
    trained = [json.loads(path.read_text())["key"]["seed"] for path in fits_in(results_dir / "store")]
    assert trained.count(7) == promised.search.shared
    # Round 0 of the best candidate is there if its size is the suite's own.
    (best,) = outcome.study.best
    is_own_size = outcome.study.candidates[best.candidate].params["region_size"] == 16
    assert outcome.report.num_fits == trained.count(0) == promised.report.shared - is_own_size
    assert outcome.report.num_fits + outcome.report.num_shared == promised.report.alone
