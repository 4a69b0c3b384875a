"""The primary analysis as a table: gains over pixels and over clicks side by side, and the seeds they need."""

from quadrat.benchmark.analysis.area_tests import AreaComparison
from quadrat.benchmark.analysis.measures import CLICKS, FRACTION, Cost
from quadrat.benchmark.analysis.power import MAX_SEEDS
from quadrat.benchmark.analysis.primary import PrimaryAnalysis
from quadrat.benchmark.reporting.formatting import ABSENT, counted, p_equals, signed
from quadrat.benchmark.reporting.tables.cells import Cell, Row, Table

__all__ = ["SHORT_TITLES", "gains_table", "not_tested", "ordered_pairs", "pair_name"]

SHORT_TITLES = {FRACTION.key: "labelled pixels", CLICKS.key: "clicks"}
"""What the costs of the primary analysis are called in sentences and heads of columns."""


def pair_name(found: AreaComparison, primary: PrimaryAnalysis) -> str:
    """Return who is compared: a strategy, or without Random a pair."""
    return found.label if primary.is_against_random else f"{found.label} \N{MINUS SIGN} {found.baseline}"


def ordered_pairs(primary: PrimaryAnalysis) -> list[tuple[str, str]]:
    """Return (label, baseline) of every comparison once, the largest gain over the first cost first."""
    gains: dict[tuple[str, str], float] = {}
    for found in primary.comparisons:
        gains.setdefault((found.label, found.baseline), found.gain)
    return sorted(gains, key=lambda pair: -gains[pair])


def gains_table(primary: PrimaryAnalysis, *, is_brief: bool = False) -> Table:
    """Return one row per comparison: its gain over each cost, and how many seeds would decide it.

    Args:
        primary: The primary analysis.
        is_brief: Whether to leave out p-values and seeds, so that two costs fit in 80 columns.
    """
    costs = [axis.cost for axis in primary.axes]
    by_pair = {(found.label, found.baseline, found.cost.key): found for found in primary.comparisons}
    rows = []
    for label, baseline in ordered_pairs(primary):
        found = [by_pair.get((label, baseline, cost.key)) for cost in costs]
        name = next(pair_name(one, primary) for one in found if one is not None)
        gains = [_gain(one, is_brief=is_brief) for one in found]
        rows.append(Row(label=name, cells=(*gains, *(() if is_brief else map(_seeds, found)))))
    return Table(
        corner="strategy" if primary.is_against_random else "pair",
        columns=(
            *(f"gain over {_title(cost)}" for cost in costs),
            *(() if is_brief else (f"seeds, {_title(cost)}" for cost in costs)),
        ),
        rows=tuple(rows),
    )


def _title(cost: Cost) -> str:
    return SHORT_TITLES[cost.key]


def _gain(found: AreaComparison | None, *, is_brief: bool) -> Cell:
    if found is None:
        return Cell(text=ABSENT)
    if found.simultaneous_low is None or found.simultaneous_high is None or found.adjusted_p is None:
        return Cell(text=signed(found.gain), note=not_tested(found))
    interval = f"{signed(found.simultaneous_low)} to {signed(found.simultaneous_high)}"
    is_claim = found.verdict in ("better", "worse")
    note = interval if is_brief else f"{interval}, {p_equals(found.adjusted_p)}"
    return Cell(text=f"{signed(found.gain)}{' *' if is_claim else ''}", note=note, is_best=is_claim)


def not_tested(found: AreaComparison) -> str:
    """Return that a comparison is not tested, and on how many seeds it is."""
    return f"{counted(found.num_seeds, 'seed')}: not tested"


def _seeds(found: AreaComparison | None) -> Cell:
    if found is None or found.verdict == "not tested":
        return Cell(text=ABSENT)
    if found.verdict != "open":
        return Cell(text="decided")
    return Cell(text=f"> {MAX_SEEDS}" if found.seeds_needed is None else str(found.seeds_needed))
