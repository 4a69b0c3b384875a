"""Numbers and lists as text, the same way in sentences, tables and captions."""

from collections.abc import Sequence

from quadrat.benchmark.analysis.measures import FRACTION, Cost
from quadrat.benchmark.analysis.statistics import Summary

__all__ = [
    "ABSENT",
    "cost",
    "interval",
    "listed",
    "mean_std",
    "number",
    "p_value",
    "parameter",
    "percent",
    "seconds",
    "signed",
]

ABSENT = "\N{EN DASH}"
"""Text of a cell without a value."""


def mean_std(summary: Summary, digits: int) -> str:
    """Return "mean (std)", or the mean alone when there is one value."""
    mean = f"{summary.mean:.{digits}f}"
    return mean if summary.std is None else f"{mean} ({summary.std:.{digits}f})"


def number(value: float) -> str:
    """Return a number with two significant digits below 10, whole and with thousands grouped from 10 on.

    Examples:
        >>> number(3.27), number(42.16), number(55700.4)
        ('3.3', '42', '55,700')
    """
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


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


def interval(summary: Summary) -> str:
    """Return the confidence interval of a mean of at least two values, as "low to high"."""
    assert summary.half_width is not None
    return f"{signed(summary.mean - summary.half_width)} to {signed(summary.mean + summary.half_width)}"


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


def listed(items: Sequence[str], separator: str = ", ") -> str:
    """Return `items` as words.

    Examples:
        >>> listed(["a"]), listed(["a", "b"]), listed(["a", "b", "c"])
        ('a', 'a and b', 'a, b and c')
    """
    return items[0] if len(items) == 1 else f"{separator.join(items[:-1])} and {items[-1]}"
