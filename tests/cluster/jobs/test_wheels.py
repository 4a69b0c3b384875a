"""Wheels that are sent along with a job: whose they are, what is in them, and what cannot be sent."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from support.fake_trials import make_suite
from support.paths import ROOT

from quadrat.benchmark.results import environment
from quadrat.cluster.jobs import wheels
from quadrat.cluster.jobs.wheels import ShippingError, distributions_of, pack

PLUGIN = """
from dataclasses import dataclass
from quadrat.benchmark.data.shapes import RegionKind
from quadrat.benchmark.learning.scoring.signals import Signal
from quadrat.strategies import Selection, Strategy
signal = Signal(per_pixel=lambda outputs: outputs.prob_BCHW[:, 0])
@dataclass(frozen=True, kw_only=True)
class First(Strategy):
    name = "shipped-first"
    def _select(self, pool, budget, rng):
        return Selection.of(pool.candidates[:budget])
@dataclass(frozen=True, kw_only=True)
class Cells(RegionKind):
    name = "shipped-cells"
    def cut(self, image, *, region_size, id):
        raise NotImplementedError
"""


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed plugin as pip leaves it, with a dependency."""
    site = tmp_path / "site"
    info = site / "quadrat_first-1.2.dist-info"
    info.mkdir(parents=True)
    (site / "shipped_first.py").write_text(PLUGIN)
    header = "Metadata-Version: 2.1\nName: quadrat-first\nVersion: 1.2\nRequires-Dist: torch>=99\n\nAbout it.\n"
    (info / "METADATA").write_text(header)
    (info / "WHEEL").write_text("Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    (info / "entry_points.txt").write_text(
        "[quadrat.strategies]\nshipped-first = shipped_first:First\n"
        "[quadrat.signals]\nshipped-signal = shipped_first:signal\n"
        "[quadrat.regions]\nshipped-cells = shipped_first:Cells\n"
    )
    names = ["shipped_first.py", *(f"{info.name}/{name}" for name in ("METADATA", "WHEEL", "entry_points.txt"))]
    (info / "RECORD").write_text("".join(f"{name},,\n" for name in [*names, "../../bin/first", f"{info.name}/RECORD"]))
    monkeypatch.syspath_prepend(site)
    monkeypatch.delitem(sys.modules, "shipped_first", raising=False)
    return site


def metadata_in(wheel: Path) -> str:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith("METADATA")]
        return archive.read(name).decode()


def test_a_suite_of_ours_needs_quadrat_alone() -> None:
    assert distributions_of(make_suite()) == ["quadrat"]


def test_a_suite_names_the_distributions_of_its_plugins(plugin: Path) -> None:
    assert distributions_of(make_suite(strategies=["random", "shipped-first"])) == ["quadrat", "quadrat-first"]


def test_a_suite_names_the_distribution_that_cuts_its_images(plugin: Path) -> None:
    assert distributions_of(make_suite(regions="shipped-cells")) == ["quadrat", "quadrat-first"]
    of_one = [{"name": "random"}, {"name": "entropy", "label": "cells", "regions": "shipped-cells"}]
    assert distributions_of(make_suite(strategies=of_one)) == ["quadrat", "quadrat-first"]


def test_a_study_names_the_distribution_of_the_strategy_whose_parameters_it_searches(plugin: Path) -> None:
    study = {"strategy": "shipped-first", "candidates": 2, "search_seeds": [7], "space": {"region_size": [16, 8]}}
    assert distributions_of(make_suite(study=study)) == ["quadrat", "quadrat-first"]


def test_a_study_names_the_distribution_of_a_signal_that_only_one_of_its_choices_needs(plugin: Path) -> None:
    study = {
        "strategy": "entropy",
        "candidates": 2,
        "search_seeds": [7],
        "space": {"uncertainty": ["entropy", "shipped-signal"]},
    }
    assert distributions_of(make_suite(study=study)) == ["quadrat", "quadrat-first"]


@pytest.mark.slow
def test_the_wheel_of_a_plugin_installs_without_its_dependencies_and_brings_its_entry_point(
    plugin: Path, tmp_path: Path
) -> None:
    wheel = pack("quadrat-first", tmp_path)
    assert "Requires-Dist" not in metadata_in(wheel) and "About it." in metadata_in(wheel)
    target = tmp_path / "target"
    options = ["--no-index", "--quiet", "--disable-pip-version-check", f"--target={target}"]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, str(wheel)], check=True)
    assert (target / "shipped_first.py").read_text() == PLUGIN
    assert "shipped-first" in (target / "quadrat_first-1.2.dist-info" / "entry_points.txt").read_text()


def test_equal_content_has_an_equal_name_and_other_content_another(plugin: Path, tmp_path: Path) -> None:
    (tmp_path / "again").mkdir()
    first, again = pack("quadrat-first", tmp_path), pack("quadrat-first", tmp_path / "again")
    assert first.name == again.name and first.read_bytes() == again.read_bytes()
    (plugin / "shipped_first.py").write_text(PLUGIN + "# changed\n")
    assert pack("quadrat-first", tmp_path).name != first.name


@pytest.mark.slow
def test_our_own_wheel_is_built_from_an_editable_install_and_leaves_nothing_in_the_source(tmp_path: Path) -> None:
    root = ROOT
    before = {path.name for path in root.iterdir()}
    wheel = pack("quadrat", tmp_path)
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"quadrat/cluster/cli/main.py", "quadrat/benchmark/config/suites/quickstart.yaml"} <= names
    assert "Requires-Dist" not in metadata_in(wheel)
    assert {path.name for path in root.iterdir()} == before


def test_our_own_wheel_carries_the_commit_that_environment_json_then_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    (source / "benchmark" / "results").mkdir(parents=True)
    (source / "benchmark" / "results" / "environment.py").write_text("")

    def git(*arguments: str) -> str:
        who = ("-c", "user.name=me", "-c", "user.email=me@example.org")
        return subprocess.run(
            ["git", "-C", str(source), *who, *arguments], capture_output=True, text=True, check=True
        ).stdout.strip()

    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "-m", "first")
    (source / "benchmark" / "results" / "environment.py").write_text("changed")
    info = {"quadrat-9.dist-info/WHEEL": b"Root-Is-Purelib: true\n", "quadrat-9.dist-info/METADATA": b"Name: quadrat\n"}
    monkeypatch.setattr(wheels, "_source_of", lambda distribution: source)
    monkeypatch.setattr(wheels, "_built", lambda name, source: dict(info))
    wheel = pack("quadrat", tmp_path)
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    monkeypatch.syspath_prepend(site)
    assert environment._sent_commit() == f"{git('rev-parse', 'HEAD')}+changes"


def test_compiled_code_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ShippingError, match="expected 'numpy' to be pure Python, got a distribution with compiled code"
    ):
        pack("numpy", tmp_path)


def test_a_source_folder_that_builds_no_wheel_is_named(plugin: Path, tmp_path: Path) -> None:
    origin = {"url": f"file://{tmp_path}/gone", "dir_info": {"editable": True}}
    (plugin / "quadrat_first-1.2.dist-info" / "direct_url.json").write_text(json.dumps(origin))
    with pytest.raises(ShippingError, match=r"installed from .*gone, to build a wheel"):
        pack("quadrat-first", tmp_path)
