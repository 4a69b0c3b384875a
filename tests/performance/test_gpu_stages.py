"""What the stages for a machine with a GPU run, and what is made of their results."""

import sys
from pathlib import Path
from typing import Any

import click
import pytest
import torch
from click.testing import CliRunner
from support.fake_trials import make_record, make_suite
from support.paths import ROOT
from torch import nn

from performance.__main__ import bench
from performance.gpu import tests as gpu_tests
from performance.gpu.card import Work, count_work, floors, measure_rates
from performance.gpu.install import join_parts
from performance.gpu.running import is_done, read_ahead, run_stage
from performance.gpu.stages import Options, Stage, gpu_test_files, stages
from performance.gpu.table import rows, write_table
from performance.gpu.tests import read_junit, read_lines
from performance.gpu.trials import describe_records, make_parser
from performance.gpu.wheels import BASE, RAY, locked, split_file
from quadrat.benchmark.results.records import append_record
from quadrat.cluster.cli.main import cli

FIT = {
    "ratio": 5.5,
    "rows": [
        {"side": "naive fit", "gpu_busy_share": 0.2, "images_per_s": 10.0},
        {"side": "quadrat fit", "gpu_busy_share": 0.9, "images_per_s": 55.0},
    ],
}
SCORE = {"ratio": 3.5, "rows": [{"side": "naive score"}, {"side": "quadrat score", "over_forward": 0.08}]}


def test_every_aim_is_read_from_the_file_of_its_stage() -> None:
    results: dict[str, dict[str, Any]] = {
        "tests": {"passed": 30, "failed": {"a::b": "no"}, "is_complete": True},
        "fit": FIT,
        "score": SCORE,
        "selection": {"rows": [{"side": "core-set", "seconds": 0.4}, {"side": "plain loop", "seconds": 9.0}]},
        "plan": {"estimate": {"wall_s": 5400.0}},
    }
    found = {row.what: (row.measured, row.is_met) for row in rows(results)}
    assert found["GPU tests that failed"] == (1, False)
    assert found["fit over naive, one CUDA graph"] == (5.5, True)
    assert found["share of fit in which a kernel runs, one CUDA graph"] == (0.9, True)
    assert found["fit over naive, compile: default"] == (None, False)
    assert found["score over naive"] == (3.5, False)
    assert found["score over the bare forward pass"] == (0.08, True)
    assert found["select, s: core-set"] == (0.4, True)
    assert found["select, s: plain loop"] == (9.0, True)  # compared with, no aim
    assert found["hours of the suite on one GPU, by plan"] == (1.5, False)


def test_what_was_not_measured_is_not_met_and_said() -> None:
    found = list(rows({}))
    assert not any(row.is_met for row in found)
    text = write_table(found, {"card": "H100", "commit": "abc"})
    assert "| score over naive | at least 4 | not measured |  | missed |" in text and "Card: H100; commit `abc`" in text


def test_a_stage_leaves_one_file_with_its_command_and_result(tmp_path: Path) -> None:
    stage = Stage("fit", [sys.executable, "-c", "print('{\"ratio\": 2}')"], 60)
    assert run_stage(stage, tmp_path, {"card": None, "commit": "abc"})
    text = (tmp_path / "fit.json").read_text()
    assert '"ratio": 2' in text and '"commit": "abc"' in text and sys.executable not in text


def test_complete_trials_and_rounds_are_counted(tmp_path: Path) -> None:
    suite = make_suite()  # 4 trials of 3 rounds
    first, second, *_ = suite.trials()
    for spec, round_ in ((first, 0), (first, 1), (first, 2), (second, 0)):
        append_record(tmp_path, make_record(spec, round_))
    found = describe_records(suite, tmp_path)
    assert found == {"trials": 4, "complete": 1, "rounds": 12, "rounds_done": 4, "is_partial": True}


def test_a_suite_of_which_some_trials_have_run_goes_on(tmp_path: Path) -> None:
    for is_partial in (True, False):
        code = f'print(\'{{"complete": 3, "is_partial": {str(is_partial).lower()}}}\')'
        assert run_stage(Stage("trials", [sys.executable, "-c", code], 60), tmp_path, {})
        assert is_done(tmp_path / "trials.json") is not is_partial


@pytest.mark.parametrize(
    ("code", "limit_s"),
    [("print('half'); raise SystemExit(3)", 60), ("print('no JSON')", 60), ("import time; time.sleep(60)", 0.5)],
    ids=["fails", "prints no JSON", "takes too long"],
)
def test_a_stage_that_fails_leaves_no_file_that_would_pass_for_its_result(
    tmp_path: Path, code: str, limit_s: float
) -> None:
    assert not run_stage(Stage("fit", [sys.executable, "-c", code], limit_s), tmp_path, {})
    assert not (tmp_path / "fit.json").exists()


@pytest.mark.parametrize("stage", stages(Options(suite="quickstart", settings=("seeds=[0]",))), ids=lambda s: s.name)
def test_every_stage_is_a_command_that_there_is(stage: Stage) -> None:
    _, _, module, *arguments = stage.command
    parsers = {"performance.gpu.tests": gpu_tests.make_parser, "performance.gpu.trials": make_parser}
    if module in parsers:
        parsers[module]().parse_args(arguments)
        return
    commands: click.Group = {"performance": bench, "quadrat.cluster": cli}[module]
    done = CliRunner().invoke(commands, [*arguments, "--help"])  # options before it are read, and refused if unknown
    assert done.exit_code == 0, done.output


def test_only_files_with_a_test_for_a_gpu_are_run() -> None:
    files = [Path(file).name for file in gpu_test_files()]
    assert "test_gpu.py" in files and "test_shape_pooling.py" in files and len(files) < 10


def test_a_junit_report_is_counted() -> None:
    report = """<testsuites><testsuite><testcase classname="tests.test_a" name="one" time="2.5"/>
    <testcase classname="tests.test_a" name="two" time="1"><failure message="AssertionError: 1 != 2&#10;more"/>
    </testcase><testcase classname="tests.test_b" name="three" time="0"><skipped message="no"/></testcase>
    </testsuite></testsuites>"""
    found = read_junit(report)
    assert found["passed"] == 1 and found["skipped"] == ["test_b::three"]
    assert found["failed"] == {"test_a::two": "AssertionError: 1 != 2"}
    assert found["slowest"][0] == {"test": "test_a::one", "seconds": 2.5}


def test_what_a_stopped_run_printed_is_counted() -> None:
    found = read_lines(
        "[gw1] [  3%] PASSED tests/a/test_one.py::test_x[1.5-True] \n"
        "[gw0] [  5%] FAILED tests/test_two.py::test_y \nRunning ...\n"
        "[gw0] [  9%] SKIPPED tests/test_two.py::test_z \n"
    )
    assert found["passed"] == 1 and list(found["failed"]) == ["test_two::test_y"] and not found["is_complete"]
    assert found["skipped"] == ["test_two::test_z"]


def test_the_libraries_of_a_package_are_read_and_no_other_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "some_package" / "lib").mkdir(parents=True)
    for name, size in (("__init__.py", 0), ("notes.txt", 7), ("lib/libone.so", 3000), ("lib/libtwo.so.13", 50)):
        (tmp_path / "some_package" / name).write_bytes(bytes(size))
    monkeypatch.syspath_prepend(tmp_path)
    assert read_ahead(["some_package", "no_such_package"]) == 3050


def test_the_work_of_a_convolution_is_that_by_hand() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.ReLU())
    found = count_work(network, torch.zeros(1, 3, 10, 20), bytes_each=2)
    full, depthwise = 10 * 20 * 8 * 3 * 9 * 2, 10 * 20 * 8 * 1 * 9 * 2
    assert found.flop == full + depthwise
    assert found.bytes == 2 * ((600 + 3 * 8 * 9 + 1600) + (1600 + 8 * 9 + 1600))


def test_the_floor_is_the_slower_of_arithmetic_and_memory() -> None:
    rates = {"copy_bytes_per_s": 1e12, "bf16_flop_per_s": 1e14}
    found = floors(Work(flop=1e10, bytes=1e9), rates, "bf16")
    assert found["images_per_s_by_flop"] == 10_000 and found["images_per_s_by_bytes"] == 1000 == found["images_per_s"]


def test_rates_are_measured_and_the_switch_for_tf32_is_left_alone() -> None:
    before = torch.backends.cuda.matmul.allow_tf32
    rates = measure_rates("cpu")
    assert set(rates) == {"copy_bytes_per_s", "bf16_flop_per_s", "tf32_flop_per_s", "fp32_flop_per_s"}
    assert all(rate > 1e6 for rate in rates.values()) and torch.backends.cuda.matmul.allow_tf32 == before


def test_wheels_have_the_versions_of_the_lock_for_the_python_of_the_machine() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    assert len(locked((*BASE, *RAY), lock)) == len(BASE) + len(RAY)
    (numpy,) = locked(("numpy",), lock)
    assert f"{numpy} ; python_full_version >= '3.12'" in lock
    with pytest.raises(ValueError, match="no-such-package"):
        locked(("no-such-package",), lock)


def test_a_wheel_is_split_and_joined_again(tmp_path: Path) -> None:
    wheel, content = tmp_path / "a-1-py3-none-any.whl", bytes(range(256)) * 5
    wheel.write_bytes(content)
    assert split_file(wheel, 1 << 20) == [wheel]
    assert [part.stat().st_size for part in split_file(wheel, 500)] == [500, 500, 280] and not wheel.exists()
    (tmp_path / "site").mkdir()
    (joined,) = join_parts(tmp_path, tmp_path / "site")
    assert joined.name == wheel.name and joined.read_bytes() == content
