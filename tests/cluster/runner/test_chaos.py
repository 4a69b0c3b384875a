"""Fault injection with a few kills (`make chaos` has a hundred); the comparison detects each kind of fault."""

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from support.chaos.check import Fault, faults
from support.chaos.forked_run import kind_of
from support.chaos.tally import Tally
from support.fake_trials import make_record, make_suite

from quadrat.benchmark.results.records import append_record
from quadrat.cluster.cli.main import cli


@pytest.mark.slow
@pytest.mark.parametrize(("story", "kills"), [("trial", 6), ("shapes", 3)])
def test_runs_that_are_killed_and_run_again_equal_one_that_was_not_killed(
    tmp_path: Path, story: str, kills: int
) -> None:
    command = [sys.executable, "-m", "support.chaos", "--story", story, "--kills", f"{kills}", "--seed", "1"]
    harness = Path(__file__).parents[2]
    done = subprocess.run([*command, "--keep", str(tmp_path)], cwd=harness, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"| **all** | {kills} |" in done.stdout


@pytest.mark.slow
def test_a_disk_that_fills_up_at_any_point_is_one_clear_error_and_the_same_command_goes_on(
    write_suite: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = write_suite(budgets=[6, 12])

    def run(folder: str) -> Result:
        arguments = ["trial", str(suite), "--strategy", "random", "--seed", "0", "--results", str(tmp_path / folder)]
        return CliRunner().invoke(cli, arguments)

    assert run("whole").exit_code == 0
    num_left, fsync = 0, os.fsync

    def full(descriptor: int) -> None:
        nonlocal num_left
        num_left -= 1
        if num_left < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    for has_room_for in (0, 12, 25, 40):
        num_left = has_room_for
        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", full)
            stopped = run("full")
        assert stopped.exit_code == 2, stopped.output
        assert "No space left on device. Nothing half-written counts as done: free some space" in stopped.stderr
    assert run("full").exit_code == 0
    assert faults(tmp_path / "whole", tmp_path / "full") == []


def test_the_comparison_detects_lost_doubled_changed_and_leftover_files(tmp_path: Path) -> None:
    spec = make_suite().trials()[0]
    good, bad = tmp_path / "good", tmp_path / "bad"
    for round_ in range(2):
        append_record(good, make_record(spec, round_))
    shutil.copytree(good, bad)
    path = bad / "records.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    changed = {**json.loads(lines[1]), "seconds": {"fit": 99.0}}
    del changed["checksum"]
    path.write_text(lines[0] + json.dumps(changed) + "\n")
    assert faults(good, bad) == []
    path.write_text(lines[0])
    assert [fault.kind for fault in faults(good, bad)] == ["lost"]
    path.write_text("".join([*lines, lines[1]]))
    assert [fault.kind for fault in faults(good, bad)] == ["doubled"]
    path.write_text(lines[0] + json.dumps(changed).replace('"loss": 1.0', '"loss": 1.00') + "\n")
    assert [fault.kind for fault in faults(good, bad)] == ["different"]
    path.write_text("".join(lines))
    (bad / ".suite.json.00000000-1-00000000.tmp").touch()
    assert faults(good, bad) == [Fault("left over", ".suite.json.00000000-1-00000000.tmp")]


def test_a_story_goes_on_with_the_counts_of_an_earlier_process(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = []
    first = Tally("a story", lambda text: None, save=rows.append)
    for code in (-9, -9, 0):
        first.kill("rename records.jsonl", code)
    first.end(tmp_path / "scenario-0", 0, "", list)
    first.kill("of a scenario that was interrupted", -9)
    again = Tally("a story", lambda text: None, json.loads(json.dumps(rows[-1])), rows.append)
    assert (again.num_kills, again.num_scenarios) == (3, 1)
    again.kill("rename records.jsonl", 2)
    again.end(tmp_path / "scenario-1", 2, "what it said", list)
    again.hang("a run hung")
    expected = {"kills": 4, "scenarios": 3, "lost": 0, "ended wrongly": 2, "exit codes": {"-9": 2, "0": 1, "2": 1}}
    assert {name: rows[-1][name] for name in expected} == expected
    assert rows[-1]["places"] == {"rename records.jsonl": 4}


def test_places_are_named_by_the_kind_of_file() -> None:
    assert kind_of("store/fit/.0a1b.0123abcd-17-89abcdef.tmp/fitted.pt") == "store/fit (temporary)"
    assert kind_of("store/scores/0a1b/signals.npz") == "store/scores"
    assert kind_of(".records.jsonl.0123abcd-17-89abcdef.tmp") == "records.jsonl (temporary)"
    assert kind_of("machine-3/suite-0123abcd/store/fit/0a1b/fitted.pt") == "store/fit"
    assert kind_of("selections/random-r16-s0/round-1.npz") == "selections"
