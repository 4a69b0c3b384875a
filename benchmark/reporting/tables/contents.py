"""Every table of the report with its name and caption: what the page shows and what lies beside it can't differ."""

from collections.abc import Iterator, Sequence

from quadrat.benchmark.analysis.summary import Evidence
from quadrat.benchmark.reporting.files import NamedTable
from quadrat.benchmark.reporting.summary import Answer
from quadrat.benchmark.reporting.tables.analysis import pairs_table, penalty_table, summary_table
from quadrat.benchmark.reporting.tables.cells import ABSENT
from quadrat.benchmark.reporting.tables.diversity import class_share_table, diversity_table, has_diversity
from quadrat.benchmark.reporting.tables.paper import beside_paper
from quadrat.benchmark.reporting.tables.results import (
    budget_table,
    class_table,
    comparison_table,
    images_table,
    loss_table,
    share_table,
    time_table,
)
from quadrat.benchmark.results.trials import Results

__all__ = ["tables_of"]


def tables_of(results: Results, found: Answer, by_cost: Sequence[Evidence]) -> dict[str, NamedTable]:
    """Return the tables of the report by name, in the order of the page; what there is no record for is left out.

    Args:
        results: The results folder.
        found: What is said of it in sentences.
        by_cost: The evidence over each cost; empty when there is no record.
    """
    return {table.name: table for table in _tables(results, found, by_cost)}


def _tables(results: Results, found: Answer, by_cost: Sequence[Evidence]) -> Iterator[NamedTable]:
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
    yield from _evidence(by_cost)
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
    if has_diversity(results):
        yield NamedTable(
            name="label-diversity",
            caption="Label diversity: entropy of the classes of all labelled pixels, in % of what it would be were all "
            "classes equally frequent; mean (std) over seeds. Full supervision is the whole pool.",
            table=diversity_table(results),
        )
        yield NamedTable(
            name="class-shares",
            caption="Share of each class in the labelled pixels after the last round, void left out, in %, mean over "
            "seeds. Full supervision is the whole pool.",
            table=class_share_table(results),
            kind="heat",
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


def _evidence(by_cost: Sequence[Evidence]) -> Iterator[NamedTable]:
    for found in by_cost:
        low, high = found.area_range or (0.0, 0.0)
        yield NamedTable(
            name=f"summary-{found.cost.key}",
            caption=f"Over {found.cost.title}. AUBC: area under the curve, that is its mean height in % mIoU, from "
            f"{low:,.4g} to {high:,.4g}, which all finished trials cover. Then the cost at which the mean curve first "
            "reaches a share of full supervision, and the labels needed to get where Random ends; below, 95 % "
            "bootstrap intervals over seeds (beyond: beyond the budget). Bold: highest area, area told to be above "
            "Random's, best mean rank (1 is best).",
            table=summary_table(found),
        )
    if by_cost and by_cost[0].penalty.num_tests:
        first = by_cost[0]
        yield NamedTable(
            name="penalty-matrix",
            caption="Penalty matrix: in how many of the rounds after round 0 the ROW strategy is told to be better "
            "than the COLUMN strategy, in % (two-sided paired t-tests, Holm-corrected over all "
            f"{first.penalty.num_tests} tests). A dark row is good, a dark column bad.",
            table=penalty_table(first),
            kind="heat",
        )
    if by_cost and (pairs := pairs_table(by_cost[0])) is not None and pairs.rows:
        yield NamedTable(
            name="pairs-told-apart",
            caption=f"Pairs of strategies that can be told apart at round {by_cost[0].round}, of all pairs "
            f"({len(by_cost[0].pairwise.pairs) if by_cost[0].pairwise else 0}, Holm-corrected); points of mIoU.",
            table=pairs,
        )


def _on_sizes(results: Results) -> str:
    if not results.has_several_sizes:
        return ""
    first = next(iter(results.sizes.values()))
    return (
        f" Budgets count regions of {first} px; strategies with another region size (r…) label the same number of "
        "pixels, not of regions."
    )
