"""The example plugin as a user has it: built as a wheel, installed beside quadrat, tested, run by workers of Ray."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from quadrat.benchmark.results.records import read_records
from quadrat.benchmark.results.selections import Selections


@pytest.mark.slow
def test_it_is_built_installed_and_keeps_the_contract(plugin_source: Path, plugin_environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_checkerboard.py"]
    run = subprocess.run(command, cwd=plugin_source, env=plugin_environment, capture_output=True, text=True)
    assert run.returncode == 0 and "skipped" not in run.stdout, run.stdout


@pytest.mark.slow
@pytest.mark.cluster
def test_quadrat_run_uses_it_on_ray_like_one_of_its_own(
    plugin_environment: dict[str, str], write_suite: Callable[..., Path], tmp_path: Path
) -> None:
    suite = write_suite(strategies=["random", {"name": "checkerboard", "params": {"colour": 1}}])
    quadrat = [sys.executable, "-c", "from quadrat.cluster.cli.main import main; main()"]

    def call(*arguments: str) -> str:
        done = subprocess.run(
            [*quadrat, *arguments], env=plugin_environment, capture_output=True, text=True, cwd=tmp_path, timeout=500
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert "checkerboard" in call("list", "strategies")
    assert "2 of 2 trials complete in results/runs/tiny" in call("run", str(suite))
    folder = tmp_path / "results/runs/tiny"
    assert "checkerboard" in (folder / "report/index.html").read_text()
    trials = {record.trial_id: record.strategy for record in read_records(folder)}
    assert sorted(trials.values()) == ["checkerboard", "random"]
    [trial] = [trial for trial, strategy in trials.items() if strategy == "checkerboard"]
    for round_ in (1, 2):
        selection = Selections(folder).read(trial, round_)
        assert selection is not None
        assert ((selection.row + selection.col) % 2 == 1).all()  # 48 cells of that colour: enough for both rounds
