"""No password leaves the process, whatever characters it has and wherever it stands."""

import itertools
import json
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.fake_trials import make_suite

from quadrat.benchmark.config.suite import load_suite
from quadrat.benchmark.errors import QuadratError, ResultsError
from quadrat.benchmark.redaction import redact, redact_argv, redact_url
from quadrat.benchmark.results.environment import describe_environment
from quadrat.benchmark.results.failures import Failure, read_failures, record_failure
from quadrat.benchmark.results.folder import read_environment
from quadrat.benchmark.storage.remote import Remote

SECRET = "s3cr3t"
MARKS = ("", "/", "@", "?", "#", ":", "/@", "@/", "?@", "%2F", "&", "=", "'", '"', ",", "//", "://")
PASSWORDS = [f"{SECRET}{first}{SECRET}{second}{SECRET}" for first, second in itertools.product(MARKS, MARKS)]


@pytest.mark.parametrize("form", ["{}", "at '{}'", "--mlflow={}", "({})", "DB={}", "x\n{}\ty", "[{}], then"])
def test_a_password_of_any_characters_is_hidden_in_a_url(form: str) -> None:
    for password in PASSWORDS:
        for url in (
            f"http://me:{password}@host:5000",
            f"postgresql+psycopg2://me:{password}@host/db",
            f"x://{password}@host",
        ):
            if url.startswith("x") and "@" not in url[4:].split("/")[0].split("?")[0].split("#")[0]:
                continue  # a user without a password that has a slash is no authority
            hidden = redact(form.format(url))
            assert SECRET not in hidden, hidden
            assert "host" in hidden


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://host/db?user=me&password=s3cr3t",
        "https://bucket.host/a?X-Amz-Signature=s3cr3t",
        "Max retries exceeded with url: /api?a=1&password=s3cr3t (Caused by X)",
        "dsn=postgres://me:s3cr3t@host/db",
        "host=db user=me password=s3cr3t",
        "--db-password=s3cr3t",
        "AWS_SECRET_ACCESS_KEY=s3cr3t",
        "PASSWORD=a=s3cr3t",
        "http://one:5000 and http://me:s3cr3t@two",
        "http://host/#access_token=s3cr3t",
        "host=db password='my s3cr3t' user=me",
        'DB_PASSWORD="a s3cr3t b"',
        "http://host/a,http://me:s3cr3t@two/b",
        "{'a':'s3://bucket/c','b':'s3://me:s3cr3t@bucket'}",
        "http://host/ahttps://me:x/@s3cr3t?@two",
        "{'Authorization': 'Bearer s3cr3t', 'Accept': '*/*'}",
        "> authorization: Basic s3cr3t== \n< 401",
        "Set-Cookie: session=s3cr3t; Path=/",
        '{"user": "me", "password": "my \\"s3cr3t\\" word", "db": "x"}',
        "{'secretKey': 's3cr3t'}",
        "x-api_key: s3cr3t",
        "db:\n  password: s3cr3t\n",
        "DB_PASS=s3cr3t",
        "[db]\npassword = s3cr3t\nuser = me",
        "aws_secret_access_key = s3cr3t",
        "['ray', '--password', 's3cr3t']",
        "mlflow --db-token s3cr3t --port 5000",
    ],
)
def test_secrets_of_other_kinds_are_hidden(text: str) -> None:
    assert "s3cr3t" not in redact(text)
    assert redact(f"got '{redact(text)}': no") == f"got '{redact(text)}': no"  # of what is redacted before it is quoted


@pytest.mark.parametrize(
    "text",
    [
        "s3://bucket/prefix/a@b",
        "sqlite:////tmp/a@b/mlflow.db",
        "file:///data/a@b",
        "http://127.0.0.1:5000 does not answer: [Errno 111] Connection refused.",
        "learner.iterations=50 and learner.dropout_passes=20; a@b.org",
        "quadrat run camvid-cpu --seed 0 --results /tmp/x --set learner.epochs=3",
        "expected storage at s3://bucket/prefix, got 'https://host:9000'.",
        "learner.iterations = 50; expected --results DIR",
        "tokenizers are not needed: 3 passes, 12:30:05, C:/data, {'label': 'random'}",
    ],
)
def test_what_holds_no_secret_stays(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize(
    "form", ["--env KEY=s3cr3t", "--env=KEY=s3cr3t", "--token s3cr3t", "--mlflow http://me:s3@cr3t@h"]
)
def test_no_argument_holds_a_secret(form: str) -> None:
    hidden = redact_argv(["submit", "suite.yaml", *shlex.split(form), "--seed", "1"])
    assert "cr3t" not in " ".join(hidden)
    assert hidden[:2] == ["submit", "suite.yaml"] and hidden[-2:] == ["--seed", "1"]


def test_a_url_keeps_what_is_no_secret() -> None:
    assert redact_url("https://me:secret@example.org:80/a/b") == "https://example.org:80/a/b"
    assert redact_url("sqlite:///runs.db?timeout=5") == "sqlite:///runs.db?timeout=***"
    assert redact_url("/a/path@b") == "/a/path@b"


def test_what_is_written_and_published_holds_no_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = [
        "quadrat",
        "run",
        "a.yaml",
        "--mlflow",
        "http://me:s3/cr3t@host",
        "--results",
        "s3://me:s3@cr3t@bucket/a",
    ]
    monkeypatch.setattr(sys, "argv", arguments)
    written = describe_environment(make_suite(), "cpu")["command"]
    assert written == "quadrat run a.yaml --mlflow http://host --results s3://bucket/a"
    earlier = {"command": " ".join(arguments)}  # as earlier versions wrote it
    (tmp_path / "environment.json").write_text(json.dumps(earlier))
    assert read_environment(tmp_path) == {"command": written}


def test_the_url_of_results_is_quoted_without_its_password() -> None:
    remote = Remote("nowhere://me:s3/cr3t@host/bucket")
    with pytest.raises(ResultsError) as raised:
        remote.check()
    assert "nowhere://host/bucket" in str(raised.value) and "cr3t" not in str(raised.value)


def test_the_password_of_an_endpoint_is_in_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://me:{SECRET}@127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("FSSPEC_S3_CONFIG_KWARGS", '{"connect_timeout": 1, "retries": {"max_attempts": 1}}')
    with pytest.raises(ResultsError) as raised:
        Remote("s3://bucket/a").check()
    assert "s3://bucket/a" in str(raised.value) and SECRET not in str(raised.value)
    described = json.dumps(describe_environment(make_suite(), "cpu"))
    assert SECRET not in described
    monkeypatch.setenv("QUADRAT_COMMAND", f"AWS_ENDPOINT_URL=http://me:{SECRET}@host quadrat submit a.yaml")
    assert describe_environment(make_suite(), "cpu")["command"] == "AWS_ENDPOINT_URL=http://host quadrat submit a.yaml"


@pytest.mark.parametrize(
    "changes",
    [
        {"description": "data of https://me:s3cr3t@host/a"},
        {"dataset": {"name": "scenes", "params": {"source": ["postgresql://me:s3cr3t@host/db"]}}},
        {"dataset": {"name": "scenes", "params": {"api_key": "s3cr3t"}}},
        {"learner": {"encoder": "test_resnet", "weights": "s3://me:s3cr3t@bucket/a.pt", "iterations": 3}},
    ],
)
def test_a_suite_that_holds_a_password_is_refused_without_quoting_it(tmp_path: Path, changes: dict[str, Any]) -> None:
    suite = tmp_path / "suite.yaml"
    suite.write_text(yaml.safe_dump({**make_suite().model_dump(mode="json"), **changes}))
    with pytest.raises(QuadratError, match="expected no password, got one in ") as raised:
        load_suite(str(suite))
    assert "s3cr3t" not in str(raised.value)


def test_a_failure_holds_no_password_from_the_beginning_on() -> None:
    text = "ConnectionError: http://me:s3cr3t@host"
    failure = Failure(trial_id="a", label="a", seed=0, round=0, exception=text, traceback=f"Traceback\n  {text}\n")
    assert failure.exception == "ConnectionError: http://host"
    assert "s3cr3t" not in failure.traceback


def test_the_error_of_a_trial_is_recorded_without_passwords(tmp_path: Path) -> None:
    text = "ConnectionError: http://me:s3cr3t@host"
    record_failure(
        tmp_path,
        Failure(trial_id="a", label="a", seed=0, round=0, exception=text, traceback=f"Traceback\n  {text}\n"),
    )
    (failure,) = read_failures(tmp_path)
    assert (failure.exception, failure.traceback) == (
        "ConnectionError: http://host",
        "Traceback\n  ConnectionError: http://host\n",
    )


def test_a_password_that_a_library_quotes_without_its_url_is_hidden() -> None:
    remote = Remote(f"s3://me:{SECRET}@bucket/prefix")
    with pytest.raises(ResultsError, match="Invalid bucket name") as caught:
        remote.check()
    assert SECRET not in str(caught.value)
