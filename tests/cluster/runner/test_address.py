"""A Ray of one's own is nobody else's."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from quadrat.cluster.runner import address as module
from quadrat.cluster.runner.address import protect_own_ray, resolve


@pytest.fixture(autouse=True)
def without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests of the environment alone: whether some other test has imported Ray does not matter."""
    monkeypatch.delitem(sys.modules, "ray", raising=False)


@pytest.mark.parametrize(
    ("address", "variable", "expected"),
    [(None, None, None), ("local", "h:1", None), (None, "h:1", "h:1"), (None, "local", None), ("auto", None, "auto")],
)
def test_the_option_counts_before_the_variable(address: str | None, variable: str | None, expected: str | None) -> None:
    assert resolve(address, {} if variable is None else {"RAY_ADDRESS": variable}) == expected


def test_each_own_ray_has_a_token_of_its_own() -> None:
    first: dict[str, str] = {}
    second: dict[str, str] = {}
    protect_own_ray(None, first)
    protect_own_ray("local", second)
    assert first["RAY_AUTH_MODE"] == "token" and len(first["RAY_AUTH_TOKEN"]) == 64
    assert first["RAY_AUTH_TOKEN"] != second["RAY_AUTH_TOKEN"]


@pytest.mark.parametrize(
    "environ", [{"RAY_AUTH_MODE": "disabled"}, {"RAY_AUTH_TOKEN_PATH": "/a"}, {"RAY_AUTH_TOKEN": "x"}]
)
def test_what_the_user_has_set_about_tokens_is_kept(environ: dict[str, str]) -> None:
    changed = dict(environ)
    protect_own_ray(None, changed)
    assert changed == {**environ, module._LOOPBACK: "0"}


def test_a_cluster_that_is_joined_keeps_its_environment() -> None:
    environ = {"RAY_ADDRESS": "10.0.0.1:6379"}
    protect_own_ray(None, environ)
    assert environ == {"RAY_ADDRESS": "10.0.0.1:6379"}


_OWN_RAY = """
import json, os, subprocess, sys
import psutil
from quadrat.cluster.runner.address import protect_own_ray
protect_own_ray(None)
from quadrat.cluster.runner.ray_session import ray_session
import ray
with ray_session("local"):
    ours = [psutil.Process(), *psutil.Process().children(recursive=True)]
    heard = [c.laddr.ip for one in ours for c in one.net_connections("tcp") if c.status == psutil.CONN_LISTEN]
    gcs = ray.get_runtime_context().gcs_address
    probe = "import sys; from ray._raylet import GcsClient; GcsClient(address=sys.argv[1]); print('in')"
    answers = []
    for token in ("", os.environ["RAY_AUTH_TOKEN"]):
        # whoever else is on the machine: with a home of his own
        environ = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")} | {"HOME": sys.argv[1]}
        environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token} if token else {}
        done = subprocess.run([sys.executable, "-c", probe, gcs], env=environ, capture_output=True, text=True)
        answers.append(done.stdout.strip() or done.stderr.strip().splitlines()[-1])
print(json.dumps({"heard": heard, "answers": answers}))
"""


@pytest.mark.slow
@pytest.mark.cluster
def test_an_own_ray_listens_on_loopback_and_refuses_who_has_no_token(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", _OWN_RAY, str(tmp_path)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert len(found["heard"]) >= 5  # GCS, raylet and their agents
    assert {ip.removeprefix("::ffff:") for ip in found["heard"]} == {"127.0.0.1"}
    refused, joined = found["answers"]
    assert "AuthenticationError" in refused and joined == "in"
    assert not (tmp_path / ".ray").exists()
