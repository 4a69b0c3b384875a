"""Jobs on a Ray cluster, reached from outside through its dashboard: submit, follow, inspect, stop."""

import asyncio
import json
import logging
import os
import re
import secrets
import shlex
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import urlparse

import aiohttp
import requests
from ray.exceptions import AuthenticationError
from ray.job_submission import JobDetails, JobStatus, JobSubmissionClient

from quadrat.cluster.runner.ray_session import ClusterError, ClusterUnavailableError, shared_status_name

for _name in (
    "ray.dashboard.modules.dashboard_sdk",
    "ray.dashboard.modules.job.sdk",
    "ray._private.runtime_env.packaging",
):
    logging.getLogger(_name).setLevel(logging.WARNING)  # Ray logs every upload

__all__ = ["Cluster", "Job", "Package", "Token", "exit_code_of", "read_token"]

_CONNECT_S: Final = 10.0
_MARK: Final = "quadrat-suite"
"""Key of a job's metadata that marks those of quadrat."""

_STOP_WAIT_S: Final = "30"
"""Seconds from SIGTERM to SIGKILL when a job is stopped, for its fits' checkpoints; Ray's default is 3."""

_NO_AGENT: Final = "No available agent"
"""What Ray's dashboard answers where no agent of a node takes jobs."""

_FOLLOW_AGAIN_S: Final = 2.0
_EXIT_STOPPED: Final = 143


class Token(NamedTuple):
    """The token of Ray's token authentication.

    Attributes:
        text: The token, None to send none.
        origin: The variable or file that it was read from.
    """

    text: str | None
    origin: str


@dataclass(frozen=True, kw_only=True)
class Package:
    """Command, suite and code of a job.

    Attributes:
        command: `"run"` or `"study"`.
        suite_name: Name of the suite.
        suite_text: The suite's YAML.
        arguments: Options of the command.
        wheels: Distributions that are sent with it.
        env: Environment variables of driver and workers.
    """

    command: Literal["run", "study"]
    suite_name: str
    suite_text: str
    arguments: tuple[str, ...]
    wheels: tuple[Path, ...] = ()
    env: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Job:
    """A job as the cluster reports it.

    Attributes:
        id: Its submission id.
        suite: Name of its suite, empty for a job that quadrat did not submit.
        state: Ray's status in lower case: pending, running, succeeded, failed or stopped.
        message: Ray's latest message about it.
        started_s: When it started, seconds since 1970.
        ended_s: When it ended, None while it runs.
        exit_code: Exit code of its driver, None while it runs.
        ray_id: Ray's id of the driver, None before the driver has joined Ray.
        node: Ray's id of the node that the driver is on.
    """

    id: str
    suite: str
    state: str
    message: str
    started_s: float
    ended_s: float | None
    exit_code: int | None
    ray_id: str | None
    node: str | None

    @property
    def has_ended(self) -> bool:
        """Whether its state is final."""
        return self.state in ("succeeded", "failed", "stopped")


def read_token(environ: Mapping[str, str] = os.environ, home: Path | None = None) -> Token:
    """Return the token where Ray looks for it: RAY_AUTH_TOKEN, the file RAY_AUTH_TOKEN_PATH, ~/.ray/auth_token.

    A token that is found is used even where RAY_AUTH_MODE is unset here: the cluster's mode decides.

    Raises:
        ClusterError: When RAY_AUTH_MODE is "token" and none is found, or the file cannot be read.
    """
    if environ.get("RAY_AUTH_MODE", "").lower() == "disabled":
        return Token(None, "RAY_AUTH_MODE=disabled")
    if text := environ.get("RAY_AUTH_TOKEN", "").strip():
        return Token(text, "RAY_AUTH_TOKEN")
    named = environ.get("RAY_AUTH_TOKEN_PATH")
    path = Path(named) if named else (home or Path.home()) / ".ray" / "auth_token"
    try:
        if text := path.read_text(encoding="utf-8").strip():
            return Token(text, str(path))
        reason = "an empty file"
    except OSError as error:
        reason = error.strerror or str(error)
    if named or environ.get("RAY_AUTH_MODE", "").lower() == "token":
        raise ClusterError(
            f"expected the cluster's token in RAY_AUTH_TOKEN, or in the file {path}, got: {reason}. Copy it from the "
            "head node (`ray get-auth-token`)"
        )
    return Token(None, f"{path}: {reason}")


class Cluster:
    """Client of a Ray cluster: `ray.job_submission.JobSubmissionClient` with errors in one sentence.

    Args:
        address: URL of its dashboard.
        token: Sent with every request.

    Raises:
        ClusterError: When nothing listens at the address, it is no Ray cluster, or it refuses the token.
    """

    def __init__(self, address: str, token: Token) -> None:
        self._url = _check_url(address)
        self._token = token
        self._headers = {"Authorization": f"Bearer {token.text}"} if token.text else {}
        # Ray prefers this variable to the address that it is given; the user's --address must win.
        os.environ["RAY_API_SERVER_ADDRESS"] = self._url
        with self._explained():
            self._client = JobSubmissionClient(self._url, headers=dict(self._headers))
            self._client.list_jobs()  # the version may be asked for without a token, jobs may not

    def submit(self, package: Package) -> str:
        """Submit a job and return its id."""
        with tempfile.TemporaryDirectory(prefix="quadrat-submit-") as folder:
            suite_file = Path(folder) / "suite.yaml"
            suite_file.write_text(package.suite_text, encoding="utf-8")
            variables = {"RAY_JOB_STOP_WAIT_TIME_S": _STOP_WAIT_S, **package.env}
            environment: dict[str, Any] = {"working_dir": folder, "env_vars": variables}
            if package.wheels:
                environment["py_modules"] = [str(path) for path in package.wheels]
            with self._explained():
                return str(
                    self._client.submit_job(
                        entrypoint=shlex.join(
                            ["python", "-m", "quadrat.cluster", package.command, suite_file.name, *package.arguments]
                        ),
                        runtime_env=environment,
                        metadata={_MARK: package.suite_name},
                        submission_id=_new_id(package.suite_name),
                    )
                )

    def jobs(self) -> list[Job]:
        """Return the submitted jobs, the oldest first."""
        with self._explained():
            found = self._client.list_jobs()
        return sorted((_job(details) for details in found if details.submission_id), key=lambda job: job.started_s)

    def job(self, job_id: str) -> Job:
        """Return one job.

        Raises:
            ClusterError: When there is no job of this id.
        """
        jobs = self.jobs()
        for job in jobs:
            if job.id == job_id:
                return job
        known = ", ".join(job.id for job in jobs[-5:]) or "none"
        raise ClusterError(f"expected the id of a job at {self._url} (the latest: {known}), got '{job_id}'")

    def run_status(self, job: Job) -> dict[str, Any] | None:
        """Return the status that the driver of a job wrote last, None when it has written none yet."""
        if job.ray_id is None or job.node is None:
            return None
        # `ray.util.state.get_log` does the same, but sends the token only where RAY_AUTH_MODE is "token" here.
        with self._explained():
            reply = requests.get(
                f"{self._url}/api/v0/logs/file",
                params={"node_id": job.node, "filename": shared_status_name(job.ray_id), "lines": "-1"},
                headers=self._headers,
                timeout=_CONNECT_S,
            )
        start = reply.text.find("{")
        if reply.status_code != 200 or start < 0:
            return None
        try:
            # Older Ray puts a digit in front of each chunk.
            document = json.loads(reply.text[start:])
        except json.JSONDecodeError as error:
            raise ClusterError(
                f"expected the status of job {job.id} as JSON, got {reply.text[start:]!r:.80} from {self._url}; ask "
                f"again, or read the log: quadrat status --follow {job.id}"
            ) from error
        return document if document.get("schema") == 1 else None

    def stop(self, job_id: str) -> Job:
        """Ask a job to stop, as Ctrl-C would, and return it as it was before."""
        job = self.job(job_id)
        if not job.has_ended:
            with self._explained():
                self._client.stop_job(job_id)
        return job

    def follow(self, job_id: str, write: Callable[[str], None]) -> Job:
        """Write the log of a job as it grows, until the job has ended; reconnect when the connection breaks."""
        num_written = 0
        while True:
            for chunk in self._tail(job_id, num_written):
                num_written += len(chunk)
                write(chunk)
            job = self.job(job_id)
            if job.has_ended:
                with self._explained():
                    write(str(self._client.get_job_logs(job_id))[num_written:])
                return job
            time.sleep(_FOLLOW_AGAIN_S)

    def _tail(self, job_id: str, num_skipped: int) -> Iterator[str]:
        """Yield the job's log from character `num_skipped` on, until it ends or the connection does."""
        tail = self._client.tail_job_logs(job_id)
        with asyncio.Runner() as runner:
            try:
                while True:
                    chunk = runner.run(anext(tail))
                    new = chunk[num_skipped:]
                    num_skipped = max(0, num_skipped - len(chunk))
                    if new:
                        yield new
            except StopAsyncIteration:
                return
            except (RuntimeError, OSError, aiohttp.ClientError):
                return  # a broken connection does not mean that the job has ended: `follow` asks

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Raise errors of Ray and of the connection as a `ClusterError` that says what to check."""
        try:
            yield
        except AuthenticationError as error:
            what = "another token" if self._token.text else "none"
            raise ClusterError(
                f"expected the token of the cluster at {self._url}, got {what} ({self._token.origin}). Set "
                "RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH to what `ray get-auth-token` prints on the head node"
            ) from error
        except (ConnectionError, requests.RequestException, RuntimeError) as error:
            text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            way_on = "Is this the port of the dashboard (8265 unless it was set), and was Ray started with it?"
            if _NO_AGENT in text:
                way_on = (
                    "The agent of the head node, which starts jobs, is not up: wait a minute. If it stays so, another "
                    "Ray on that machine has its port: start the head with --dashboard-agent-listen-port and a free one"
                )
            may_pass = not isinstance(error, RuntimeError) or re.search(r"status code 5\d\d", text) is not None
            kind = ClusterUnavailableError if may_pass else ClusterError
            raise kind(f"expected the dashboard of a Ray cluster at {self._url}, got: {text:.300}. {way_on}") from error


def _check_url(address: str) -> str:
    url = (address if "://" in address else f"http://{address}").rstrip("/")
    parts = urlparse(url)
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        port = 0
    if parts.scheme not in ("http", "https") or not parts.hostname or not port:
        raise ClusterError(
            f"--address: expected the URL of a cluster's dashboard, such as http://10.0.0.1:8265, got '{address}'"
        )
    try:
        socket.create_connection((parts.hostname, port), timeout=_CONNECT_S).close()
    except OSError as error:
        raise ClusterUnavailableError(
            f"expected the dashboard of a Ray cluster at {url}, got: {error}. Check the address, that the head node "
            "runs, and that it was started with its dashboard (--include-dashboard true --dashboard-host 0.0.0.0)"
        ) from error
    return url


def _new_id(suite_name: str) -> str:
    return f"{suite_name}-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(2)}"


def _job(details: JobDetails) -> Job:
    metadata = details.metadata or {}
    return Job(
        id=details.submission_id,
        suite=metadata.get(_MARK, "") or _suite_in(details.entrypoint),
        state=JobStatus(details.status).value.lower(),
        message=(details.message or "").strip(),
        started_s=(details.start_time or 0) / 1000,
        ended_s=details.end_time / 1000 if details.end_time else None,
        exit_code=details.driver_exit_code,
        ray_id=details.job_id,
        node=details.driver_node_id,
    )


def _suite_in(entrypoint: str) -> str:
    """Return the suite of a job that was submitted with `ray job submit`, empty when it does not run quadrat."""
    try:
        words: Sequence[str] = shlex.split(entrypoint)
    except ValueError:
        return ""
    for place, word in enumerate(words[:-1]):
        if word in ("run", "study") and any("quadrat" in before for before in words[:place]):
            return words[place + 1]
    return ""


def exit_code_of(job: Job) -> int:
    """Return the exit code of a command that has followed a job to its end."""
    if job.state == "succeeded":
        return 0
    if job.state == "stopped":
        return _EXIT_STOPPED
    return job.exit_code or 1
