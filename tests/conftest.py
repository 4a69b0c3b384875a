"""Fixtures that several test modules share."""

import os
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.paths import PLUGIN_EXAMPLE
from support.tiny_suite import TINY_SUITE

# Ray makes its workers yield to everything else, here to the tests on the other core.
os.environ.setdefault("RAY_worker_niceness", "0")


@pytest.fixture(autouse=True)
def of_no_width(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make texts as wide into a pipe as they are, wherever the tests run: some environments set the width."""
    for name in ("COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)
        os.unsetenv(name)  # readline, which pytest imports, sets it for child processes only


@pytest.fixture
def write_suite(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes TINY_SUITE, with keys replaced, to a file and returns its path."""

    def write(**changes: Any) -> Path:
        path = tmp_path / "tiny.yaml"
        path.write_text(yaml.safe_dump({**TINY_SUITE, **changes}), encoding="utf-8")
        return path

    return write


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Return the address of an S3-compatible server with a bucket `results`, for which the environment is set."""
    import boto3
    import fsspec
    from moto.s3.responses import S3Response
    from moto.server import ThreadedMotoServer

    # fsspec keeps what it opened, with the address of another module's server.
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    # It looks whether a key exists and writes then, in a thread for each request: S3 itself lets one of them succeed.
    put_object, lock = S3Response.put_object, threading.Lock()

    def put_one_at_a_time(self: S3Response) -> Any:
        with lock:
            return put_object(self)

    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    address = "http://{}:{}".format(*moto.get_host_and_port())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(S3Response, "put_object", put_one_at_a_time)
        for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "DEFAULT_REGION"):
            patch.setenv(f"AWS_{name}", "us-east-1" if name == "DEFAULT_REGION" else "testing")
        patch.setenv("AWS_ENDPOINT_URL", address)
        boto3.client("s3").create_bucket(Bucket="results")
        yield address
    moto.stop()
    fsspec.get_filesystem_class("s3").clear_instance_cache()


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return a function that makes this process one on another machine: with another working folder."""
    return lambda name: monkeypatch.setenv("QUADRAT_WORK", str(tmp_path / "machines" / name))


@pytest.fixture(scope="module")
def plugin_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the plugin's source: building leaves files behind."""
    return Path(shutil.copytree(PLUGIN_EXAMPLE, tmp_path_factory.mktemp("plugin") / "source"))


@pytest.fixture(scope="module")
def plugin_environment(plugin_source: Path) -> dict[str, str]:
    """What a process needs in order to find the plugin's wheel, installed in a folder of its own."""
    dist, site = plugin_source.parent / "dist", plugin_source.parent / "site"
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(dist), str(plugin_source)]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = dist.glob("quadrat_checkerboard-*.whl")
    zipfile.ZipFile(wheel).extractall(site)  # all that installing a wheel of pure Python is
    assert sorted(path.name for path in site.glob("*.py")) == ["quadrat_checkerboard.py"]
    paths = [str(site), *(path for path in sys.path if path)]
    return dict(os.environ, PYTHONPATH=os.pathsep.join(paths))
