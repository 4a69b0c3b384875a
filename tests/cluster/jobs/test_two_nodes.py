"""Two nodes, a token and a job: whole stories on raylets that Ray's own commands start.

The suite is a small one; `QUADRAT_TWO_NODES_SUITE=quickstart` runs another (quickstart: several minutes).
"""

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import pytest
import yaml
from support.layouts import write_folder
from support.tiny_suite import TINY_SUITE
from support.waiting import await_

from quadrat.benchmark.config.suite import load_suite
from quadrat.benchmark.results.comparison import differences
from quadrat.benchmark.results.lock import driver_of
from quadrat.benchmark.results.records import read_records
from quadrat.benchmark.storage.remote import Remote
from quadrat.cluster.runner.context import RunOptions
from quadrat.cluster.runner.driver import run_in_foreground
from quadrat.cluster.runner.engine import benchmark_engine

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.xdist_group("two nodes")]  # started once

BIN = Path(sys.executable).parent


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Nodes:
    """Raylets of one machine, each a process group of its own."""

    folder: Path
    environ: dict[str, str]
    port: int = field(default_factory=free_port)
    dashboard_port: int = field(default_factory=free_port)
    processes: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.dashboard_port}"

    def start_head(self) -> None:
        self._start(
            "head", "--head", f"--port={self.port}", "--num-cpus=0",
            "--include-dashboard=true", "--dashboard-host=127.0.0.1", f"--dashboard-port={self.dashboard_port}",
            f"--ray-client-server-port={free_port()}", "--dashboard-agent-listen-port=0",
        )  # fmt: skip

    def start_node(self, name: str) -> None:
        self._start(name, f"--address=127.0.0.1:{self.port}", "--num-cpus=1")

    def _environ(self, name: str) -> dict[str, str]:
        """Return the environment of a node: what it keeps of results on a URL lies in a folder of its own."""
        return {**self.environ, "QUADRAT_WORK": str(self.folder / "work" / name)}

    def _start(self, name: str, *options: str) -> None:
        """Start a raylet. Ray gives it 30 s for that, whatever else the machine does: then once more."""
        log = self.folder / f"{name}.log"
        # A folder each, as machines have: wheels that are sent along are installed there, by each node for itself.
        temp_dir = self.folder / name
        command = [str(BIN / "ray"), "start", *options, f"--temp-dir={temp_dir}"]
        command += ["--object-store-memory=100000000", "--block"]
        for _ in range(4):
            with log.open("wb") as file:
                process = subprocess.Popen(
                    command, stdout=file, stderr=file, env=self._environ(name), start_new_session=True, cwd=self.folder
                )
            self.processes[name] = process
            while process.poll() is None and "block forever" not in log.read_text(errors="replace"):
                time.sleep(0.2)
            if process.poll() is None:
                time.sleep(2)  # Ray looks after its processes once a second, and gives up when one has died
            if process.poll() is None:
                return
            self.kill(name)
        raise AssertionError(log.read_text(errors="replace")[-2000:])

    def kill(self, name: str) -> None:
        """Kill a node as a machine dies: all at once."""
        process = self.processes.pop(name)
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()

    def call(self, *command: str, timeout_s: float = 120, python_path: str = "") -> "subprocess.CompletedProcess[str]":
        """Run a command as on a laptop: with the token, and perhaps with more packages than the nodes have."""
        full = [str(BIN / command[0]), *command[1:]]
        environ = self._environ("laptop") | ({"PYTHONPATH": python_path} if python_path else {})
        return subprocess.run(full, capture_output=True, text=True, timeout=timeout_s, env=environ, cwd=self.folder)


@pytest.fixture(scope="module")
def nodes(server: str) -> Iterator[Nodes]:
    # Not pytest's folder: Ray's sockets lie below it, and their names may have 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="q2-"))
    token = folder / "token"
    token.write_text(secrets.token_hex(32))
    left_out = ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS", "RAY_AUTH_TOKEN", "QUADRAT_RESULTS", "MLFLOW_TRACKING_URI")
    environ = {name: value for name, value in os.environ.items() if name not in left_out} | {
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    found = Nodes(folder, environ)
    try:
        found.start_head()
        with ThreadPoolExecutor() as pool:
            list(pool.map(found.start_node, ("one", "two")))
        yield found
    finally:
        for name in list(found.processes):
            found.kill(name)
        shutil.rmtree(folder, ignore_errors=True)


def test_a_stopped_job_with_a_plugin_goes_on_from_s3_on_nodes_that_have_no_folder_in_common(
    nodes: Nodes, plugin_environment: dict[str, str], tmp_path: Path
) -> None:
    suite_file, url = tmp_path / "suite.yaml", "s3://results/stopped"
    learner = {**TINY_SUITE["learner"], "iterations": 200}
    suite_file.write_text(yaml.safe_dump({**TINY_SUITE, "learner": learner, "strategies": ["random", "checkerboard"]}))
    plugin = {"timeout_s": 600.0, "python_path": plugin_environment["PYTHONPATH"]}

    def submit(*options: str) -> "subprocess.CompletedProcess[str]":
        arguments = ["--address", nodes.url, "--results", url, "--mlflow", "none", *options]
        return nodes.call("quadrat", "submit", str(suite_file), *arguments, **plugin)

    def num_records() -> int:
        return len((Remote(url).read("records.jsonl") or b"").splitlines())

    unknown = nodes.call("quadrat", "submit", str(suite_file), "--address", nodes.url)
    assert unknown.returncode == 2 and "checkerboard" in unknown.stderr  # a laptop without the plugin

    submitted = submit("--no-wait")
    assert submitted.returncode == 0, submitted.stderr
    assert "quadrat_checkerboard" in submitted.stderr
    job = submitted.stdout.strip()

    def has_status() -> bool:
        driver = driver_of(url)
        return driver is not None and driver.status is not None

    await_(has_status, 600, "what runs, shown on the URL")
    shown = nodes.call("quadrat", "status", url)  # without the cluster: the driver shows it in its lease
    assert shown.returncode == 0, shown.stderr
    await_(lambda: num_records() >= 1, 600, "the first record")
    stopped = nodes.call("quadrat", "stop", job, "--address", nodes.url)
    assert (stopped.returncode, stopped.stdout) == (0, f"{job} is asked to stop\n")
    followed = nodes.call("quadrat", "status", job, "--follow", "--address", nodes.url, timeout_s=300)
    assert followed.returncode != 0, followed.stdout
    num_before = num_records()
    assert 1 <= num_before < 6, "the job had ended before it was stopped"

    again = submit()
    assert again.returncode == 0, again.stdout + again.stderr
    assert "2 of 2 trials complete" in again.stdout

    arguments = ["--strategy", "checkerboard", "--seed", "0", "--results", str(tmp_path / "here")]
    here = nodes.call("quadrat", "trial", str(suite_file), *arguments, **plugin)
    assert here.returncode == 0, here.stdout + here.stderr
    compared = nodes.call("quadrat", "compare", "--common", str(tmp_path / "here"), url)
    assert (compared.returncode, compared.stdout) == (
        0,
        "1 trial in both, 1 in one of them and left out\nequal: 3 records\n",
    ), compared.stderr
    print(f"stopped after {num_before} of 6 records\n{again.stdout}")


@pytest.fixture
def gets(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count what is read from the S3 server: GET requests of each object, by bucket and key."""
    from moto.s3.responses import S3Response

    found: Counter[str] = Counter()
    get_object = S3Response.get_object

    def counted(self: S3Response) -> Any:
        found[unquote(urlparse(self.uri).path).lstrip("/")] += 1
        return get_object(self)

    monkeypatch.setattr(S3Response, "get_object", counted)
    return found


def test_a_study_on_images_at_a_url_is_stopped_and_goes_on_and_each_node_fetches_the_packs_once(
    nodes: Nodes, gets: Counter[str], tmp_path: Path
) -> None:
    splits = {"train": [f"t{n}" for n in range(8)], "val": ["v0", "v1"], "test": ["e0", "e1"]}
    images, url = write_folder(tmp_path / "camera", splits=splits, height=48, width=64), "s3://results/by-url"
    source = Remote("s3://results/camera")
    for path in images.rglob("*.*"):
        source.upload(path.relative_to(images).as_posix(), path)
    study = {
        "strategy": "entropy-spatial", "params": {"norm": 2, "d2_d1": 2.0, "d3_d2": 1.0},
        "space": {"cutoff": {"float": [1, 4]}}, "candidates": 2, "search_seeds": [7], "test": "val",
        "sampler": "RandomSampler", "pruner": "none",
    }  # fmt: skip
    learner = {**TINY_SUITE["learner"], "iterations": 60}
    dataset = {"name": "folder", "root": source.url}
    suite = {**TINY_SUITE, "dataset": dataset, "learner": learner, "strategies": ["random"], "study": study}
    suite_file = tmp_path / "suite.yaml"
    suite_file.write_text(yaml.safe_dump(suite))

    def submit(*options: str) -> "subprocess.CompletedProcess[str]":
        arguments = ["--study", "--no-ship", "--address", nodes.url, "--results", url, "--mlflow", "none", *options]
        return nodes.call("quadrat", "submit", str(suite_file), *arguments, timeout_s=600)

    def searched() -> list[tuple[str, int]]:
        lines = (Remote(url).read("study/records.jsonl") or b"").splitlines()
        return [(json.loads(line)["trial_id"], json.loads(line)["round"]) for line in lines]

    submitted = submit("--no-wait")
    assert submitted.returncode == 0, submitted.stderr
    job = submitted.stdout.strip()
    await_(searched, 600, "the first round of a candidate")
    stopped = nodes.call("quadrat", "stop", job, "--address", nodes.url)
    assert (stopped.returncode, stopped.stdout) == (0, f"{job} is asked to stop\n")
    followed = nodes.call("quadrat", "status", job, "--follow", "--address", nodes.url, timeout_s=300)
    assert followed.returncode != 0, followed.stdout
    log = nodes.call("ray", "job", "logs", job, "--address", nodes.url).stdout
    assert "candidate 0" in log and "To resume:\n  quadrat submit " in log, log
    before = searched()
    assert 1 <= len(before) < 6, "the search had ended before it was stopped"

    again = submit()
    assert again.returncode == 0, again.stdout + again.stderr
    assert "2 of 2 candidates: 2 done" in again.stdout
    assert "2 of 2 trials complete" in again.stdout  # the reference and the best candidate, on the suite's seed
    assert len(searched()) == len(set(searched())) == 6 and set(before) <= set(searched())
    on_seeds = [
        {json.loads(line)["seed"] for line in (Remote(url).read(name) or b"").splitlines()}
        for name in ("study/records.jsonl", "records.jsonl")
    ]
    assert on_seeds == [{7}, {0}]

    # The head's driver has fetched the images, once in two jobs; the nodes have its packs alone, once each.
    document = json.loads(Remote(url).read("suite.json") or b"")["dataset"]
    packs = {document[name]["fingerprint"] for name in ("pool", "test", "search_test")}
    folders = {path.parent.parent.name for path in (nodes.folder / "work").glob("*/camera-*/files")}
    assert folders == {"head"}
    of_images = {key: num for key, num in gets.items() if key.startswith("results/camera/")}
    assert of_images == {f"results/camera/{name}": 1 for name in source.names()}
    print(f"stopped after {len(before)} of 6 records")
    there = [
        json.loads(path.read_text())["fingerprint"]
        for node in ("one", "two")
        for path in (nodes.folder / "work" / node).rglob("meta.json")
    ]
    found = [fingerprint for fingerprint in there if fingerprint in packs]  # other tests have left theirs
    assert set(found) == packs and found.count(document["pool"]["fingerprint"]) == 2  # both nodes were at work
    for key in Remote(url).names("packs"):
        assert gets[f"results/by-url/{key}"] == found.count(key.split("/")[1]), key


def test_a_job_that_loses_a_node_ends_complete_with_the_records_of_one_node(nodes: Nodes, tmp_path: Path) -> None:
    suite_file = tmp_path / "job" / "suite.yaml"
    suite_file.parent.mkdir()
    if named := os.environ.get("QUADRAT_TWO_NODES_SUITE"):
        suite_file.write_text(load_suite(named).model_dump_json())
    else:
        learner = {**TINY_SUITE["learner"], "iterations": 150}
        suite_file.write_text(yaml.safe_dump({**TINY_SUITE, "learner": learner, "seeds": [0, 1]}))
    suite = load_suite(suite_file)
    num_records = sum(spec.num_rounds for spec in suite.trials())
    results_dir = tmp_path / "results"

    def read() -> int:
        return len(read_records(results_dir)) if (results_dir / "records.jsonl").is_file() else 0

    submitted = nodes.call(
        "ray", "job", "submit", "--address", nodes.url, "--submission-id", "job", "--no-wait",
        "--working-dir", str(suite_file.parent),
        "--", "quadrat", "run", "suite.yaml", "--results", str(results_dir), "--mlflow", "none", "--no-report",
    )  # fmt: skip
    assert submitted.returncode == 0, submitted.stderr

    def has_trials_in_flight() -> bool:
        status = results_dir / "status.json"
        return status.is_file() and bool(json.loads(status.read_text())["in_flight"])

    await_(has_trials_in_flight, 1200, "trials in flight")
    shown = nodes.call("quadrat", "status", "job", "--json", "--address", nodes.url)
    assert shown.returncode == 0, shown.stderr
    assert json.loads(shown.stdout)["run"]["in_flight"]
    # Both nodes are at work until the last trials: killed without asking once more, for that takes seconds.
    await_(lambda: read() >= num_records // 3, 1200, "a third of the records")
    nodes.kill("two")  # for good: this test is the last
    num_before = read()
    assert num_before < num_records, "the job had ended before a node could be killed"
    followed = nodes.call("quadrat", "status", "job", "--follow", "--address", nodes.url, timeout_s=1800)
    assert followed.returncode == 0, followed.stdout + followed.stderr
    assert "will be tried again" in followed.stdout
    print(f"killed a node after {num_before} of {num_records} records\n{followed.stdout}")  # seen with pytest -s

    options = RunOptions(results_dir=tmp_path / "here", engine=benchmark_engine(), logs_to_mlflow=False)
    assert run_in_foreground(suite, suite.trials(), options).exit_code == 0
    assert differences(results_dir, tmp_path / "here") == []
    assert len(read_records(results_dir)) == num_records
