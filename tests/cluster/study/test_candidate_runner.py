"""A candidate's trials in step: a round of all seeds at a time, retried as trials of a suite are."""

from pathlib import Path
from typing import Any

import pytest
from support.fake_trials import STUDY, make_suite, open_fake, plan, times_run

from quadrat.benchmark.config.candidates import Candidate, search_trials
from quadrat.benchmark.config.suite import Suite
from quadrat.benchmark.config.trial import TrialSpec
from quadrat.cluster.study.candidate_runner import CandidateRound, CandidateRunner

CANDIDATE = Candidate(number=0, state="running", params={"cutoff": 1.5})
OTHER = Candidate(number=1, state="running", params={"cutoff": 2.5})


def make_study(*, retries: int = 1, **changes: Any) -> Suite:
    return make_suite(resources={"retries": retries}, study={**STUDY, **changes})


def trials_of(suite: Suite, candidate: Candidate = CANDIDATE) -> list[TrialSpec]:
    return list(search_trials(suite, candidate)[0])


def run(runner: CandidateRunner, candidate: Candidate) -> list[CandidateRound]:
    runner.start(candidate)
    rounds = [runner.run_round()]
    while not rounds[-1].is_done and rounds[-1].failure is None:
        rounds.append(runner.run_round())
    return rounds


def test_each_round_is_that_of_all_seeds_and_candidates_follow_one_another(tmp_path: Path) -> None:
    suite = make_study()
    runner = CandidateRunner(suite, tmp_path, open_fake)
    for candidate in (CANDIDATE, OTHER):
        rounds = run(runner, candidate)
        assert [found.number for found in rounds] == [candidate.number] * 3
        assert [found.num_rounds for found in rounds] == [1, 2, 3]
        for round_, found in enumerate(rounds):
            assert [record.key for record in found.records] == [
                (spec.trial_id, round_) for spec in trials_of(suite, candidate)
            ]
            assert found.trained == {record.key for record in found.records}


def test_full_supervision_is_run_in_the_first_round_alone_where_the_objective_needs_it(tmp_path: Path) -> None:
    suite = make_suite(full_supervision=True, study={**STUDY, "objective": ["cost-95"]})
    full = [spec.trial_id for spec in search_trials(suite, CANDIDATE)[1]]
    rounds = run(CandidateRunner(suite, tmp_path, open_fake), CANDIDATE)
    assert len(full) == 2
    assert [[record.trial_id in full for record in found.records].count(True) for found in rounds] == [2, 0, 0]


@pytest.mark.parametrize(("retries", "num_starts", "is_failed"), [(0, 1, True), (1, 2, False)])
def test_a_trial_that_raises_is_tried_again_as_often_as_the_suite_allows(
    tmp_path: Path, retries: int, num_starts: int, is_failed: bool
) -> None:
    suite = make_study(retries=retries)
    spec = trials_of(suite)[0]
    plan(tmp_path, spec, what="raise", times=1)
    last = run(CandidateRunner(suite, tmp_path, open_fake), CANDIDATE)[-1]
    assert (last.failure is not None, last.is_done) == (is_failed, not is_failed)
    assert times_run(tmp_path, spec) == num_starts
    if last.failure is not None:
        assert (last.failure.trial_id, last.failure.round, last.num_rounds) == (spec.trial_id, 1, 1)
        assert "RuntimeError: the GPU fell off the bus" in last.failure.exception


def test_an_error_that_the_user_must_fix_is_not_tried_again(tmp_path: Path) -> None:
    suite = make_study(retries=5)
    spec = trials_of(suite)[1]
    plan(tmp_path, spec, what="reject", times=99)
    last = run(CandidateRunner(suite, tmp_path, open_fake), CANDIDATE)[-1]
    assert last.failure is not None and "signal entropy is not finite" in last.failure.exception
    assert times_run(tmp_path, spec) == 1
    assert [record.trial_id for record in last.records] == [trials_of(suite)[0].trial_id]
