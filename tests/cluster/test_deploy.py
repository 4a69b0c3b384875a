"""The files of cluster/deploy: they parse, name fields that exist, and agree with the lock file and each other."""

import re
from typing import Any

import pytest
import yaml
from support.paths import ROOT

DEPLOY = ROOT / "cluster" / "deploy"
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
MANIFESTS = ("raycluster.yaml", "rayjob.yaml", "ray-cluster.yaml", "compose.yaml")

# ray.io/v1 as in KubeRay 1.6 (https://docs.ray.io/en/master/cluster/kubernetes/references/api.html), what we use of it.
CLUSTER_FIELDS = {
    "authOptions": {"mode", "secretName"},
    "autoscalerOptions": {"idleTimeoutSeconds"},
    "enableInTreeAutoscaling": None,
    "headGroupSpec": {"rayStartParams", "template"},
    "rayVersion": None,
    "workerGroupSpecs": {"groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template"},
}
JOB_FIELDS = {
    "backoffLimit",
    "entrypoint",
    "rayClusterSpec",
    "shutdownAfterJobFinishes",
    "submissionMode",
    "ttlSecondsAfterFinished",
}


def locked(name: str) -> str:
    """Return the version that the lock file has of a package."""
    found = re.search(rf"^{re.escape(name)}==([^ ;]+)", LOCK, flags=re.MULTILINE)
    assert found is not None, name
    return found[1]


def documents(name: str) -> list[Any]:
    return list(yaml.safe_load_all((DEPLOY / name).read_text(encoding="utf-8")))


def cluster_specs() -> list[dict[str, Any]]:
    return [documents("raycluster.yaml")[0]["spec"], documents("rayjob.yaml")[0]["spec"]["rayClusterSpec"]]


def images(value: Any) -> list[str]:
    """Return every value of a key `image`, at any depth."""
    if isinstance(value, dict):
        return [found for key, inner in value.items() for found in ([inner] if key == "image" else images(inner))]
    return [found for inner in value for found in images(inner)] if isinstance(value, list) else []


@pytest.mark.parametrize("name", MANIFESTS)
def test_every_file_parses_and_says_what_it_is_for(name: str) -> None:
    assert documents(name)
    assert (DEPLOY / name).read_text(encoding="utf-8").startswith("# ")
    assert f"]({name})" in (DEPLOY / "README.md").read_text(encoding="utf-8")


def test_kuberay_is_told_the_ray_of_the_lock_file() -> None:
    assert [spec["rayVersion"] for spec in cluster_specs()] == [locked("ray")] * 2


def test_the_base_image_has_the_cuda_that_torch_was_built_for() -> None:
    torch = pytest.importorskip("torch")
    if torch.version.cuda is None:
        pytest.skip("torch without CUDA")
    base = re.search(r"^FROM nvidia/cuda:(\d+\.\d+)\.\d+-base-ubuntu24\.04$", dockerfile(), flags=re.MULTILINE)
    assert base is not None and base[1] == torch.version.cuda
    assert locked("torch").split("+")[0] == torch.__version__.split("+")[0]
    assert locked("cuda-toolkit").startswith(base[1] + ".")


def test_the_python_of_the_image_is_one_that_we_support() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    found = re.search(r'requires-python = ">=3\.(\d+),<3\.(\d+)"', project)
    assert found is not None
    assert int(found[1]) <= 12 < int(found[2])  # Ubuntu 24.04 has 3.12
    assert "Python is 3.12" in dockerfile()


def test_the_image_is_called_the_same_everywhere_and_after_our_version() -> None:
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert version is not None
    ours = {image for name in MANIFESTS for part in documents(name) for image in images(part) if "quadrat" in image}
    assert ours == {f"quadrat:{version[1]}"}
    assert f"-t quadrat:{version[1]} " in dockerfile()


def test_no_image_is_whatever_is_latest() -> None:
    found = [image for name in MANIFESTS for part in documents(name) for image in images(part)]
    assert len(found) >= 8
    assert all(re.search(r":\d[\w.-]*$", image) for image in found), found


def test_the_image_holds_what_the_servers_of_compose_need() -> None:
    for name in ("mlflow", "psycopg2-binary", "boto3"):
        assert locked(name)
    assert "--require-hashes --requirement /tmp/requirements.lock" in dockerfile()


def test_what_the_dockerfile_copies_is_there() -> None:
    sources = [
        word for line in re.findall(r"^COPY (.+) \S+$", dockerfile(), flags=re.MULTILINE) for word in line.split()
    ]
    assert {"requirements.lock", "pyproject.toml", "strategies", "benchmark", "cluster"} <= set(sources)
    assert all((ROOT / source).exists() for source in sources)


def test_kuberay_manifests_use_fields_that_exist_and_the_token() -> None:
    cluster, job = documents("raycluster.yaml")[0], documents("rayjob.yaml")[0]
    assert (cluster["apiVersion"], cluster["kind"]) == ("ray.io/v1", "RayCluster")
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    assert set(job["spec"]) <= JOB_FIELDS
    for spec in cluster_specs():
        assert set(spec) <= set(CLUSTER_FIELDS)
        assert spec["authOptions"] == {"mode": "token", "secretName": "quadrat-token"}
        for name in ("authOptions", "autoscalerOptions", "headGroupSpec"):
            assert set(spec.get(name, {})) <= (CLUSTER_FIELDS[name] or set())
        for group in spec["workerGroupSpecs"]:
            assert set(group) <= (CLUSTER_FIELDS["workerGroupSpecs"] or set())
            assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]


def test_every_volume_that_a_pod_mounts_is_declared() -> None:
    for spec in cluster_specs():
        for template in [spec["headGroupSpec"], *spec["workerGroupSpecs"]]:
            pod = template["template"]["spec"]
            declared = {volume["name"] for volume in pod["volumes"]}
            (container,) = pod["containers"]
            assert {mount["name"] for mount in container["volumeMounts"]} == declared
            assert {"/results", "/data"} <= {mount["mountPath"] for mount in container["volumeMounts"]}


def test_the_job_runs_a_command_that_quadrat_has() -> None:
    from click.testing import CliRunner

    from quadrat.cluster.cli.main import cli

    program, *arguments = documents("rayjob.yaml")[0]["spec"]["entrypoint"].split()
    assert program == "quadrat"
    assert CliRunner().invoke(cli, [*arguments, "--help"]).exit_code == 0


def test_the_ray_cluster_file_passes_rays_own_check() -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    config = prepare_config(documents("ray-cluster.yaml")[0])
    validate_config(config)
    assert config["max_workers"] == len(config["provider"]["worker_ips"])


def test_every_option_of_the_tracking_server_is_one_that_mlflow_has() -> None:
    from mlflow.cli import cli as mlflow

    program, command, *arguments = documents("compose.yaml")[0]["services"]["mlflow"]["command"]
    assert (program, command) == ("mlflow", "server")
    known = {name for parameter in mlflow.commands["server"].params for name in parameter.opts}
    assert {argument.partition("=")[0] for argument in arguments} <= known


def test_the_database_url_of_the_tracking_server_names_a_driver_that_is_there() -> None:
    from sqlalchemy import create_engine

    url = documents("compose.yaml")[0]["services"]["mlflow"]["environment"]["MLFLOW_BACKEND_STORE_URI"]
    engine = create_engine(re.sub(r"\$\{[^}]*\}", "secret", url))  # imports the driver, and connects to nothing
    assert engine.driver == "psycopg2"


def test_compose_refuses_to_start_without_passwords_and_shows_no_port_to_the_network() -> None:
    text = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")
    variables = set(re.findall(r"\$\{(\w+)", text))
    assert variables == set(re.findall(r"^(\w+)=", (DEPLOY / "env.example").read_text(), flags=re.MULTILINE))
    assert set(re.findall(r"\$\{\w+(:\?)?", text)) == {":?"}
    services = documents("compose.yaml")[0]["services"]
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert ports and all(str(port).startswith("127.0.0.1:") for port in ports)
    for service in services.values():
        assert set(service.get("depends_on", {})) <= set(services)


def dockerfile() -> str:
    return (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
