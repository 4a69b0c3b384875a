"""Tables of results: mIoU, images, loss and selection time by round, IoU by class, differences to Random."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from quadrat.benchmark.analysis.measures import FRACTION, IMAGES, MIOU, SELECT_SECONDS, Cost, Metric, class_iou
from quadrat.benchmark.analysis.statistics import Comparison, Summary, Values, summarise, values_by_seed
from quadrat.benchmark.config.trial import FULL_SUPERVISION
from quadrat.benchmark.reporting import formatting
from quadrat.benchmark.reporting.formatting import ABSENT, interval, mean_std, p_value, signed
from quadrat.benchmark.reporting.tables.cells import Cell, Row, Table, best_marked
from quadrat.benchmark.results.records import Record
from quadrat.benchmark.results.trials import Results

__all__ = [
    "budget_table",
    "by_round",
    "class_table",
    "comparison_table",
    "final_records",
    "full_cell",
    "images_table",
    "loss_table",
    "round_table",
    "share_table",
    "steps_of",
    "time_table",
]


def budget_table(results: Results, metric: Metric = MIOU, *, digits: int = 2) -> Table:
    """Return mean (std) over seeds of `metric` at each budget, best in bold, full supervision below."""
    rows = by_round(results, metric, lambda summary: mean_std(summary, digits))
    full = full_cell(results, metric, digits)
    if full is not None:
        rows.append(Row(label=FULL_SUPERVISION, cells=(full,), is_full_supervision=True))
    return round_table(results, rows)


def share_table(results: Results) -> Table | None:
    """Return the mean mIoU at each budget in percent of the mean of full supervision; None without full supervision."""
    if not results.full_supervision:
        return None
    full = summarise([100 * record.miou for record in results.full_supervision]).mean
    return round_table(results, by_round(results, MIOU, lambda summary: f"{100 * summary.mean / full:.1f}"))


def images_table(results: Results) -> Table:
    """Return the mean number of images with a label after each round (the paper's V-F)."""
    rows = by_round(results, IMAGES, lambda summary: f"{summary.mean:,.0f}", mark_best=False)
    return round_table(results, rows)


def loss_table(results: Results) -> Table:
    """Return the mean training loss over the last tenth of the steps, by round."""
    loss = Metric(key="loss", title="training loss", of=lambda record: record.loss)
    return round_table(results, by_round(results, loss, lambda summary: mean_std(summary, 3), mark_best=False))


def time_table(results: Results) -> Table:
    """Return the mean selection time in seconds, by round, and cumulative in the last column (the paper's V-G)."""
    rows = by_round(results, SELECT_SECONDS, lambda summary: formatting.seconds(summary.mean), mark_best=False)
    totals = {
        label: sum(summarise(seeds.values()).mean for seeds in rounds.values())
        for label, rounds in values_by_seed(results.records, SELECT_SECONDS).items()
    }
    with_total = [
        replace(
            row, cells=(*row.cells, Cell(text=formatting.seconds(totals[row.label]) if row.label in totals else ABSENT))
        )
        for row in rows
    ]
    table = round_table(results, with_total)
    return replace(table, columns=(*table.columns, "all rounds"), subheads=(*table.subheads, ""))


def has_ensembles(results: Results) -> bool:
    """Return whether any round took more than one fit."""
    return any(record.fits > 1 for record in results.records)


def fits_table(results: Results) -> Table:
    """Return the models that were trained for each round, members of ensembles included."""
    fits = Metric(key="fits", title="fits", of=lambda record: record.fits)
    return round_table(results, by_round(results, fits, lambda summary: f"{summary.mean:g}", mark_best=False))


def steps_of(results: Results) -> tuple[int, int] | None:
    """Return the smallest and the largest number of optimiser steps of any strategy's fit, or None."""
    steps = [record.steps for record in results.records]
    return (min(steps), max(steps)) if steps else None


def comparison_table(comparisons: Mapping[str, Comparison]) -> Table:
    """Return the paired difference to Random of each label at the round compared, exploratory."""
    rows = []
    for label in sorted(comparisons, key=lambda label: -comparisons[label].difference.summary.mean):
        comparison = comparisons[label]
        summary = comparison.difference.summary
        texts = (
            signed(summary.mean),
            ABSENT if summary.std is None else f"{summary.std:.2f}",
            ABSENT if comparison.difference.half_width is None else interval(comparison.difference),
            f"{comparison.difference.num_ahead} of {summary.num}",
            ABSENT if comparison.adjusted_p is None else p_value(comparison.adjusted_p),
        )
        rows.append(Row(label=label, cells=tuple(Cell(text=text) for text in texts)))
    return Table(
        corner="strategy",
        columns=("difference", "std of differences", "95 % interval", "seeds higher", "p (Holm)"),
        rows=tuple(rows),
    )


def class_table(results: Results) -> Table:
    """Return the IoU of each class after the last round of each strategy, mean over seeds, as a heat table."""
    finals = final_records(results)
    columns = [label for label in results.labels if finals.get(label)]
    groups = [finals[label] for label in columns]
    if results.full_supervision:
        columns.append(FULL_SUPERVISION)
        groups.append(list(results.full_supervision))
    metrics = [class_iou(results.classes, index) for index in range(len(results.classes))]
    means = [[_mean(metric, records) for records in groups] for metric in (*metrics, MIOU)]
    rows = tuple(
        Row(
            label=name,
            cells=best_marked(
                [
                    Cell(text=ABSENT if mean is None else f"{mean:.1f}", shade=None if mean is None else mean / 100)
                    for mean in line
                ],
                [mean if column != FULL_SUPERVISION else None for mean, column in zip(line, columns, strict=True)],
                digits=1,
            ),
        )
        for name, line in zip((*results.classes, "mIoU"), means, strict=True)
    )
    return Table(corner="class", columns=tuple(columns), rows=rows)


def final_records(results: Results) -> dict[str, list[Record]]:
    """Return label -> its records at the last round that any of its seeds has."""
    last: dict[str, int] = {}
    for record in results.records:
        last[record.label] = max(last.get(record.label, 0), record.round)
    return {label: [r for r in results.records if r.label == label and r.round == last[label]] for label in last}


def _mean(metric: Metric, records: Sequence[Record]) -> float | None:
    values = [value for record in records if (value := metric.of(record)) is not None]
    return summarise(values).mean if values else None


def by_round(
    results: Results, measure: Metric | Cost, show: Callable[[Summary], str], *, mark_best: bool = True
) -> list[Row]:
    """Return one row per label and one cell per round, with a note where seeds of the suite are missing.

    Args:
        results: Whose records.
        measure: What to summarise over seeds.
        show: Summary -> text of the cell.
        mark_best: Whether the highest mean of each round is marked.
    """
    values = values_by_seed(results.records, measure)
    grid: list[list[Cell]] = []
    for label in results.labels:
        row = [_summary(values, label, round_) for round_ in range(results.num_rounds)]
        grid.append(
            [
                Cell(text=ABSENT) if found is None else Cell(text=show(found), note=_note(results, found))
                for found in row
            ]
        )
    if mark_best:
        columns = [
            best_marked(list(column), _comparable(values, results.labels, round_), digits=2)
            for round_, column in enumerate(zip(*grid, strict=True))
        ]
        grid = [list(row) for row in zip(*columns, strict=True)]
    return [Row(label=label, cells=tuple(cells)) for label, cells in zip(results.labels, grid, strict=True)]


def _summary(values: Values, label: str, round_: int) -> Summary | None:
    seeds = values.get(label, {}).get(round_)
    return summarise(seeds.values()) if seeds else None


def _comparable(values: Values, labels: Sequence[str], round_: int) -> list[float | None]:
    """Return the mean of each label that may be marked as best: over as many seeds as any, and not in round 0.

    A mean over fewer seeds may be high because the hard seed is missing; all strategies share round 0.
    """
    found = [_summary(values, label, round_) for label in labels]
    most = max((summary.num for summary in found if summary is not None), default=0)
    return [None if summary is None or summary.num < most or round_ == 0 else summary.mean for summary in found]


def _note(results: Results, summary: Summary) -> str:
    missing = len(results.seeds) - summary.num
    return f"{summary.num} of {len(results.seeds)} seeds" if missing else ""


def round_table(results: Results, rows: Sequence[Row]) -> Table:
    """Return a table with a column per round, headed by the budget and its mean share of the pool's pixels."""
    return Table(
        corner="strategy",
        columns=tuple(f"{budget:,}" for budget in results.suite["budgets"]),
        subheads=round_heads(results, FRACTION),
        rows=tuple(rows),
        by_round=True,
    )


def round_heads(results: Results, cost: Cost) -> tuple[str, ...]:
    """Return the mean cost of each round as text: a range over the strategies where they differ as printed."""
    spent = values_by_seed(results.records, cost)
    heads = []
    for round_ in range(results.num_rounds):
        means = [summarise(of[round_].values()).mean for of in spent.values() if round_ in of]
        ends = list(dict.fromkeys(formatting.cost(value, cost) for value in (min(means), max(means)))) if means else []
        if len(ends) == 2:
            ends[0] = ends[0].removesuffix(" %")
        heads.append(" to ".join(ends))
    return tuple(heads)


def full_cell(results: Results, metric: Metric, digits: int) -> Cell | None:
    """Return mean (std) of `metric` over the seeds of full supervision, or None without full supervision."""
    values = [value for record in results.full_supervision if (value := metric.of(record)) is not None]
    if not values:
        return None
    summary = summarise(values)
    return Cell(text=mean_std(summary, digits), note=_note(results, summary))
