"""Strategies over several settings: mean ranks, shares won, areas relative to Random and to full supervision.

All numbers come from the area under the learning curve (AUBC) of mIoU over labelled pixels and over clicks. They are
exploratory, but for the tests over data sets (`data_sets.py`), which were declared beforehand.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Final

import numpy as np
import numpy.typing as npt

from quadrat.benchmark.analysis.data_sets import LeaderboardTests, tests_over_data_sets
from quadrat.benchmark.analysis.measures import FRACTION, PRIMARY_COSTS
from quadrat.benchmark.analysis.ranks import rank
from quadrat.benchmark.analysis.setting_areas import SettingAreas, areas_of
from quadrat.benchmark.analysis.settings import Entry, Setting, Settings, find_settings
from quadrat.benchmark.analysis.statistics import LEVEL
from quadrat.benchmark.errors import ResultsError
from quadrat.benchmark.results.trials import Results
from quadrat.benchmark.seeds import rng
from quadrat.strategies import sees_labels

__all__ = ["NUM_DRAWS", "Leaderboard", "Score", "Standing", "leaderboard"]

NUM_DRAWS: Final = 10_000
"""Resamples of the settings."""

_MIN_SETTINGS: Final = 3
"""Fewer settings are not resampled."""

# Legend: S settings, E entries, D draws.


@dataclass(frozen=True, kw_only=True)
class Score:
    """An entry over one cost. Means are over the settings that have the value, each counting once.

    Attributes:
        gain: Area minus Random's, points; None where no setting has both.
        of_random: Area in percent of Random's.
        of_full: Area in percent of full supervision.
        rank: Mean rank over the ranked settings, 1 is best; None for an entry that is not ranked.
        rank_low: The middle 95 % of its mean ranks over resamples of the settings begin here; None for fewer than three
            settings. No confidence interval: of few settings it is too narrow.
        rank_high: They end here.
    """

    gain: float | None
    of_random: float | None
    of_full: float | None
    rank: float | None
    rank_low: float | None
    rank_high: float | None


@dataclass(frozen=True, kw_only=True)
class Standing:
    """A line of the leaderboard.

    Attributes:
        entry: Strategy and parameters.
        name: What it is called: the registered name, with the parameters in which it differs from the entry of that
            strategy that most settings have.
        num_settings: Settings that have it.
        num_trials: Its finished trials.
        scores: Key of the cost -> score.
    """

    entry: Entry
    name: str
    num_settings: int
    num_trials: int
    scores: Mapping[str, Score]


@dataclass(frozen=True, kw_only=True)
class Leaderboard:
    """Several results folders compared.

    Attributes:
        found: The settings, what keeps them apart, and what is left out.
        areas: Key of the cost -> areas of each setting whose curves share a range of that cost, by setting name.
        standings: Ranked entries first, by mean rank over labelled pixels, then by the gain over Random.
        ranked: The entries that are ranked.
        is_asked: Whether they were named by the caller, and not found by the rule.
        ranked_settings: Names of the settings that they are ranked in: those in which all of them share a seed.
        shares_won: Key of the cost -> (row, column) -> share of the seeds in which the row's area is above the
            column's, averaged over settings, 0..1; a tie counts half.
        tests: The analysis over data sets.
    """

    found: Settings
    areas: Mapping[str, Mapping[str, SettingAreas]]
    standings: tuple[Standing, ...]
    ranked: tuple[Entry, ...]
    is_asked: bool
    ranked_settings: tuple[str, ...]
    shares_won: Mapping[str, Mapping[tuple[Entry, Entry], float]]
    tests: LeaderboardTests

    def name(self, entry: Entry) -> str:
        """Return what an entry is called."""
        return next(standing.name for standing in self.standings if standing.entry == entry)


def leaderboard(folders: Mapping[str, Results], strategies: Sequence[str] = ()) -> Leaderboard:
    """Return the comparison of several results folders.

    Ranks need a table without gaps. It is found by a rule that sees no result: entries in the order of how many
    settings have them, and of these the first k >= 2 whose table, entries x settings that have all k, has most cells.
    Oracle strategies, which see labels, are not ranked.

    Args:
        folders: Name -> contents of a results folder.
        strategies: Names of entries, as `Standing` has them, to rank instead.

    Raises:
        ResultsError: When there is no such entry.
    """
    found = find_settings(folders)
    by_cost = {cost.key: dict(areas_of(found.settings, cost)) for cost in PRIMARY_COSTS}
    names = _names(found.settings)
    ranked, settings = _ranked(found.settings, by_cost, names, strategies)
    ranks = {key: _ranks([of_cost[name] for name in settings], ranked) for key, of_cost in by_cost.items()}
    standings = [
        Standing(
            entry=entry,
            name=name,
            num_settings=sum(entry in setting.trials for setting in found.settings),
            num_trials=sum(len(setting.trials.get(entry, {})) for setting in found.settings),
            scores={
                key: _score(
                    list(of_cost.values()), entry, ranks[key][:, ranked.index(entry)] if entry in ranked else None, key
                )
                for key, of_cost in by_cost.items()
            },
        )
        for entry, name in names.items()
    ]
    return Leaderboard(
        found=found,
        areas=by_cost,
        standings=tuple(sorted(standings, key=_order)),
        ranked=tuple(ranked),
        is_asked=bool(strategies),
        ranked_settings=tuple(settings),
        shares_won={key: _shares_won(list(of_cost.values()), list(names)) for key, of_cost in by_cost.items()},
        tests=tests_over_data_sets(by_cost, ranked, settings),
    )


def _order(standing: Standing) -> tuple[float, float, str]:
    score = standing.scores[FRACTION.key]
    gain = -math.inf if score.gain is None else score.gain
    return (math.inf if score.rank is None else score.rank, -gain, standing.name)


# ------------------------------------------------------------------------------------------------ who is ranked


def _names(settings: Sequence[Setting]) -> dict[Entry, str]:
    """Return what each entry is called, in the order of names."""
    counts: dict[Entry, int] = {}
    for setting in settings:
        for entry in setting.trials:
            counts[entry] = counts.get(entry, 0) + 1
    of_strategy: dict[str, list[Entry]] = {}
    for entry in counts:
        of_strategy.setdefault(entry.strategy, []).append(entry)
    names: dict[Entry, str] = {}
    for strategy, entries in of_strategy.items():
        usual = min(entries, key=lambda entry: (-counts[entry], entry.params))
        for digits in (3, None):
            own = {entry: f"{strategy}{_difference(entry, usual, digits)}" for entry in entries}
            if len(set(own.values())) == len(entries):
                break
        names |= own
    return dict(sorted(names.items(), key=lambda item: item[1]))


def _difference(entry: Entry, usual: Entry, digits: int | None) -> str:
    mine, theirs = json.loads(entry.params), json.loads(usual.params)
    parts = [
        f"{key} {_plain(mine[key], digits)}" if key in mine else f"without {key}"
        for key in dict.fromkeys([*mine, *theirs])
        if (key in mine) != (key in theirs) or mine.get(key) != theirs.get(key)
    ]
    return f" ({', '.join(parts)})" if parts else ""


def _plain(value: object, digits: int | None) -> str:
    return f"{value:.{digits}g}" if isinstance(value, float) and digits is not None else str(value)


def _ranked(
    settings: Sequence[Setting],
    by_cost: Mapping[str, Mapping[str, SettingAreas]],
    names: Mapping[Entry, str],
    strategies: Sequence[str],
) -> tuple[list[Entry], list[str]]:
    """Return the entries that are ranked, and the settings that they are ranked in."""
    usable = [setting for setting in settings if all(setting.name in of_cost for of_cost in by_cost.values())]

    def have(entries: Sequence[Entry]) -> list[str]:
        return [
            setting.name
            for setting in usable
            if set.intersection(*(set(setting.trials.get(entry, {})) for entry in entries))
        ]

    if strategies:
        chosen = []
        for wanted in strategies:
            matches = [entry for entry, name in names.items() if name == wanted]
            if not matches:
                raise ResultsError(f"expected a strategy, one of {', '.join(names.values())}, got {wanted}")
            chosen += matches
        return chosen, have(chosen)
    able = [entry for entry in names if not sees_labels(entry.strategy)]
    ordered = sorted(able, key=lambda entry: (-len(have([entry])), entry.strategy != "random", names[entry]))
    blocks = [(ordered[:num], have(ordered[:num])) for num in range(2, len(ordered) + 1)]
    # Of equal tables the one with more settings: more to average over.
    best = max(blocks, key=lambda block: (len(block[0]) * len(block[1]), len(block[1])), default=([], []))
    return best if best[1] else ([], [])


def _ranks(of_settings: Sequence[SettingAreas], ranked: Sequence[Entry]) -> npt.NDArray[np.float64]:
    """Return (S, E) ranks, 1 the best: those of the seeds that all entries share, averaged in each setting."""
    rows = []
    for found in of_settings:
        seeds = sorted(set.intersection(*(set(found.by_entry[entry]) for entry in ranked)))
        by_seed = [rank([-found.by_entry[entry][seed] for entry in ranked]) for seed in seeds]
        rows.append(np.mean(by_seed, axis=0))
    return np.array(rows, dtype=float).reshape(len(of_settings), len(ranked))


# ------------------------------------------------------------------------------------------------ numbers of an entry


def _score(
    of_settings: Sequence[SettingAreas], entry: Entry, ranks_S: npt.NDArray[np.float64] | None, cost_key: str
) -> Score:
    gains = [fmean(gains.values()) for found in of_settings if (gains := found.gains(entry))]
    low, high = (None, None) if ranks_S is None else _spread(ranks_S, cost_key)
    return Score(
        gain=_mean(gains),
        of_random=_mean([value for found in of_settings if (value := found.of_random(entry)) is not None]),
        of_full=_mean([value for found in of_settings if (value := found.of_full(entry)) is not None]),
        rank=None if ranks_S is None or not len(ranks_S) else float(ranks_S.mean()),
        rank_low=low,
        rank_high=high,
    )


def _mean(values: Sequence[float]) -> float | None:
    return fmean(values) if values else None


def _spread(ranks_S: npt.NDArray[np.float64], cost_key: str) -> tuple[float | None, float | None]:
    """Return the middle 95 % of the mean over resamples of the settings: the same resamples for every entry."""
    num = len(ranks_S)
    if num < _MIN_SETTINGS:
        return None, None
    draws_DS = rng(0, "leaderboard", "settings", cost_key).integers(num, size=(NUM_DRAWS, num))
    low, high = np.quantile(ranks_S[draws_DS].mean(axis=1), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _shares_won(of_settings: Sequence[SettingAreas], entries: Sequence[Entry]) -> dict[tuple[Entry, Entry], float]:
    shares: dict[tuple[Entry, Entry], list[float]] = {}
    for found in of_settings:
        for row in found.by_entry:
            for column in found.by_entry:
                mine, theirs = found.by_entry[row], found.by_entry[column]
                seeds = mine.keys() & theirs.keys()
                if row != column and seeds:
                    won = [(mine[seed] > theirs[seed]) + 0.5 * (mine[seed] == theirs[seed]) for seed in seeds]
                    shares.setdefault((row, column), []).append(fmean(won))
    return {
        (row, column): fmean(shares[row, column]) for row in entries for column in entries if (row, column) in shares
    }
