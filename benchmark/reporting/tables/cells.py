"""Cells, rows and tables as plain text, ready for HTML as for other formats; how numbers are written."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from quadrat.benchmark.analysis.statistics import Summary

__all__ = [
    "ABSENT",
    "Cell",
    "Row",
    "Table",
    "best_marked",
    "interval",
    "mean_std",
    "number",
    "p_value",
    "show_seconds",
    "signed",
]

ABSENT = "\N{EN DASH}"
"""What stands in a cell that has no value."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One cell.

    Attributes:
        text: What it says.
        is_best: Whether it holds the highest value it is compared with.
        note: A short remark, such as seeds that are missing.
        shade: 0 (light) to 1 (dark) in a heat table; None elsewhere.
    """

    text: str
    is_best: bool = False
    note: str = ""
    shade: float | None = None


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row.

    Attributes:
        label: Its head: a strategy, or a class in the table of classes.
        cells: One per column; the reference has one for all of them.
        is_full_supervision: Whether it is full supervision, which has no budget.
    """

    label: str
    cells: tuple[Cell, ...]
    is_full_supervision: bool = False


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table.

    Attributes:
        corner: Head of the column of row labels.
        columns: Heads of the other columns.
        subheads: A second line under each head; empty when there is none.
        rows: The rows.
    """

    corner: str
    columns: tuple[str, ...]
    subheads: tuple[str, ...] = ()
    rows: tuple[Row, ...]


def best_marked(cells: Sequence[Cell], values: Sequence[float | None], *, digits: int) -> tuple[Cell, ...]:
    """Return `cells` with the highest marked: all that are equal as printed, unless all are (a shared round 0)."""
    printed = [None if value is None else round(value, digits) for value in values]
    candidates = {value for value in printed if value is not None}
    if len(candidates) < 2:
        return tuple(cells)
    best = max(candidates)
    return tuple(replace(cell, is_best=value == best) for cell, value in zip(cells, printed, strict=True))


def mean_std(summary: Summary, digits: int) -> str:
    """Return "mean (std)", or the mean alone when there is one value."""
    mean = f"{summary.mean:.{digits}f}"
    return mean if summary.std is None else f"{mean} ({summary.std:.{digits}f})"


def number(value: float) -> str:
    """Return a cost with two significant digits while it is small, whole and grouped from 100 on.

    Examples:
        >>> number(3.27), number(42.16), number(55700.4)
        ('3.3', '42', '55,700')
    """
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def signed(value: float) -> str:
    """Return `value` with two digits and a typographic sign."""
    return f"{value:+.2f}".replace("-", "\N{MINUS SIGN}")


def interval(summary: Summary) -> str:
    """Return the confidence interval of a mean of at least two values, as "low to high"."""
    assert summary.half_width is not None
    return f"{signed(summary.mean - summary.half_width)} to {signed(summary.mean + summary.half_width)}"


def show_seconds(value: float) -> str:
    """Return seconds with two significant digits while they are few, whole ones from ten on."""
    if value < 0.01:
        return "< 0.01"
    return f"{value:.2f}" if value < 1 else f"{value:.1f}" if value < 10 else f"{value:,.0f}"


def p_value(value: float) -> str:
    """Return a p-value with three digits."""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
