"""What a strategy's parameters mean: the strings after its fields, which Python drops, read from the source."""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from dataclasses import MISSING, dataclass, fields
from typing import TYPE_CHECKING, Any

from quadrat.strategies.base import Strategy

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

__all__ = ["Parameter", "describe", "references", "show_distribution"]


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One parameter of a strategy."""

    name: str
    """Name of the field."""
    type: str
    """Its annotation, as written."""
    default: str | None
    """Its default as Python writes it, None where a value must be given."""
    searched: str
    """What a study searches by default, empty for nothing."""
    meaning: str
    """The string after the field, empty where there is none or the source is not at hand."""


def describe(strategy: type[Strategy]) -> list[Parameter]:
    """Return the parameters of a strategy in the order of its fields, inherited ones first.

    A meaning is that of the nearest class, in the order of method resolution, that says one.
    """
    meanings: dict[str, str] = {}
    for parent in strategy.__mro__:
        for name, meaning in _meanings(parent).items():
            meanings.setdefault(name, meaning)
    return [
        Parameter(
            name=item.name,
            type=str(item.type if isinstance(item.type, str) else getattr(item.type, "__name__", item.type)),
            default=None if item.default is MISSING else repr(item.default),
            searched=show_distribution(strategy.space[item.name]) if item.name in strategy.space else "",
            meaning=meanings.get(item.name, ""),
        )
        for item in fields(strategy)
    ]


def references(strategy: type[Strategy]) -> str:
    """Return the section "References" of the module that defines a strategy, empty where it has none."""
    text = inspect.cleandoc(sys.modules[strategy.__module__].__doc__ or "")
    _, found, section = text.partition("References:\n")
    return textwrap.dedent(section.partition("\n\n")[0]).strip() if found else ""


def _meanings(owner: type[Any]) -> dict[str, str]:
    """Return the string after each annotated field of a class, on one line."""
    try:
        source = textwrap.dedent(inspect.getsource(owner))
    except (OSError, TypeError):  # a class of C, or defined where no source is kept
        return {}
    body = ast.parse(source).body[0]
    assert isinstance(body, ast.ClassDef)
    found = {}
    for field, after in zip(body.body, body.body[1:], strict=False):
        if not (isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)):
            continue
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) and isinstance(after.value.value, str):
            found[field.target.id] = " ".join(after.value.value.split())
    return found


def show_distribution(distribution: BaseDistribution) -> str:
    """Return the bounds or the choices of one dimension of a space, as text."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(distribution, CategoricalDistribution):
        return "one of " + ", ".join(map(str, distribution.choices))
    assert isinstance(distribution, FloatDistribution | IntDistribution), f"unknown distribution {distribution}"
    log = ", logarithmic" if distribution.log else ""
    step = "" if distribution.step in (None, 1) else f" in steps of {distribution.step:g}"
    return f"{distribution.low:g} to {distribution.high:g}{log}{step}"
