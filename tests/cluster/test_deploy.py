"""The files of cluster/deploy: they parse, name fields that exist, and agree with the lock file and each other."""

import copy
import json
import os
import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import jsonschema
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version
from support.kuberay import errors_of
from support.paths import ROOT

DEPLOY = ROOT / "cluster" / "deploy"
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PYTHON_OF = {"ubuntu24.04": "3.12"}
"""The Python that a distribution's python3 is."""
MANIFESTS = ("raycluster.yaml", "rayjob.yaml", "ray-cluster.yaml", "compose.yaml")


class Instruction(NamedTuple):
    """An instruction of the Dockerfile, its words split as a shell does."""

    name: str
    words: list[str]


def dockerfile() -> list[Instruction]:
    """Return the instructions of the Dockerfile, without comments."""
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [Instruction(name, shlex.split(rest)) for name, _, rest in (line.partition(" ") for line in lines)]


def words_of(name: str) -> list[list[str]]:
    return [instruction.words for instruction in dockerfile() if instruction.name == name]


def base_image() -> tuple[str, list[str]]:
    """Return name and tag of the image that ours starts from, the tag split at its dashes."""
    ((image,),) = words_of("FROM")
    name, _, tag = image.partition(":")
    return name, tag.split("-")


def locked(name: str) -> str:
    """Return the version that the lock file has of a package."""
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line.rstrip(" \\")) for line in lines if line[:1].isalnum()]
    (found,) = [pin for pin in pins if pin.name == name]
    (version,) = found.specifier
    return version.version


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
def test_every_file_parses_and_is_listed_in_the_readme(name: str) -> None:
    assert documents(name)
    assert f"]({name})" in (DEPLOY / "README.md").read_text(encoding="utf-8")


def test_kuberay_manifests_name_the_ray_of_the_lock_file() -> None:
    assert [spec["rayVersion"] for spec in cluster_specs()] == [locked("ray")] * 2


def test_the_base_image_has_the_cuda_that_torch_was_built_for() -> None:
    torch = pytest.importorskip("torch")
    if torch.version.cuda is None:
        pytest.skip("torch without CUDA")
    if locked("torch").split("+")[0] != torch.__version__.split("+")[0]:
        pytest.skip("the image has the torch of requirements.lock, and this environment another")
    name, (version, *_) = base_image()
    cuda = ".".join(version.split(".")[:2])
    assert (name, cuda) == ("nvidia/cuda", torch.version.cuda)
    assert locked("cuda-toolkit").startswith(f"{cuda}.")


def test_the_python_of_the_image_is_one_that_we_support() -> None:
    _, (*_, distribution) = base_image()
    assert PYTHON_OF[distribution] in SpecifierSet(PYPROJECT["project"]["requires-python"])


def test_the_image_is_named_after_our_version_everywhere() -> None:
    ours = {image for name in MANIFESTS for part in documents(name) for image in images(part) if "quadrat" in image}
    assert ours == {f"quadrat:{PYPROJECT['project']['version']}"}


def test_every_image_has_a_version() -> None:
    found = [image for name in MANIFESTS for part in documents(name) for image in images(part)]
    assert len(found) >= 8
    assert all(re.search(r":\d[\w.-]*$", image) for image in found), found


def test_the_image_holds_what_the_servers_of_compose_need() -> None:
    for name in ("mlflow", "psycopg2-binary", "boto3"):
        assert locked(name)
    installs = [words for words in words_of("RUN") if words[:2] == ["pip", "install"]]
    assert any({"--require-hashes", "/tmp/requirements.lock"} <= set(words) for words in installs)


def test_the_image_copies_every_package_and_nothing_that_is_missing() -> None:
    sources = {source for *found, _ in words_of("COPY") for source in found}
    assert {"requirements.lock", "pyproject.toml", *PYPROJECT["tool"]["setuptools"]["package-dir"].values()} <= sources
    assert all((ROOT / source).exists() for source in sources)


def test_the_image_does_not_run_as_root_and_holds_no_token() -> None:
    (user,) = words_of("USER")[-1]
    assert int(user) > 1000  # a number, or runAsNonRoot refuses it; Ubuntu's image has a user 1000
    for spec in cluster_specs():
        for group in [spec["headGroupSpec"], *spec["workerGroupSpecs"]]:
            security = group["template"]["spec"]["securityContext"]
            assert security["runAsNonRoot"] and security["runAsUser"] == security["fsGroup"] == int(user)
        (folders,) = spec["headGroupSpec"]["template"]["spec"]["initContainers"]
        made = folders["command"][-1]
        paths = {
            mount.get("subPath") for mount in spec["headGroupSpec"]["template"]["spec"]["containers"][0]["volumeMounts"]
        }
        assert all(f"/shared/{path}" in made for path in paths - {None}) and f"chown {user}:" in made
    variables = {word.partition("=")[0]: word.partition("=")[2] for words in words_of("ENV") for word in words}
    assert variables["RAY_AUTH_MODE"] == "token" and "RAY_AUTH_TOKEN" not in variables


def test_kuberay_manifests_use_the_token_and_sizes_that_fit() -> None:
    cluster, job = documents("raycluster.yaml")[0], documents("rayjob.yaml")[0]
    assert (cluster["apiVersion"], cluster["kind"]) == ("ray.io/v1", "RayCluster")
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    for spec in cluster_specs():
        assert spec["authOptions"] == {"mode": "token", "secretName": "quadrat-token"}
        for group in spec["workerGroupSpecs"]:
            assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]


@pytest.mark.parametrize(
    ("name", "number", "num_fields"), [("raycluster.yaml", 0, 80), ("raycluster.yaml", 1, 3), ("rayjob.yaml", 0, 90)]
)
def test_manifests_pass_the_schemas_of_kuberay_and_kubernetes(name: str, number: int, num_fields: int) -> None:
    """With any one field misspelt they do not."""
    manifest = documents(name)[number]
    assert errors_of(manifest) == []
    places = [place for place in fields_in(manifest["spec"]) if not FREE & set(place[:-1])]
    assert len(places) >= num_fields
    for place in places:
        changed = copy.deepcopy(manifest)
        parent = changed["spec"]
        for part in place[:-1]:
            parent = parent[part]
        parent[f"{place[-1]}s"] = parent.pop(place[-1])
        assert errors_of(changed), f"{name}: {place} misspelt is taken"


@pytest.mark.parametrize(("field", "value"), [("replicas", "4"), ("template", []), ("groupName", None)])
def test_a_field_of_another_type_does_not_pass_the_schema_of_kuberay(field: str, value: object) -> None:
    manifest = documents("raycluster.yaml")[0]
    manifest["spec"]["workerGroupSpecs"][0][field] = value
    assert len(errors_of(manifest)) == 1


FREE = {"rayStartParams", "requests", "limits"}
"""Mappings whose keys anyone may choose."""


def fields_in(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the place of every field of a tree."""
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        if isinstance(value, dict):
            yield (*place, key)
        yield from fields_in(inner, (*place, key))


def test_every_volume_that_a_pod_mounts_is_declared() -> None:
    for spec in cluster_specs():
        for template in [spec["headGroupSpec"], *spec["workerGroupSpecs"]]:
            pod = template["template"]["spec"]
            declared = {volume["name"] for volume in pod["volumes"]}
            (container,) = pod["containers"]
            assert {mount["name"] for mount in container["volumeMounts"]} == declared
            assert {"/results", "/data"} <= {mount["mountPath"] for mount in container["volumeMounts"]}


def test_compose_passes_the_schema_of_the_compose_specification() -> None:
    vendored = files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json"
    schema = jsonschema.Draft202012Validator(json.loads(vendored.read_text(encoding="utf-8")))
    (compose,) = documents("compose.yaml")
    assert [error.message for error in schema.iter_errors(compose)] == []
    for service, wrong in (("mlflow", {"port": []}), ("s3", {"healthcheck": {"intervall": "5s"}})):
        changed = {**compose, "services": {**compose["services"], service: {**compose["services"][service], **wrong}}}
        assert list(schema.iter_errors(changed))


def test_the_s3_server_of_compose_is_a_version_whose_conditional_puts_are_atomic() -> None:
    image = documents("compose.yaml")[0]["services"]["s3"]["image"]
    name, _, version = image.partition(":")
    assert name == "chrislusf/seaweedfs"
    assert Version(version) >= Version("4.18")  # the first release after its pull request 8802


def test_the_job_runs_a_command_that_quadrat_has() -> None:
    from click.testing import CliRunner

    from quadrat.cluster.cli.main import cli

    first, program, *arguments = documents("rayjob.yaml")[0]["spec"]["entrypoint"].split()
    assert (first, program) == ("try-again", "quadrat")
    assert CliRunner().invoke(cli, [*arguments, "--help"]).exit_code == 0
    assert documents("rayjob.yaml")[0]["spec"]["backoffLimit"] == 0  # it would make a whole cluster again for a typo
    assert any("cluster/deploy/try-again" in words for words in words_of("COPY"))


@pytest.mark.parametrize(
    ("codes", "exit_code", "num_tries"), [("0", 0, 1), ("2", 2, 1), ("1 0", 0, 2), ("1 1 1", 1, 3)]
)
def test_a_job_is_tried_again_after_exit_code_1_alone(
    codes: str, exit_code: int, num_tries: int, tmp_path: Path
) -> None:
    (tmp_path / "codes").write_text("\n".join(codes.split()) + "\n")
    command = ["sh", "-c", "echo . >> tries; code=$(head -1 codes); sed -i 1d codes; exit $code"]
    environment = {**os.environ, "PAUSE_S": "0"}
    done = subprocess.run([DEPLOY / "try-again", *command], cwd=tmp_path, env=environment, check=False)
    assert done.returncode == exit_code
    assert len((tmp_path / "tries").read_text().split()) == num_tries


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
