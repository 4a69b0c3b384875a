"""A run that is stopped in a fit repeats next to nothing, and its records are those of a run that was not."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.counted import SUITE, counted_options, iterations
from support.paths import TESTS
from support.ray_nodes import ray_nodes
from support.waiting import await_

from quadrat.benchmark.results.records import read_records, without_timings
from quadrat.benchmark.results.study_results import study_dir
from quadrat.cluster.runner.driver import run_in_foreground, run_on_ray
from quadrat.cluster.study.driver import run_study

pytestmark = pytest.mark.slow

NUM_ITERATIONS = 100
NUM_REPEATED = 3
"""Iterations that may run twice: none is expected, but a count is written before its iteration's checkpoint."""


def records(folder: Path) -> list[dict[str, object]]:
    return [without_timings(record) for record in read_records(folder)]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results folder of the suite's trials, which nothing has happened to."""
    folder = tmp_path_factory.mktemp("undisturbed")
    assert run_in_foreground(SUITE, SUITE.trials(), counted_options(folder)).exit_code == 0
    return folder


def num_repeated(folder: Path) -> int:
    return sum(count - 1 for count in iterations(folder).values())


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with ray_nodes(2) as cluster:
        yield cluster.address


_DRIVER = """
import sys
from pathlib import Path
from support.counted import SUITE, counted_options
from quadrat.cluster.runner.driver import run_in_foreground, run_on_ray
from quadrat.cluster.study.driver import run_study
options = counted_options(Path(sys.argv[1]), sys.argv[2] or None)
if sys.argv[3] == "study":
    sys.exit(run_study(SUITE, options).exit_code)
run = run_on_ray if sys.argv[2] else run_in_foreground
sys.exit(run(SUITE, SUITE.trials(), options).exit_code)
"""


def test_in_the_foreground(undisturbed: Path, tmp_path: Path) -> None:
    _interrupt_in_the_second_fit(tmp_path, "", "trial")
    assert run_in_foreground(SUITE, SUITE.trials(), counted_options(tmp_path)).exit_code == 0
    assert num_repeated(tmp_path) <= NUM_REPEATED
    assert records(tmp_path) == records(undisturbed)


@pytest.mark.cluster
@pytest.mark.parametrize("kind", ["run", "study"])
def test_on_ray(undisturbed: Path, tmp_path: Path, address: str, kind: str) -> None:
    _interrupt_in_the_second_fit(tmp_path, address, kind)
    options = counted_options(tmp_path, address)
    if kind == "run":
        assert run_on_ray(SUITE, SUITE.trials(), options).exit_code == 0
    else:
        assert run_study(SUITE, options).exit_code == 0
        assert len(records(study_dir(tmp_path))) == 2
    assert len(iterations(tmp_path)) % NUM_ITERATIONS == 0
    assert num_repeated(tmp_path) <= NUM_REPEATED
    both = [record for record in records(tmp_path) if record["label"] == "random"]
    assert both == records(undisturbed)


def _interrupt_in_the_second_fit(folder: Path, address: str, kind: str) -> None:
    command = [sys.executable, "-c", _DRIVER, str(folder), address, kind]
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as driver:
        try:
            await_(lambda: len(iterations(folder)) >= NUM_ITERATIONS + 30, 300, every_s=0.02)
            driver.send_signal(signal.SIGINT)
            printed, _ = driver.communicate(timeout=120)
        finally:
            driver.kill()
    assert driver.returncode == 130
    assert "stopping: running fits write a checkpoint first; Ctrl-C again: at once" in printed
    assert NUM_ITERATIONS + 30 <= len(iterations(folder)) < 2 * NUM_ITERATIONS
