"""The status file of a run: what it contains, when it is written, and when it is deleted."""

import json
from functools import partial
from pathlib import Path

import pytest
from support.fake_trials import make_progress, make_record, make_suite

from quadrat.cluster.progress.progress import RunProgress
from quadrat.cluster.progress.status import STATUS_NAME, StatusFile, describe, read_status

TRIALS = make_suite().trials()


def test_it_contains_machine_round_and_phase_of_each_trial_in_flight() -> None:
    progress = RunProgress(TRIALS)
    progress.start(TRIALS[0], "node-1", "a1b2", 77)
    progress.record(make_record(TRIALS[0], 0))
    progress.update(make_progress(TRIALS[0], 1, "fit", 2, 3))
    description = describe(progress)
    assert description["trials"] == {"num": 4, "complete": 0, "failed": 0}
    assert description["rounds"] == {"num": 12, "done": 1}
    (row,) = description["in_flight"]
    expected = {"label": "random", "seed": 0, "host": "node-1", "node": "a1b2", "pid": 77, "round": 1, "phase": "fit"}
    assert {name: row[name] for name in expected} == expected


def test_it_exists_while_the_run_goes_on_and_only_the_copy_is_kept(tmp_path: Path) -> None:
    progress, copy = RunProgress(TRIALS), tmp_path / "logs" / "copy.json"
    with StatusFile(partial(describe, progress), "fake", tmp_path / "results") as status:
        assert json.loads((tmp_path / "results" / STATUS_NAME).read_text())["state"] == "running"
        progress.start(TRIALS[0])
        status.also_write_to(copy)
        status.update()
        assert len(json.loads(copy.read_text())["in_flight"]) == 1
    assert read_status(tmp_path / "results") is None
    kept = json.loads(copy.read_text())
    assert (kept["state"], kept["suite"], kept["in_flight"]) == ("ended", "fake", [])


def test_it_is_rewritten_every_three_seconds_and_not_more_often(tmp_path: Path) -> None:
    now, written = [0.0], list[int]()
    progress = RunProgress(TRIALS)

    def on_write(document: dict[str, list[object]]) -> None:
        written.append(len(document["in_flight"]))

    with StatusFile(partial(describe, progress), "fake", tmp_path, on_write=on_write, clock=lambda: now[0]) as status:
        progress.start(TRIALS[0])
        for now[0] in (1.0, 2.9, 3.0, 4.0, 5.9):
            status.update()
        assert written == [0, 1]
        found = read_status(tmp_path)
        assert found is not None and len(found.document["in_flight"]) == 1


def test_an_error_of_the_run_is_not_hidden_by_one_of_the_status_file(tmp_path: Path) -> None:
    with (
        pytest.raises(RuntimeError, match="the run's own"),
        StatusFile(partial(describe, RunProgress(TRIALS)), "fake", tmp_path) as status,
    ):
        status.also_write_to(Path("/proc/nowhere/copy.json"))
        raise RuntimeError("the run's own")
    assert read_status(tmp_path) is None


def test_seconds_spent_waiting_for_a_shared_fit_are_counted() -> None:
    now = [0.0]
    progress = RunProgress(TRIALS, clock=lambda: now[0])
    progress.start(TRIALS[0])
    for phase in ("wait", "wait", "fit", "fit"):
        progress.update(make_progress(TRIALS[0], 0, phase, 0, 0))
        now[0] += 1.0
    assert describe(progress)["waited_s"] == 2.0


def test_the_url_of_the_results_is_in_it_without_a_password(tmp_path: Path) -> None:
    with StatusFile(partial(describe, RunProgress(TRIALS)), "fake", tmp_path, url="s3://me:s3/cr3t@bucket/a"):
        assert json.loads((tmp_path / STATUS_NAME).read_text())["results"] == "s3://bucket/a"
