"""Every table of the report with its name and caption: what the page shows and what lies beside it can't differ."""

from collections.abc import Iterator

from quadrat.benchmark.reporting.answer import Answer
from quadrat.benchmark.reporting.cells import ABSENT
from quadrat.benchmark.reporting.files import NamedTable
from quadrat.benchmark.reporting.paper import beside_paper
from quadrat.benchmark.reporting.tables import (
    budget_table,
    class_table,
    comparison_table,
    images_table,
    loss_table,
    share_table,
    time_table,
)
from quadrat.benchmark.reporting.trials import Results

__all__ = ["tables_of"]


def tables_of(results: Results, found: Answer) -> dict[str, NamedTable]:
    """Return the tables of the report by name, in the order of the page; what there is no record for is left out."""
    return {table.name: table for table in _tables(results, found)}


def _tables(results: Results, found: Answer) -> Iterator[NamedTable]:
    yield NamedTable(
        name="miou",
        caption="mIoU in %, mean (std) over seeds, by labelled regions and their share of the pool's pixels. Highest "
        f"mean in bold.{_on_sizes(results)}",
        table=budget_table(results),
    )
    for beside in beside_paper(results):
        yield NamedTable(name=beside.name, caption=beside.caption, table=beside.table)
    shares = share_table(results)
    if shares is not None:
        yield NamedTable(name="share-of-full-supervision", caption="Mean mIoU in % of full supervision.", table=shares)
    if found.comparisons:
        yield NamedTable(
            name="difference-to-random",
            caption="Paired differences to Random in points of mIoU: a strategy and Random are compared seed by seed.",
            table=comparison_table(results, found.comparisons),
        )
    yield NamedTable(
        name="classes",
        caption=f"IoU in % after the last round, mean over seeds. Highest strategy in bold. {ABSENT} : the class is "
        "absent from truth and prediction.",
        table=class_table(results),
        kind="heat",
    )
    yield NamedTable(
        name="images-opened",
        caption="Images with at least one label, mean over seeds (the paper's table V-F).",
        table=images_table(results),
    )
    yield NamedTable(
        name="selection-time",
        caption="Seconds that selecting took, mean over seeds; scoring the pool is not in it (the paper's table V-G).",
        table=time_table(results),
    )
    yield NamedTable(
        name="loss",
        caption="Training loss over the last tenth of the steps, mean (std) over seeds.",
        table=loss_table(results),
    )


def _on_sizes(results: Results) -> str:
    if not results.has_several_sizes:
        return ""
    first = next(iter(results.sizes.values()))
    return (
        f" Budgets count regions of {first} px; strategies with another region size (r…) label the same number of "
        "pixels, not of regions."
    )
