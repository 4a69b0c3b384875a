"""Ensembles in trials: members are shared through the store, counted, made again after a kill, and verified."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.tiny_suite import TINY_SUITE

from quadrat.benchmark.config.sharing import count_fits
from quadrat.benchmark.config.suite import Suite
from quadrat.benchmark.learning.learner import Learner
from quadrat.benchmark.results.published import read_published
from quadrat.benchmark.results.records import Record, append_record, without_timings
from quadrat.benchmark.trial.context import TrialContext
from quadrat.benchmark.trial.loop import run_trial
from quadrat.benchmark.trial.verify import open_scratch, recompute

BY_NAME = {"name": "entropy", "label": "by name", "params": {"uncertainty": "ensemble-entropy"}}


def suite(*strategies: Any, **changes: Any) -> Suite:
    learner = {**TINY_SUITE["learner"], "iterations": 2}
    return Suite.model_validate({**TINY_SUITE, "learner": learner, "strategies": list(strategies), **changes})


def run(of: Suite, folder: Path, cache: Path) -> dict[str, list[Record]]:
    context = TrialContext.open(of, folder, cache_dir=cache)
    context.prepare_results()
    found = {spec.label: list(run_trial(spec, context)) for spec in of.trials()}
    for records in found.values():
        for record in records:
            append_record(folder, record)
    return found


@pytest.fixture
def seeds_of_fits(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Return a list of (round, seed) of every fit that was begun."""
    begun: list[tuple[int, int]] = []
    original: Callable[..., Any] = Learner.fit

    def fit(learner: Learner, labels: Any, *, seed: int, round: int, **options: Any) -> Any:
        begun.append((round, seed))
        return original(learner, labels, seed=seed, round=round, **options)

    monkeypatch.setattr(Learner, "fit", fit)
    return begun


@pytest.mark.slow
def test_another_trial_finds_the_members_in_the_store_and_records_count_them(
    tmp_path: Path, seeds_of_fits: list[tuple[int, int]]
) -> None:
    both = suite("random", "ensemble-entropy", BY_NAME, resources={"keep": "all"})
    found = run(both, tmp_path / "results", tmp_path / "cache")
    # The two strategies of the ensemble select the same regions, so they share every model; the plan cannot know it.
    assert len(seeds_of_fits) == 5 + 2 + (5 + 1) < count_fits(both.trials()).shared
    assert {label: [record.fits for record in records] for label, records in found.items()} == {
        "random": [1, 1, 1],
        "ensemble-entropy": [1, 5, 5],
        "by name": [1, 5, 5],
    }
    for one, other in zip(found["ensemble-entropy"], found["by name"], strict=True):
        assert one.picks_digest == other.picks_digest and one.miou == other.miou
    line = found["random"][1].to_line()
    assert '"fits"' not in line and '"fits": 5' in found["by name"][1].to_line()
    waited = found["ensemble-entropy"][1].seconds["score"] - found["random"][1].seconds["score"]
    assert waited > 0  # the fits of the members


@pytest.mark.slow
def test_a_trial_that_is_killed_between_two_members_goes_on_and_a_published_one_is_verified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = suite("ensemble-entropy", budgets=[6, 12])
    whole = run(alone, tmp_path / "whole", tmp_path / "cache")["ensemble-entropy"]
    original, left = Learner.fit, 3

    class Killed(Exception):
        pass

    def fit(learner: Learner, labels: Any, **options: Any) -> Any:
        nonlocal left
        if not left:
            raise Killed
        left -= 1
        return original(learner, labels, **options)

    with monkeypatch.context() as patched:
        patched.setattr(Learner, "fit", fit)
        with pytest.raises(Killed):
            run(alone, tmp_path / "killed", tmp_path / "cache")
        left = 3  # two members, and the network of round 1: what was trained before is found
        again = run(alone, tmp_path / "killed", tmp_path / "cache")["ensemble-entropy"]
    assert left == 0
    assert [without_timings(record) for record in again] == [without_timings(record) for record in whole]

    shutil.rmtree(tmp_path / "whole" / "store")
    published = read_published(tmp_path / "whole")
    scratch = open_scratch(published, tmp_path / "scratch", cache_dir=tmp_path / "cache")
    assert recompute(published, scratch, published.rounds[1]).differences == ()
