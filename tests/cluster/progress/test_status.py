"""The bulletin of a run: what it says, when it is there, and when it is gone."""

import json
from functools import partial
from pathlib import Path

import pytest
from support.fake_trials import make_progress, make_record, make_suite

from quadrat.cluster.progress.progress import RunProgress
from quadrat.cluster.progress.status import BULLETIN_NAME, StatusFile, describe

TRIALS = make_suite().trials()


def test_it_says_which_trial_is_where_in_which_round_and_phase() -> None:
    board = RunProgress(TRIALS)
    board.start(TRIALS[0], "node-1", "a1b2", 77)
    board.record(make_record(TRIALS[0], 0))
    board.progress(make_progress(TRIALS[0], 1, "fit", 2, 3))
    said = describe(board)
    assert said["trials"] == {"num": 4, "complete": 0, "failed": 0}
    assert said["rounds"] == {"num": 12, "done": 1}
    (row,) = said["in_flight"]
    expected = {"label": "random", "seed": 0, "host": "node-1", "node": "a1b2", "pid": 77, "round": 1, "phase": "fit"}
    assert {name: row[name] for name in expected} == expected


def test_it_is_there_while_the_run_goes_on_and_only_the_copy_stays(tmp_path: Path) -> None:
    board, copy = RunProgress(TRIALS), tmp_path / "logs" / "copy.json"
    with StatusFile(partial(describe, board), "fake", tmp_path / "results") as bulletin:
        assert json.loads((tmp_path / "results" / BULLETIN_NAME).read_text())["state"] == "running"
        board.start(TRIALS[0])
        bulletin.post_to(copy)
        bulletin.post()
        assert len(json.loads(copy.read_text())["in_flight"]) == 1
    assert not (tmp_path / "results" / BULLETIN_NAME).exists()
    said = json.loads(copy.read_text())
    assert (said["state"], said["suite"], said["in_flight"]) == ("ended", "fake", [])


def test_it_is_written_every_few_seconds_only(tmp_path: Path) -> None:
    board = RunProgress(TRIALS)
    with StatusFile(partial(describe, board), "fake", tmp_path) as bulletin:
        board.start(TRIALS[0])
        bulletin.post()
        assert json.loads((tmp_path / BULLETIN_NAME).read_text())["in_flight"] == []


def test_an_error_of_the_run_is_not_hidden_by_one_of_the_bulletin(tmp_path: Path) -> None:
    with (
        pytest.raises(RuntimeError, match="the run's own"),
        StatusFile(partial(describe, RunProgress(TRIALS)), "fake", tmp_path) as bulletin,
    ):
        bulletin.post_to(Path("/proc/nowhere/copy.json"))
        raise RuntimeError("the run's own")
    assert not (tmp_path / BULLETIN_NAME).exists()


def test_seconds_spent_waiting_for_a_shared_fit_are_counted() -> None:
    now = [0.0]
    board = RunProgress(TRIALS, clock=lambda: now[0])
    board.start(TRIALS[0])
    for phase in ("wait", "wait", "fit", "fit"):
        board.progress(make_progress(TRIALS[0], 0, phase, 0, 0))
        now[0] += 1.0
    assert describe(board)["waited_s"] == 2.0
