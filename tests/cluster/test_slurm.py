"""`cluster/deploy/slurm.sbatch`: a run on two machines, and after which exit codes a job goes back into the queue."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from support.paths import ROOT
from support.slurm import JOB_ID, can_make_machines, directives, run_job, write_program

from quadrat.cluster.cli.main import cli

SCRIPT = ROOT / "cluster" / "deploy" / "slurm.sbatch"

# What a node does, without Ray: the command of `ray symmetric-run`, here.
RAY = '#!/bin/bash\nwhile [ "$1" != -- ]; do shift; done\nshift\nexec "$@"\n'
SRUN = '#!/bin/bash\nwhile [ "$1" != bash ]; do shift; done\nexec "$@"\n'
SCONTROL = '#!/bin/bash\necho "$@" >> requeued\n'


def job(folder: Path, quadrat: str, **programs: str) -> "subprocess.Popen[str]":
    """Start the batch script with stand-ins for all programs, `quadrat` a shell script."""
    for name, text in {"ray": RAY, "srun": SRUN, "scontrol": SCONTROL, **programs}.items():
        write_program(folder / "bin", name, text)
    write_program(folder / "bin", "quadrat", f"#!/bin/bash\n{quadrat}\n")
    environment = {**os.environ, "PATH": f"{folder / 'bin'}:/usr/bin:/bin", "SLURM_JOB_ID": JOB_ID}
    command = ["bash", str(SCRIPT), "run", "a suite.yaml", "--results", "results"]
    with (folder / "log").open("a") as log:
        return subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log, text=True)


def requeued(folder: Path) -> int:
    path = folder / "requeued"
    return path.read_text().count(f"requeue {JOB_ID}\n") if path.exists() else 0


@pytest.mark.parametrize(
    ("codes", "num_requeued"),
    [([0], 0), ([2], 0), ([75], 1), ([127], 0), ([143], 0), ([1, 1, 1], 2), ([75, 1, 137, 75, 1], 4)],
    ids=lambda value: str(value),
)
def test_a_job_is_queued_again_when_its_time_is_up_and_twice_for_what_may_pass_and_never_for_a_typo(
    tmp_path: Path, codes: list[int], num_requeued: int
) -> None:
    ended = []
    for code in codes:
        ended.append(job(tmp_path, f"exit {code}").wait(20))
    assert ended == codes
    assert requeued(tmp_path) == num_requeued


def test_the_arguments_of_the_job_are_those_of_quadrat_which_joins_the_ray_of_the_job(tmp_path: Path) -> None:
    assert job(tmp_path, 'printf "%s|" "$@" > arguments').wait(20) == 0
    *arguments, address, _ = (tmp_path / "arguments").read_text().split("|")
    assert arguments == ["run", "a suite.yaml", "--results", "results", "--ray"]
    assert re.fullmatch(rf"[\d.]+:2{int(JOB_ID):04}", address)
    for command in ("run", "study"):
        assert "--ray" in CliRunner().invoke(cli, [command, "--help"]).output
    assert "!" not in (tmp_path / "log").read_text()
    assert not list(Path("/tmp").glob(f"quadrat-{JOB_ID}-*"))


@pytest.mark.parametrize(("told", "num_requeued"), [(signal.SIGUSR1, 1), (signal.SIGTERM, 0)])
def test_before_the_time_limit_the_driver_is_stopped_and_the_job_queued_again(
    tmp_path: Path, told: signal.Signals, num_requeued: int
) -> None:
    running = job(tmp_path, "trap 'exit 143' TERM; touch begun; while :; do sleep 0.1; done")
    until_s = time.monotonic() + 20
    while not (tmp_path / "begun").exists():
        assert time.monotonic() < until_s
        time.sleep(0.05)
    running.send_signal(told)
    assert running.wait(20) == 143
    assert requeued(tmp_path) == num_requeued


def test_a_ray_that_does_not_start_counts_as_a_failure_that_may_pass(tmp_path: Path) -> None:
    # `ray symmetric-run` exits with 0 when `ray start` has failed
    assert job(tmp_path, "exit 0", ray="#!/bin/bash\nexit 0\n").wait(20) == 1
    assert requeued(tmp_path) == 1
    assert "Ray has not started on its head" in (tmp_path / "log").read_text()


def test_an_environment_that_is_not_activated_takes_no_node_and_is_not_tried_again(tmp_path: Path) -> None:
    write_program(tmp_path / "bin", "ray", RAY)
    environment = {"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin", "SLURM_JOB_ID": JOB_ID}
    command = ["bash", str(SCRIPT), "run", "suite.yaml"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "expected quadrat on the PATH" in done.stderr


def test_the_job_asks_for_whole_nodes_a_warning_and_a_place_in_the_queue() -> None:
    options = directives(SCRIPT)
    assert {"exclusive", "requeue", "no-kill"} <= options.keys()
    assert options["ntasks-per-node"] == "1"
    assert re.fullmatch(r"B:USR1@\d+", options["signal"])
    assert options["open-mode"] == "append"  # or a job that is queued again loses its log


_QUADRAT = f"""#!{sys.executable}
import json, sys, threading, time
from pathlib import Path
from support.fake_trials import ENGINE, make_suite, plan
from quadrat.cluster.runner.context import RunOptions
from quadrat.cluster.runner.driver import run_on_ray

suite, results = make_suite(), Path("results").absolute()
for spec in suite.trials():
    plan(results, spec, what="pause", times=1)

def release_once_both_machines_are_in_use():
    hosts = set()
    while hosts != {{"node1", "node2"}}:
        time.sleep(0.2)
        path = results / "status.json"
        if path.exists():
            hosts = {{row["host"] for row in json.loads(path.read_text())["in_flight"]}}
    (results / "plans" / "release").touch()

threading.Thread(target=release_once_both_machines_are_in_use, daemon=True).start()
address = sys.argv[sys.argv.index("--ray") + 1]
options = RunOptions(results_dir=results, engine=ENGINE, logs_to_mlflow=False, ray_address=address)
sys.exit(run_on_ray(suite, suite.trials(), options).exit_code)
"""


@pytest.mark.slow
@pytest.mark.cluster
@pytest.mark.skipif(not can_make_machines(), reason="needs unshare, ip, and user namespaces")
def test_a_job_of_two_nodes_runs_trials_on_both_and_leaves_nothing_behind(tmp_path: Path) -> None:
    write_program(tmp_path / "bin", "quadrat", _QUADRAT)
    ended = run_job(SCRIPT, ["run", "suite.yaml"], tmp_path)
    assert (ended.code, ended.num_requeued) == (0, 0), ended.output
    assert ended.output.count("stand-in): task") == 2, ended.output
    assert len((tmp_path / "results" / "records.jsonl").read_text().splitlines()) == 12
