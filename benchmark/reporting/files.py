"""Files beside the page, for papers and slides: every figure as SVG and PDF, every table as CSV and LaTeX."""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import vl_convert

from quadrat.benchmark.analysis.measures import COSTS, Metric
from quadrat.benchmark.analysis.statistics import summarise, values_by_seed
from quadrat.benchmark.reporting.tables.cells import NamedTable
from quadrat.benchmark.reporting.tables.export import csv_text, to_csv, to_latex
from quadrat.benchmark.reporting.vega import VEGA_LITE
from quadrat.benchmark.results.trials import Results
from quadrat.benchmark.storage.atomic import atomic_write
from quadrat.benchmark.storage.names import is_part

__all__ = ["FOLDER", "write_figures", "write_files", "write_tables"]

FOLDER = "files"
"""Their folder, beside the page."""
_LIST = "files.json"
"""Beside that folder: what is in it, so that the next report can tell its own files from the user's."""
_ENDINGS = (".svg", ".pdf", ".csv", ".tex")


def write_files(
    folder: Path,
    figures: Mapping[str, dict[str, Any]],
    tables: Iterable[NamedTable],
    results: Results,
    metrics: Sequence[Metric],
) -> tuple[str, ...]:
    """Write figures, tables and the numbers behind the curves into `folder`, and return the names without endings.

    Args:
        folder: The folder to write.
        figures: Name -> Vega-Lite specification.
        tables: The tables of the page.
        results: For `learning-curves.csv`: one line per label, round and metric.
        metrics: The metrics in that file.
    """
    tables = tuple(tables)
    write_figures(folder, figures)
    write_tables(folder, tables)
    atomic_write(folder / "learning-curves.csv", _curves_csv(results, metrics).encode())
    names = (*figures, *(table.name for table in tables))
    _remove_earlier(folder, {f"{name}{ending}" for name in names for ending in _ENDINGS} | {"learning-curves.csv"})
    return names


def _remove_earlier(folder: Path, kept: set[str]) -> None:
    """Remove the files of an earlier report that this one does not have, which would be of other numbers.

    What is listed in `files.json` was written by a report; other files are the user's, and stay.
    """
    listed = folder.with_name(_LIST)
    try:
        earlier = json.loads(listed.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # the first report, or a list that was damaged: then its files stay
        earlier = []
    for name in earlier if isinstance(earlier, list) else ():
        if isinstance(name, str) and is_part(name) and name not in kept:
            (folder / name).unlink(missing_ok=True)
    there = sorted(name for name in kept if (folder / name).is_file())
    atomic_write(listed, json.dumps(there, indent=1).encode())


def write_figures(folder: Path, figures: Mapping[str, dict[str, Any]]) -> None:
    """Write figures, name -> Vega-Lite specification, as SVG and PDF."""
    for name, spec in figures.items():
        # White, since a README may be read on a dark page.
        svg = vl_convert.vegalite_to_svg({**spec, "background": "white"}, vl_version=VEGA_LITE)
        atomic_write(folder / f"{name}.svg", svg.encode())
        atomic_write(folder / f"{name}.pdf", vl_convert.svg_to_pdf(svg))


def write_tables(folder: Path, tables: Iterable[NamedTable]) -> None:
    """Write tables as CSV and LaTeX."""
    for table in tables:
        atomic_write(folder / f"{table.name}.csv", to_csv(table.table).encode())
        atomic_write(folder / f"{table.name}.tex", to_latex(table.table, table.caption).encode())


def _curves_csv(results: Results, metrics: Sequence[Metric]) -> str:
    costs = COSTS if results.records else ()
    spent = {cost.key: values_by_seed(results.records, cost) for cost in costs}
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["strategy", "round", *spent, "metric", "seeds", "mean", "std", "low", "high"])
    for metric in metrics:
        values = values_by_seed(results.records, metric)
        for label in results.labels:
            for round_, seeds in sorted(values.get(label, {}).items()):
                found = summarise(seeds.values())
                position = [summarise(of[label][round_].values()).mean for of in spent.values()]
                numbers = [found.num, found.mean, found.std, found.low, found.high]
                writer.writerow([csv_text(label), round_, *position, metric.key, *numbers])
    return buffer.getvalue()
