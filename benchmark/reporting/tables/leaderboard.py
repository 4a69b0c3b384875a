"""Tables of the leaderboard: strategies, shares won, areas by setting, settings, parameters, results folders."""

from collections.abc import Mapping
from typing import Final

from quadrat.benchmark.analysis.leaderboard import Leaderboard, Score, Standing
from quadrat.benchmark.analysis.measures import FRACTION, MIOU, PRIMARY_COSTS, Cost
from quadrat.benchmark.analysis.primary import primary_analysis
from quadrat.benchmark.analysis.settings import Setting
from quadrat.benchmark.analysis.statistics import summarise, values_by_seed
from quadrat.benchmark.reporting.formatting import ABSENT, counted, mean_std, signed
from quadrat.benchmark.reporting.summary import primary_headline
from quadrat.benchmark.reporting.tables.cells import Cell, NamedTable, Row, Table
from quadrat.benchmark.reporting.tables.primary import SHORT_TITLES
from quadrat.benchmark.results.environment import device_of
from quadrat.benchmark.results.trials import Results
from quadrat.strategies import sees_labels

__all__ = ["leaderboard_tables", "standings_table"]


def leaderboard_tables(found: Leaderboard, folders: Mapping[str, Results]) -> dict[str, NamedTable]:
    """Return the tables of the page by name, in its order.

    Args:
        found: The comparison.
        folders: Name -> contents of a results folder.
    """
    tables = [
        NamedTable(name="leaderboard", caption=_STANDINGS, table=standings_table(found)),
        *(
            NamedTable(
                name=f"shares-won-{cost.key}",
                caption=f"Over {SHORT_TITLES[cost.key]}: share of the seeds in which the area of the ROW strategy is "
                "above that of the COLUMN strategy, in %, averaged over the settings that have both; exploratory and "
                f"untested.{_cut(found)}",
                table=_wins_table(found, cost),
                kind="heat",
            )
            for cost in PRIMARY_COSTS
        ),
        NamedTable(
            name="settings",
            caption="Settings: what is compared has the same images, region size, label type, budgets and recipe.",
            table=_settings_table(found, folders),
            kind="left",
        ),
        NamedTable(
            name="areas",
            caption="Area under the curve (AUBC): mean mIoU in % over the budget, mean (std) over seeds, and its "
            "difference to Random's in points, paired by seed; in each setting over the range of costs that all its "
            "trials cover.",
            table=_areas_table(found),
        ),
        NamedTable(
            name="strategies",
            caption="Strategies with all parameters, and what the suites call them.",
            table=_strategies_table(found),
            kind="left",
        ),
        NamedTable(
            name="folders",
            caption="Results folders. The last column is the primary analysis of each folder by itself; it is "
            "corrected within the folder and not over the folders.",
            table=_folders_table(folders),
            kind="left",
        ),
    ]
    return {table.name: table for table in tables}


_MOST: Final = 40
"""Strategies in the matrices of shares won: the first ones of the table above."""

_STANDINGS: Final = (
    "Area under the learning curve (AUBC) over labelled pixels and over clicks; exploratory. Mean rank (1 is best): of "
    "the ranked strategies in the settings that have them all; small print: middle 95 % of 10,000 resamples of these "
    "settings, no confidence interval. Gain over Random in points, and area in % of Random's and of full "
    "supervision's mIoU: means over the settings that have the value, so strategies that are in other settings can't "
    "be compared by them. Lowest mean rank in bold."
)


def standings_table(found: Leaderboard, *, is_brief: bool = False) -> Table:
    """Return one row per strategy: ranks, gains and relative areas, over pixels and over clicks side by side.

    Args:
        found: The comparison.
        is_brief: Whether to leave out relative areas and numbers of trials, for a narrow terminal.
    """
    best = {
        cost.key: min(
            (round(rank, 2) for line in found.standings if (rank := line.scores[cost.key].rank) is not None),
            default=None,
        )
        for cost in PRIMARY_COSTS
    }
    whole = ("mean rank", "gain over Random", "% of Random", "% of full supervision")
    heads = ("mean rank", "gain") if is_brief else whole
    titles = {cost.key: SHORT_TITLES[cost.key].removeprefix("labelled " if is_brief else "") for cost in PRIMARY_COSTS}
    return Table(
        corner="strategy",
        columns=("settings", *(head for head in heads for _ in PRIMARY_COSTS)),
        subheads=("", *(titles[cost.key] for _ in heads for cost in PRIMARY_COSTS)),
        rows=tuple(
            Row(
                label=line.name,
                cells=(
                    Cell(
                        text=f"{line.num_settings} of {len(found.found.settings)}",
                        note=_labels_seen(line) if is_brief else _trials(line),
                    ),
                    *(_rank(line.scores[cost.key], best[cost.key]) for cost in PRIMARY_COSTS),
                    *(_signed(line.scores[cost.key].gain) for cost in PRIMARY_COSTS),
                    *(() if is_brief else (_number(line.scores[cost.key].of_random) for cost in PRIMARY_COSTS)),
                    *(() if is_brief else (_number(line.scores[cost.key].of_full) for cost in PRIMARY_COSTS)),
                ),
            )
            for line in found.standings
        ),
    )


def _cut(found: Leaderboard) -> str:
    """Return that a matrix has not all strategies, or nothing."""
    num = len(found.standings)
    return f" The first {_MOST} of {num} strategies; files/areas-by-seed.csv has all." if num > _MOST else ""


def _trials(line: Standing) -> str:
    trials = counted(line.num_trials, "trial")
    return ", ".join(filter(None, (trials, _labels_seen(line))))


def _labels_seen(line: Standing) -> str:
    return "sees labels" if sees_labels(line.entry.strategy) else ""


def _rank(score: Score, best: float | None) -> Cell:
    if score.rank is None:
        return Cell(text=ABSENT)
    note = "" if score.rank_low is None or score.rank_high is None else f"{score.rank_low:.2f} to {score.rank_high:.2f}"
    return Cell(text=f"{score.rank:.2f}", note=note, is_best=round(score.rank, 2) == best)


def _signed(value: float | None) -> Cell:
    return Cell(text=ABSENT if value is None else signed(value))


def _number(value: float | None) -> Cell:
    return Cell(text=ABSENT if value is None else f"{value:.1f}")


def _wins_table(found: Leaderboard, cost: Cost) -> Table:
    shares = found.shares_won[cost.key]
    compared = {entry for pair in shares for entry in pair}
    lines = [line for line in found.standings if line.entry in compared][:_MOST]
    return Table(
        corner="row above column, % of seeds",
        columns=tuple(line.name for line in lines),
        rows=tuple(
            Row(label=row.name, cells=tuple(_share(shares.get((row.entry, column.entry))) for column in lines))
            for row in lines
        ),
    )


def _share(share: float | None) -> Cell:
    return Cell(text="") if share is None else Cell(text=f"{100 * share:.0f}", shade=share)


def _areas_table(found: Leaderboard) -> Table:
    rows = []
    for setting in found.found.settings:
        for line in found.standings:
            if line.entry not in setting.trials:
                continue
            cells = []
            for cost in PRIMARY_COSTS:
                areas = found.areas[cost.key].get(setting.name)
                if areas is None:
                    cells += [Cell(text=ABSENT), Cell(text=ABSENT)]
                    continue
                gains = areas.gains(line.entry)
                cells += [
                    Cell(text=mean_std(summarise(areas.by_entry[line.entry].values()), 2)),
                    _signed(summarise(gains.values()).mean if gains else None),
                ]
            seeds = setting.trials[line.entry]
            rows.append(Row(label=line.name, cells=(Cell(text=setting.name), Cell(text=str(len(seeds))), *cells)))
    return Table(
        corner="strategy",
        columns=("setting", "seeds", *(head for _ in PRIMARY_COSTS for head in ("AUBC", "gain over Random"))),
        subheads=("", "", *(SHORT_TITLES[cost.key] for cost in PRIMARY_COSTS for _ in range(2))),
        rows=tuple(rows),
    )


def _settings_table(found: Leaderboard, folders: Mapping[str, Results]) -> Table:
    return Table(
        corner="setting",
        columns=("ranked", "strategies", "seeds", "images", "budgets", "recipe", "full supervision, %", "folders"),
        rows=tuple(
            Row(
                label=setting.name,
                cells=tuple(
                    Cell(text=text)
                    for text in (
                        "yes" if setting.name in found.ranked_settings else "no",
                        str(len(setting.trials)),
                        str(len({seed for seeds in setting.trials.values() for seed in seeds})),
                        _images(folders[setting.folders[0]]),
                        _budgets(setting),
                        _recipe(setting),
                        _full(found, setting),
                        ", ".join(setting.folders),
                    )
                ),
            )
            for setting in found.found.settings
        ),
    )


def _images(results: Results) -> str:
    nums = [results.dataset.get(split, {}).get("num_images") for split in ("pool", "test")]
    return " + ".join(ABSENT if num is None else f"{num:,}" for num in nums)


def _budgets(setting: Setting) -> str:
    budgets = setting.protocol.get("budgets") or []
    return f"{budgets[0]:,} to {budgets[-1]:,} in {len(budgets)} rounds" if budgets else ABSENT


def _recipe(setting: Setting) -> str:
    learner = {key.removeprefix("learner."): value for key, value in setting.protocol.items() if "learner." in key}
    if not learner:
        return ABSENT
    length = f"{learner['epochs']} epochs" if learner.get("epochs") else f"{learner.get('iterations')} iterations"
    return f"{learner.get('encoder')}{', frozen' if learner.get('frozen') else ''}, {length}"


def _full(found: Leaderboard, setting: Setting) -> str:
    areas = found.areas[FRACTION.key].get(setting.name)
    return ABSENT if areas is None or areas.full_supervision is None else f"{areas.full_supervision:.1f}"


def _strategies_table(found: Leaderboard) -> Table:
    return Table(
        corner="strategy",
        columns=("registered name", "labels", "parameters"),
        rows=tuple(
            Row(
                label=line.name,
                cells=(
                    Cell(text=line.entry.strategy),
                    Cell(text=", ".join(found.found.labels[line.entry])),
                    Cell(text=line.entry.params),
                ),
            )
            for line in found.standings
        ),
    )


def _folders_table(folders: Mapping[str, Results]) -> Table:
    rows = []
    for name, results in folders.items():
        done = sum(trial.state == "done" for trial in results.trials)
        commits = dict.fromkeys(str(one.get("commit") or ABSENT)[:12] for one in results.environments)
        devices = dict.fromkeys(device_of(one) or ABSENT for one in results.environments)
        headline = primary_headline(results, values_by_seed(results.records, MIOU), primary_analysis(results))
        texts = (
            str(results.suite["name"]),
            f"{done} of {len(results.trials)}",
            "; ".join(commits),
            "; ".join(devices),
            headline,
        )
        rows.append(Row(label=name, cells=tuple(Cell(text=text) for text in texts)))
    return Table(
        corner="folder", columns=("suite", "trials done", "commit", "device", "primary analysis"), rows=tuple(rows)
    )
