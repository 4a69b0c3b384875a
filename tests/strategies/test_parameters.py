"""`quadrat list strategies NAME`: each parameter with default, search range, meaning; the sources."""

from dataclasses import dataclass, fields

import pytest
from click.testing import CliRunner

from quadrat.cluster.cli.main import cli
from quadrat.strategies import Strategy, available
from quadrat.strategies.parameters import describe, references
from quadrat.strategies.registry import STRATEGIES


@dataclass(frozen=True, kw_only=True)
class Parent(Strategy):
    """Two parameters."""

    name = "parent"
    first: int = 3
    """The first
    of two."""
    silent: str = "x"


@dataclass(frozen=True, kw_only=True)
class Child(Parent):
    """One more, and another default."""

    name = "child"
    first: int = 4
    needed: float
    """Must be given."""


def test_meanings_are_inherited_and_defaults_are_the_nearest_class_s() -> None:
    found = {item.name: (item.type, item.default, item.searched, item.meaning) for item in describe(Child)}
    assert found == {
        "first": ("int", "4", "", "The first of two."),
        "silent": ("str", "'x'", "", ""),
        "needed": ("float", None, "", "Must be given."),
    }


@pytest.mark.parametrize("name", sorted(name for name, found in available().items() if found.distribution == "quadrat"))
def test_each_parameter_of_a_shipped_strategy_has_a_meaning(name: str) -> None:
    strategy = STRATEGIES.get(name)
    described = describe(strategy)
    assert [item.name for item in described] == [item.name for item in fields(strategy)]
    assert [item.name for item in described if not item.meaning] == []
    assert {item.name for item in described if item.searched} == set(strategy.space)


def test_the_references_are_those_of_the_module() -> None:
    assert references(STRATEGIES.get("core-set")).startswith('[Cai2021] L. Cai et al. "Exploring')
    assert references(Child) == ""


def test_list_strategies_name_shows_its_parameters() -> None:
    shown = CliRunner().invoke(cli, ["list", "strategies", "entropy-spatial"])
    assert shown.exit_code == 0
    line = next(line for line in shown.stdout.splitlines() if line.startswith("cutoff"))
    assert "1.5" in line and "d_c: regions of one image nearer than this" in line
    assert "[Cai2021]" in shown.stdout and "signals: entropy" in shown.stdout


def test_an_unknown_strategy_is_named_with_the_closest_one() -> None:
    shown = CliRunner().invoke(cli, ["list", "strategies", "entropi"])
    assert shown.exit_code == 2 and "did you mean 'entropy'" in shown.stderr


def test_a_name_is_refused_where_nothing_more_is_known() -> None:
    shown = CliRunner().invoke(cli, ["list", "suites", "quickstart"])
    assert shown.exit_code == 2 and "quadrat show quickstart" in shown.stderr
