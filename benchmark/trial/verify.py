"""Verification: whether a results folder says what its suite, run again here, would say.

A round is a pure function of its labelled regions. So one round of one trial can be recomputed from the published
selections up to it, without its predecessors; and its selection can be derived once more from the model of the round
before, which is trained again from the selections before it. What selections alone decide (picks, costs) is checked for
every round, since that takes seconds.
"""

import dataclasses
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from pydantic import ValidationError

from quadrat.benchmark.config.sharing import SharedNeeds, needs_of_trial, planned_round
from quadrat.benchmark.config.suite import Suite
from quadrat.benchmark.config.trial import FULL_SUPERVISION, TrialSpec
from quadrat.benchmark.errors import QuadratError, ResultsError
from quadrat.benchmark.results.folder import read_suite_json
from quadrat.benchmark.results.records import Record, differing_fields, read_records
from quadrat.benchmark.results.selections import Selections
from quadrat.benchmark.seeds import rng
from quadrat.benchmark.trial.context import TrialContext
from quadrat.benchmark.trial.labels import LabelState
from quadrat.benchmark.trial.loop import choose, everything, first_selection, record_of
from quadrat.benchmark.trial.oracle import Oracle
from quadrat.benchmark.trial.round import Phase, Round, digest_of_picks
from quadrat.strategies import Selection, load

__all__ = [
    "Published",
    "RoundCheck",
    "check_data",
    "check_selections",
    "environment_differences",
    "estimate_s",
    "read_published",
    "recompute",
    "sample",
]

OnStep = Callable[[Phase, int, int], None]

_UNREADABLE: Final = (QuadratError, ValueError, KeyError, EOFError, OSError, zipfile.BadZipFile)
"""What a damaged, foreign or contradictory selection raises."""


@dataclass(frozen=True, kw_only=True)
class Published:
    """A results folder as it is to be verified.

    Attributes:
        path: The folder.
        suite: Its suite.
        dataset: What suite.json says of the data.
        specs: Trial id -> what the trial is, for every trial that has records.
        rounds: Every record, by trial in suite order and round.
        uncheckable: One line for each round that can't be recomputed, with the reason.
    """

    path: Path
    suite: Suite
    dataset: Mapping[str, Any]
    specs: Mapping[str, TrialSpec]
    rounds: tuple[Record, ...]
    uncheckable: tuple[str, ...]

    def of_trial(self, trial_id: str) -> dict[int, Record]:
        """Return round -> record of one trial."""
        return {record.round: record for record in self.rounds if record.trial_id == trial_id}


@dataclass(frozen=True, kw_only=True)
class RoundCheck:
    """What came of checking one round.

    Attributes:
        record: As it was published.
        differences: One line each; none means equal, field by field.
    """

    record: Record
    differences: tuple[str, ...]

    @property
    def name(self) -> str:
        """What the round is called in messages."""
        return _name(self.record)


class _Replayed(NamedTuple):
    """A trial with everything bought before a round."""

    state: LabelState
    oracle: Oracle


def read_published(
    results_dir: Path, *, labels: Sequence[str] = (), seeds: Sequence[int] = (), root: Path | None = None
) -> Published:
    """Return what a results folder holds that can be verified.

    Args:
        results_dir: What `quadrat run` wrote.
        labels: Only these strategies; none means all.
        seeds: Only these seeds; none means all.
        root: Folder of the data set, where it lies elsewhere than the suite says.

    Raises:
        ResultsError: When the folder holds no results, or nothing with such a label and seed.
    """
    described = read_suite_json(results_dir)
    try:
        suite = Suite.model_validate(described["suite"])
    except ValidationError as error:
        raise ResultsError(
            f"{results_dir / 'suite.json'}: expected a suite that this quadrat can run, got {error.error_count()} "
            f"mistakes ({error.errors()[0]['msg']}); use the version of its environment.json"
        ) from error
    if root is not None:
        suite = suite.model_copy(update={"dataset": suite.dataset.model_copy(update={"root": root.absolute()})})
    specs = {entry["trial_id"]: TrialSpec.model_validate(entry["spec"]) for entry in described["trials"]}
    place = {trial_id: index for index, trial_id in enumerate(specs)}
    records = read_records(results_dir)
    known = {record.label for record in records}, {record.seed for record in records}
    for what, asked, there in (("--strategy", labels, known[0]), ("--seed", seeds, known[1])):
        for one in asked:
            if one not in there:
                raise ResultsError(
                    f"{what}: expected one that {results_dir} has records of ({', '.join(map(str, sorted(there)))}), "
                    f"got {one}"
                )
    wanted = [
        record for record in records if (not labels or record.label in labels) and (not seeds or record.seed in seeds)
    ]
    wanted.sort(key=lambda record: (place.get(record.trial_id, len(place)), record.round))
    faults = {record.key: fault for record in wanted if (fault := _fault(results_dir, specs, record)) is not None}
    return Published(
        path=results_dir,
        suite=suite,
        dataset=described["dataset"],
        specs=specs,
        rounds=tuple(record for record in wanted if record.key not in faults),
        uncheckable=tuple(f"{_name(record)}: {faults[record.key]}" for record in wanted if record.key in faults),
    )


def _fault(results_dir: Path, specs: Mapping[str, TrialSpec], record: Record) -> str | None:
    """Return why a round can't be recomputed, or None."""
    spec = specs.get(record.trial_id)
    if spec is None:
        return "suite.json does not describe its trial"
    if spec.trial_id != record.trial_id:
        return f"suite.json describes its trial with settings that are known as {spec.trial_id}"
    if spec.strategy == FULL_SUPERVISION:
        return None
    selections = Selections(results_dir)
    for round_ in range(record.round + 1):
        if selections.find(record.trial_id, round_) is None:
            return f"its selections are not all there, first missing that of round {round_}"
    return None


def check_data(published: Published, bench: TrialContext) -> None:
    """Refuse data other than that of the published results.

    Raises:
        ResultsError: When a split's fingerprint differs.
    """
    for split, here in (("pool", bench.pool), ("test", bench.test)):
        there = published.dataset[split]["fingerprint"]
        if there != here.fingerprint:
            raise ResultsError(
                f"{published.path} was made on {split} images with fingerprint {there[:12]}, got images with "
                f"fingerprint {here.fingerprint[:12]} here: other data can't verify it"
            )


def environment_differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """Return what differs between two environments and may change the last bits of a number.

    Args:
        there: environment.json of the published results.
        here: The same of this machine.
    """
    lines = [
        f"{name} {there[name]} there, {here.get(name)} here"
        for name in ("device", "threads", "processor", "gpus", "cuda", "python")
        if name in there and there[name] != here.get(name)
    ]
    packages, ours = there.get("packages", {}), here.get("packages", {})
    for name in sorted(packages.keys() | ours.keys()):
        if packages.get(name) != ours.get(name):
            lines.append(f"{name} {packages.get(name, 'absent')} there, {ours.get(name, 'absent')} here")
    return lines


def sample(published: Published, num: int | None) -> tuple[Record, ...]:
    """Return `num` of the rounds, drawn with a fixed seed, in the order of the suite; all of them for None.

    A larger sample contains a smaller one, so that a first look is not lost on the second.
    """
    if num is None or num >= len(published.rounds):
        return published.rounds
    order = rng(0, "verify").permutation(len(published.rounds))
    return tuple(published.rounds[index] for index in sorted(order[:num].tolist()))


def estimate_s(published: Published, chosen: Sequence[Record]) -> float:
    """Return how long recomputing `chosen` takes by the recorded seconds, what they share counted once.

    Packing the data and, for a frozen encoder, computing its features come on top when the cache does not hold them.
    """
    fits: dict[str, float] = {}
    total_s = 0.0
    for record in chosen:
        rounds, spec = published.of_trial(record.trial_id), published.specs[record.trial_id]
        fits[planned_round(spec, record.round)] = record.seconds.get("fit", 0.0)
        total_s += sum(record.seconds.get(phase, 0.0) for phase in ("evaluate", "score", "select"))
        before = rounds.get(record.round - 1)
        if before is not None and needs_of_trial(spec, 1, SharedNeeds()) != SharedNeeds():
            fits[planned_round(spec, before.round)] = before.seconds.get("fit", 0.0)
    return total_s + sum(fits.values())


def check_selections(published: Published, bench: TrialContext) -> Iterator[RoundCheck]:
    """Yield the check of every round's picks and costs against its record; nothing is trained.

    Picks that are labelled already or that the pool does not have, another number, digest or cost of them, and a round
    0 that is not the seed's are differences.
    """
    for record in published.rounds:
        spec = published.specs[record.trial_id]
        try:
            replayed = _replay(published, bench, spec, record.round)
            selection = _published_selection(published, bench, spec, record.round)
            cost = replayed.oracle.buy(selection.regions)
        except _UNREADABLE as error:
            yield _not_replayed(record, error)
            continue
        expected: dict[str, Any] = {
            "picked": int(selection.regions.size),
            "picks_digest": digest_of_picks(selection.regions),
            **dataclasses.asdict(cost),
        }
        lines = [
            f"{name} is {getattr(record, name)} in the record and {value} by its selection"
            for name, value in expected.items()
            if getattr(record, name) != value
        ]
        if record.round == 0 and spec.strategy != FULL_SUPERVISION:
            first = first_selection(bench.grid(spec.region_size).num_regions, spec.budgets[0], spec.seed)
            if not np.array_equal(first.regions, selection.regions):
                lines.append("the selection is not the random first batch of its seed")
        yield RoundCheck(record=record, differences=tuple(lines))


def recompute(published: Published, bench: TrialContext, record: Record, on_step: OnStep | None = None) -> RoundCheck:
    """Return the check of one round that is computed again: its selection from the model before, its record from both.

    The record is made from the published selection, so a selection that comes out otherwise does not hide whether the
    training reproduces.

    Args:
        published: What is verified.
        bench: On the same data, with a results folder of its own.
        record: One of `published.rounds`.
        on_step: Told of phases and steps.
    """
    spec = published.specs[record.trial_id]
    tell: OnStep = on_step or (lambda phase, done, total: None)
    try:
        _replay(published, bench, spec, record.round + 1)
    except _UNREADABLE as error:
        return _not_replayed(record, error)
    replayed = _replay(published, bench, spec, record.round)
    selection = _published_selection(published, bench, spec, record.round)
    budget = bench.budgets(spec)[record.round] - replayed.state.regions.size
    lines = _selection_differences(spec, bench, replayed, record.round, budget, selection, tell)
    cost = replayed.oracle.buy(selection.regions)
    work = _work(spec, bench, replayed, record.round, tell)
    again = record_of(spec, bench, record.round, cost, selection, work.evaluate(), selection.regions.size < budget, {})
    lines += [
        f"{name} is {getattr(record, name)} in the record and {getattr(again, name)} here"
        for name in differing_fields(record, again)
    ]
    return RoundCheck(record=record, differences=tuple(lines))


def _not_replayed(record: Record, error: Exception) -> RoundCheck:
    return RoundCheck(record=record, differences=(f"its selection can't be replayed: {error}",))


def _selection_differences(
    spec: TrialSpec,
    bench: TrialContext,
    replayed: _Replayed,
    round_: int,
    budget: int,
    published: Selection,
    tell: OnStep,
) -> list[str]:
    """Return how the selection that the strategy makes here differs from the published one, in at most one line."""
    if spec.strategy == FULL_SUPERVISION:
        return []
    strategy = load(spec.strategy, **spec.params)
    previous = _work(spec, bench, replayed, round_ - 1, tell) if round_ > 0 else None
    grid = bench.grid(spec.region_size)
    try:
        again, _ = choose(spec, bench, grid, replayed.state, replayed.oracle, strategy, previous, round_, budget)
    except QuadratError as error:  # such as a replay whose folder is not here: the record can still be checked
        return [f"the selection can't be made again: {error}"]
    if not np.array_equal(again.regions, published.regions):
        num = min(again.regions.size, published.regions.size)
        same = again.regions[:num] == published.regions[:num]
        place = int(same.argmin()) if not same.all() else num
        shared = np.intersect1d(again.regions, published.regions).size
        return [
            f"the selection is another: {shared} of {published.regions.size} regions are picked here too, the order "
            f"differs from pick {place} on"
        ]
    if not np.array_equal(again.potential, published.potential, equal_nan=True):
        return ["the selection has the same picks with other potentials"]
    return []


def _replay(published: Published, bench: TrialContext, spec: TrialSpec, num_rounds: int) -> _Replayed:
    """Return a trial with the selections of its first `num_rounds` rounds bought."""
    grid = bench.grid(spec.region_size)
    state = LabelState(grid.num_regions)
    oracle = Oracle(bench.pool.masks, grid, state, bench.clicks(spec.region_size))
    for round_ in range(num_rounds):
        state.add(_published_selection(published, bench, spec, round_).regions)
    return _Replayed(state, oracle)


def _published_selection(published: Published, bench: TrialContext, spec: TrialSpec, round_: int) -> Selection:
    grid = bench.grid(spec.region_size)
    if spec.strategy == FULL_SUPERVISION:
        return everything(grid.num_regions)
    found = Selections(published.path).read(spec.trial_id, round_, grid)
    assert found is not None, "rounds without their selections are not among those to check"
    return found.selection


def _work(spec: TrialSpec, bench: TrialContext, replayed: _Replayed, round_: int, tell: OnStep) -> Round:
    return Round(
        spec,
        bench,
        round_=round_,
        labels=replayed.oracle.reveal(),
        labels_digest=replayed.state.digest,
        on_progress=tell,
    )


def _name(record: Record) -> str:
    return f"{record.label} seed {record.seed} round {record.round}"
