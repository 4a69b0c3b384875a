"""The report: one HTML page with everything in it, and its figures and tables as files beside it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from markupsafe import Markup

from quadrat.benchmark.analysis.analyse import over_cost
from quadrat.benchmark.analysis.measures import CLICKS, COSTS, FRACTION, MIOU, Cost, Metric
from quadrat.benchmark.analysis.pairwise import against
from quadrat.benchmark.analysis.statistics import Comparison
from quadrat.benchmark.reporting.figures.charts import (
    BANDS,
    axis_of,
    band_of,
    curve_rows,
    differences,
    is_doubling,
    learning_curves,
    metrics_shown,
    with_cost,
)
from quadrat.benchmark.reporting.figures.gains import gains
from quadrat.benchmark.reporting.figures.gallery import Gallery, draw_gallery
from quadrat.benchmark.reporting.figures.pictures import Unavailable, open_pool, read_selections
from quadrat.benchmark.reporting.figures.round_viewer import RoundViewer, draw_round_viewer
from quadrat.benchmark.reporting.figures.style import DRAWN_SEEDS, unchecked
from quadrat.benchmark.reporting.files import FOLDER, write_files
from quadrat.benchmark.reporting.provenance import all_settings, facts, strategy_settings
from quadrat.benchmark.reporting.rendering import locked_folder, read_template, script_json, template_environment
from quadrat.benchmark.reporting.study import study_section
from quadrat.benchmark.reporting.summary import ReportSummary, report_summary
from quadrat.benchmark.reporting.tables.cells import NamedTable
from quadrat.benchmark.reporting.tables.contents import tables_of
from quadrat.benchmark.reporting.tables.paper import PAPER
from quadrat.benchmark.reporting.tables.results import comparison_table, round_heads, steps_of
from quadrat.benchmark.reporting.vega import vega_script
from quadrat.benchmark.results.palette import Look, looks_of, round_colours
from quadrat.benchmark.results.trials import Results, read_results
from quadrat.benchmark.storage.atomic import atomic_write

__all__ = ["write_report"]

RANDOM: Final = "Random"
"""The baseline at first: for each strategy the Random with its region size."""


def write_report(
    results_dir: Path, out_dir: Path | None = None, *, cache_dir: Path | None = None, page_only: bool = False
) -> Path:
    """Write the report of a results folder, finished or not, and return the page.

    The page needs no network and no other file. Figures (SVG, PDF) and tables (CSV, LaTeX) lie in `files` beside it.

    Args:
        results_dir: What `quadrat run` wrote.
        out_dir: Where to write; by default `report` inside `results_dir`.
        cache_dir: Where else to look for the packed pool, whose images the galleries show.
        page_only: Leave `files` and the links to it out, for a page that is sent or published alone.

    Raises:
        ResultsError: When `results_dir` is not a results folder, is damaged, or the page can't be written.
    """
    results = read_results(Path(results_dir))
    folder = Path(results_dir) / "report" if out_dir is None else Path(out_dir)
    looks = looks_of(results.strategies, results.queries)
    found = report_summary(results)
    by_cost = [
        found.analysis if cost == FRACTION else over_cost(found.analysis, results, cost)
        for cost in (COSTS if results.records else ())
    ]
    tables = tables_of(results, by_cost)
    metrics = metrics_shown(results)
    with unchecked():
        figures = _figures(results, looks, found)
    page = folder / "index.html"
    selections, pool = read_selections(results), open_pool(results, cache_dir)
    gallery, viewer = draw_gallery(results, selections, pool), draw_round_viewer(results, selections, pool)
    with unchecked(), locked_folder(folder):
        if not page_only:
            write_files(folder / FOLDER, figures, tables.values(), results, metrics)
        files = None if page_only else FOLDER
        atomic_write(page, _render(results, looks, found, tables, metrics, figures, gallery, viewer, files).encode())
    return page


def _default_cost(results: Results) -> Cost:
    """Return the cost that the page shows at first: clicks where label types are compared, which they differ in."""
    return CLICKS if len({query.labels for query in results.queries.values()}) > 1 else FRACTION


def _figures(results: Results, looks: Mapping[str, Look], found: ReportSummary) -> dict[str, dict[str, Any]]:
    """Return the figures to be written beside the page: the learning curves over each cost, the differences."""
    if not results.records:
        return {}
    curves = learning_curves(results, looks, cost=COSTS[0], metric=MIOU, rows=curve_rows(results))
    figures = {f"learning-curves-{cost.key}": with_cost(curves, results, cost) for cost in COSTS}
    if (forest := gains(found.analysis.primary, looks)) is not None:
        figures["gains"] = forest
    if found.analysis.to_random:
        figures["difference-to-random"] = differences(found.analysis.to_random, looks, width=560)
    return figures


def _render(
    results: Results,
    looks: Mapping[str, Look],
    found: ReportSummary,
    tables: Mapping[str, NamedTable],
    metrics: Sequence[Metric],
    figures: Mapping[str, dict[str, Any]],
    gallery: Gallery | Unavailable,
    viewer: RoundViewer | None,
    file_folder: str | None,
) -> str:
    choices = _baselines(found)
    default_cost = _default_cost(results)
    recorded = {record.label for record in results.records}
    return (
        template_environment()
        .get_template("template.html.j2")
        .render(
            results=results,
            unfinished=[trial for trial in results.trials if trial.state != "done"],
            summary=found,
            facts=facts(results),
            settings=all_settings(results),
            strategies=strategy_settings(results),
            looks=looks,
            shown=[label for label in results.labels if label in recorded],
            drawn_seeds=DRAWN_SEEDS,
            file_folder=file_folder,
            bands=BANDS,
            band=band_of(results),
            baselines=tuple(choices),
            baseline_tables={
                label: tables["difference-to-random"] if label == RANDOM else _baseline_table(label, place, comparisons)
                for place, (label, comparisons) in enumerate(choices.items())
            },
            figure_names=tuple(figures),
            costs=COSTS if results.records else (),
            paper=PAPER,
            default_cost=default_cost,
            second_cost=FRACTION if default_cost == CLICKS else CLICKS,
            metrics=metrics,
            is_log=is_doubling(results),
            tables=tables,
            steps=steps_of(results),
            gallery=gallery,
            viewer=viewer,
            study=study_section(results),
            round_colours=round_colours(results.num_rounds),
            style=Markup(read_template("style.css")),  # ours, no user text in it
            script=Markup("\n".join(map(read_template, ("hash.js", "tables.js", "page.js", "round_viewer.js")))),
            vega=vega_script() if results.records else "",
            data=script_json(_data(results, looks, found, metrics, figures)),
            viewer_data=None if viewer is None else _viewer_json(viewer, results.num_rounds),
        )
    )


def _data(
    results: Results,
    looks: Mapping[str, Look],
    found: ReportSummary,
    metrics: Sequence[Metric],
    figures: Mapping[str, dict[str, Any]],
) -> dict[str, Any]:
    """Return what the page's scripts draw, and the axes that they may switch to; `figures` lie beside the page."""
    if not results.records:
        return {}
    return {
        "curves": learning_curves(
            results,
            looks,
            cost=_default_cost(results),
            metric=MIOU,
            with_legend=False,
            width="container",
            rows=figures[f"learning-curves-{COSTS[0].key}"]["datasets"],
        ),
        "gains": figures.get("gains"),
        "differences": {
            label: differences(comparisons, looks, baseline=label) for label, comparisons in _baselines(found).items()
        },
        "heads": {cost.key: round_heads(results, cost) for cost in COSTS},
        "axes": {cost.key: axis_of(results, cost) for cost in COSTS},
        "titles": {metric.key: metric.title for metric in metrics},
    }


def _baselines(found: ReportSummary) -> dict[str, Mapping[str, Comparison]]:
    """Return baseline -> differences to it at the last shared round: Random first, then every strategy."""
    analysis = found.analysis
    choices: dict[str, Mapping[str, Comparison]] = {RANDOM: analysis.to_random} if analysis.to_random else {}
    if analysis.pairwise is not None:
        choices |= {label: turned for label in analysis.curves if (turned := against(analysis.pairwise, label))}
    return choices


def _baseline_table(label: str, place: int, comparisons: Mapping[str, Comparison]) -> NamedTable:
    return NamedTable(
        name=f"difference-{place}",
        caption=f"Difference to {label} in points of mIoU, paired by seed, p corrected over all pairs; exploratory.",
        table=comparison_table(comparisons),
    )


def _viewer_json(viewer: RoundViewer, num_rounds: int) -> Markup:
    return script_json({**viewer.for_script(), "colours": round_colours(num_rounds)})
