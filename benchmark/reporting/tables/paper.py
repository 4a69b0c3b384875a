"""The paper's own numbers beside ours, for the suites that repeat one of its tables.

Cai et al., "Exploring Spatial Diversity for Region-based Active Learning", IEEE TIP 2021: typed from its tables V-A,
V-E, V-F and V-G. The numbers of its figures, of table I and the mIoU of its main comparison (figure 2) are not in its
text and therefore not here.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from quadrat.benchmark.analysis.measures import IMAGES, MIOU, SELECT_SECONDS
from quadrat.benchmark.analysis.statistics import Values, summarise, values_by_seed
from quadrat.benchmark.reporting import formatting
from quadrat.benchmark.reporting.formatting import ABSENT, mean_std, signed
from quadrat.benchmark.reporting.tables.cells import Cell, NamedTable, Row, Table
from quadrat.benchmark.results.trials import Results

__all__ = ["PAPER", "PAPER_TABLES", "PaperTable", "beside_paper"]

PAPER: Final = "Cai et al., IEEE TIP 2021"
"""The paper by name, where one of its tables or figures is named."""

_BUDGETS: Final = (2_000, 4_000, 8_000, 16_000, 32_000)


@dataclass(frozen=True, kw_only=True)
class PaperTable:
    """One table of the paper, at budgets of 2k to 32k regions.

    Attributes:
        key: As a suite names it under `paper`.
        title: What the numbers are.
        rows: Label -> (mean, std) at each budget; std is None where the paper gives none.
        is_miou: Whether the numbers are mIoU in percent.
    """

    key: str
    title: str
    rows: Mapping[str, tuple[tuple[float, float | None], ...]]
    is_miou: bool = True


def _means(*values: float) -> tuple[tuple[float, float | None], ...]:
    return tuple((value, None) for value in values)


_PIECEWISE_CITYSCAPES = ((51.16, 3.49), (62.31, 1.15), (67.26, 0.35), (70.34, 0.50), (72.72, 0.78))
_PIECEWISE_VOC = ((50.98, 1.13), (59.74, 0.89), (68.37, 0.21), (73.82, 0.60), (74.96, 0.32))

PAPER_TABLES: Final = (
    PaperTable(
        key="V-A/cityscapes",
        title="Table V-A, spatial distance on Cityscapes: mIoU in %, mean (std)",
        rows={
            "linear": ((44.54, 5.56), (53.87, 3.51), (65.07, 0.77), (69.43, 0.49), (71.59, 0.52)),
            "piece-wise": _PIECEWISE_CITYSCAPES,
        },
    ),
    PaperTable(
        key="V-A/voc",
        title="Table V-A, spatial distance on PASCAL VOC 2012: mIoU in %, mean (std)",
        rows={
            "linear": ((52.48, 0.67), (60.05, 0.38), (68.59, 0.68), (72.33, 0.33), (73.85, 0.24)),
            "piece-wise": _PIECEWISE_VOC,
        },
    ),
    PaperTable(
        key="V-E/cityscapes",
        title="Table V-E, set function on Cityscapes: mIoU in %, mean (std)",
        rows={
            "max-sum": ((48.45, 3.73), (59.49, 0.41), (66.14, 1.11), (68.65, 0.38), (71.98, 0.58)),
            "max-min": _PIECEWISE_CITYSCAPES,
        },
    ),
    PaperTable(
        key="V-E/voc",
        title="Table V-E, set function on PASCAL VOC 2012: mIoU in %, mean (std)",
        rows={
            "max-sum": ((44.80, 0.38), (52.33, 0.45), (59.81, 1.32), (68.30, 0.63), (72.75, 0.33)),
            "max-min": _PIECEWISE_VOC,
        },
    ),
    PaperTable(
        key="V-F",
        title="Table V-F, images with at least one label on Cityscapes (2,975 images)",
        rows={
            "random": _means(1460, 2197, 2784, 2964, 2975),
            "entropy": _means(1211, 1689, 2275, 2723, 2930),
            "entropy-feature": _means(1243, 1721, 2288, 2723, 2941),
            "entropy-spatial": _means(1362, 1983, 2612, 2931, 2975),
        },
        is_miou=False,
    ),
    PaperTable(
        key="V-G",
        title="Table V-G, seconds of selection on Cityscapes, cumulative",
        rows={
            "entropy": _means(3.92, 7.90, 13.5, 29.6, 71.6),
            "entropy-feature": _means(398, 824, 1784, 3273, 6350),
            "entropy-spatial": _means(32.0, 41.1, 81.9, 157, 322),
        },
        is_miou=False,
    ),
)
"""Every table of the paper whose numbers can be read from its text."""


def beside_paper(results: Results) -> tuple[NamedTable, ...]:
    """Return our numbers beside the paper's for the tables that the suite repeats; none when it repeats none.

    A suite says so by its key `paper`, such as "V-A/cityscapes". The two tables of the main comparison, V-F and V-G,
    belong to the same suite, so naming one shows both.
    """
    key = results.suite.get("paper") or ""
    wanted = {"V-F", "V-G"} if key in ("V-F", "V-G") else {key}
    found = (_beside(table, results) for table in PAPER_TABLES if table.key in wanted)
    return tuple(one for one in found if one is not None)


def _beside(paper: PaperTable, results: Results) -> NamedTable | None:
    rounds, correspondence = _rounds(results)
    ours = _our_values(paper, results)
    labels = {_normal(label): label for label in results.labels}
    matched = {name: labels[name] for name in paper.rows if name in labels}
    if not matched:
        return None
    rows = tuple(row for name, label in matched.items() for row in _pair(paper, name, label, ours, rounds))
    if paper.is_miou and len(matched) == 2:
        rows += tuple(_gains(paper, matched, ours, rounds))
    return NamedTable(
        name=f"paper-{paper.key.lower().replace('/', '-')}",
        caption=f"{PAPER}, {paper.title[0].lower()}{paper.title[1:]}. {correspondence}",
        table=Table(
            corner="",
            columns=tuple(f"{budget // 1000}k" for budget in _BUDGETS),
            subheads=tuple(_subhead(results, round_) for round_ in rounds),
            rows=rows,
        ),
    )


def _rounds(results: Results) -> tuple[tuple[int | None, ...], str]:
    """Return the round of ours for each column, and a sentence on how columns correspond."""
    budgets = list(results.suite["budgets"])
    is_theirs = results.title == results.suite["dataset"]["name"] and results.title in ("cityscapes", "voc")
    if set(budgets) & set(_BUDGETS) and is_theirs:
        rounds = tuple(budgets.index(budget) if budget in budgets else None for budget in _BUDGETS)
        return rounds, "Columns are labelled regions."
    last = len(budgets) - 1
    rounds = tuple(place if place <= last else None for place in range(1, len(_BUDGETS) + 1))
    return rounds, (
        f"This suite runs on {results.title} with budgets of its own, so columns are matched by "
        "round: compare the direction, not the values. The small print gives our budget."
    )


def _subhead(results: Results, round_: int | None) -> str:
    return "" if round_ is None else f"ours: {results.suite['budgets'][round_]:,}"


def _our_values(paper: PaperTable, results: Results) -> Values:
    return values_by_seed(results.records, MIOU if paper.is_miou else IMAGES if paper.key == "V-F" else SELECT_SECONDS)


def _pair(paper: PaperTable, name: str, label: str, ours: Values, rounds: tuple[int | None, ...]) -> Iterator[Row]:
    by_round = ours.get(label, {})
    if paper.key == "V-G":
        means = [summarise(by_round[round_].values()).mean for round_ in sorted(by_round)]
        texts = [formatting.seconds(value) for value in accumulate(means)]
        mine = [ABSENT if round_ is None or round_ >= len(texts) else texts[round_] for round_ in rounds]
    else:
        digits = 2 if paper.is_miou else 0
        mine = [
            ABSENT
            if round_ is None or round_ not in by_round
            else mean_std(summarise(by_round[round_].values()), digits)
            for round_ in rounds
        ]
    yield Row(label=label, cells=tuple(Cell(text=text) for text in mine))
    theirs = [
        f"{mean:.2f} ({std:.2f})" if std is not None else f"{mean:,.0f}" if mean == int(mean) else f"{mean:g}"
        for mean, std in paper.rows[name]
    ]
    yield Row(label=f"paper: {name}", cells=tuple(Cell(text=text) for text in theirs))


def _gains(
    paper: PaperTable, matched: Mapping[str, str], ours: Values, rounds: tuple[int | None, ...]
) -> Iterator[Row]:
    """Yield the gain of the second row over the first, ours and the paper's: the claim of the table in one line."""
    first, second = matched
    low, high = ours.get(matched[first], {}), ours.get(matched[second], {})
    mine = [
        ABSENT
        if round_ is None or round_ not in low or round_ not in high
        else signed(summarise(high[round_].values()).mean - summarise(low[round_].values()).mean)
        for round_ in rounds
    ]
    theirs = [signed(b - a) for (a, _), (b, _) in zip(paper.rows[first], paper.rows[second], strict=True)]
    yield Row(label=f"gain of {second}", cells=tuple(Cell(text=text) for text in mine))
    yield Row(label=f"paper: gain of {second}", cells=tuple(Cell(text=text) for text in theirs))


def _normal(label: str) -> str:
    return label.lower().replace("piecewise", "piece-wise").replace(" ", "-")
