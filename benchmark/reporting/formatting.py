"""Numbers and lists as text, the same way in sentences, tables and captions."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from quadrat.benchmark.analysis.measures import FRACTION, Cost

if TYPE_CHECKING:  # they need scipy, which commands that write no report do without
    from quadrat.benchmark.analysis.label_efficiency import CostInterval
    from quadrat.benchmark.analysis.statistics import Difference, Summary

__all__ = [
    "ABSENT",
    "cost",
    "cost_interval",
    "counted",
    "filled",
    "interval",
    "listed",
    "mean_std",
    "number",
    "p_equals",
    "p_value",
    "parameter",
    "percent",
    "seconds",
    "signed",
]

ABSENT = "\N{EN DASH}"
"""Text of a cell without a value."""
_NO_BREAK = "\N{NO-BREAK SPACE}"  # at which textwrap breaks no line


def mean_std(summary: Summary, digits: int) -> str:
    """Return "mean (std)", or the mean alone when there is one value."""
    mean = f"{summary.mean:.{digits}f}"
    return mean if summary.std is None else f"{mean} ({summary.std:.{digits}f})"


def number(value: float) -> str:
    """Return a number with two significant digits below 10, whole and with thousands grouped from 10 on.

    Examples:
        >>> number(3.27), number(5.0), number(42.16), number(55700.4)
        ('3.3', '5.0', '42', '55,700')
    """
    return f"{value:,.0f}" if value >= 9.95 or value == 0 else f"{value:#.2g}"


def counted(num: int, what: str, several: str | None = None) -> str:
    """Return a number of things; `several` names them where that is not `what` with an s.

    Examples:
        >>> counted(1, "seed"), counted(3, "seed"), counted(2, "strategy", "strategies")
        ('1 seed', '3 seeds', '2 strategies')
    """
    return f"{num} {what if num == 1 else several or f'{what}s'}"


def signed(value: float) -> str:
    """Return `value` with two digits and a typographic sign."""
    return f"{value:+.2f}".replace("-", "\N{MINUS SIGN}")


def percent(fraction: float) -> str:
    """Return a fraction as whole percent.

    Examples:
        >>> percent(0.95)
        '95 %'
    """
    return f"{100 * fraction:.0f} %"


def cost(value: float, kind: Cost) -> str:
    """Return a cost with its unit where that is percent; counts are whole."""
    return f"{number(value)} %" if kind == FRACTION else f"{value:,.0f}"


def cost_interval(found: CostInterval, show: Callable[[float], str]) -> str:
    """Return the interval of a cost; an open end is written as a bound.

    Examples:
        >>> from quadrat.benchmark.analysis.label_efficiency import CostInterval
        >>> cost_interval(CostInterval(low=3.14, high=None), lambda value: f"{number(value)} %")
        '≥ 3.1 %'
    """
    if found.low is None and found.high is None:
        return "any cost"
    if found.high is None:
        return f"\N{GREATER-THAN OR EQUAL TO} {show(found.low or 0.0)}"
    if found.low is None:
        return f"\N{LESS-THAN OR EQUAL TO} {show(found.high)}"
    return f"{show(found.low)} to {show(found.high)}"


def interval(difference: Difference) -> str:
    """Return the confidence interval of a tested difference, as "low to high"."""
    assert difference.half_width is not None
    mean = difference.summary.mean
    return f"{signed(mean - difference.half_width)} to {signed(mean + difference.half_width)}"


def seconds(value: float) -> str:
    """Return seconds with two digits below 1, one below 10, and whole ones from 10 on."""
    if value < 0.01:
        return "< 0.01"
    return f"{value:.2f}" if value < 1 else f"{value:.1f}" if value < 10 else f"{value:,.0f}"


def parameter(value: object) -> str:
    """Return the value of a strategy's parameter, floats with three significant digits."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def p_value(value: float) -> str:
    """Return a p-value with three digits."""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def p_equals(value: float) -> str:
    """Return a p-value with its name.

    Examples:
        >>> p_equals(0.0321), p_equals(1e-5)
        ('p = 0.032', 'p < 0.001')
    """
    text = p_value(value)
    return f"p {text}" if text.startswith("<") else f"p = {text}"


def listed(items: Sequence[str], separator: str = ", ") -> str:
    """Return `items` as words.

    Examples:
        >>> listed(["a"]), listed(["a", "b"]), listed(["a", "b", "c"])
        ('a', 'a and b', 'a, b and c')
    """
    return items[0] if len(items) == 1 else f"{separator.join(items[:-1])} and {items[-1]}"


def filled(text: str, columns: int | None) -> list[str]:
    """Return a paragraph as lines of that width, those of an item indented; a line that fits stays as it is.

    A number and its % stay in one line.

    Args:
        text: The paragraph.
        columns: Width of the terminal; without one it is a line.

    Examples:
        >>> filled("- in 95 % of them", 8)
        ['- in', '  95 %', '  of', '  them']
    """
    if columns is None or len(text) <= columns:
        return [text]
    indent = "  " if text.startswith(("- ", "! ")) else ""
    kept = re.sub(r"(?<=\d) (?=%)", _NO_BREAK, text)
    lines = textwrap.wrap(kept, columns, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return [line.replace(_NO_BREAK, " ") for line in lines]
