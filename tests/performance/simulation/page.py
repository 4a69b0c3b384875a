"""The tables of the simulation as a page in Markdown."""

from collections.abc import Mapping, Sequence
from typing import Final

from performance.simulation.coverage import ALL_GAINS, GAIN
from performance.simulation.queries import NUM_QUERIES, NUM_STRATEGIES, QUERY_VARIANCES
from performance.simulation.studies import VARIANCES
from performance.simulation.tables import NOISES, SEEDS, Row

__all__ = ["page"]

_HEAD: Final = """# Simulation of the statistics

How often the report of a study with known truth says what is not so, how often its intervals hold the truth, and what
it detects. Made by `make simulate` (in `tests/performance/simulation/`), which calls the functions of
[`benchmark/analysis`](../../benchmark/analysis/README.md); all rows are in [simulation.json](simulation.json). A slow
test keeps the bounds.

Eight strategies, five rounds, levels and spreads like those of `camvid-cpu`: within a seed, round 0 is shared (standard
deviation 1.7), later rounds have a shared (0.6) and an own deviation (1.2), full supervision 0.8; clicks of a trial
deviate by 3 %. Skewed: exponential with the long tail at low mIoU (skewness -2), to be on the harsh side.
"""

_FALSE: Final = """
## False claims

Studies in % in which anything on the page is called significant although all strategies are equal; at most 5 % are
wanted. Columns: standard deviations of the strategies, all equal, Random's twice the others', one three times the
others', rising from 1 to 3. Methods: *now*, the primary analysis; *pooled only*, the same without its guard against
unequal variances; *before*, four families of paired tests on one page, each corrected by itself.
"""

_QUERIES: Final = f"""
### With several queries

The same for {NUM_STRATEGIES} strategies under each of {NUM_QUERIES} queries (region sizes, shapes, label types):
strategies are compared with the Random of their query, and each strategy with itself under the first query. Under one
query the strategies of a seed share round 0 and a deviation. *Now*: one family, queries with the degrees of freedom of
one strategy. *Two families*: queries corrected apart, with the degrees of freedom of all strategies.
"""

_COVERAGE: Final = """
## Coverage

Intervals in % that hold the true value; one is called a 95 % interval where it is within 93 to 97 %. Strategies vary
equally. All gains of the table at once are held in *at least* 95 % of studies. A cost that lies beyond the budget has
an open end, which is hardly ever wrong. *Before*: the t-interval of a mean, now mean (std), and bootstrap percentiles.
"""

_UNEQUAL: Final = """
Gains where strategies vary unequally: the simultaneous intervals, which the report prints, keep their word; the
interval of a gain alone (`quadrat stats --json`) takes all strategies to vary equally.
"""

_POWER: Final = """
## Power

Studies in % in which the one better strategy of eight is claimed to be better over pixels, by its true gain in area
(points). *Pooled only* less *now* is what the guard against unequal variances costs. *Before*: the test of areas alone.
"""

_PLANNING: Final = """
The seeds that the report plans for a gain (80 % power, normal noise), and the power that they have:
"""

_METHODS: Final = ("now", "pooled only", "before")


def page(found: Mapping[str, Sequence[Row]]) -> str:
    """Return the page.

    Args:
        found: Table -> its rows.
    """
    studies = max(row.studies for row in found["false claims"])
    margin = 100 * 2 * (0.05 * 0.95 / studies) ** 0.5
    coverage = [row for row in found["coverage"] if row.setting == "equal"]
    gains = [row._replace(method=row.quantity) for row in found["coverage"] if row.quantity in (ALL_GAINS, GAIN)]
    variances = {name: name for name in VARIANCES}
    true_gains = {f"+{row.setting}": row.setting for row in found["power"]}
    names = dict.fromkeys((row.quantity, row.method) for row in coverage)
    return "".join(
        (
            _HEAD,
            f"{studies:,} studies a row (a fifth of them for coverage *before*); figures near 5 and 95 % are uncertain "
            f"by {margin:.1f}.\n",
            _FALSE,
            _table(found["false claims"], _METHODS, variances),
            _QUERIES,
            _table(found["queries"], ("now", "two families"), {name: name for name in QUERY_VARIANCES}),
            _COVERAGE,
            _wide(coverage, list(names)),
            _UNEQUAL,
            _table(gains, (ALL_GAINS, GAIN), variances),
            _POWER,
            _table(found["power"], _METHODS, true_gains),
            _PLANNING,
            "\n| true gain | seeds planned | power |\n|---|---|---|\n",
            *(f"| +{row.setting} | {row.seeds} | {100 * row.rate:.0f} |\n" for row in found["planning"]),
        )
    )


def _table(rows: Sequence[Row], methods: Sequence[str], columns: Mapping[str, str]) -> str:
    """Return one line for noise, seeds and method, one column for each setting (title -> setting)."""
    lines = [f"\n| noise | seeds | method | {' | '.join(columns)} |", "|---" * (3 + len(columns)) + "|"]
    for noise in NOISES:
        for seeds in SEEDS:
            for method in methods:
                of_line = [row for row in rows if (row.noise, row.seeds, row.method) == (noise, seeds, method)]
                cells = [_cell(next(row for row in of_line if row.setting == setting)) for setting in columns.values()]
                lines.append(f"| {noise} | {seeds} | {method} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _wide(rows: Sequence[Row], names: Sequence[tuple[str, str]]) -> str:
    """Return one line for each kind of interval, one column for noise and seeds."""
    places = [(noise, seeds) for noise in NOISES for seeds in SEEDS]
    head = [f"{noise}, {seeds} seeds" for noise, seeds in places]
    lines = [f"\n| interval | {' | '.join(head)} |", "|---" * (1 + len(head)) + "|"]
    for quantity, method in sorted(names, key=lambda name: name[1] == "before"):
        values = {(row.noise, row.seeds): row for row in rows if (row.quantity, row.method) == (quantity, method)}
        title = quantity if method == "now" else f"{quantity}, before"
        lines.append(f"| {title} | {' | '.join(_cell(values[place]) for place in places)} |")
    return "\n".join(lines) + "\n"


def _cell(row: Row) -> str:
    return f"{100 * row.rate:.1f}"
