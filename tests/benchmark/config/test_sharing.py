"""Rounds that trials share, and the training steps they need."""

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from support.fake_trials import make_suite

from quadrat.benchmark.config import sharing
from quadrat.benchmark.config.sharing import (
    SharedNeeds,
    count_fits,
    expected_steps,
    longest_first,
    needs_of_suite,
    needs_of_trial,
    planned_round,
)
from quadrat.benchmark.config.trial import FULL_SUPERVISION, TrialSpec
from quadrat.strategies import Needs, Strategy, load


def trials(**changes: Any) -> list[TrialSpec]:
    return make_suite(full_supervision=True, **changes).trials()


LEARNER = {"encoder": "test_resnet", "weights": "none", "batch_size": 4}


def test_with_iterations_every_round_costs_the_same() -> None:
    full, *_, last = trials(learner={**LEARNER, "iterations": 50})
    assert full.strategy == FULL_SUPERVISION
    assert expected_steps(full, num_images=100) == 50
    assert expected_steps(last, num_images=100) == 3 * 50
    assert expected_steps(last, num_images=100, num_done=2) == 50


def test_with_epochs_a_round_costs_as_many_steps_as_its_labelled_images() -> None:
    full, *_, last = trials(learner={**LEARNER, "epochs": 2})
    # 10 images, 4 a batch, twice; the budgets 4, 8, 16 are in 4, 8 and all 10 images at most
    assert expected_steps(full, num_images=10) == 5
    assert expected_steps(last, num_images=10) == 2 + 4 + 5


def test_the_longest_trial_is_started_first_and_ties_stay_in_the_order_of_the_suite() -> None:
    by_iterations = trials(learner={**LEARNER, "iterations": 50})
    assert longest_first(by_iterations, num_images=100) == by_iterations[2:] + by_iterations[:2]
    by_epochs = trials(learner={**LEARNER, "epochs": 2})
    assert longest_first(by_epochs, num_images=1000) == by_epochs  # full supervision trains on every image


def test_rounds_that_are_done_make_a_trial_shorter() -> None:
    suite = make_suite().trials()
    done = [(suite[0].trial_id, 0), (suite[0].trial_id, 1), (suite[2].trial_id, 0)]
    assert longest_first(suite, num_images=100, done=done) == [suite[1], suite[3], suite[2], suite[0]]


def test_round_0_is_shared_by_the_strategies_of_a_seed_and_not_by_seeds_or_full_supervision() -> None:
    full, _, random_0, random_1, entropy_0, _ = trials()
    assert planned_round(random_0, 0) == planned_round(entropy_0, 0) != planned_round(random_1, 0)
    assert planned_round(full, 0) not in {planned_round(spec, 0) for spec in trials() if spec != full}


def test_a_later_round_is_shared_by_trials_that_agree_up_to_it() -> None:
    _, _, random_0, _, entropy_0, _ = trials()
    assert planned_round(random_0, 1) != planned_round(entropy_0, 1)
    other_end = random_0.model_copy(update={"budgets": (*random_0.budgets[:2], 99), "label": "other"})
    assert [planned_round(random_0, round_) == planned_round(other_end, round_) for round_ in range(3)] == [
        True,
        True,
        False,
    ]


def test_round_0_is_one_fit_for_all_strategies_of_a_seed() -> None:
    assert count_fits(make_suite().trials()) == (2 + 4 * 2, 4 * 3)
    assert count_fits(trials()) == (2 + 2 + 4 * 2, 2 + 4 * 3)


ENSEMBLE = {"strategies": ["random", "ensemble-entropy"], "seeds": [0, 1]}


def test_the_members_of_an_ensemble_count_as_fits_in_every_round_that_is_selected_from() -> None:
    # A seed: round 0 and its 4 other members, then two rounds of either strategy, and 4 members of the first of them.
    assert count_fits(make_suite(**ENSEMBLE).trials()) == (2 * (5 + 2 + 2 + 4), 2 * (3 + 3 + 8))
    by_name = {"name": "entropy", "label": "by name", "params": {"uncertainty": "ensemble-entropy"}}
    twice = make_suite(strategies=["ensemble-entropy", by_name], seeds=[0]).trials()
    assert count_fits(twice) == (5 + 2 * (1 + 4 + 1), 2 * 11)


def test_a_trial_with_an_ensemble_is_as_long_as_its_fits_and_is_started_first() -> None:
    random, *_, ensemble = make_suite(learner={**LEARNER, "iterations": 50}, **ENSEMBLE).trials()
    assert expected_steps(ensemble, num_images=100) == 50 * (5 + 5 + 1)
    assert expected_steps(ensemble, num_images=100, num_done=2) == 50
    assert longest_first([random, ensemble], num_images=100) == [ensemble, random]


@pytest.mark.parametrize("ask", [partial(longest_first, num_images=10), count_fits])
def test_a_strategy_is_loaded_once_for_all_its_trials(
    ask: Callable[[list[TrialSpec]], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def counted(name: str, **params: Any) -> Strategy:
        calls.append(name)
        return load(name, **params)

    many = make_suite(strategies=["random", "ensemble-entropy"], seeds=list(range(50))).trials()
    monkeypatch.setattr(sharing, "load", counted)
    ask(many)
    assert len(calls) <= 2  # fewer where another test has loaded them


def test_trials_that_differ_in_their_label_alone_share_every_fit() -> None:
    suite = make_suite(strategies=["random"], seeds=[0]).trials()
    again = [spec.model_copy(update={"label": "again"}) for spec in suite]
    assert count_fits([*suite, *again]) == (3, 6)


def test_shared_needs_cover_those_of_every_strategy() -> None:
    first = SharedNeeds.of([Needs(signals=("b",)), Needs(signals=("a",), profiles=("y",))])
    assert first == SharedNeeds(signals=("a", "b"), features=False, profiles=("y",))
    assert first.covers(SharedNeeds.of([Needs(signals=("a",))]))
    for more in (Needs(signals=("c",)), Needs(features=True), Needs(profiles=("x",))):
        assert not first.covers(SharedNeeds.of([more]))


def test_only_round_0_is_scored_for_the_whole_suite() -> None:
    suite = make_suite(strategies=["entropy", "core-set"], full_supervision=True)
    together = needs_of_suite(suite)
    assert together == SharedNeeds(signals=("entropy",), features=True)
    full, entropy = suite.trials()[0], next(spec for spec in suite.trials() if spec.strategy == "entropy")
    assert needs_of_trial(full, 0, together) == SharedNeeds()
    assert needs_of_trial(entropy, 0, together) == together
    assert needs_of_trial(entropy, 1, together) == SharedNeeds(signals=("entropy",))


def test_rounds_are_shared_within_a_label_type_and_an_annotator_only() -> None:
    suite = make_suite(labels=["precise", "dominant"], seeds=[0])
    precise, dominant = ([spec for spec in suite.trials() if spec.labels == kind] for kind in ("precise", "dominant"))
    assert planned_round(precise[0], 0) == planned_round(precise[1], 0) != planned_round(dominant[0], 0)
    assert planned_round(dominant[0], 0) == planned_round(dominant[1], 0)
    noisy = make_suite(annotator={"error_rate": 0.1}, seeds=[0]).trials()[0]
    assert planned_round(noisy, 0) != planned_round(precise[0], 0) == planned_round(make_suite().trials()[0], 0)
    assert set(json.loads(planned_round(precise[0], 0))).isdisjoint({"labels", "annotator"})
