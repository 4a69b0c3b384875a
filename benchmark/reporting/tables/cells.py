"""Cells, rows and tables as plain text, ready for HTML, CSV, LaTeX and Markdown."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

__all__ = ["Cell", "NamedTable", "Row", "Table", "best_marked"]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One cell.

    Attributes:
        text: Its content.
        is_best: Whether it holds the highest value it is compared with; printed in bold.
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
        cells: One per column; full supervision has one for all of them.
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
        by_round: Whether the columns are the rounds, so that the page can head them with another cost.
    """

    corner: str
    columns: tuple[str, ...]
    subheads: tuple[str, ...] = ()
    rows: tuple[Row, ...]
    by_round: bool = False


@dataclass(frozen=True, kw_only=True)
class NamedTable:
    """A table of the report.

    Attributes:
        name: Of its files.
        caption: What it shows.
        table: The cells.
        kind: How the page draws it: "", "heat", or "heat total" with a last row that sums up the others.
    """

    name: str
    caption: str
    table: Table
    kind: str = ""


def best_marked(cells: Sequence[Cell], values: Sequence[float | None], *, digits: int) -> tuple[Cell, ...]:
    """Return `cells` with the highest marked: all that are equal as printed, unless all are (a shared round 0)."""
    printed = [None if value is None else round(value, digits) for value in values]
    candidates = {value for value in printed if value is not None}
    if len(candidates) < 2:
        return tuple(cells)
    best = max(candidates)
    return tuple(replace(cell, is_best=value == best) for cell, value in zip(cells, printed, strict=True))
