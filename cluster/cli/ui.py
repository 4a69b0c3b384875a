"""The command `ui`: serve MLflow's web pages on this machine, for this machine."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import IO, Final

import click

from quadrat.cluster.cli.console import pasteable
from quadrat.cluster.cli.options import experiment_option, mlflow_option, results_argument, tracking_of
from quadrat.cluster.cli.places import local_copy

__all__ = ["COMMANDS"]

_HOST: Final = "127.0.0.1"
_START_S: Final = 240.0
_ANSWER_S: Final = 30.0


@click.command()
@results_argument()
@mlflow_option
@experiment_option
@click.option("--port", type=int, default=5000, show_default=True, help="Port on 127.0.0.1")
def ui(results: Path | str, mlflow_uri: str | None, experiment: str | None, port: int) -> None:
    """Serve MLflow's web pages on a suite's results until Ctrl-C."""
    _, uri = tracking_of(mlflow_uri)
    sys.exit(_serve(local_copy(results), uri, experiment, port))


def _serve(results_dir: Path, uri: str | None, experiment: str | None, port: int) -> int:
    """Serve the MLflow store of a results folder until it is stopped, and return the exit code.

    Args:
        results_dir: The results folder.
        uri: Tracking URI, None for the store inside the folder. Of a server only the address is printed.
        experiment: Name of the experiment to open; None or empty for that of the suite.
        port: Port of 127.0.0.1; other machines cannot reach it.

    Raises:
        QuadratError: When the store is missing, or the port is taken.
    """
    from quadrat.benchmark.errors import QuadratError
    from quadrat.benchmark.results.folder import read_suite_json
    from quadrat.benchmark.tracking.addresses import default_uri, runs_page, runs_path  # mlflow only when asked

    name = experiment or read_suite_json(results_dir)["suite"]["name"]
    if uri is None and not (results_dir / "mlflow.db").is_file():
        raise QuadratError(
            f"expected an MLflow store at {results_dir}/mlflow.db, got none; "
            f"`{pasteable('track', results_dir)}` makes it"
        )
    store = uri or default_uri(results_dir)
    if (page := runs_page(store, name)) is not None:
        click.echo(page)
        return 0
    if _answers(port):
        raise QuadratError(f"--port: expected a free port, got {port}, which another program uses; try {port + 1}")
    command = [sys.executable, "-m", "mlflow", "server"]
    command += ["--host", _HOST, "--port", str(port), "--workers", "1"]
    # Its background jobs evaluate language models; without them it starts in half the time.
    environment = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", **os.environ}
    environment["MLFLOW_BACKEND_STORE_URI"] = store  # not an argument: those of a process are for all to read
    click.echo("starting MLflow ...", err=True)
    # Its output goes to a file that is shown when it fails to start. It gets a session of its own, because its children
    # outlive it unless the whole process group is ended.
    with (
        tempfile.TemporaryFile("w+") as log,
        subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True) as server,
    ):
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            _await_start(server, port, log)
            address = f"http://{_HOST}:{port}/"
            click.echo(f"{address}{runs_path(_ask_experiment(address, name))}\n(Ctrl-C ends it)")
            server.wait()
        except KeyboardInterrupt:
            pass
        finally:
            signal.signal(signal.SIGTERM, before)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGTERM)
    return 0


def _ask_experiment(address: str, name: str) -> str | None:
    """Return the id of an experiment on a server of this machine, None where it has none of that name or does not say.

    The server is asked, since importing mlflow here too takes seconds; not through the proxy of `http_proxy`.
    """
    query = urllib.parse.urlencode({"experiment_name": name})
    try:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"{address}api/2.0/mlflow/experiments/get-by-name?{query}", timeout=_ANSWER_S) as answer:
            return str(json.load(answer)["experiment"]["experiment_id"])
    except (OSError, ValueError, KeyError, TypeError):  # then its first page is shown, which lists all
        return None


def _await_start(server: subprocess.Popen[bytes], port: int, log: IO[str]) -> None:
    from quadrat.benchmark.errors import QuadratError

    until_s = time.monotonic() + _START_S
    while not _answers(port):
        if server.poll() is not None:
            log.seek(0)
            raise QuadratError(f"expected MLflow to start, got exit code {server.returncode}:\n{log.read()[-2000:]}")
        if time.monotonic() > until_s:
            raise QuadratError(f"expected MLflow to answer on port {port} within {_START_S:.0f} s, got nothing")
        time.sleep(0.2)


def _answers(port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex((_HOST, port)) == 0


COMMANDS: Final = (ui,)
