"""What trains nothing answers quickly: it does not import what takes seconds."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest
from support.paths import ROOT

from quadrat.benchmark.learning.network.encoder_names import is_registered
from quadrat.cluster.cli.ui import _ask_experiment

SLOW = (
    *("torch", "torchvision", "timm", "ray", "mlflow", "segmentation_models_pytorch"),
    *("faiss", "sklearn", "pandas", "scipy.stats"),
)
DRAWING = ("altair", "vl_convert", "jinja2")
RESULTS = str(ROOT / "results" / "camvid-cpu")
COMMANDS = {
    "list strategies": ["list", "strategies"],
    "list signals": ["list", "signals"],
    "list profiles": ["list", "profiles"],
    "list datasets": ["list", "datasets"],
    "list suites": ["list", "suites"],
    "show": ["show", "quickstart"],
    "show a study": ["show", "scenes-study"],
    "stats": ["stats", RESULTS],
    "compare": ["compare", RESULTS, RESULTS],
    "status": ["status", RESULTS],
    "ui": ["ui", RESULTS],
}
SCRIPT = """
import contextlib, io, json, sys
from click.testing import CliRunner
from quadrat.cluster.cli.main import cli
for name, arguments in json.load(sys.stdin).items():
    before = set(sys.modules)
    result = CliRunner().invoke(cli, arguments)
    added = sorted(set(sys.modules) - before)
    print(json.dumps([name, result.exit_code, added]))
"""


def test_commands_that_train_nothing_import_nothing_that_takes_seconds() -> None:
    environment = {
        name: value for name, value in os.environ.items() if name not in ("MLFLOW_TRACKING_URI", "RAY_ADDRESS")
    }
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        input=json.dumps(COMMANDS),
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    found = {name: (code, added) for name, code, added in map(json.loads, done.stdout.splitlines())}
    assert list(found) == list(COMMANDS)
    slow = {name: [module for module in added if module in (*SLOW, *DRAWING)] for name, (_, added) in found.items()}
    assert slow == {name: [] for name in COMMANDS}
    # No page, no status and no MLflow store lie beside the records that are committed.
    assert [name for name, (code, _) in found.items() if code] == ["status", "ui"]


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "tf_efficientnet_lite0.in1k", "xception41", "resnet50"])
def test_encoders_are_known_without_timm(name: str) -> None:
    assert is_registered(name)


@pytest.mark.parametrize("name", ["resnet5O", "", "features_only", "register_model"])
def test_what_is_no_encoder_is_not(name: str) -> None:
    assert not is_registered(name)


@pytest.fixture
def address() -> Iterator[str]:
    """The address of a server that has one experiment."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            is_there = self.path == "/api/2.0/mlflow/experiments/get-by-name?experiment_name=a+suite"
            self.send_response(200 if is_there else 404)
            self.end_headers()
            self.wfile.write(json.dumps({"experiment": {"experiment_id": "7"}} if is_there else {}).encode())

        def log_message(self, *arguments: object) -> None:
            """Print nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def test_the_server_is_asked_for_the_experiment(address: str) -> None:
    assert _ask_experiment(address, "a suite") == "7"
    assert _ask_experiment(address, "another") is None
