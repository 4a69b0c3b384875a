"""The evidence as tables: areas, costs to get somewhere, ranks, and every strategy against every other."""

from quadrat.benchmark.analysis.label_efficiency import SHARES, Reach, Saving
from quadrat.benchmark.analysis.measures import FRACTION, Cost
from quadrat.benchmark.analysis.summary import Area, Evidence
from quadrat.benchmark.reporting.tables.cells import ABSENT, Cell, Row, Table, best_marked, mean_std, p_value, signed

__all__ = ["pairs_table", "penalty_table", "summary_table"]


def summary_table(found: Evidence) -> Table:
    """Return one row per strategy: area under the curve, cost to 90, 95 and 99 % of full supervision, labels needed."""
    areas = {area.label: area for area in found.areas}
    labels = [label for label in found.curves if label in areas or any(reach.label == label for reach in found.reaches)]
    savings = {saving.label: saving for saving in found.savings}
    columns = ["AUBC", "AUBC against Random"]
    cells = [
        best_marked(
            [_area(areas.get(label)) for label in labels],
            [areas[label].summary.mean if label in areas else None for label in labels],
            digits=2,
        ),
        tuple(_area_difference(areas.get(label)) for label in labels),
    ]
    if found.full is not None:
        for share in SHARES:
            columns.append(f"{share:.0%} of full".replace("%", " %"))
            cells.append(tuple(_reach(found.reach_of(label, share), found.cost) for label in labels))
    columns.append("labels needed, Random = 100 %")
    cells.append(tuple(_saving(savings.get(label)) for label in labels))
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
    told = "" if comparison.adjusted_p is None else f"p {_equal(p_value(comparison.adjusted_p))}"
    return Cell(text=signed(comparison.difference.summary.mean), note=told, is_best=comparison.verdict == "better")


def _equal(text: str) -> str:
    return text if text.startswith("<") else f"= {text}"


def _reach(reach: Reach | None, cost: Cost) -> Cell:
    if reach is None:
        return Cell(text=ABSENT)
    if reach.cost is None:
        some = f"{reach.num_reaching} of {reach.num_seeds} seeds" if reach.num_reaching else ""
        return Cell(text="not reached", note=some)
    at_most = "\N{LESS-THAN OR EQUAL TO} " if reach.is_at_most else ""
    return Cell(text=at_most + _spent(reach.cost, cost), note=_ends(reach.low, reach.high, reach.num_seeds, cost))


def _saving(saving: Saving | None) -> Cell:
    if saving is None:
        return Cell(text=ABSENT)
    if saving.ratio is None:
        return Cell(text="never there")
    at_most = "\N{LESS-THAN OR EQUAL TO} " if saving.is_at_most else ""
    low, high = (None if end is None else 100 * end for end in (saving.low, saving.high))
    note = _ends(low, high, saving.num_seeds, FRACTION)
    return Cell(text=f"{at_most}{100 * saving.ratio:.0f} %", note=note)


def _ends(low: float | None, high: float | None, num_seeds: int, cost: Cost) -> str:
    """Return an interval in words; an end that lies beyond the budget is said to."""
    if num_seeds < 2:
        return ""
    if low is None:
        return "beyond the budget"
    return f"{_spent(low, cost)} to {'beyond' if high is None else _spent(high, cost)}"


def _spent(value: float, cost: Cost) -> str:
    return (
        f"{value:.2g} %"
        if cost == FRACTION and value < 10
        else f"{value:.0f} %"
        if cost == FRACTION
        else f"{value:,.0f}"
    )


def penalty_table(found: Evidence) -> Table:
    """Return how often the row strategy is told to be better than the column strategy, in percent of the rounds.

    The last row is the mean of each column: how often a strategy is beaten; lower is better.
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
        rows=(*rows, Row(label="mean: how often beaten", cells=best)),
    )


def _win(win: float | None) -> Cell:
    return Cell(text="") if win is None else Cell(text=f"{100 * win:.0f}", shade=win)


def pairs_table(found: Evidence) -> Table | None:
    """Return the pairs that can be told apart at the last round, the better one first; None without a pair."""
    if found.pairwise is None:
        return None
    rows = []
    for better, worse in found.pairwise.told_apart:
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
