"""The leaderboard: several results folders on one HTML page, its tables and figures as files beside it."""

import csv
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import vl_convert
from markupsafe import Markup

from quadrat.benchmark.analysis.leaderboard import Leaderboard
from quadrat.benchmark.analysis.measures import PRIMARY_COSTS
from quadrat.benchmark.reporting.figures.standings import gains_by_setting
from quadrat.benchmark.reporting.figures.style import unchecked
from quadrat.benchmark.reporting.files import FOLDER, write_figures, write_tables
from quadrat.benchmark.reporting.formatting import filled
from quadrat.benchmark.reporting.leaderboard_sentences import (
    leaderboard_caveats,
    leaderboard_headline,
    leaderboard_ranks,
)
from quadrat.benchmark.reporting.rendering import locked_folder, read_template, script_json, template_environment
from quadrat.benchmark.reporting.tables.export import csv_text, to_text
from quadrat.benchmark.reporting.tables.leaderboard import leaderboard_tables, standings_table
from quadrat.benchmark.reporting.tables.primary import SHORT_TITLES
from quadrat.benchmark.reporting.vega import VEGA_LITE
from quadrat.benchmark.results.palette import looks_of
from quadrat.benchmark.results.trials import Results
from quadrat.benchmark.storage.atomic import atomic_write

__all__ = ["leaderboard_text", "write_leaderboard"]

_LEFT_OUT = "Gain over Random in points of mIoU. Trials and relative areas: on the page."


def write_leaderboard(found: Leaderboard, folders: Mapping[str, Results], out_dir: Path) -> Path:
    """Write the page of a leaderboard and return it; tables (CSV, LaTeX) and figures (SVG, PDF) lie in `files`.

    `areas-by-seed.csv` has every number behind it: a line for each setting, strategy, seed and cost.

    Args:
        found: The comparison.
        folders: Name -> contents of a results folder.
        out_dir: Where to write.

    Raises:
        ResultsError: When the page can't be written.
    """
    tables = leaderboard_tables(found, folders)
    with unchecked():
        figures = {
            f"gains-{cost.key}": spec for cost in PRIMARY_COSTS if (spec := gains_by_setting(found, cost)) is not None
        }
    svgs = {name: vl_convert.vegalite_to_svg(spec, vl_version=VEGA_LITE) for name, spec in figures.items()}
    page = (
        template_environment()
        .get_template("leaderboard.html.j2")
        .render(
            found=found,
            folders=folders,
            headline=leaderboard_headline(found),
            sentences=leaderboard_ranks(found),
            caveats=leaderboard_caveats(found, folders),
            tables=tables,
            looks=looks_of({line.name: line.entry.strategy for line in found.standings}),
            costs=PRIMARY_COSTS,
            titles=SHORT_TITLES,
            figures={name: Markup(svg) for name, svg in svgs.items()},  # Vega escapes the texts in it
            figure_names=tuple(figures),
            data_sets=sorted({setting.data_set for setting in found.found.settings}),
            file_folder=FOLDER,
            data=script_json(_data(found)),
            style=Markup(read_template("style.css")),  # ours, no user text in it
            script=Markup("\n".join(map(read_template, ("hash.js", "tables.js", "leaderboard.js")))),
        )
    )
    out_dir = Path(out_dir)
    with locked_folder(out_dir):
        write_tables(out_dir / FOLDER, tables.values())
        write_figures(out_dir / FOLDER, figures)
        atomic_write(out_dir / FOLDER / "areas-by-seed.csv", _areas_csv(found).encode())
        atomic_write(out_dir / "index.html", page.encode())
    return out_dir / "index.html"


def _data(found: Leaderboard) -> dict[str, Any]:
    """Return what the page filters by: data set and strategies of each setting, and who is ranked."""
    return {
        "settings": {
            setting.name: {"data_set": setting.data_set, "strategies": [found.name(entry) for entry in setting.trials]}
            for setting in found.found.settings
        },
        "ranked": [found.name(entry) for entry in found.ranked],
    }


def leaderboard_text(found: Leaderboard, folders: Mapping[str, Results], columns: int | None = None) -> str:
    """Return the leaderboard for a terminal: sentences, table, what is kept apart, limitations.

    Args:
        found: The comparison.
        folders: Name -> contents of a results folder.
        columns: Width of the terminal; without one a paragraph is a line. Where the table is wider, it has fewer
            columns, and says which are left out.
    """

    def lines() -> Iterator[str]:
        yield from filled(leaderboard_headline(found), columns)
        for sentence in leaderboard_ranks(found, with_means=False):
            yield from filled(sentence, columns)
        if found.standings:
            table = to_text(standings_table(found))
            if columns is not None and max(map(len, table.splitlines())) > columns:
                table = to_text(standings_table(found, is_brief=True), columns)
                table += "\n".join(filled(_LEFT_OUT, columns)) + "\n"
            yield from ("", *table.splitlines(), "")
        for sentence in found.found.kept_apart:
            yield from filled(f"- {sentence}", columns)
        for sentence in leaderboard_caveats(found, folders):
            yield from filled(f"! {sentence}", columns)

    return "\n".join(lines()) + "\n"


def _areas_csv(found: Leaderboard) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(
        ["setting", "data set", "strategy", "registered name", "parameters", "seed", "cost", "from", "to", "area",
         "minus Random", "full supervision"]
    )  # fmt: skip
    for cost in PRIMARY_COSTS:
        for areas in found.areas[cost.key].values():
            for line in found.standings:
                gains = areas.gains(line.entry)
                for seed, value in areas.by_entry.get(line.entry, {}).items():
                    names = map(csv_text, (areas.setting.name, areas.setting.data_set, line.name, *line.entry))
                    writer.writerow(
                        [*names, seed, cost.key, areas.low, areas.high, value, gains.get(seed, ""),
                         "" if areas.full_supervision is None else areas.full_supervision]
                    )  # fmt: skip
    return buffer.getvalue()
