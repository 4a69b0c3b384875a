"""Tables as files: CSV that a program reads, LaTeX that compiles, Markdown that a README shows."""

import csv
import io

from markdown_it import MarkdownIt  # comes with rich

from quadrat.benchmark.reporting.formatting import ABSENT
from quadrat.benchmark.reporting.tables.cells import Cell, Row, Table
from quadrat.benchmark.reporting.tables.export import to_csv, to_latex, to_markdown, to_text

TABLE = Table(
    corner="strategy",
    columns=("500", "1,000"),
    subheads=("0.5 %", "0.9 %"),
    rows=(
        Row(label="a_b", cells=(Cell(text="38.6 (1.7)"), Cell(text="41.8 (1.1)", is_best=True))),
        Row(label="c|d & e", cells=(Cell(text=ABSENT), Cell(text="40.0", note="2 of 3 seeds"))),
        Row(label="full-supervision", cells=(Cell(text="53.1"),), is_full_supervision=True),
    ),
)


def test_csv_reads_back_with_full_supervision_in_the_last_column() -> None:
    rows = list(csv.reader(io.StringIO(to_csv(TABLE))))
    assert rows[0] == ["strategy", "500 (0.5 %)", "1,000 (0.9 %)"]
    assert rows[1] == ["a_b", "38.6 (1.7)", "41.8 (1.1)"]
    assert rows[2] == ["c|d & e", ABSENT, "40.0 [2 of 3 seeds]"]
    assert rows[3] == ["full-supervision", "", "53.1"]


def test_latex_is_a_booktabs_table_with_everything_escaped_and_the_best_bold() -> None:
    lines = to_latex(TABLE, "100 % of it").splitlines()
    assert r"\caption{100 \% of it}" in lines
    assert r"\begin{tabular}{lrr}" in lines
    assert [line for line in lines if line.endswith("rule")] == [r"\toprule", r"\midrule", r"\midrule", r"\bottomrule"]
    assert r"a\_b & 38.6 (1.7) & \textbf{41.8 (1.1)} \\" in lines
    assert r"c|d \& e & -- & 40.0 [2 of 3 seeds] \\" in lines
    assert r" & 0.5 \% & 0.9 \% \\" in lines


def test_every_line_of_a_latex_table_has_as_many_cells_as_columns() -> None:
    body = [line for line in to_latex(TABLE, "x").replace(r"\&", "").splitlines() if line.endswith(r"\\")]
    assert {line.count("&") for line in body} == {2}


def test_markdown_has_bold_best_and_two_line_heads() -> None:
    assert to_markdown(TABLE).splitlines() == [
        "| strategy | 500<br>0.5 % | 1,000<br>0.9 % |",
        "|---|---|---|",
        "| a_b | 38.6 (1.7) | **41.8 (1.1)** |",
        f"| c\\|d & e | {ABSENT} | 40.0 [2 of 3 seeds] |",
        "| full-supervision |  | 53.1 |",
    ]


HOSTILE = '=HYPERLINK("http://x","y") | [a](javascript:x) <img src=x onerror=y> **b** `c` _d_ &lt; \\\n# e'


def hostile_table() -> Table:
    row = Row(label=HOSTILE, cells=(Cell(text=HOSTILE, note=HOSTILE),))
    return Table(corner="strategy", columns=(HOSTILE,), subheads=(HOSTILE,), rows=(row,))


def test_no_text_of_a_table_is_a_formula_of_a_spreadsheet() -> None:
    assert {cell[:2] for line in csv.reader(io.StringIO(to_csv(hostile_table()))) for cell in line} == {"st", "'="}
    texts = ("=1", "+x", "-x", "@x", "\tx", "=a!A1", "-1.2", "+0.5 (0.1)", "\N{MINUS SIGN}3", "3", "core-set")
    rows = tuple(Row(label=text, cells=(Cell(text=""),)) for text in texts)
    read = list(csv.reader(io.StringIO(to_csv(Table(corner="", columns=("",), rows=rows)))))[1:]
    assert [label for label, _ in read] == [f"'{text}" for text in texts[:6]] + list(texts[6:])


def test_markdown_shows_any_text_as_it_is() -> None:
    """By a Markdown parser that is not ours: the cells hold text alone, and all of it."""
    parser = MarkdownIt("commonmark", {"html": True}).enable("table").enable("strikethrough")
    inline = [token for token in parser.parse(to_markdown(hostile_table())) if token.type == "inline"]
    kinds = {child.type for token in inline for child in token.children or ()}
    assert kinds <= {"text", "text_special", "html_inline", "softbreak"}
    shown = ["".join(child.content for child in token.children or ()) for token in inline]
    plain = " ".join(HOSTILE.split())
    assert shown == ["strategy", f"{plain}<br>{plain}", plain, f"{plain} [{plain}]"]


WIDE = Table(
    corner="strategy",
    columns=("mean rank (pixels)", "gain over Random", "share"),
    rows=(
        Row(label="core-set", cells=(Cell(text="1.00"), Cell(text="+2.85"), Cell(text="106.1"))),
        Row(label="random", cells=(Cell(text="2.00"), Cell(text="+0.00"), Cell(text="100.0"))),
    ),
)


def test_a_text_that_fits_has_its_heads_in_a_line() -> None:
    one_line = "strategy  mean rank (pixels)  gain over Random  share"
    assert to_text(WIDE, len(one_line)).splitlines()[0] == to_text(WIDE).splitlines()[0] == one_line


def test_in_a_narrow_terminal_the_heads_take_several_lines_before_the_columns_are_divided() -> None:
    heads = ["strategy  mean      gain    share", "          rank      over", "          (pixels)  Random"]
    rows = ["core-set  1.00      +2.85   106.1", "random    2.00      +0.00   100.0"]
    assert to_text(WIDE, 40).splitlines() == [*heads, *rows]
    first, second = to_text(WIDE, 32).split("\n\n")
    assert first.splitlines() == [line[:26].rstrip() for line in [*heads, *rows]]
    assert second.splitlines() == ["strategy  share", "core-set  106.1", "random    100.0"]  # no line of empty heads
