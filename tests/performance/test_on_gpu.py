"""What the script for a machine with a GPU makes of the benchmarks' files."""

from argparse import Namespace
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from performance import on_gpu
from performance.__main__ import bench
from quadrat.cluster.cli.main import cli


def test_every_aim_is_read_from_the_file_of_its_step() -> None:
    fit = {
        "ratio": 5.5,
        "rows": [{"side": "naive fit", "gpu_busy_share": 0.2}, {"side": "quadrat fit", "gpu_busy_share": 0.9}],
    }
    score = {"ratio": 3.5, "rows": [{"side": "naive score"}, {"side": "quadrat score", "over_forward": 0.08}]}
    found = list(on_gpu.aims({"fit": fit, "score": score, "plan": {"estimate": {"wall_s": 5400.0}}}))
    assert [aim.measured for aim in found] == [5.5, 0.9, 3.5, 0.08, 1.5]
    assert [aim.is_met for aim in found] == [True, True, False, True, False]


def test_what_was_not_measured_is_not_met() -> None:
    assert all(aim.measured is None and not aim.is_met for aim in on_gpu.aims({}))


def test_a_step_that_fails_leaves_no_file_that_would_pass_for_its_result(tmp_path: Path) -> None:
    assert not on_gpu.run_step(["sh", "-c", "echo half; exit 3"], tmp_path / "fit.json")
    assert not (tmp_path / "fit.json").exists()
    assert on_gpu.run_step(["echo", "{}"], tmp_path / "fit.json")
    assert (tmp_path / "fit.json").read_text() == "{}\n"


@pytest.mark.parametrize("name", ["fit.json", "fit-reduce-overhead.json", "score.json", "together.json", "plan.json"])
def test_every_step_is_a_command_that_quadrat_has(name: str) -> None:
    options = Namespace(device="cuda", suite="quickstart", settings=["seeds=[0]"], images=8, iterations=1, repeats=1)
    _, *arguments = on_gpu.steps(options)[name]
    command: click.Group = cli
    if arguments[:2] == ["-m", "performance"]:
        command, arguments = bench, arguments[2:]
    assert "seeds=[0]" in arguments
    done = CliRunner().invoke(command, [*arguments, "--help"])  # options before it are read, and refused if unknown
    assert done.exit_code == 0, done.output
