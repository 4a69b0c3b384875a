"""The distribution: what the wheel holds, what importing costs, which way imports point."""

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from support.paths import ROOT

FOLDERS = ("strategies", "benchmark", "cluster")
DATA = (".py", ".typed", ".yaml", ".j2", ".css", ".js", ".md")


def tracked() -> list[str]:
    """Return the files of the three packages that git knows, relative to the root."""
    listing = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard", *FOLDERS],
        capture_output=True,
        text=True,
        check=True,
    )
    return [name for name in listing.stdout.splitlines() if name.endswith(DATA)]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> list[str]:
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


def test_the_wheel_holds_every_file_of_the_packages(wheel):
    expected = {f"quadrat/{name}" for name in tracked() if not name.startswith("cluster/deploy/")}
    assert expected - set(wheel) == set()


def test_the_wheel_holds_nothing_else(wheel):
    outside = [name for name in wheel if not name.startswith("quadrat/") and ".dist-info/" not in name]
    assert outside == []
    assert {name for name in wheel if name.startswith("quadrat/")} <= {f"quadrat/{name}" for name in tracked()}


def test_quadrat_itself_is_a_namespace_package(wheel):
    assert "quadrat/__init__.py" not in wheel


def test_every_entry_point_names_a_module_of_the_wheel(wheel):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for group in project["entry-points"].values():
        for value in group.values():
            assert value.partition(":")[0].replace(".", "/") + ".py" in wheel


def modules_after(statement: str) -> set[str]:
    """Return the top-level modules that a fresh interpreter holds after `statement`."""
    code = f"{statement}\nimport sys\nprint(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


HEAVY = {"torch", "torchvision", "timm", "ray", "mlflow", "faiss", "pandas", "altair", "scipy", "sklearn"}


def test_strategies_import_nothing_heavy():
    assert modules_after("import quadrat.strategies") & (HEAVY | {"optuna", "pydantic"}) == set()


def test_the_command_line_imports_nothing_heavy_before_a_command_needs_it():
    assert modules_after("import quadrat.cluster.cli.main") & (HEAVY | {"optuna"}) == set()


def test_the_lock_file_has_hashes_and_names_no_index():
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith((" ", "#"))]
    assert all("==" in pin and pin.endswith("\\") for pin in pins)
    assert not any("://" in line or line.startswith("--index") for line in lines)


def test_every_dependency_says_what_needs_it():
    lines = [line.strip() for line in (ROOT / "pyproject.toml").read_text(encoding="utf-8").splitlines()]
    start = lines.index("dependencies = [")
    block = lines[start + 1 : lines.index("]", start)]
    for comment, dependency in zip(block[::2], block[1::2], strict=True):
        assert comment.startswith("# ") and dependency.startswith('"'), (comment, dependency)


def test_imports_point_one_way():
    done = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports"))], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
