"""Queries as a table and in sentences: the area over clicks of every strategy under every query."""

from collections.abc import Iterator

from quadrat.benchmark.analysis.area_tests import AreaComparison
from quadrat.benchmark.analysis.queries import QueryAnalysis
from quadrat.benchmark.reporting.formatting import ABSENT, p_equals, signed
from quadrat.benchmark.reporting.tables.cells import Cell, NamedTable, Row, Table
from quadrat.benchmark.reporting.tables.primary import not_tested

__all__ = ["named_queries", "queries_table", "query_sentences"]


def named_queries(found: QueryAnalysis) -> NamedTable:
    """Return `queries_table` with its caption."""
    caption = (
        f"Area under the curve over clicks, from {found.low:,.0f} to {found.high:,.0f} clicks, the range that all "
        f"finished trials cover: mean mIoU in %, of each strategy under each query. Highest query of a strategy in "
        f"bold. Small print: gain to {found.reference}, with the interval that holds together with all others; * : "
        "significant. Decided beforehand, one family with the comparisons with Random."
    )
    return NamedTable(name="queries", caption=caption, table=queries_table(found))


def queries_table(found: QueryAnalysis) -> Table:
    """Return one row a query and one column a strategy: the area over clicks and the gain to the first query."""
    methods = list(dict.fromkeys(found.methods.values()))
    queries = list(dict.fromkeys(found.queries.values()))
    places = {(found.queries[label], found.methods[label]): label for label in found.areas}
    columns = []
    for method in methods:
        labels = [places.get((query, method)) for query in queries]
        values = [None if label is None else found.areas[label] for label in labels]
        best = max(value for value in values if value is not None)
        columns.append([_cell(found, label, best) for label in labels])
    return Table(
        corner="query",
        columns=tuple(methods),
        rows=tuple(
            Row(label=str(query), cells=tuple(column[place] for column in columns))
            for place, query in enumerate(queries)
        ),
    )


def _cell(found: QueryAnalysis, label: str | None, best: float) -> Cell:
    if label is None:
        return Cell(text=ABSENT)
    area = found.areas[label]
    comparison = found.find(label)
    note = "" if comparison is None else _note(comparison)
    return Cell(text=f"{area:.2f}", is_best=area == best, note=note)


def _note(comparison: AreaComparison) -> str:
    low, high = comparison.simultaneous_low, comparison.simultaneous_high
    if low is None or high is None or comparison.adjusted_p is None:
        return f"{signed(comparison.gain)}, {not_tested(comparison)}"
    mark = " *" if comparison.verdict in ("better", "worse") else ""
    return f"{signed(comparison.gain)}{mark} ({signed(low)} to {signed(high)})"


def query_sentences(found: QueryAnalysis) -> Iterator[str]:
    """Yield for each strategy under which query its area over clicks is highest, and how sure that is."""
    for method in dict.fromkeys(found.methods.values()):
        labels = [label for label in found.areas if found.methods[label] == method]
        if len(labels) < 2:
            continue
        best = max(labels, key=found.areas.__getitem__)
        text = f"Over clicks {method} is highest with {found.queries[best]} ({found.areas[best]:.2f} %"
        comparison = found.find(best)
        if comparison is None:
            others = [found.find(label) for label in labels if label != best]
            num = sum(one is not None and one.verdict == "worse" for one in others)
            yield f"{text}); {num} of {len(others)} other queries are significantly worse."
            continue
        claim = "not tested"
        if comparison.adjusted_p is not None:
            is_claim = comparison.verdict == "better"
            claim = f"{'significantly better' if is_claim else 'open'}, {p_equals(comparison.adjusted_p)}"
        yield f"{text}, {signed(comparison.gain)} points to {found.reference}: {claim})."
