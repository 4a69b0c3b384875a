"""Validation of parameter values; messages say what was expected and what was given."""

from __future__ import annotations

import math
from collections.abc import Sequence

from quadrat.strategies.errors import StrategyError

__all__ = ["check_choice", "check_count", "check_number", "check_signal"]


def check_number(
    strategy: str, parameter: str, value: object, *, low: float = -math.inf, high: float = math.inf, why: str = ""
) -> None:
    """Refuse anything but a finite number from ``low`` to ``high``, both included."""
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not (number and low <= float(value) <= high):  # type: ignore[arg-type]
        raise StrategyError(f"{strategy}: {parameter} must be {_interval(low, high)}{why}, got {value!r}")


def check_count(strategy: str, parameter: str, value: object, *, low: int = 1) -> None:
    """Refuse anything but a whole number of at least ``low``."""
    if not isinstance(value, int) or isinstance(value, bool) or value < low:
        raise StrategyError(f"{strategy}: {parameter} must be a whole number of at least {low}, got {value!r}")


def check_choice(strategy: str, parameter: str, value: object, choices: Sequence[object]) -> None:
    """Refuse anything but one of ``choices``."""
    if value not in choices or isinstance(value, bool):
        raise StrategyError(f"{strategy}: {parameter} must be one of {', '.join(map(repr, choices))}, got {value!r}")


def check_signal(strategy: str, parameter: str, value: object) -> None:
    """Refuse anything but a non-empty string; whether the signal exists is checked when it is computed."""
    if not isinstance(value, str) or not value:
        raise StrategyError(f"{strategy}: {parameter} must be the name of a signal, got {value!r}")


def _interval(low: float, high: float) -> str:
    if math.isinf(high):
        return "a finite number" if math.isinf(low) else f"a number of at least {low:g}"
    return f"a number from {low:g} to {high:g}"
