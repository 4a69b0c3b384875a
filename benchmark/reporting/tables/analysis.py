"""The analysis as tables: area under the curve, label efficiency, ranks and pairwise comparisons."""

from quadrat.benchmark.analysis.analyse import Analysis, Area
from quadrat.benchmark.analysis.label_efficiency import SHARES, CostToTarget, LabelEfficiency
from quadrat.benchmark.analysis.measures import FRACTION, Cost
from quadrat.benchmark.reporting import formatting
from quadrat.benchmark.reporting.formatting import ABSENT, mean_std, p_value, percent, signed
from quadrat.benchmark.reporting.tables.cells import Cell, Row, Table, best_marked

__all__ = ["label_efficiency_table", "penalty_table", "significant_pairs_table"]


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
        tuple(_area_difference(areas.get(label)) for label in labels),
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


def _area_difference(area: Area | None) -> Cell:
    if area is None or area.comparison is None:
        return Cell(text=ABSENT)
    comparison = area.comparison
    adjusted = "" if comparison.adjusted_p is None else p_value(comparison.adjusted_p)
    note = adjusted and (f"p {adjusted}" if adjusted.startswith("<") else f"p = {adjusted}")
    return Cell(text=signed(comparison.difference.summary.mean), note=note, is_best=comparison.verdict == "better")


def _cost_to_target(found: CostToTarget | None, cost: Cost) -> Cell:
    if found is None:
        return Cell(text=ABSENT)
    if found.cost is None:
        some = f"{found.num_reaching} of {found.num_seeds} seeds" if found.num_reaching else ""
        return Cell(text="not reached", note=some)
    at_most = "\N{LESS-THAN OR EQUAL TO} " if found.is_at_most else ""
    note = _bounds(found.low, found.high, found.num_seeds, cost)
    return Cell(text=at_most + formatting.cost(found.cost, cost), note=note)


def _label_efficiency(found: LabelEfficiency | None) -> Cell:
    if found is None:
        return Cell(text=ABSENT)
    if found.relative_cost is None:
        return Cell(text="not reached")
    at_most = "\N{LESS-THAN OR EQUAL TO} " if found.is_at_most else ""
    low, high = (None if end is None else 100 * end for end in (found.low, found.high))
    note = _bounds(low, high, found.num_seeds, FRACTION)
    return Cell(text=at_most + percent(found.relative_cost), note=note)


def _bounds(low: float | None, high: float | None, num_seeds: int, cost: Cost) -> str:
    """Return an interval in words; an end beyond the budget is named as such."""
    if num_seeds < 2:
        return ""
    if low is None:
        return "beyond the budget"
    return f"{formatting.cost(low, cost)} to {'beyond' if high is None else formatting.cost(high, cost)}"


def penalty_table(found: Analysis) -> Table:
    """Return how often the row strategy is significantly better than the column strategy, in percent of the rounds.

    The last row is the mean of each column: how often a strategy is significantly worse; lower is better.
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
        corner="row better than column, % of rounds",
        columns=matrix.labels,
        rows=(*rows, Row(label="penalty (mean of column)", cells=best)),
    )


def _win(win: float | None) -> Cell:
    return Cell(text="") if win is None else Cell(text=f"{100 * win:.0f}", shade=win)


def significant_pairs_table(found: Analysis) -> Table | None:
    """Return the significantly different pairs at the last round, the better one first; None without a pair."""
    if found.pairwise is None:
        return None
    rows = []
    for better, worse in found.pairwise.significant:
        comparison = found.pairwise.pairs.get((better, worse)) or found.pairwise.pairs[worse, better]
        mean = abs(comparison.difference.summary.mean)
        adjusted = comparison.adjusted_p
        cells = (
            Cell(text=worse),
            Cell(text=signed(mean)),
            Cell(text=ABSENT if adjusted is None else p_value(adjusted)),
        )
        rows.append(Row(label=better, cells=cells))
    rows.sort(key=lambda row: -float(row.cells[1].text))
    return Table(corner="better", columns=("worse", "difference", "p (Holm)"), rows=tuple(rows))
