"""What a cluster gets to know of the driver holds no password."""

from pathlib import Path

import pytest
from support.fake_trials import make_suite

from quadrat.benchmark.errors import DataError, QuadratError
from quadrat.cluster.runner.context import RunOptions
from quadrat.cluster.runner.driver import run_on_ray
from quadrat.cluster.runner.engine import benchmark_engine
from quadrat.cluster.runner.forwarded import check_command_line, check_variables, forwarded_variables

ENDPOINT = "http://me:s3cr3t@minio:9000"


def test_variables_without_a_password_are_sent_to_workers_and_the_names_of_the_others() -> None:
    environ = {"AWS_ENDPOINT_URL": "http://minio:9000", "AWS_SECRET_ACCESS_KEY": "s3cr3t", "QUADRAT_DATA": "/data"}
    assert forwarded_variables(environ) == {"AWS_ENDPOINT_URL": "http://minio:9000", "QUADRAT_DATA": "/data"}
    environ = {"AWS_ENDPOINT_URL": ENDPOINT, "QUADRAT_DATA": "s3://me:s3cr3t@data", "AWS_REGION": "eu"}
    assert forwarded_variables(environ) == {
        "AWS_REGION": "eu",
        "QUADRAT_NEEDED": "QUADRAT_DATA AWS_ENDPOINT_URL",
    }


def test_a_worker_whose_node_lacks_such_a_variable_runs_no_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = forwarded_variables({"AWS_ENDPOINT_URL": ENDPOINT})
    check_variables({**sent, "AWS_ENDPOINT_URL": ENDPOINT})
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    for name, value in sent.items():
        monkeypatch.setenv(name, value)
    engine = benchmark_engine(url="s3://bucket/a")
    with pytest.raises(DataError, match=r"^expected AWS_ENDPOINT_URL in the environment of this node, got none"):
        engine.open_runner(make_suite(), tmp_path)


@pytest.mark.parametrize("address", ["auto", "127.0.0.1:9"])
@pytest.mark.parametrize(
    "argument", ["--mlflow=http://me:s3cr3t@host", "http://me:s3cr3t@host", "s3://key:s3cr3t@bucket/a"]
)
def test_a_password_among_the_arguments_is_refused_before_a_cluster_is_joined(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str, argument: str
) -> None:
    monkeypatch.setattr("sys.argv", ["quadrat", "run", "a.yaml", argument])
    options = RunOptions(results_dir=tmp_path, engine=benchmark_engine(), logs_to_mlflow=False, ray_address=address)
    with pytest.raises(QuadratError, match=r"^expected a command line without passwords .* Ray's dashboard") as raised:
        run_on_ray(make_suite(), make_suite().trials(), options)
    assert "s3cr3t" not in str(raised.value)
    check_command_line(["run", "a.yaml", "--mlflow", "http://host:5000", "--results", "s3://bucket/a"])
