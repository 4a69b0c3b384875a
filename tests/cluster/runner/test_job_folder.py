"""A job's working directory: it is left, and no results end up in it."""

import json
import os
import shutil
from pathlib import Path

import pytest

from quadrat.benchmark.errors import QuadratError
from quadrat.cluster.cli.places import open_suite, results_root
from quadrat.cluster.runner.job_folder import in_job_folder, leave_job_folder
from quadrat.cluster.runner.ray_session import _options


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Be a job that Ray has started in its copy of a working directory."""
    folder = tmp_path / "working_dir_files" / "_ray_pkg_1"
    folder.mkdir(parents=True)
    (folder / "weights.pt").write_text("w")
    monkeypatch.chdir(folder)
    environment = {"working_dir": "gcs://_ray_pkg_1.zip", "env_vars": {"QUADRAT_DATA": "/data"}}
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", json.dumps({"runtime_env": environment}))
    monkeypatch.delenv("QUADRAT_RESULTS", raising=False)
    return folder


def test_a_job_goes_on_when_ray_removes_its_working_directory(job: Path) -> None:
    leave_job_folder()
    shutil.rmtree(job)
    assert Path("weights.pt").read_text() == "w"
    assert in_job_folder()  # still the same job


def test_nobody_else_is_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_JOB_CONFIG_JSON_ENV_VAR", raising=False)
    before = os.getcwd()
    leave_job_folder()
    assert os.getcwd() == before


def test_results_of_a_job_go_home_unless_the_environment_says_where(job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert results_root() == Path.home() / "results" / "runs"
    monkeypatch.setenv("QUADRAT_RESULTS", "/results")
    assert open_suite("quickstart", ()).results_dir == Path("/results/quickstart")


def test_results_in_the_working_directory_of_a_job_are_refused(job: Path) -> None:
    with pytest.raises(QuadratError, match=r"--results: expected an absolute path or a URL, got 'out'"):
        open_suite("quickstart", (), Path("out"))


def test_a_variable_that_the_job_has_is_not_given_to_its_workers_again(
    job: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUADRAT_DATA", "/data")
    assert _options("10.0.0.1:6379")["runtime_env"] == {"env_vars": {}}
    monkeypatch.delenv("RAY_JOB_CONFIG_JSON_ENV_VAR")
    assert _options("10.0.0.1:6379")["runtime_env"] == {"env_vars": {"QUADRAT_DATA": "/data"}}
