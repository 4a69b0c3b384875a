"""The distribution: what the wheel holds, what is installed with it, what importing costs, which way imports point."""

import ast
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest
from support.missing import run_without
from support.paths import ROOT

from quadrat.cluster.cli.extras import APART, EXTRAS

FOLDERS = ("api", "strategies", "benchmark", "cluster")
CORE = {"numpy", "optuna", "faiss", "threadpoolctl"}


def pyproject() -> dict[str, Any]:
    """Return pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def tracked() -> list[str]:
    """Return the files of the packages' folders that git knows or will know, relative to the root."""
    listing = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard", *FOLDERS],
        capture_output=True,
        text=True,
        check=True,
    )
    return [name for name in listing.stdout.splitlines() if (ROOT / name).is_file()]


def packaged() -> list[str]:
    """Return the files that belong in the wheel: all but those of the deployment, which are no package."""
    return [name for name in tracked() if not name.startswith("cluster/deploy/")]


def in_wheel(name: str) -> str:
    """Return where a file of the repository lies in the wheel: `api` is `quadrat` itself."""
    return f"quadrat/{name.removeprefix('api/')}"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Names inside a freshly built wheel. Built from a copy, so that the checkout stays as it is."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in [*tracked(), "pyproject.toml", "README.md", "LICENSE"]:
        target = source / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((ROOT / name).read_bytes())
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(source)]
    subprocess.run(command, check=True, capture_output=True)
    (path,) = out.glob("*.whl")
    return zipfile.ZipFile(path).namelist()


def test_every_folder_with_modules_is_listed_as_a_package() -> None:
    folders = {str(Path(in_wheel(name)).parent) for name in packaged() if name.endswith((".py", ".yaml"))}
    names = {folder.replace("/", ".") for folder in folders}
    listed = set(pyproject()["tool"]["setuptools"]["packages"])
    assert names <= listed, f"add to [tool.setuptools] packages in pyproject.toml: {sorted(names - listed)}"
    assert listed <= names, f"[tool.setuptools] packages names folders that are gone: {sorted(listed - names)}"


def test_the_wheel_holds_the_files_of_the_packages_and_nothing_else(wheel: list[str]) -> None:
    expected, found = {in_wheel(name) for name in packaged()}, {name for name in wheel if ".dist-info/" not in name}
    assert expected <= found, f"not in the wheel, see [tool.setuptools.package-data]: {sorted(expected - found)}"
    assert found <= expected, f"in the wheel and not in git: {sorted(found - expected)}"


def test_every_entry_point_names_a_module_of_the_wheel(wheel: list[str]) -> None:
    project = pyproject()["project"]
    for group in (*project["entry-points"].values(), project["scripts"]):
        for value in group.values():
            assert value.partition(":")[0].replace(".", "/") + ".py" in wheel


# ---------------------------------------------------------------------------------------------------- dependencies


def imported(folder: str, without: Collection[str] = ()) -> set[str]:
    """Return the top-level modules that the files of a folder import, without the standard library and quadrat."""
    names: set[str] = set()
    for path in (ROOT / folder).rglob("*.py"):
        if path.name in without:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.partition(".")[0])
    return names - sys.stdlib_module_names - {"quadrat"}


def test_strategies_import_the_core_alone() -> None:
    # The engine for CUDA is imported where there is a device; pytest: testing.py, for a plugin's own tests.
    for_cuda = ("cuda.py", "device.py", "device_kernels.py")
    assert imported("strategies", without=for_cuda) == {*CORE, "pytest"}
    assert imported("strategies") == {*CORE, "pytest", "torch", "triton"}


def test_what_is_imported_is_what_is_listed() -> None:
    listed = {module for modules in (*EXTRAS.values(), *APART.values()) for module in modules}
    # Triton comes with torch where there is CUDA; its module is imported on a device alone.
    found = imported("benchmark", without=("depthwise_kernels.py",)) | imported("cluster") | imported("api")
    assert found <= listed | CORE, f"imported, of no extra: {sorted(found - listed - CORE)}"
    # torchvision is kept in step with torch; fsspec opens s3fs, which sends conditions through aiobotocore
    assert listed - found == {"torchvision", "s3fs", "aiobotocore"}


def test_all_brings_every_extra_but_the_servers_and_those_apart() -> None:
    extras = pyproject()["project"]["optional-dependencies"]
    assert set(EXTRAS) == set(extras) - {"all", "server", *APART}
    assert extras["all"] == [f"quadrat[{','.join(EXTRAS)}]"]


def test_the_core_is_enough_to_select_with_a_strategy() -> None:
    code = """
import numpy as np

import quadrat.strategies.testing
from quadrat.strategies import Pool, available, load

rng = np.random.default_rng(0)
image, row, col = (axis.ravel() for axis in np.indices((5, 4, 4)))
pool = Pool(
    image=image,
    row=row,
    col=col,
    pixels=np.full(80, 64),
    labelled=np.arange(80) < 10,
    signals={"entropy": rng.random(80, dtype=np.float32)},
    features=rng.random((80, 6), dtype=np.float32),
)
for name in ("random", "entropy-spatial", "core-set", "entropy-feature-spatial"):
    selection = load(name).select(pool, budget=7, rng=rng)
    print(name, len(set(selection.regions.tolist()) - set(range(10))))
"""
    # yaml comes with optuna
    done = run_without({module for modules in EXTRAS.values() for module in modules} - {"yaml"}, code)
    assert done.returncode == 0, done.stderr
    assert [line.split()[-1] for line in done.stdout.splitlines()] == ["7"] * 4


def test_the_lock_file_has_hashes_and_names_no_index() -> None:
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith((" ", "#"))]
    assert pins and all("==" in pin and pin.endswith("\\") for pin in pins)
    assert not any("://" in line or line.startswith("--") for line in lines)


def test_the_lock_file_pins_all_that_pyproject_asks_for() -> None:
    from packaging.requirements import Requirement

    project = pyproject()
    extras = project["project"]["optional-dependencies"]
    asked = [
        *project["project"]["dependencies"],
        *(line for extra, lines in extras.items() if extra not in APART for line in lines),
        *project["dependency-groups"]["dev"],
    ]
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    pinned = dict(line.split(" ")[0].split("==") for line in lines if "==" in line and not line.startswith((" ", "#")))
    for requirement in map(Requirement, asked):
        if requirement.name != "quadrat":
            version = pinned.get(requirement.name.lower())
            assert version is not None and requirement.specifier.contains(version), f"{requirement}: run `make lock`"


# ------------------------------------------------------------------------------------------------ what imports cost


def modules_after(statement: str) -> set[str]:
    """Return the top-level modules that a fresh interpreter holds after `statement`."""
    code = f"{statement}\nimport sys\nprint(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


HEAVY = {"torch", "triton", "torchvision", "timm", "ray", "mlflow", "faiss", "pandas", "altair", "scipy", "sklearn"}


def test_strategies_import_nothing_heavy() -> None:
    assert modules_after("import quadrat.strategies") & (HEAVY | {"optuna", "pydantic"}) == set()


def test_importing_quadrat_imports_nothing() -> None:
    assert modules_after("import quadrat") & (HEAVY | {"numpy", "optuna", "pydantic"}) == set()


def test_loading_results_imports_nothing_that_trains_or_draws() -> None:
    code = "import quadrat; results = quadrat.load('results/camvid-cpu'); repr(results), repr(results.summary())"
    assert modules_after(code) & (HEAVY - {"scipy"} | {"vl_convert", "jinja2"}) == set()


def test_the_command_line_imports_nothing_heavy_before_a_command_needs_it() -> None:
    assert modules_after("import quadrat.cluster.cli.main") & (HEAVY | {"optuna"}) == set()


def test_imports_point_one_way() -> None:
    done = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports"))], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
