"""Submit, status and stop against a fake dashboard: what is sent, what is printed, each error."""

import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from quadrat.benchmark.config.suite import load_suite
from quadrat.benchmark.storage.remote import Remote
from quadrat.cluster.cli.main import cli
from quadrat.cluster.jobs.client import Token, read_token
from quadrat.cluster.runner.ray_session import ClusterError

TOKEN = "f" * 64
STATUS = {
    "schema": 1,
    "suite": "tiny",
    "state": "running",
    "results": "/shared/tiny",
    "started_at": "2026-01-01T00:00:00+00:00",
    "written_at": "2026-01-01T00:00:10+00:00",
    "driver": {"host": "head", "pid": 1},
    "trials": {"num": 2, "complete": 0, "failed": 0},
    "rounds": {"num": 6, "done": 2},
    "activity": "",
    "elapsed_s": 10.0,
    "left_s": 20.0,
    "waited_s": 0.0,
    "in_flight": [
        {
            "trial_id": "random-1",
            "label": "random",
            "seed": 0,
            "host": "node-1",
            "node": "0123456789ab",
            "pid": 7,
            "round": 1,
            "num_rounds": 3,
            "phase": "fit",
            "done": 2,
            "total": 3,
            "miou": 0.25,
            "elapsed_s": 9.0,
            "left_s": 12.0,
        }
    ],
}


class Dashboard(ThreadingHTTPServer):
    """What a Ray dashboard answers to the requests that we make."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.jobs: list[dict[str, Any]] = []
        self.packages: dict[str, bytes] = {}
        self.stopped: list[str] = []
        self.log = ""
        self.ends_as = "SUCCEEDED"
        self.refuses_jobs = ""
        self.status = json.dumps(STATUS)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def add_job(self, request: dict[str, Any], status: str) -> None:
        exit_code = {"SUCCEEDED": 0, "FAILED": 3}.get(status)
        self.jobs.append(
            {
                "type": "SUBMISSION",
                "job_id": "02000000",
                "submission_id": request["submission_id"],
                "status": status,
                "entrypoint": request["entrypoint"],
                "message": "as you see\nat length",
                "metadata": request.get("metadata"),
                "runtime_env": request.get("runtime_env"),
                "start_time": 1_767_225_600_000,
                "end_time": None if status == "RUNNING" else 1_767_225_660_000,
                "driver_exit_code": exit_code,
                "driver_node_id": "0123456789ab",
            }
        )


class _Handler(BaseHTTPRequestHandler):
    server: Dashboard

    def _answer(self, value: object, status: int = 200) -> None:
        body = value.encode() if isinstance(value, str) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _read(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _is_let_in(self) -> bool:
        if self.path == "/api/version":
            return True
        given = self.headers.get("Authorization")
        if given is None:
            self._answer("Unauthorized", 401)
        elif given != f"Bearer {TOKEN}":
            self._answer("Forbidden", 403)
        return given == f"Bearer {TOKEN}"

    def do_GET(self) -> None:
        if not self._is_let_in():
            return
        if self.path == "/api/version":
            self._answer({"version": "4", "ray_version": "2.60.0", "ray_commit": "c0ffee"})
        elif self.path == "/api/jobs/":
            self._answer(self.server.jobs)
        elif self.path.startswith("/api/packages/"):
            self._answer("", 200 if self.path.rpartition("/")[2] in self.server.packages else 404)
        elif self.path.endswith("/logs"):
            self._answer({"logs": self.server.log})
        elif self.path.startswith("/api/v0/logs/file?"):
            assert "filename=quadrat-02000000.json" in self.path and "node_id=0123456789ab" in self.path
            self._answer(self.server.status)
        else:  # the websocket of `logs/tail`, which this server does not speak: as a connection that breaks
            self._answer("", 500)

    def do_PUT(self) -> None:
        if self._is_let_in():
            self.server.packages[self.path.rpartition("/")[2]] = self._read()
            self._answer("")

    def do_POST(self) -> None:
        if not self._is_let_in():
            return
        body = self._read()
        if self.path.endswith("/stop"):
            self.server.stopped.append(self.path.split("/")[-2])
            self._answer({"stopped": True})
        elif self.server.refuses_jobs:
            self._answer(self.server.refuses_jobs, 500)
        else:
            request = json.loads(body)
            self.server.add_job(request, self.server.ends_as)
            self._answer({"job_id": request["submission_id"], "submission_id": request["submission_id"]})

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def dashboard(monkeypatch: pytest.MonkeyPatch) -> Iterator[Dashboard]:
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH", "RAY_API_SERVER_ADDRESS", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://127.0.0.1:1")  # what is typed counts; undone with the test
    server = Dashboard()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def quadrat(dashboard: Dashboard) -> Callable[..., Result]:
    def call(*arguments: object) -> Result:
        return CliRunner().invoke(cli, [str(argument) for argument in arguments] + ["--address", dashboard.url])

    return call


def test_submit_sends_the_resolved_suite_and_the_options_of_run(
    quadrat: Callable[..., Result], dashboard: Dashboard, write_suite: Callable[..., Path]
) -> None:
    suite_file = write_suite(seeds=[0, 1])
    result = quadrat(
        "submit", suite_file, "--no-ship", "--no-wait", "--results", "/shared/tiny", "--set", "learner.iterations=5",
        "--strategy", "random", "--seed", 1, "--mlflow", "none", "--env", "QUADRAT_DATA=/data",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    (job,) = dashboard.jobs
    assert job["submission_id"] in result.stdout
    assert job["entrypoint"] == (
        "python -m quadrat.cluster run suite.yaml --results=/shared/tiny --mlflow=none --strategy=random --seed=1"
    )
    variables = job["runtime_env"]["env_vars"]
    assert variables.pop("QUADRAT_COMMAND").startswith("quadrat")
    assert variables == {"QUADRAT_DATA": "/data", "RAY_JOB_STOP_WAIT_TIME_S": "30"}
    assert "py_modules" not in job["runtime_env"]
    (package,) = dashboard.packages.values()
    sent = read_zip(package)["suite.yaml"]
    expected = load_suite(suite_file, ["learner.iterations=5"])
    assert type(expected).model_validate(yaml.safe_load(sent)) == expected


def test_a_path_that_exists_here_is_named_since_it_is_not_sent(
    quadrat: Callable[..., Result], write_suite: Callable[..., Path], tmp_path: Path
) -> None:
    there = quadrat("submit", write_suite(), "--no-ship", "--no-wait", "--set", "dataset.root=/no/such/folder")
    assert there.exit_code == 0 and "dataset.root" not in there.stderr
    here = quadrat("submit", write_suite(), "--no-ship", "--no-wait", "--set", f"dataset.root={tmp_path}")
    assert here.exit_code == 0 and f"! dataset.root: the nodes read {tmp_path} on the cluster" in here.stderr


def test_submit_sends_a_study(
    quadrat: Callable[..., Result], dashboard: Dashboard, write_suite: Callable[..., Path]
) -> None:
    suite_file = write_suite(study={"strategy": "entropy-spatial", "candidates": 5, "search_seeds": [7]})
    result = quadrat(
        "submit", suite_file, "--study", "--no-ship", "--no-wait", "--results", "s3://b/r", "--store", "s3://b/store"
    )
    assert result.exit_code == 0, result.output
    (job,) = dashboard.jobs
    assert job["entrypoint"] == "python -m quadrat.cluster study suite.yaml --results=s3://b/r --store=s3://b/store"
    (package,) = dashboard.packages.values()
    sent = load_suite(suite_file)
    assert type(sent).model_validate(yaml.safe_load(read_zip(package)["suite.yaml"])).study == sent.study


def test_a_study_is_submitted_whole(
    quadrat: Callable[..., Result], dashboard: Dashboard, write_suite: Callable[..., Path]
) -> None:
    suite_file = write_suite(study={"strategy": "entropy-spatial", "candidates": 5, "search_seeds": [7]})
    result = quadrat("submit", suite_file, "--study", "--seed", 0)
    assert result.exit_code == 2 and "--strategy and --seed: expected without --study" in result.stderr
    assert dashboard.jobs == []


def read_zip(data: bytes) -> dict[str, bytes]:
    import io
    import zipfile

    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.mark.parametrize(("ends_as", "code"), [("SUCCEEDED", 0), ("FAILED", 3), ("STOPPED", 143)])
def test_submit_follows_the_log_over_a_broken_connection_and_exits_as_the_job_does(
    quadrat: Callable[..., Result], dashboard: Dashboard, write_suite: Callable[..., Path], ends_as: str, code: int
) -> None:
    dashboard.log, dashboard.ends_as = "random  seed 0  round 1/3\n", ends_as
    result = quadrat("submit", write_suite(), "--no-ship")
    assert result.exit_code == code
    assert result.stdout.count("round 1/3") == 1
    assert ends_as.lower() in result.stderr


def test_status_lists_jobs_and_shows_the_trials_of_one(quadrat: Callable[..., Result], dashboard: Dashboard) -> None:
    assert "no job was submitted" in quadrat("status").output
    dashboard.add_job({"submission_id": "tiny-1", "entrypoint": "quadrat run s.yaml --seed 1"}, "RUNNING")
    dashboard.add_job({"submission_id": "search", "entrypoint": "python -m quadrat.cluster study t.yaml"}, "RUNNING")
    dashboard.add_job({"submission_id": "other", "entrypoint": "python train.py"}, "FAILED")
    listing = quadrat("status").output
    assert (
        "tiny-1" in listing
        and "s.yaml" in listing
        and "t.yaml" in listing
        and "running" in listing
        and "failed (3)" in listing
    )
    shown = quadrat("status", "tiny-1").output
    for expected in ("0/2 trials", "2/6 rounds", "random", "2/3", "fit 2/3", "25.0 %", "node-1", "01234567", "7"):
        assert expected in shown
    assert "has not written its status for" in shown  # the status is old
    assert json.loads(quadrat("status", "tiny-1", "--json").output)["run"]["in_flight"][0]["label"] == "random"


def test_a_status_that_is_cut_is_not_shown_as_a_driver_that_has_not_begun(
    quadrat: Callable[..., Result], dashboard: Dashboard
) -> None:
    dashboard.add_job({"submission_id": "tiny-1", "entrypoint": "quadrat run s.yaml"}, "RUNNING")
    dashboard.status = dashboard.status[:-20]
    cut = quadrat("status", "tiny-1")
    assert cut.exit_code != 0 and "expected the status of job tiny-1 as JSON" in cut.stderr
    dashboard.status = "no status yet"
    assert "its driver has not joined Ray yet" in quadrat("status", "tiny-1").output


def test_status_of_a_results_folder_asks_no_cluster(quadrat: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "status.json").write_text(json.dumps(STATUS))
    assert "fit 2/3" in quadrat("status", tmp_path).output
    (tmp_path / "status.json").unlink()
    result = quadrat("status", tmp_path)
    assert result.exit_code == 2 and "expected a run that writes to" in result.stderr


def test_status_of_results_on_a_url_shows_what_their_driver_showed_last(
    quadrat: Callable[..., Result], tmp_path: Path
) -> None:
    url = f"file://{tmp_path}/there"
    lease = {"host": "node-7", "pid": 4242, "machine": "0", "token": "t", "renewals": 3, "released": False}

    def put(**changes: object) -> None:
        Remote(url).write(
            "driver/2", json.dumps({**lease, "renewed_every_s": 11.25, "status": STATUS, **changes}).encode()
        )

    put()
    shown = quadrat("status", url).output
    assert "fit 2/3" in shown and "has not written its status for" in shown
    assert json.loads(quadrat("status", url, "--json").output)["rounds"]["done"] == 2
    put(status={**STATUS, "written_at": (datetime.now(UTC) - timedelta(seconds=45)).isoformat()})
    assert (
        "has not written its status for" not in quadrat("status", url).output
    )  # within two renewals more than a folder's limit
    put(status=None)
    result = quadrat("status", url)
    assert result.exit_code == 2 and "in use by process 4242 on node-7" in result.stderr
    assert "look again in 11 s" in result.stderr
    put(released=True)
    result = quadrat("status", url)
    assert result.exit_code == 2 and f"expected a run that writes to {url}, got none" in result.stderr
    result = quadrat("status", url, "--follow")
    assert result.exit_code == 2 and "--follow: expected a JOB" in result.stderr


def test_stop_asks_a_job_that_runs_and_leaves_one_that_has_ended(
    quadrat: Callable[..., Result], dashboard: Dashboard
) -> None:
    dashboard.add_job({"submission_id": "runs", "entrypoint": "quadrat run a"}, "RUNNING")
    dashboard.add_job({"submission_id": "ended", "entrypoint": "quadrat run a"}, "SUCCEEDED")
    assert "runs is asked to stop" in quadrat("stop", "runs").output
    assert "ended had succeeded" in quadrat("stop", "ended").output
    assert dashboard.stopped == ["runs"]


@pytest.mark.parametrize("command", ["status", "stop"])
def test_an_unknown_job_is_named_with_the_known_ones(
    quadrat: Callable[..., Result], dashboard: Dashboard, command: str
) -> None:
    dashboard.add_job({"submission_id": "tiny-1", "entrypoint": "quadrat run a"}, "RUNNING")
    result = quadrat(command, "tiny-2")
    assert result.exit_code == 2
    assert "(the latest: tiny-1), got 'tiny-2'" in result.stderr


def test_a_wrong_and_a_missing_token_are_different_errors(
    quadrat: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "wrong")
    wrong = quadrat("status")
    assert wrong.exit_code == 2 and "got another token (RAY_AUTH_TOKEN)" in wrong.stderr
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    missing = quadrat("status")
    assert missing.exit_code == 2 and "got none (RAY_AUTH_MODE=disabled)" in missing.stderr
    assert "Traceback" not in wrong.output + missing.output


@pytest.mark.parametrize(
    ("address", "exit_code", "message"),
    [
        ("http://127.0.0.1:9", 1, "expected the dashboard of a Ray cluster at http://127.0.0.1:9, got: .*refused"),
        (
            "ray://127.0.0.1:10001",
            2,
            "--address: expected the URL of a cluster's dashboard, .* got 'ray://127.0.0.1:10001'",
        ),
        ("http://127.0.0.1:x", 2, "--address: expected the URL of a cluster's dashboard"),
    ],
)
def test_an_address_where_nothing_is_is_a_clear_error(
    dashboard: Dashboard, address: str, exit_code: int, message: str
) -> None:
    result = CliRunner().invoke(cli, ["status", "--address", address])
    assert result.exit_code == exit_code
    assert_matches(message, result.stderr)


def test_a_head_without_an_agent_may_have_one_later_and_the_message_says_why_it_may_not(
    quadrat: Callable[..., Result], dashboard: Dashboard, write_suite: Callable[..., Path]
) -> None:
    dashboard.refuses_jobs = "No available agent to submit job, please try again later."  # as Ray 2.60 says it
    result = quadrat("submit", write_suite(), "--no-ship")
    assert result.exit_code == 1  # try again
    assert "is not up: wait a minute" in result.stderr and "--dashboard-agent-listen-port" in result.stderr


def assert_matches(pattern: str, text: str) -> None:
    import re

    assert re.search(pattern, text), text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--results", "results/here"], "--results: expected an absolute path on the cluster, or a URL"),
        (["--env", "QUADRAT_DATA"], "--env: expected NAME=VALUE"),
        (["--strategy", "entropie"], "--strategy: expected a label of suite 'tiny'"),
        (["--study"], "expected a suite with a 'study', got 'tiny' without one"),
        (["--store", "store"], "--store: expected an absolute path on the cluster, or a URL"),
        (["--set", "dataset.root=data/mine"], "dataset.root: expected an absolute path that all nodes of the cluster"),
        (["--set", "learner.weights=~/mine.pt"], "learner.weights: expected an absolute path"),
        (
            ["--set", "strategies=[{name: precomputed, params: {folder: results/old/selections}}]"],
            "strategies: precomputed: params.folder: expected an absolute path",
        ),
        (["--env", "AWS_SECRET_ACCESS_KEY=s3cr3t"], "--env: expected no password, got 'AWS_SECRET_ACCESS_KEY=***'"),
        (["--env", "DB=postgresql://me:s3/cr3t@host/db"], "expected no password, got 'DB=postgresql://host/db'"),
        (["--mlflow", "http://me:s3@cr3t@host"], "--mlflow: expected no password, got 'http://host'"),
        (["--results", "s3://key:s3cr3t@bucket/a"], "--results: expected no password, got 's3://bucket/a'"),
    ],
)
def test_a_wrong_argument_of_submit_is_an_error_before_anything_is_sent(
    quadrat: Callable[..., Result], dashboard: Dashboard, write_suite: Callable[..., Path], arguments: list[str],
    message: str,
) -> None:  # fmt: skip
    result = quadrat("submit", write_suite(), *arguments)
    assert result.exit_code == 2 and message in result.stderr
    assert "cr3t" not in result.output
    assert dashboard.jobs == [] and dashboard.packages == {}


def test_the_token_is_looked_for_where_ray_looks(tmp_path: Path) -> None:
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("of the home\n")
    named = tmp_path / "named"
    named.write_text("of the file\n")
    both = {"RAY_AUTH_TOKEN": "of the variable", "RAY_AUTH_TOKEN_PATH": str(named)}
    assert read_token(both, tmp_path) == Token("of the variable", "RAY_AUTH_TOKEN")
    assert read_token({"RAY_AUTH_TOKEN_PATH": str(named)}, tmp_path).text == "of the file"
    assert read_token({}, tmp_path).text == "of the home"
    assert read_token({"RAY_AUTH_MODE": "disabled"}, tmp_path).text is None
    assert read_token({}, tmp_path / "elsewhere").text is None


@pytest.mark.parametrize("environ", [{"RAY_AUTH_MODE": "token"}, {"RAY_AUTH_TOKEN_PATH": "/nowhere/token"}])
def test_a_token_that_is_announced_and_not_there_is_an_error(tmp_path: Path, environ: dict[str, str]) -> None:
    with pytest.raises(ClusterError, match="expected the cluster's token in RAY_AUTH_TOKEN, or in the file"):
        read_token(environ, tmp_path)
