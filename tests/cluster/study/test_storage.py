"""Candidates in storage: none that has ended is proposed again; one that was interrupted is, with its parameters."""

from pathlib import Path
from typing import Any

import pytest
from support.fake_trials import STUDY, make_suite

from quadrat.benchmark.config.candidates import Candidate
from quadrat.benchmark.config.suite import Suite
from quadrat.cluster.study.storage import CandidateStorage


def make_study_suite(**changes: Any) -> Suite:
    return make_suite(strategies=["random"], study={**STUDY, **changes})


def drain(storage: CandidateStorage) -> list[Candidate]:
    found = []
    while (candidate := storage.next()) is not None:
        storage.finish(candidate.number, (0.5,))
        found.append(candidate)
    return found


@pytest.mark.slow
def test_as_many_candidates_are_proposed_as_the_study_says(tmp_path: Path) -> None:
    storage = CandidateStorage(tmp_path, make_study_suite())
    assert storage.num_open == 4
    assert [candidate.number for candidate in drain(storage)] == [0, 1, 2, 3]
    assert storage.num_open == 0


@pytest.mark.slow
def test_a_resumed_study_continues_what_was_running_and_proposes_what_it_would_have_proposed(
    tmp_path: Path,
) -> None:
    suite = make_study_suite()
    undisturbed = drain(CandidateStorage(tmp_path / "undisturbed", suite))
    first = CandidateStorage(tmp_path / "killed", suite)
    done, running = first.next(), first.next()
    assert done is not None and running is not None
    first.report(done.number, 1, 0.2)
    first.finish(done.number, (0.4,))
    first.report(running.number, 1, 0.3)
    del first  # nothing is closed: a killed process closes nothing
    again = CandidateStorage(tmp_path / "killed", suite)
    assert again.num_open == 3
    continued = again.next()
    assert continued is not None
    assert (continued.number, continued.params) == (running.number, running.params)
    again.report(continued.number, 1, 0.3)  # reported again, since its rounds are found in the store
    again.report(continued.number, 2, 0.35)
    again.finish(continued.number, (0.35,))
    drain(again)
    candidates = again.candidates()
    assert [candidate.params for candidate in candidates] == [candidate.params for candidate in undisturbed]
    assert [candidate.values for candidate in candidates] == [(0.4,), (0.35,), (0.5,), (0.5,)]
    assert candidates[1].running == (0.3, 0.35)
    assert CandidateStorage(tmp_path / "killed", suite).next() is None


def test_a_candidate_whose_proposal_was_cut_short_is_no_candidate(tmp_path: Path) -> None:
    suite = make_study_suite()
    storage = CandidateStorage(tmp_path, suite)
    storage._study.ask()  # asked for, and killed before it had parameters
    again = CandidateStorage(tmp_path, suite)
    assert again.candidates() == []
    assert [candidate.number for candidate in drain(again)] == [0, 1, 2, 3]


def test_a_failed_candidate_is_tried_again_by_the_next_run_under_its_number_and_no_other_is(tmp_path: Path) -> None:
    suite = make_study_suite(candidates=2)
    storage = CandidateStorage(tmp_path, suite)
    first = storage.next()
    assert first is not None
    storage.fail(first.number, "RuntimeError: the GPU fell off the bus")
    drain(storage)
    assert [(found.state, found.exception) for found in storage.candidates()] == [
        ("failed", "RuntimeError: the GPU fell off the bus"),
        ("done", None),
    ]
    again = CandidateStorage(tmp_path, suite)
    assert again.num_open == 1
    assert [(found.number, found.params) for found in drain(again)] == [(0, first.params)]
    assert [found.state for found in again.candidates()] == ["done", "done"]
    assert CandidateStorage(tmp_path, suite).num_open == 0


def test_a_candidate_is_not_lost_when_a_run_is_killed_as_it_tries_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = make_study_suite(candidates=2)
    storage = CandidateStorage(tmp_path, suite)
    failed, done = storage.next(), storage.next()
    assert failed is not None and done is not None
    storage.fail(failed.number, "disk full")
    storage.finish(done.number, (0.5,))

    def killed(_: CandidateStorage) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(CandidateStorage, "_ask", killed)
        CandidateStorage(tmp_path, suite).next()
    again = CandidateStorage(tmp_path, suite)
    assert again.num_open == 1
    found = again.next()
    assert found is not None and (found.number, found.params) == (failed.number, failed.params)
    assert again.next() is None and again.num_open == 0


def test_a_study_may_grow(tmp_path: Path) -> None:
    drain(CandidateStorage(tmp_path, make_study_suite(candidates=2)))
    assert [found.number for found in drain(CandidateStorage(tmp_path, make_study_suite(candidates=3)))] == [2]


def test_candidates_with_equal_parameters_are_known_as_the_same(tmp_path: Path) -> None:
    storage = CandidateStorage(tmp_path, make_study_suite(space={"cutoff": [1.5]}, candidates=2))
    assert [(found.same_as, found.label) for found in drain(storage)] == [(None, "candidate 0"), (0, "candidate 0")]


def test_halving_prunes_a_candidate_that_is_behind_also_after_a_kill(tmp_path: Path) -> None:
    suite = make_study_suite(pruner={"name": "SuccessiveHalvingPruner", "params": {"min_resource": 2}})
    storage = CandidateStorage(tmp_path, suite)
    ahead = storage.next()
    assert ahead is not None
    for num_rounds, value in ((1, 0.1), (2, 0.5)):
        storage.report(ahead.number, num_rounds, value)
        assert not storage.is_behind(ahead.number)
    again = CandidateStorage(tmp_path, suite)
    assert again.next() is not None  # the same one
    behind = again.next()
    assert behind is not None and behind.number == 1
    again.report(behind.number, 1, 0.1)
    assert not again.is_behind(behind.number)  # too early
    again.report(behind.number, 2, 0.2)
    assert again.is_behind(behind.number)
    again.prune(behind.number)
    assert [(found.state, found.running) for found in again.candidates()] == [
        ("running", (0.1, 0.5)),
        ("pruned", (0.1, 0.2)),
    ]


def test_two_objectives_are_both_stored_and_never_pruned(tmp_path: Path) -> None:
    suite = make_study_suite(objective=["area", "select-seconds"], pruner=None, candidates=1)
    storage = CandidateStorage(tmp_path, suite)
    candidate = storage.next()
    assert candidate is not None
    storage.report(candidate.number, 2, 0.1)
    assert not storage.is_behind(candidate.number)
    storage.finish(candidate.number, (0.5, 2.0))
    assert storage.candidates()[0].values == (0.5, 2.0)


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["TPESampler", "QMCSampler", "GridSampler"])
def test_samplers_of_optuna_work_by_name_and_over_a_restart(tmp_path: Path, sampler: str) -> None:
    suite = make_study_suite(sampler=sampler, space={"cutoff": [1.1, 1.5, 2.5, 3.5]})
    numbers = []
    for _ in range(4):  # a new process for every candidate
        storage = CandidateStorage(tmp_path, suite)
        candidate = storage.next()
        assert candidate is not None
        storage.finish(candidate.number, (0.1 * candidate.number,))
        numbers.append(candidate.params["cutoff"])
    if sampler == "GridSampler":
        assert sorted(numbers) == [1.1, 1.5, 2.5, 3.5]


@pytest.mark.slow
def test_optuna_dashboard_serves_the_study_from_its_storage(tmp_path: Path) -> None:
    import io
    import json

    from optuna.storages import RDBStorage
    from optuna_dashboard import wsgi

    drain(CandidateStorage(tmp_path, make_study_suite()))
    app = wsgi(RDBStorage(f"sqlite:///{tmp_path / 'study.db'}"))
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/api/studies", "SERVER_NAME": "x", "SERVER_PORT": "80"}
    environ |= {"wsgi.input": io.BytesIO(), "wsgi.errors": io.StringIO(), "wsgi.url_scheme": "http"}  # type: ignore[dict-item]
    status: list[str] = []
    body = b"".join(app(environ, lambda line, headers, *_: status.append(line)))
    assert status == ["200 OK"]
    assert [study["study_name"] for study in json.loads(body)["study_summaries"]] == ["fake"]


def test_a_folder_with_percent_and_question_mark_holds_its_own_database(tmp_path: Path) -> None:
    folder = tmp_path / "50%20off?x=1"
    CandidateStorage(folder, make_study_suite()).close()
    assert (folder / "study.db").is_file()
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]
