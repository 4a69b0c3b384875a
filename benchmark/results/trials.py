"""The contents of a results folder: the suite's trials with their records and failures, finished or not."""

import functools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from quadrat.benchmark.config.trial import FULL_SUPERVISION, PRECISE, LabelType
from quadrat.benchmark.data.shapes import GRID
from quadrat.benchmark.errors import ResultsError
from quadrat.benchmark.results.failures import Failure, read_failures
from quadrat.benchmark.results.folder import read_environment, read_suite_json
from quadrat.benchmark.results.records import Record, read_records_so_far

__all__ = ["Results", "State", "Trial", "read_results"]

State = Literal["failed", "missing", "partial", "done"]


class Query(NamedTuple):
    """What the annotator is asked for, whichever strategy asks: strategies are compared at an equal query.

    Attributes:
        region_size: Edge of a region, pixels.
        labels: Label type.
        regions: How images are cut, see `RegionsSpec.title`.
    """

    region_size: int
    labels: LabelType
    regions: str = GRID

    def __str__(self) -> str:
        """Return the query as texts name it."""
        regions = () if self.regions == GRID else (self.regions,)
        labels = () if self.labels == PRECISE else (self.labels,)
        return ", ".join((f"{self.region_size} px", *regions, *labels))


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A trial of the suite with its records so far.

    Attributes:
        trial_id: Its identity.
        label: Name of its strategy in tables and figures.
        strategy: Registered name, or `full-supervision`.
        params: The strategy's parameters.
        seed: Its seed.
        region_size: Edge of a region in pixels.
        regions: How images are cut, see `RegionsSpec.title`.
        map: Name of the region map among `maps` of the pool in suite.json; None for a grid.
        num_rounds: Rounds planned; fewer when the pool runs out.
        records: One a round, in order, from round 0.
        failure: The last one recorded, also when the trial was finished later.
        labels: Label type.
        spec: The whole specification as suite.json has it; empty where it has none.
    """

    trial_id: str
    label: str
    strategy: str
    params: Mapping[str, Any]
    seed: int
    region_size: int
    num_rounds: int
    records: tuple[Record, ...]
    failure: Failure | None
    labels: LabelType = PRECISE
    regions: str = GRID
    map: str | None = None
    spec: Mapping[str, Any] = field(default_factory=dict)

    @property
    def query(self) -> "Query":
        """What the annotator is asked for."""
        return Query(self.region_size, self.labels, self.regions)

    @property
    def is_full_supervision(self) -> bool:
        """Whether this is full supervision, not a strategy."""
        return self.strategy == FULL_SUPERVISION

    @property
    def state(self) -> State:
        """`done` with all its rounds or an exhausted pool; else `failed`, `partial` or `missing`."""
        if self.records and (len(self.records) >= self.num_rounds or self.records[-1].exhausted):
            return "done"
        if self.failure is not None:
            return "failed"
        return "partial" if self.records else "missing"


@dataclass(frozen=True, kw_only=True)
class Results:
    """A results folder as the analysis and the report read it. What is derived from the trials is computed once.

    Attributes:
        path: The results folder.
        suite: The resolved suite.
        dataset: Classes, colours, and the fingerprints and counts of pool and test set.
        environment: Versions, hardware, commit and weights, as the run wrote them.
        trials: In suite order.
        num_foreign_records: Number of records of trials that are not in the suite; they are not used.
    """

    path: Path
    suite: Mapping[str, Any]
    dataset: Mapping[str, Any]
    environment: Mapping[str, Any]
    trials: tuple[Trial, ...]
    num_foreign_records: int

    @property
    def environments(self) -> tuple[Mapping[str, Any], ...]:
        """`environment`, then those of other commits, machines or versions where several folders were united."""
        return self.environment, *self.environment.get("others", ())

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of `Record.iou`."""
        return tuple(self.dataset["classes"])

    @property
    def title(self) -> str:
        """Name of the data set: its own where it has one, else that of its loader."""
        return str(self.dataset.get("title") or self.suite["dataset"]["name"])

    @functools.cached_property
    def records(self) -> tuple[Record, ...]:
        """The records of all strategies in suite order, without full supervision."""
        return tuple(record for trial in self.trials if not trial.is_full_supervision for record in trial.records)

    @functools.cached_property
    def full_supervision(self) -> tuple[Record, ...]:
        """The records of full supervision, one a seed."""
        return tuple(record for trial in self.trials if trial.is_full_supervision for record in trial.records)

    @functools.cached_property
    def labels(self) -> tuple[str, ...]:
        """The label of every strategy in suite order, with or without records."""
        return tuple(dict.fromkeys(trial.label for trial in self.trials if not trial.is_full_supervision))

    @functools.cached_property
    def strategies(self) -> dict[str, str]:
        """The registered name behind each label."""
        return {trial.label: trial.strategy for trial in self.trials if not trial.is_full_supervision}

    @functools.cached_property
    def queries(self) -> dict[str, Query]:
        """The query behind each label."""
        return {trial.label: trial.query for trial in self.trials if not trial.is_full_supervision}

    @property
    def has_several_sizes(self) -> bool:
        """Whether strategies are compared over several region sizes, at the same number of pixels."""
        return len({query.region_size for query in self.queries.values()}) > 1

    @property
    def has_several_queries(self) -> bool:
        """Whether strategies are compared over several region sizes or label types."""
        return len(set(self.queries.values())) > 1

    @functools.cached_property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of the suite."""
        return tuple(dict.fromkeys(trial.seed for trial in self.trials))

    @functools.cached_property
    def num_rounds(self) -> int:
        """Rounds of the longest trial of the suite."""
        return max((trial.num_rounds for trial in self.trials if not trial.is_full_supervision), default=1)

    @functools.cached_property
    def baselines(self) -> dict[str, str]:
        """The label of Random that each other label is compared to: the one with the same query."""
        randoms: dict[Query, str] = {}
        for trial in self.trials:
            if trial.strategy == "random":
                randoms.setdefault(trial.query, trial.label)
        return {
            trial.label: randoms[trial.query]
            for trial in self.trials
            if not trial.is_full_supervision and trial.query in randoms and trial.label != randoms[trial.query]
        }


def read_results(path: Path) -> Results:
    """Return the contents of a results folder, finished or not.

    Raises:
        ResultsError: When `path` is not a results folder, one of its files is damaged, or they contradict each other.
    """
    described = read_suite_json(path)
    records = read_records_so_far(path)
    failures = {failure.trial_id: failure for failure in read_failures(path)}
    entries = {entry["trial_id"]: entry for entry in described["trials"]}
    trials = tuple(_trials(entries.values(), _as_listed(path, records, entries, described), failures))
    seen: set[tuple[str, int]] = set()
    for trial in trials:
        if (trial.label, trial.seed) in seen:
            raise ResultsError(
                f"{path / 'suite.json'}: expected one trial of each label and seed, got several of '{trial.label}' "
                f"seed {trial.seed}, whose numbers no table could tell apart; leave all but one out of `trials`"
            )
        seen.add((trial.label, trial.seed))
    return Results(
        path=path,
        suite=described["suite"],
        dataset=described["dataset"],
        environment=read_environment(path),
        trials=trials,
        num_foreign_records=sum(record.trial_id not in entries for record in records),
    )


def _as_listed(
    path: Path, records: Iterable[Record], entries: Mapping[str, Mapping[str, Any]], described: Mapping[str, Any]
) -> Iterator[Record]:
    """Yield records with the labels that their trials have in suite.json: a label may change, it is no identity.

    Raises:
        ResultsError: When suite.json says something else of a trial than its records.
    """
    num_classes = len(described["dataset"]["classes"])
    for record in records:
        if (entry := entries.get(record.trial_id)) is None:
            continue
        for name in ("strategy", "seed", "region_size"):
            if entry[name] != getattr(record, name):
                raise ResultsError(
                    f"{path}: {record.name} has {name} {getattr(record, name)!r} in records.jsonl and {entry[name]!r} "
                    "in suite.json; restore both files from one place"
                )
        if not len(record.iou) == len(record.class_px) == num_classes:
            raise ResultsError(
                f"{path}: {record.name} has {len(record.iou)} classes in records.jsonl, got {num_classes} in "
                "suite.json; restore both files from one place"
            )
        yield record if record.label == entry["label"] else replace(record, label=entry["label"])


def _trials(
    described: Iterable[Mapping[str, Any]], records: Iterable[Record], failures: Mapping[str, Failure]
) -> Iterable[Trial]:
    by_trial: dict[str, dict[int, Record]] = {}
    for record in records:
        by_trial.setdefault(record.trial_id, {})[record.round] = record
    for entry in described:
        rounds = by_trial.get(entry["trial_id"], {})
        yield Trial(
            trial_id=entry["trial_id"],
            label=entry["label"],
            strategy=entry["strategy"],
            params=entry["params"],
            seed=entry["seed"],
            region_size=entry["region_size"],
            labels=entry.get("labels", PRECISE),
            regions=entry.get("regions", GRID),
            map=entry.get("map"),
            spec=entry.get("spec", {}),
            num_rounds=entry["num_rounds"],
            records=tuple(rounds[round_] for round_ in sorted(rounds)),
            failure=failures.get(entry["trial_id"]),
        )
