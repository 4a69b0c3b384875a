"""Candidates of a study: their trials in the search, the best of them, and the suite that reports those."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import yaml

from quadrat.benchmark.config.strategy_entry import StrategyEntry
from quadrat.benchmark.config.study import REGION_SIZE, Direction, Study
from quadrat.benchmark.config.suite import Suite
from quadrat.benchmark.config.trial import FULL_SUPERVISION, DatasetSpec, TrialSpec
from quadrat.benchmark.errors import SuiteError

__all__ = [
    "Best",
    "Candidate",
    "State",
    "best_of",
    "entry_of",
    "export_suite",
    "report_suite",
    "search_dataset",
    "search_suite",
    "search_trials",
    "study_of",
]

State = Literal["running", "done", "pruned", "failed"]


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One assignment of the searched parameters.

    Attributes:
        number: Counted from 0 in the order in which they were proposed.
        state: What became of it; `running` is also what a killed study left.
        params: The searched parameters, `region_size` among them when it is searched.
        values: The objectives, in the order of the study; empty unless it is done.
        running: The first objective after each round, as far as it came; empty where there are two.
        same_as: Number of the first candidate with equal effective parameters, whose trials it shares; None for itself.
        exception: Why it failed.
    """

    number: int
    state: State
    params: dict[str, Any]
    values: tuple[float, ...] = ()
    running: tuple[float, ...] = ()
    same_as: int | None = None
    exception: str | None = None

    @property
    def label(self) -> str:
        """What it is called in tables and figures: candidates that share their trials share their name."""
        return f"candidate {self.number if self.same_as is None else self.same_as}"


@dataclass(frozen=True, kw_only=True)
class Best:
    """A candidate that is run on the report seeds.

    Attributes:
        candidate: Its number.
        label: That of its trials in the report: its own, or that of the trials of the suite that have its parameters,
            its region size and the first label type.
    """

    candidate: int
    label: str


def study_of(suite: Suite) -> Study:
    """Return the suite's study.

    Raises:
        SuiteError: When it has none.
    """
    if suite.study is None:
        raise SuiteError(
            f"expected a suite with a 'study', got '{suite.name}' without one; add it (see "
            "benchmark/config/README.md), or run the suite as it is: quadrat run"
        )
    return suite.study


def entry_of(suite: Suite, params: dict[str, Any], label: str) -> StrategyEntry:
    """Return the strategy that `params` of a candidate stand for.

    It has one region size and one label type, also where the suite compares several: those of the candidate, or else
    the suite's first.
    """
    study = study_of(suite)
    own = {name: value for name, value in params.items() if name != REGION_SIZE}
    size = params.get(REGION_SIZE, suite.region_sizes[0])
    return StrategyEntry(
        name=study.strategy,
        label=label,
        params={**study.params, **own},
        region_size=None if suite.region_sizes == (size,) else size,
        labels=None if len(suite.label_types) == 1 else suite.label_types[0],
    )


def search_dataset(suite: Suite) -> DatasetSpec:
    """Return the data that candidates are compared on: the suite's, with the split of its study."""
    test = study_of(suite).test
    return suite.dataset if test is None else suite.dataset.model_copy(update={"test": test})


def search_suite(suite: Suite, entry: StrategyEntry) -> Suite:
    """Return the suite whose trials evaluate the candidate `entry`: on the search seeds and the split of the search."""
    study = study_of(suite)
    update = {
        "dataset": search_dataset(suite),
        "strategies": (entry,),
        "seeds": study.search_seeds,
        "full_supervision": suite.full_supervision if study.needs_full_supervision else False,
        "region_size": suite.region_sizes[0],
        "labels": suite.label_types[0],
    }
    return suite.model_copy(update=update)


def search_trials(suite: Suite, candidate: Candidate) -> tuple[list[TrialSpec], list[TrialSpec]]:
    """Return a candidate's trials, one a search seed, and those of full supervision that its objective needs."""
    trials = search_suite(suite, entry_of(suite, candidate.params, candidate.label)).trials()
    return (
        [spec for spec in trials if spec.strategy != FULL_SUPERVISION],
        [spec for spec in trials if spec.strategy == FULL_SUPERVISION],
    )


def best_of(candidates: Sequence[Candidate], directions: Sequence[Direction], num: int) -> list[Candidate]:
    """Return the best candidates that are done, the best first; those with equal parameters count once.

    With two objectives these are candidates of the Pareto front (none is at least as good in both and better in one),
    in the order of the first objective; there may be fewer than `num`. Ties go to the lower number.
    """
    signs = [-1.0 if direction == "maximize" else 1.0 for direction in directions]
    losses = {
        candidate.number: tuple(sign * value for sign, value in zip(signs, candidate.values, strict=True))
        for candidate in candidates
        if candidate.state == "done" and candidate.same_as is None
    }

    def is_dominated(mine: tuple[float, ...]) -> bool:
        return any(other != mine and all(a <= b for a, b in zip(other, mine, strict=True)) for other in losses.values())

    front = [number for number, mine in losses.items() if len(directions) == 1 or not is_dominated(mine)]
    front.sort(key=lambda number: (losses[number], number))
    by_number = {candidate.number: candidate for candidate in candidates}
    return [by_number[number] for number in front[:num]]


def report_suite(suite: Suite, best: Sequence[Candidate]) -> tuple[Suite, list[Best]]:
    """Return the suite whose trials are the results: its own strategies and the best candidates, on its own seeds.

    A candidate whose parameters are those of a strategy of the suite is that strategy: it is not there twice.
    """
    labels = suite.labels_of_trials()
    strategies, found = list(suite.strategies), []
    for candidate in best:
        entry = entry_of(suite, candidate.params, candidate.label)
        key = suite.effective(entry)
        if key not in labels:
            labels[key] = entry.label
            strategies.append(entry)
        found.append(Best(candidate=candidate.number, label=labels[key]))
    return suite.model_copy(update={"strategies": tuple(strategies)}), found


def export_suite(reported: Suite) -> str:
    """Return a suite as YAML that runs by itself: what `report_suite` returned, without the search.

    Its trials are those of the report, so in the study's results folder they are complete.
    """
    values = json.loads(reported.model_copy(update={"study": None}).model_dump_json(exclude_none=True))
    about = f"# Suite {reported.name} with the best candidates of its study, written by `quadrat study --export`.\n"
    return about + yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=120, default_flow_style=None)
