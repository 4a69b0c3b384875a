"""Tables as CSV, LaTeX (booktabs) and Markdown: the same cells as in the page."""

import csv
import io
import itertools
import textwrap
from collections.abc import Sequence
from typing import Final

from quadrat.benchmark.reporting.formatting import ABSENT
from quadrat.benchmark.reporting.tables.cells import Cell, Row, Table
from quadrat.benchmark.results.markdown import markdown

__all__ = ["csv_text", "to_csv", "to_latex", "to_markdown", "to_text"]

_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "\N{MINUS SIGN}": "$-$",
    ABSENT: "--",
    "±": r"$\pm$",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
}
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for the beginning of a formula."""
_NUMBER: Final = frozenset("0123456789.,%±+-\N{MINUS SIGN}\N{EN DASH} ()[]")


def to_csv(table: Table) -> str:
    """Return the table as CSV: one row a line, heads with their second line in brackets, notes in brackets.

    Texts that a spreadsheet would run as a formula, such as a label "=HYPERLINK(...)", begin with an apostrophe.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(map(csv_text, [table.corner, *_heads(table, " ({})")]))
    for row in table.rows:
        writer.writerow(map(csv_text, [row.label, *(_text(cell) for cell in _cells(table, row))]))
    return buffer.getvalue()


def to_text(table: Table, columns: int | None = None) -> str:
    """Return the table for a terminal: columns of equal width, one row a line, notes in brackets.

    Args:
        table: The table.
        columns: Width of the terminal. Where the table is wider, its heads take several lines; where it still is, its
            columns follow in blocks, each with the labels.
    """
    heads = [table.corner, *_heads(table, " ({})")]
    rows = [[row.label, *(_text(cell) for cell in _cells(table, row))] for row in table.rows]
    widths = [max(len(line[place]) for line in [heads, *rows]) for place in range(len(heads))]
    parts = [[head] for head in heads]
    if columns is not None and sum(widths) + 2 * (len(widths) - 1) > columns:
        widths = [
            max(len(part) for part in [*head.split(), *(row[place] for row in rows)])
            for place, head in enumerate(heads)
        ]
        parts = [textwrap.wrap(head, width, break_on_hyphens=False) for head, width in zip(heads, widths, strict=True)]
    blocks, used = [[0]], widths[0]
    for place in range(1, len(widths)):
        if columns is not None and len(blocks[-1]) > 1 and used + 2 + widths[place] > columns:
            blocks.append([0])
            used = widths[0]
        blocks[-1].append(place)
        used += 2 + widths[place]
    return "\n".join(_block(block, widths, parts, rows) for block in blocks)


def _block(
    block: Sequence[int], widths: Sequence[int], heads: Sequence[Sequence[str]], rows: Sequence[Sequence[str]]
) -> str:
    """Return some columns of a table as text, heads as high as those columns need."""
    lines = [
        *itertools.zip_longest(*(heads[place] for place in block), fillvalue=""),
        *([row[place] for place in block] for row in rows),
    ]
    return "".join(
        "  ".join(text.ljust(widths[place]) for place, text in zip(block, line, strict=True)).rstrip() + "\n"
        for line in lines
    )


def to_latex(table: Table, caption: str) -> str:
    """Return the table as a LaTeX `table` for the package booktabs; the best values are bold."""
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_latex(caption)}}}",
        rf"\begin{{tabular}}{{l{'r' * len(table.columns)}}}",
        r"\toprule",
        _latex_line([table.corner, *table.columns]),
        *([_latex_line(["", *table.subheads])] if any(table.subheads) else []),
        r"\midrule",
    ]
    for row in table.rows:
        if row.is_full_supervision:
            lines.append(r"\midrule")
        cells = [_bold(_latex(_text(cell)), cell.is_best, r"\textbf{{{}}}") for cell in _cells(table, row)]
        lines.append(" & ".join([_latex(row.label), *cells]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}", ""])


def to_markdown(table: Table) -> str:
    """Return the table as GitHub Markdown, texts escaped; the best values are bold.

    Examples:
        >>> one = Table(corner="class", columns=("a",), rows=(Row(label="x", cells=(Cell(text="1", is_best=True),)),))
        >>> print(to_markdown(one))
        | class | a |
        |---|---|
        | x | **1** |
        <BLANKLINE>
    """
    subheads = table.subheads or ("",) * len(table.columns)
    heads = [
        markdown(head) + (f"<br>{markdown(second)}" if second else "")
        for head, second in zip(table.columns, subheads, strict=True)
    ]
    lines = [_markdown_line([markdown(table.corner), *heads]), "|---" * (len(table.columns) + 1) + "|"]
    for row in table.rows:
        cells = [_bold(markdown(_text(cell)), cell.is_best, "**{}**") for cell in _cells(table, row)]
        lines.append(_markdown_line([markdown(row.label), *cells]))
    return "\n".join([*lines, ""])


def _heads(table: Table, second: str) -> list[str]:
    subheads = table.subheads or ("",) * len(table.columns)
    return [
        head + (second.format(subhead) if subhead else "")
        for head, subhead in zip(table.columns, subheads, strict=True)
    ]


def _cells(table: Table, row: Row) -> tuple[Cell, ...]:
    """Return as many cells as there are columns: the one cell of full supervision stands in the last."""
    return (*(Cell(text=""),) * (len(table.columns) - len(row.cells)), *row.cells)


def _text(cell: Cell) -> str:
    return f"{cell.text} [{cell.note}]" if cell.note else cell.text


def _bold(text: str, is_best: bool, mark: str) -> str:
    return mark.format(text) if is_best else text


def _latex(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in text)


def _latex_line(texts: Sequence[str]) -> str:
    return " & ".join(map(_latex, texts)) + r" \\"


def csv_text(text: str) -> str:
    """Return a text that no spreadsheet runs as a formula; a number stays as it is."""
    return f"'{text}" if text.startswith(_FORMULA) and not set(text) <= _NUMBER else text


def _markdown_line(texts: Sequence[str]) -> str:
    return "| " + " | ".join(texts) + " |"
