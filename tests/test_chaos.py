"""Chaos in small: `make chaos` kills a hundred times, this a few times, and shows that the comparison sees a fault."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from chaos import faults, kind_of
from fake_trials import make_record, make_suite

from quadrat.benchmark.records import append_record


@pytest.mark.slow
def test_runs_that_are_killed_and_run_again_end_as_if_they_had_not_been(tmp_path: Path) -> None:
    command = [sys.executable, str(Path(__file__).parent / "chaos.py"), "--kills", "6", "--seed", "1"]
    done = subprocess.run([*command, "--keep", str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "6 kills in" in done.stdout and "records equal, none lost, none doubled" in done.stdout


def test_the_comparison_sees_what_is_lost_doubled_changed_or_left_over(tmp_path: Path) -> None:
    spec = make_suite().trials()[0]
    good, bad = tmp_path / "good", tmp_path / "bad"
    for round_ in range(2):
        append_record(good, make_record(spec, round_))
    shutil.copytree(good, bad)
    path = bad / "records.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    changed = {**json.loads(lines[1]), "seconds": {"fit": 99.0}}
    path.write_text(lines[0] + json.dumps(changed) + "\n")
    assert faults(good, bad) == []
    path.write_text(lines[0])
    assert any("only in" in line for line in faults(good, bad))
    path.write_text("".join([*lines, lines[1]]))
    assert any("is there 2 times" in line for line in faults(good, bad))
    path.write_text(lines[0] + lines[1].replace('"loss": 1.0', '"loss": 1.00'))
    assert any("other bytes" in line for line in faults(good, bad))
    path.write_text("".join(lines))
    (bad / ".suite.json.00000000-1-00000000.tmp").touch()
    assert faults(good, bad) == ["left over: .suite.json.00000000-1-00000000.tmp"]


def test_places_are_told_by_the_kind_of_file() -> None:
    assert kind_of("store/fit/.0a1b.0123abcd-17-89abcdef.tmp/fitted.pt") == "store/fit (temporary)"
    assert kind_of("store/scores/0a1b/signals.npz") == "store/scores"
    assert kind_of(".records.jsonl.0123abcd-17-89abcdef.tmp") == "records.jsonl (temporary)"
    assert kind_of("selections/random-r16-s0/round-1.npz") == "selections"
