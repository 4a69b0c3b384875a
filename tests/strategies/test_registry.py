"""Plugins through entry points: found, unknown, in conflict, broken; and the README shows the example plugin."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from support.paths import PLUGIN_EXAMPLE, ROOT

from quadrat.cluster.cli.main import cli
from quadrat.strategies import PluginError, Registry, Strategy, StrategyError, available, load

GOOD = """
from dataclasses import dataclass
from quadrat.strategies import Selection, Strategy
@dataclass(frozen=True, kw_only=True)
class First(Strategy):
    name = "first"
    def _select(self, pool, budget, rng):
        return Selection.of(pool.candidates[:budget])
"""


def install(folder: Path, distribution: str, entry_points: dict[str, str], **modules: str) -> None:
    """Write what an installed distribution leaves: its modules and its metadata."""
    metadata = folder / f"{distribution.replace('-', '_')}-1.2.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.2\n")
    lines = [f"{name} = {value}" for name, value in entry_points.items()]
    (metadata / "entry_points.txt").write_text("\n".join(["[quadrat.strategies]", *lines, ""]))
    for name, source in modules.items():
        (folder / f"{name}.py").write_text(source)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "first_things", raising=False)
    return tmp_path


def test_shipped_strategies_are_registered_by_entry_points() -> None:
    plugins = available()
    shipped = {name for name, plugin in plugins.items() if plugin.distribution == "quadrat"}
    assert {"random", "entropy", "core-set", "entropy-spatial"} <= shipped
    assert all(plugins[name].error is None for name in shipped)
    assert plugins["random"].value == "quadrat.strategies.uniform:Random"


def test_an_installed_plugin_is_found_listed_and_loaded(site: Path) -> None:
    install(site, "first-things", {"first": "first_things:First"}, first_things=GOOD)
    plugin = available()["first"]
    assert (plugin.distribution, plugin.version, plugin.error) == ("first-things", "1.2", None)
    assert isinstance(load("first"), Strategy)


def test_an_unknown_name_lists_the_known_ones_and_the_closest() -> None:
    with pytest.raises(
        PluginError,
        match=r"unknown strategy 'entropi'; did you mean 'entropy'\? known: .*core-set, ensemble-entropy, ent",
    ):
        load("entropi")


def test_an_unknown_parameter_lists_the_known_ones_and_the_closest() -> None:
    with pytest.raises(StrategyError, match=r"no parameter 'cutof'; did you mean 'cutoff'\? known: cutoff, d2_d1"):
        load("entropy-spatial", cutof=2)


def test_a_broken_plugin_raises_its_own_error_and_hides_no_other(site: Path) -> None:
    install(site, "broken-things", {"broken": "broken_things:Broken"}, broken_things="import no_such_module_at_all\n")
    install(site, "first-things", {"first": "first_things:First"}, first_things=GOOD)
    with pytest.raises(
        PluginError, match=r"'broken' .*of broken-things 1.2 can't be imported: ModuleNotFoundError"
    ) as info:
        load("broken")
    assert isinstance(info.value.__cause__, ModuleNotFoundError)
    plugins = available()
    assert "no_such_module_at_all" in (plugins["broken"].error or "")
    assert plugins["first"].error is None and plugins["random"].error is None


def test_a_plugin_without_the_attribute_is_broken(site: Path) -> None:
    install(site, "first-things", {"first": "first_things:Frist"}, first_things=GOOD)
    with pytest.raises(PluginError, match=r"AttributeError.*Frist"):
        load("first")


def test_two_distributions_with_one_name_are_both_named(site: Path) -> None:
    install(site, "first-things", {"first": "first_things:First"}, first_things=GOOD)
    install(site, "other-things", {"first": "first_things:First"})
    message = "'first' is offered by first-things 1.2 and other-things 1.2; uninstall one"
    with pytest.raises(PluginError, match=message):
        load("first")
    assert message in (available()["first"].error or "")
    assert load("random").name == "random"


def test_an_object_that_is_not_a_strategy_is_refused(site: Path) -> None:
    install(site, "first-things", {"first": "first_things:dataclass"}, first_things=GOOD)
    with pytest.raises(PluginError, match=r"expected a subclass of quadrat.strategies.Strategy"):
        load("first")


def test_a_strategy_with_another_name_is_refused(site: Path) -> None:
    install(site, "first-things", {"second": "first_things:First"}, first_things=GOOD)
    with pytest.raises(PluginError, match="calls itself 'first'; its class attribute `name` must be 'second'"):
        load("second")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('    name = "first"\n', "", "has no class attribute `name`; add `name: ClassVar\\[str\\] = 'first'`"),
        ("def _select(", "def _selct(", "defines no method `_select`"),
        ('"first"\n', '"first"\n    need = None\n', "defines `need`, which nothing reads; did you mean `needs`"),
        ('"first"\n', '"first"\n    spaces = {}\n', "defines `spaces`, which nothing reads; did you mean `space`"),
    ],
)
def test_a_class_that_cannot_work_is_broken_from_the_list_on(site: Path, old: str, new: str, message: str) -> None:
    assert old in GOOD
    install(site, "first-things", {"first": "first_things:First"}, first_things=GOOD.replace(old, new, 1))
    with pytest.raises(PluginError, match=message) as raised:
        load("first")
    assert available()["first"].error == str(raised.value)
    listed = CliRunner().invoke(cli, ["list", "strategies"], env={"COLUMNS": "300"})
    assert listed.exit_code == 0 and "BROKEN" in listed.stdout


def test_an_empty_group_has_no_names() -> None:
    registry = Registry(group="quadrat.nothing-of-the-kind", kind="thing")
    assert registry.names() == [] and registry.listing() == []
    with pytest.raises(PluginError, match="unknown thing 'x'; known: none"):
        registry.get("x")


@pytest.mark.parametrize("name", ["quadrat_checkerboard.py", "pyproject.toml", "test_checkerboard.py"])
def test_the_readme_shows_the_example_plugin_as_it_is(name: str) -> None:
    readme = ROOT / "strategies" / "README.md"
    assert f"```\n{(PLUGIN_EXAMPLE / name).read_text()}```" in readme.read_text().replace("```python", "```").replace(
        "```toml", "```"
    )


def test_importing_the_strategies_imports_nothing_heavy() -> None:
    heavy = {"torch", "faiss", "ray", "optuna", "mlflow", "scipy", "pytest"}
    code = (
        "import sys, quadrat.strategies as s; s.load('entropy-feature-spatial'); "
        f"assert not {heavy!r} & set(sys.modules), {heavy!r} & set(sys.modules)"
    )
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(path for path in sys.path if path))
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
