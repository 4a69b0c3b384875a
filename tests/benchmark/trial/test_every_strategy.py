"""Every shipped strategy through a whole trial: real images, a real network, its own signals, features and profiles."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from quadrat.benchmark.config.suite import load_suite
from quadrat.benchmark.results.selections import Selections, selection_path
from quadrat.benchmark.trial.context import TrialContext
from quadrat.benchmark.trial.loop import run_trial
from quadrat.strategies import available

SHIPPED = sorted(name for name, plugin in available().items() if plugin.distribution == "quadrat")


@pytest.mark.slow
def test_every_shipped_strategy_runs_a_whole_trial_and_a_replay_repeats_it(
    write_suite: Callable[..., Path], tmp_path: Path
) -> None:
    names = [name for name in SHIPPED if name != "precomputed"]
    budgets = [6, 12, 17]
    context = TrialContext.open(load_suite(write_suite(strategies=names, budgets=budgets)), tmp_path / "results")
    folders = {}
    for spec in context.suite.trials():
        records = list(run_trial(spec, context))
        if spec.strategy in names:
            assert [record.regions for record in records] == budgets
            folders[spec.strategy] = selection_path(context.artefacts.results_dir, spec.trial_id, 0).parent
    assert sorted(folders) == names

    replayed = {"name": "precomputed", "label": "again", "params": {"folder": str(folders["bald"])}}
    again = TrialContext.open(
        load_suite(write_suite(strategies=[replayed], budgets=budgets)), tmp_path / "again", cache_dir=context.cache_dir
    )
    [spec] = [spec for spec in again.suite.trials() if spec.strategy == "precomputed"]
    list(run_trial(spec, again))
    for round_ in range(3):
        first = Selections(context.artefacts.results_dir).read(folders["bald"].name, round_)
        second = Selections(again.artefacts.results_dir).read(spec.trial_id, round_)
        assert first is not None and second is not None
        np.testing.assert_array_equal(second.regions, first.regions)
