"""Candidates of a study: their trials, which of them are best, and `study/study.json`, which says what became of each.

Everything of the search lies in the folder `study` of a results folder: its records are not results, since the
parameters were chosen on their seeds.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

from quadrat.benchmark.config.study import REGION_SIZE, Direction, Study
from quadrat.benchmark.config.suite import StrategyEntry, Suite
from quadrat.benchmark.config.trial import FULL_SUPERVISION, TrialSpec
from quadrat.benchmark.errors import ResultsError
from quadrat.benchmark.storage.atomic import canonical_json, write_json
from quadrat.strategies import load

__all__ = [
    "Best",
    "Candidate",
    "State",
    "StudyResults",
    "best_of",
    "check_study",
    "effective",
    "entry_of",
    "read_study",
    "report_suite",
    "search_suite",
    "search_trials",
    "space_of",
    "study_dir",
    "study_of",
    "write_study",
]

State = Literal["running", "done", "pruned", "failed"]

_SCHEMA: Final = 1
_FILE: Final = "study.json"
_FRAME: Final = ("strategy", "params", "space", "objective", "search_seeds", "test", "sampler", "pruner", "seed")
"""What must stay the same within a study. It may grow: more candidates, more of the best."""


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
        label: That of its trials in the report: its own, or that of a strategy of the suite with equal parameters.
    """

    candidate: int
    label: str


@dataclass(frozen=True, kw_only=True)
class StudyResults:
    """What study.json holds.

    Attributes:
        study: The study as the suite gives it.
        space: The searched dimensions, Optuna's JSON of each distribution.
        directions: Whether each objective is to be large or small.
        candidates: By number.
        best: Those that are run on the report seeds, the best first; empty until the search has ended.
    """

    study: Study
    space: dict[str, str]
    directions: tuple[Direction, ...]
    candidates: tuple[Candidate, ...]
    best: tuple[Best, ...] = ()


def study_of(suite: Suite) -> Study:
    """Return the suite's study.

    Raises:
        ResultsError: When it has none.
    """
    if suite.study is None:
        raise ResultsError(
            f"expected a suite with a 'study', got '{suite.name}' without one; add it (see benchmark/README.md), or "
            "run the suite as it is: quadrat run"
        )
    return suite.study


def space_of(study: Study) -> dict[str, str]:
    """Return the searched dimensions as Optuna writes them."""
    from optuna.distributions import distribution_to_json

    return {name: distribution_to_json(found) for name, found in study.distributions().items()}


def study_dir(results_dir: Path) -> Path:
    """Return the folder of the search inside a results folder."""
    return Path(results_dir) / "study"


def entry_of(suite: Suite, params: dict[str, Any], label: str) -> StrategyEntry:
    """Return the strategy that `params` of a candidate stand for."""
    study = study_of(suite)
    own = {name: value for name, value in params.items() if name != REGION_SIZE}
    size = params.get(REGION_SIZE)
    return StrategyEntry(
        name=study.strategy,
        label=label,
        params={**study.params, **own},
        region_size=None if size == suite.region_sizes[0] else size,
    )


def effective(suite: Suite, entry: StrategyEntry) -> str:
    """Return what makes two strategies of a suite the same: name, all parameters, region size."""
    size = entry.region_size or suite.region_sizes[0]
    return canonical_json([entry.name, load(entry.name, **entry.params).params(), size])


def search_suite(suite: Suite, entry: StrategyEntry) -> Suite:
    """Return the suite whose trials judge `entry`: on the search seeds, and on the split of the search."""
    study = study_of(suite)
    dataset = suite.dataset if study.test is None else suite.dataset.model_copy(update={"test": study.test})
    update = {
        "dataset": dataset,
        "strategies": (entry,),
        "seeds": study.search_seeds,
        "full_supervision": study.needs_full_supervision,
        "region_size": suite.region_sizes[0],
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
    labels = {effective(suite, entry): entry.label for entry in suite.strategies}
    strategies, found = list(suite.strategies), []
    for candidate in best:
        entry = entry_of(suite, candidate.params, candidate.label)
        key = effective(suite, entry)
        if key not in labels:
            labels[key] = entry.label
            strategies.append(entry)
        found.append(Best(candidate=candidate.number, label=labels[key]))
    return suite.model_copy(update={"strategies": tuple(strategies)}), found


def write_study(results_dir: Path, results: StudyResults) -> None:
    """Write study.json, whole or not at all."""
    value = asdict(results)
    value["study"] = json.loads(results.study.model_dump_json())
    write_json(study_dir(results_dir) / _FILE, {"schema": _SCHEMA, **value})


def read_study(results_dir: Path) -> StudyResults | None:
    """Return what study.json of a results folder holds, None when there has been no study.

    Raises:
        ResultsError: When it is damaged, or was written by a newer quadrat.
    """
    path = study_dir(results_dir) / _FILE
    if not path.is_file():
        return None
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        schema = int(value["schema"])
    except (ValueError, KeyError, TypeError) as error:
        raise ResultsError(
            f"{path}: expected JSON, got a damaged file; delete it: `quadrat study` writes it anew from study.db"
        ) from error
    if schema > _SCHEMA:
        raise ResultsError(f"{path}: expected schema {_SCHEMA} or older, got {schema}; update quadrat")
    return StudyResults(
        study=Study.model_validate(value["study"]),
        space=value["space"],
        directions=tuple(value["directions"]),
        candidates=tuple(
            Candidate(**{**each, "values": tuple(each["values"]), "running": tuple(each["running"])})
            for each in value["candidates"]
        ),
        best=tuple(Best(**each) for each in value["best"]),
    )


def check_study(results_dir: Path, suite: Suite) -> None:
    """Refuse a folder that holds another study, before anything runs.

    Raises:
        ResultsError: Naming what differs.
    """
    before = read_study(results_dir)
    if before is None:
        return
    study = study_of(suite)
    old, new = (json.loads(each.model_dump_json()) for each in (before.study, study))
    # As it is searched: a strategy's own space may have changed with its version.
    old["space"], new["space"] = before.space, space_of(study)
    for key in _FRAME:
        if canonical_json(old[key]) != canonical_json(new[key]):
            raise ResultsError(
                f"{results_dir} holds a study with {key} = {canonical_json(old[key]):.120}, got {key} = "
                f"{canonical_json(new[key]):.120}; give another --results to keep both"
            )
