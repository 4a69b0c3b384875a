"""Candidates of a study: their trials, the best of them, and the suite that reports those."""

from pathlib import Path

import pytest
from support.candidates import done, suite_with
from support.fake_trials import make_suite

from quadrat.benchmark.config.candidates import (
    Candidate,
    best_of,
    export_suite,
    report_suite,
    search_trials,
    study_of,
)
from quadrat.benchmark.config.suite import load_suite
from quadrat.benchmark.errors import SuiteError


def test_the_trials_of_a_candidate_run_on_the_search_seeds_at_the_same_number_of_pixels() -> None:
    trials, full_supervision = search_trials(suite_with(), done(3, 0.4, params={"cutoff": 2.5, "region_size": 8}))
    assert [(spec.label, spec.seed, spec.region_size, spec.budgets) for spec in trials] == [
        ("candidate 3", 10, 8, (16, 32, 64)),
        ("candidate 3", 11, 8, (16, 32, 64)),
    ]
    assert trials[0].params["cutoff"] == 2.5 and trials[0].params["norm"] == 2
    assert full_supervision == []


def test_an_objective_in_percent_of_full_supervision_runs_it_on_the_search_seeds() -> None:
    suite = suite_with(study={"objective": "cost-95"}, full_supervision=True)
    _, full_supervision = search_trials(suite, done(0, 0.4))
    assert [(spec.strategy, spec.seed) for spec in full_supervision] == [
        ("full-supervision", 10),
        ("full-supervision", 11),
    ]


def test_candidates_may_be_judged_on_a_split_that_nothing_is_reported_on() -> None:
    suite = suite_with(study={"test": "val"})
    trials, _ = search_trials(suite, done(0, 0.4))
    reported, _ = report_suite(suite, [done(0, 0.4)])
    assert {spec.dataset.test for spec in trials} == {"val"}
    assert {spec.dataset.test for spec in reported.trials()} == {"test"}


def test_candidates_with_equal_effective_parameters_have_equal_trials() -> None:
    suite = suite_with()
    first, again = done(0, 0.4), done(2, 0.4, params={"cutoff": 1.0, "region_size": 16}, same_as=0)
    assert search_trials(suite, first) == search_trials(suite, again)
    assert again.label == "candidate 0"


def test_the_best_are_those_that_are_done_the_largest_area_first_ties_to_the_lower_number() -> None:
    candidates = [
        done(0, 0.4),
        done(1, 0.5),
        done(2, 0.5),
        done(3, 0.5, same_as=1),
        Candidate(number=4, state="pruned", params={}, running=(0.9, 0.9)),
        Candidate(number=5, state="failed", params={}),
    ]
    assert [candidate.number for candidate in best_of(candidates, ("maximize",), 9)] == [1, 2, 0]
    assert [candidate.number for candidate in best_of(candidates, ("minimize",), 2)] == [0, 1]


def test_of_two_objectives_the_best_are_the_pareto_front_in_the_order_of_the_first() -> None:
    # 2 is dominated by 1 (as large and slower); 3 is dominated by 0.
    candidates = [done(0, 0.4, 1.0), done(1, 0.6, 3.0), done(2, 0.6, 4.0), done(3, 0.3, 1.0)]
    assert [found.number for found in best_of(candidates, ("maximize", "minimize"), 9)] == [1, 0]


def test_the_best_are_reported_beside_the_suites_own_strategies_on_its_own_seeds() -> None:
    suite = suite_with()
    reported, best = report_suite(suite, [done(3, 0.5, params={"cutoff": 2.5, "region_size": 8})])
    assert [(found.candidate, found.label) for found in best] == [(3, "candidate 3")]
    labels = {spec.label: (spec.region_size, spec.budgets) for spec in reported.trials()}
    assert labels == {
        "random": (16, (4, 8, 16)),
        "entropy-spatial": (16, (4, 8, 16)),
        "candidate 3": (8, (16, 32, 64)),
    }
    assert {spec.seed for spec in reported.trials()} == {0, 1}


def test_what_is_exported_is_a_suite_file_with_the_trials_of_the_report(tmp_path: Path) -> None:
    suite = suite_with(full_supervision=True, description="größer: a suite")
    reported, _ = report_suite(suite, [done(3, 0.5, params={"cutoff": 2.5, "region_size": 8})])
    path = tmp_path / "best.yaml"
    path.write_text(export_suite(reported), encoding="utf-8")
    loaded = load_suite(str(path), ())
    assert loaded.study is None and loaded.description == suite.description
    assert [spec.trial_id for spec in loaded.trials()] == [spec.trial_id for spec in reported.trials()]
    assert [spec.label for spec in loaded.trials()] == [spec.label for spec in reported.trials()]


def test_a_best_candidate_that_is_a_strategy_of_the_suite_is_not_there_twice() -> None:
    reported, best = report_suite(suite_with(), [done(1, 0.5, params={"cutoff": 1.5, "region_size": 16})])
    assert best[0].label == "entropy-spatial"
    assert len(reported.trials()) == 4


def test_a_candidate_has_one_size_and_one_label_type_where_the_suite_compares_several() -> None:
    suite = suite_with(region_size=[16, 8], labels=["precise", "dominant"])
    chosen = done(3, 0.5, params={"cutoff": 2.5})
    trials, _ = search_trials(suite, chosen)
    assert [(spec.label, spec.seed, spec.region_size, spec.labels) for spec in trials] == [
        ("candidate 3", 10, 16, "precise"),
        ("candidate 3", 11, 16, "precise"),
    ]
    same_as = [done(1, 0.5, params={"cutoff": 1.5, "region_size": size}) for size in (16, 8)]
    reported, best = report_suite(suite, [chosen, *same_as])
    assert [one.label for one in best] == ["candidate 3", "entropy-spatial r16", "entropy-spatial r8"]
    of_label = {spec.label: (spec.region_size, spec.labels) for spec in reported.trials()}
    assert of_label["candidate 3"] == (16, "precise") and of_label["entropy-spatial r8"] == (8, "precise")
    assert len(of_label) == 2 * 2 * 2 + 1


def test_a_suite_without_a_study_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(SuiteError, match=r"expected a suite with a 'study', got 'fake' without one"):
        study_of(make_suite())
