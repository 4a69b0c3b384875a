"""The analysis as tables: area under the curve, label efficiency, ranks and pairwise comparisons."""

from quadrat.benchmark.analysis.analyse import Analysis, Area
from quadrat.benchmark.analysis.label_efficiency import SHARES, CostToTarget, LabelEfficiency
from quadrat.benchmark.analysis.measures import Cost
from quadrat.benchmark.reporting import formatting
from quadrat.benchmark.reporting.formatting import ABSENT, cost_interval, mean_std, p_equals, p_value, percent, signed
from quadrat.benchmark.reporting.tables.cells import Cell, Row, Table, best_marked

__all__ = ["label_efficiency_table", "or_lost", "pairs_table", "penalty_table", "shares_won_table"]


def label_efficiency_table(found: Analysis) -> Table:
    """Return one row per strategy: area, cost to 90, 95 and 99 % of full supervision, cost to match Random, rank."""
    areas = {area.label: area for area in found.areas}
    labels = [
        label for label in found.curves if label in areas or any(cost.label == label for cost in found.costs_to_target)
    ]
    efficiencies = {one.label: one for one in found.label_efficiencies}
    columns = ["AUBC", "AUBC minus Random's"]
    cells = [
        best_marked(
            [_area(areas.get(label)) for label in labels],
            [areas[label].summary.mean if label in areas else None for label in labels],
            digits=2,
        ),
        tuple(_area_difference(found, areas.get(label)) for label in labels),
    ]
    if found.full_supervision is not None:
        for share in SHARES:
            columns.append(f"cost to {percent(share)}")
            cells.append(tuple(_cost_to_target(found.cost_to_target(label, share), found.cost) for label in labels))
    columns.append("cost to match Random, % of Random's")
    cells.append(tuple(_label_efficiency(efficiencies.get(label)) for label in labels))
    if found.ranks is not None:
        columns.append("mean rank")
        means = [found.ranks.mean.get(label) for label in labels]
        cells.append(
            best_marked(
                [Cell(text=ABSENT if mean is None else f"{mean:.1f}") for mean in means],
                [None if mean is None else -mean for mean in means],
                digits=1,
            )
        )
    return Table(
        corner="strategy",
        columns=tuple(columns),
        rows=tuple(
            Row(label=label, cells=tuple(column[place] for column in cells)) for place, label in enumerate(labels)
        ),
    )


def _area(area: Area | None) -> Cell:
    return Cell(text=ABSENT if area is None else mean_std(area.summary, 2))


def _area_difference(found: Analysis, area: Area | None) -> Cell:
    """Return the difference to Random's area, with the primary analysis' p over the costs that it covers."""
    if area is None or area.comparison is None:
        return Cell(text=ABSENT)
    primary = found.primary.find(area.label, found.cost) if found.primary.is_against_random else None
    if primary is None or primary.adjusted_p is None:
        return Cell(text=signed(area.comparison.difference.summary.mean))
    return Cell(text=signed(primary.gain), note=p_equals(primary.adjusted_p), is_best=primary.verdict == "better")


def _cost_to_target(found: CostToTarget | None, cost: Cost) -> Cell:
    if found is None:
        return Cell(text=ABSENT)
    if found.cost is None:
        return Cell(text="not reached", note=_interval(found, cost))
    at_most = "\N{LESS-THAN OR EQUAL TO} " if found.is_at_most else ""
    return Cell(text=or_lost(at_most + formatting.cost(found.cost, cost), found), note=_interval(found, cost))


def _label_efficiency(found: LabelEfficiency | None) -> Cell:
    if found is None:
        return Cell(text=ABSENT)
    note = "" if found.interval is None else cost_interval(found.interval, percent)
    if found.relative_cost is None:
        return Cell(text="not reached", note=note)
    at_most = "\N{LESS-THAN OR EQUAL TO} " if found.is_at_most else ""
    return Cell(text=or_lost(at_most + percent(found.relative_cost), found), note=note)


def or_lost(cost: str, found: CostToTarget | LabelEfficiency) -> str:
    """Return a cost as text; where the mean curve falls below the target again, that nothing was saved at the end."""
    return f"reached at {cost}, lost again" if found.is_lost_again else cost


def _interval(found: CostToTarget, cost: Cost) -> str:
    if found.interval is None:
        return ""
    return cost_interval(found.interval, lambda value: formatting.cost(value, cost))


def penalty_table(found: Analysis) -> Table:
    """Return how often the row strategy wins against the column strategy, in percent of the rounds.

    The last row is the mean of each column: how often a strategy loses; lower is better.
    """
    matrix = found.penalty
    rows = [
        Row(label=label, cells=tuple(_win(win) for win in wins))
        for label, wins in zip(matrix.labels, matrix.wins, strict=True)
    ]
    penalties = [matrix.penalties[label] for label in matrix.labels]
    means = [Cell(text=ABSENT if value is None else f"{100 * value:.0f}") for value in penalties]
    best = best_marked(means, [None if value is None else -value for value in penalties], digits=4)
    return Table(
        corner="row wins against column, % of rounds",
        columns=matrix.labels,
        rows=(*rows, Row(label="penalty (mean of column)", cells=best)),
    )


def shares_won_table(found: Analysis) -> Table:
    """Return in how many of the (seed, round) pairs after round 0 the row strategy is above the column, in percent."""
    labels = found.penalty.labels
    rows = [
        Row(label=row, cells=tuple(_win(found.shares_won.get((row, column))) for column in labels)) for row in labels
    ]
    return Table(corner="row above column, % of (seed, budget)", columns=labels, rows=tuple(rows))


def _win(win: float | None) -> Cell:
    return Cell(text="") if win is None else Cell(text=f"{100 * win:.0f}", shade=win)


def pairs_table(found: Analysis) -> Table | None:
    """Return the pairs with an adjusted p below 5 % at the last round, the higher one first; None without a pair."""
    if found.pairwise is None:
        return None
    rows = []
    for higher, lower in found.pairwise.below_level:
        comparison = found.pairwise.pairs.get((higher, lower)) or found.pairwise.pairs[lower, higher]
        mean = abs(comparison.difference.summary.mean)
        adjusted = comparison.adjusted_p
        cells = (
            Cell(text=lower),
            Cell(text=signed(mean)),
            Cell(text=ABSENT if adjusted is None else p_value(adjusted)),
        )
        rows.append(Row(label=higher, cells=cells))
    rows.sort(key=lambda row: -float(row.cells[1].text))
    return Table(corner="higher", columns=("lower", "difference", "p (Holm)"), rows=tuple(rows))
