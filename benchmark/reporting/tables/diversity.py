"""Tables of what was labelled: entropy of the classes by round, share of each class, of void, of right labels."""

from collections.abc import Sequence

from quadrat.benchmark.analysis.measures import DIVERSITY, LABEL_ACCURACY, VOID_SHARE, Metric
from quadrat.benchmark.analysis.statistics import summarise
from quadrat.benchmark.config.trial import FULL_SUPERVISION
from quadrat.benchmark.reporting.formatting import ABSENT, mean_std, number
from quadrat.benchmark.reporting.tables.cells import Cell, Row, Table
from quadrat.benchmark.reporting.tables.results import by_round, final_records, full_cell, round_table
from quadrat.benchmark.results.records import Record
from quadrat.benchmark.results.trials import Results

__all__ = ["accuracy_table", "class_share_table", "diversity_table", "has_diversity", "has_wrong_labels", "void_table"]


def has_diversity(results: Results) -> bool:
    """Return whether any labelled pixel has a class; void pixels have none."""
    return any(any(record.class_px) for record in results.records)


def diversity_table(results: Results) -> Table:
    """Return mean (std) of the label diversity at each budget, highest in bold, that of the whole pool below."""
    return _by_round(results, DIVERSITY)


def void_table(results: Results) -> Table:
    """Return mean (std) of the share of void at each budget, that of the whole pool below."""
    return _by_round(results, VOID_SHARE, mark_best=False)


def has_wrong_labels(results: Results) -> bool:
    """Return whether any pixel has a label that is not right."""
    return any(record.label_accuracy < 1 for record in results.records)


def accuracy_table(results: Results) -> Table:
    """Return mean (std) of the share of labelled pixels whose label is right at each budget."""
    return _by_round(results, LABEL_ACCURACY, mark_best=False)


def _by_round(results: Results, measure: Metric, *, mark_best: bool = True) -> Table:
    rows = by_round(results, measure, lambda summary: mean_std(summary, 1), mark_best=mark_best)
    pool = full_cell(results, measure, 1)
    if pool is not None:
        rows.append(Row(label=FULL_SUPERVISION, cells=(pool,), is_full_supervision=True))
    return round_table(results, rows)


def class_share_table(results: Results) -> Table:
    """Return the share of each class in the labelled pixels after the last round, void left out, in percent.

    The column of full supervision holds the share in the whole pool.
    """
    finals = final_records(results)
    groups = {label: finals[label] for label in results.labels if finals.get(label)}
    if results.full_supervision:
        groups[FULL_SUPERVISION] = list(results.full_supervision)
    shares = {label: _shares(records) for label, records in groups.items()}
    return Table(
        corner="class",
        columns=tuple(groups),
        rows=tuple(
            Row(label=name, cells=tuple(_cell(found, place) for found in shares.values()))
            for place, name in enumerate(results.classes)
        ),
    )


def _shares(records: Sequence[Record]) -> list[float] | None:
    """Return the share of each class in percent, mean over records; None when all of their labels are void."""
    found = [record.class_px for record in records if any(record.class_px)]
    if not found:
        return None
    return [summarise(100 * px[place] / sum(px) for px in found).mean for place in range(len(found[0]))]


def _cell(shares: list[float] | None, place: int) -> Cell:
    if shares is None:
        return Cell(text=ABSENT)
    return Cell(text=number(shares[place]), shade=shares[place] / 60)
