"""All tables of the report with name and caption, in order: the page and the files beside it use the same ones."""

from collections.abc import Iterator, Sequence

from quadrat.benchmark.analysis.analyse import Analysis
from quadrat.benchmark.analysis.primary import PrimaryAnalysis
from quadrat.benchmark.reporting.formatting import ABSENT
from quadrat.benchmark.reporting.tables.analysis import (
    label_efficiency_table,
    pairs_table,
    penalty_table,
    shares_won_table,
)
from quadrat.benchmark.reporting.tables.cells import NamedTable
from quadrat.benchmark.reporting.tables.diversity import (
    accuracy_table,
    class_share_table,
    diversity_table,
    has_diversity,
    has_wrong_labels,
    void_table,
)
from quadrat.benchmark.reporting.tables.paper import PAPER, beside_paper
from quadrat.benchmark.reporting.tables.primary import gains_table
from quadrat.benchmark.reporting.tables.queries import named_queries
from quadrat.benchmark.reporting.tables.results import (
    budget_table,
    class_table,
    comparison_table,
    fits_table,
    has_ensembles,
    images_table,
    loss_table,
    share_table,
    time_table,
)
from quadrat.benchmark.results.trials import Results

__all__ = ["GAINS_CAPTION", "later_steps_note", "tables_of"]

GAINS_CAPTION = (
    "Gain in mean mIoU over the budget (area under the curve) in points; intervals that hold all together, with at "
    "least 95 %; p after Holm's correction over all of it. * significant. Seeds: how many, in all, would decide an "
    "open comparison with 80 % power if the gain observed were the true one."
)


def later_steps_note(primary: PrimaryAnalysis) -> str:
    """Return what is said where a difference is significant though its interval holds 0; "" where none is."""
    if not any(found.is_later_step for found in primary.comparisons):
        return ""
    return (
        " Where an interval beside a * holds 0: Holm's correction has fewer tests in mind for each p-value after the "
        "smallest, the intervals all of them throughout."
    )


def tables_of(results: Results, by_cost: Sequence[Analysis]) -> dict[str, NamedTable]:
    """Return the tables of the report by name, in the order of the page; tables without a record are left out.

    Args:
        results: The results folder.
        by_cost: The analysis over each cost; empty when there is no record.
    """
    return {table.name: table for table in _tables(results, by_cost)}


def _tables(results: Results, by_cost: Sequence[Analysis]) -> Iterator[NamedTable]:
    if by_cost and (primary := by_cost[0].primary).comparisons:
        yield NamedTable(name="gains", caption=GAINS_CAPTION + later_steps_note(primary), table=gains_table(primary))
    if by_cost and by_cost[0].primary.queries is not None:
        yield named_queries(by_cost[0].primary.queries)
    yield NamedTable(
        name="miou",
        caption="mIoU in %, mean (std) over seeds, by labelled regions and their share of the pool's pixels. Highest "
        f"mean in bold.{_on_sizes(results)}",
        table=budget_table(results),
    )
    yield from beside_paper(results)
    shares = share_table(results)
    if shares is not None:
        yield NamedTable(name="share-of-full-supervision", caption="Mean mIoU in % of full supervision.", table=shares)
    if by_cost and by_cost[0].to_random:
        yield NamedTable(
            name="difference-to-random",
            caption="Difference to Random in points of mIoU, paired by seed; exploratory.",
            table=comparison_table(by_cost[0].to_random),
        )
    yield from _analysis_tables(by_cost)
    yield NamedTable(
        name="classes",
        caption=f"IoU in % after the last round, mean over seeds. Highest strategy in bold. {ABSENT} : the class is "
        "absent from the masks of the test set.",
        table=class_table(results),
        kind="heat total",
    )
    yield NamedTable(
        name="images-opened",
        caption=f"Images with at least one label, mean over seeds ({PAPER}, table V-F).",
        table=images_table(results),
    )
    if any(record.void_px for record in results.records):
        yield NamedTable(
            name="void-share",
            caption="Void in what was labelled, in % of its pixels, mean (std) over seeds: it is paid for and "
            "teaches nothing. Full supervision is the whole pool.",
            table=void_table(results),
        )
    if has_wrong_labels(results):
        yield NamedTable(
            name="label-accuracy",
            caption="Right labels, in % of the labelled pixels that are not void, mean (std) over seeds: the true "
            "class, or a set of classes with it. A diagnostic that no strategy sees.",
            table=accuracy_table(results),
        )
    if has_diversity(results):
        yield NamedTable(
            name="label-diversity",
            caption="Label diversity: entropy of the classes of all labelled pixels, in % of its maximum (all classes "
            "equally frequent); mean (std) over seeds. Full supervision is the whole pool.",
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
        caption=f"Selection time in seconds, mean over seeds, without scoring the pool ({PAPER}, table V-G).",
        table=time_table(results),
    )
    if has_ensembles(results):
        yield NamedTable(
            name="fits",
            caption="Models trained for each round: its own, and the other members of the ensemble that selected its "
            "regions. The curves count labels; a strategy with an ensemble pays for its gain with so many trainings.",
            table=fits_table(results),
        )
    yield NamedTable(
        name="loss",
        caption="Training loss over the last tenth of the steps of each fit, mean (std) over seeds.",
        table=loss_table(results),
    )


def _analysis_tables(by_cost: Sequence[Analysis]) -> Iterator[NamedTable]:
    for found in by_cost:
        low, high = found.area_range or (0.0, 0.0)
        yield NamedTable(
            name=f"label-efficiency-{found.cost.key}",
            caption=f"Cost in {found.cost.title}. AUBC: area under the budget curve, its mean height in % mIoU from "
            f"{low:,.4g} to {high:,.4g}, the range that all finished trials cover. Cost to 90, 95 and 99 %: where the "
            "mean curve first reaches that share of full supervision. Cost to match Random: where it first reaches "
            "Random's final mIoU, in % of what Random spent. Small print: 95 % intervals, the t-test inverted over the "
            "cost, with an open end where the data set no bound; p of the primary analysis. Bold: highest area, area "
            "significantly above Random's, best mean rank (1 is best).",
            table=label_efficiency_table(found),
        )
    has_win = bool(by_cost) and any(win for wins in by_cost[0].penalty.wins for win in wins)
    if by_cost and by_cost[0].shares_won and not has_win:
        yield NamedTable(
            name="shares-won",
            caption="Share of (seed, budget) pairs after round 0 in which the ROW strategy is above the COLUMN "
            "strategy, in %; exploratory and untested. "
            + (
                f"None of the {by_cost[0].penalty.num_tests} paired t-tests by round has p < 0.05 after Holm's "
                "correction, so a matrix of them would hold zeros only."
                if by_cost[0].penalty.num_tests
                else "No pair of strategies shares three seeds, so none can be tested."
            ),
            table=shares_won_table(by_cost[0]),
            kind="heat",
        )
    if has_win:
        first = by_cost[0]
        yield NamedTable(
            name="penalty-matrix",
            caption="Penalty matrix, exploratory: the share of rounds after round 0 in which the ROW strategy is above "
            "the COLUMN strategy with p < 0.05, in % (two-sided paired t-tests, Holm-corrected over all "
            f"{first.penalty.num_tests} tests). A dark row is good, a dark column bad; the mean of a column, the "
            "penalty, is best when low.",
            table=penalty_table(first),
            kind="heat total",
        )
    if by_cost and (pairs := pairs_table(by_cost[0])) is not None and pairs.rows:
        yield NamedTable(
            name="pairs",
            caption=f"Pairs of strategies with p < 0.05 at round {by_cost[0].round}, in points of mIoU; exploratory "
            f"(Holm-corrected over these {len(by_cost[0].pairwise.pairs) if by_cost[0].pairwise else 0} pairs only).",
            table=pairs,
        )


def _on_sizes(results: Results) -> str:
    if not results.has_several_sizes:
        return ""
    first = next(iter(results.queries.values())).region_size
    return (
        f" Budgets count regions of {first} px; strategies with another region size (r…) label the same number of "
        "pixels, not of regions."
    )
