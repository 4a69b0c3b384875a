"""Sharing: a suite trains as many models as `quadrat show` promised, however its workers race for them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from quadrat.benchmark.suite import load_suite
from quadrat.cluster.board import num_fits
from quadrat.cluster.driver import RunOptions, run_in_foreground, run_on_ray
from quadrat.cluster.engine import benchmark_engine


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
    promised, without_sharing = num_fits(trials)
    assert (promised, without_sharing) == (1 + 3, 6)
    results_dir = tmp_path / "results"
    options = RunOptions(results_dir=results_dir, engine=benchmark_engine(), is_mirrored=False)
    outcome = run_on_ray(suite, trials, options)
    assert outcome.exit_code == 0
    assert outcome.num_fits == len(fits_in(results_dir / "store")) == promised
    assert outcome.num_fits + outcome.num_shared == without_sharing


def test_a_run_that_goes_on_counts_only_what_it_did_itself(write_suite: Callable[..., Path], tmp_path: Path) -> None:
    suite = load_suite(write_suite(budgets=[6, 12]))
    first, second = suite.trials()
    options = RunOptions(results_dir=tmp_path / "results", engine=benchmark_engine(), is_mirrored=False)
    outcome = run_in_foreground(suite, [first], options)
    assert (outcome.num_fits, outcome.num_shared) == (2, 0)
    outcome = run_in_foreground(suite, [first, second], options)
    assert (outcome.num_fits, outcome.num_shared) == (1, 1)
