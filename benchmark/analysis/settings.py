"""Settings: which trials of several results folders may be compared, since they follow one protocol.

A protocol is all that decides a trial's numbers but for strategy, parameters and seed: images and masks (by their
fingerprints), splits, region size and shape, label type, annotator, budgets, recipe, and what the mIoU is the mean of.
Trials of one protocol are one setting, whoever ran them; a protocol that differs in anything is a setting of its own,
and what differs is said. Values are compared as suite.json states them; a key that only one of two has is a difference.
"""

import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from quadrat.benchmark.config.trial import Annotator
from quadrat.benchmark.results.folder import leaves
from quadrat.benchmark.results.records import differing_fields
from quadrat.benchmark.results.trials import Query, Results, Trial
from quadrat.benchmark.storage.atomic import canonical_json

__all__ = ["Entry", "Protocol", "Setting", "Settings", "differences", "find_settings", "protocol_of"]

Protocol = Mapping[str, Any]
"""Dotted key -> value, JSON-plain."""

_NO_ERRORS: Final = Annotator().model_dump(mode="json")
_MEAN: Final = "mIoU"
_NAMES: Final = ("suite", "trial_id", "label", "params", "dataset", "recipe")
"""Fields of a record that may differ between folders although protocol and entry are equal: names, paths in them."""
_SHOWN: Final = 60
"""Characters of a value in a sentence."""


class Entry(NamedTuple):
    """A strategy with its parameters, whatever suites call it.

    Attributes:
        strategy: Registered name.
        params: Canonical JSON of its parameters, defaults filled in.
    """

    strategy: str
    params: str

    @classmethod
    def of(cls, trial: Trial) -> "Entry":
        """Return what a trial is an entry of; a file among the parameters counts by its content."""
        files = trial.spec.get("files", {})
        params = {
            name: {"content": files[f"params.{name}"]} if f"params.{name}" in files else value
            for name, value in trial.params.items()
        }
        return cls(trial.strategy, canonical_json(params))


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Finished trials that follow one protocol.

    Attributes:
        name: Data set, query, and what sets it apart from other settings of both.
        data_set: Name of the data set.
        query: What the annotator is asked for.
        protocol: What all its trials have in common.
        folders: Names of the results folders that its trials are of.
        trials: Entry -> seed -> trial.
        full_supervision: Seed -> trial; empty where there is none, or folders trained it in different ways.
    """

    name: str
    data_set: str
    query: Query
    protocol: Protocol
    folders: tuple[str, ...]
    trials: Mapping[Entry, Mapping[int, Trial]]
    full_supervision: Mapping[int, Trial]

    @property
    def random(self) -> Entry | None:
        """The entry of Random, or None."""
        return next((entry for entry in self.trials if entry.strategy == "random"), None)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What several results folders hold together.

    Attributes:
        settings: By name.
        kept_apart: One sentence for each setting on a data set that an earlier one is on too: what differs.
        left_out: One sentence for each trial, or kind of trial, that is not used, with the reason.
        labels: Entry -> the labels that suites give it.
    """

    settings: tuple[Setting, ...]
    kept_apart: tuple[str, ...]
    left_out: tuple[str, ...]
    labels: Mapping[Entry, tuple[str, ...]]


@dataclass(kw_only=True)
class _Draft:
    """A setting while folders are added to it."""

    data_set: str
    query: Query
    protocol: Protocol
    folders: list[str] = field(default_factory=list)
    trials: dict[Entry, dict[int, tuple[str, Trial]]] = field(default_factory=dict)
    full: dict[int, tuple[str, Trial]] = field(default_factory=dict)
    full_protocol: Protocol | None = None
    has_equal_full: bool = True
    apart: tuple["_Draft", list[str]] | None = None


def find_settings(folders: Mapping[str, Results]) -> Settings:
    """Return the settings that results folders hold, and what keeps them apart.

    A folder holds a setting for each of its queries. It joins the first setting whose protocol it shares and whose
    first regions are the same in every seed that both have.

    Args:
        folders: Name -> contents of a results folder. Where two hold the same trial, the earlier one counts.
    """
    drafts: list[_Draft] = []
    left_out: list[str] = []
    labels: dict[Entry, dict[str, None]] = {}
    for name, results in folders.items():
        for query in dict.fromkeys(trial.query for trial in results.trials if not trial.is_full_supervision):
            trials = list(_usable(name, results, query, left_out))
            for trial in trials:
                labels.setdefault(Entry.of(trial), {})[trial.label] = None
            for protocol, group in _by_protocol(results, trials):
                draft = _draft_for(drafts, results.title, query, protocol, group)
                draft.folders.append(name)
                _add(draft, name, group, left_out)
                _add_full_supervision(draft, name, results, left_out)
    names = dict(zip(map(id, drafts), _names(drafts), strict=True))
    return Settings(
        settings=tuple(sorted((_setting(draft, names[id(draft)]) for draft in drafts), key=lambda one: one.name)),
        kept_apart=tuple(_apart(draft, names) for draft in drafts if draft.apart is not None),
        left_out=tuple(left_out),
        labels={entry: tuple(of_entry) for entry, of_entry in labels.items()},
    )


def protocol_of(results: Results, trial: Trial) -> dict[str, Any]:
    """Return all that decides a trial's numbers but for strategy, parameters and seed, by dotted key."""
    suite, spec, dataset = results.suite, trial.spec, results.dataset
    named = suite["dataset"]
    maps = {found["name"]: found["digest"] for found in dataset["pool"].get("maps", ())}
    values: dict[str, Any] = {
        "data set": named["name"],
        "pool split": named["pool"],
        "pool images and masks": dataset["pool"]["fingerprint"],
        "test split": named["test"],
        "test images and masks": dataset["test"]["fingerprint"],
        "classes": list(results.classes),
        "region_size": trial.region_size,
        "regions": trial.regions,
        "region map": maps.get(trial.map) if trial.map is not None else None,
        "labels": trial.labels,
        "annotator": suite.get("annotator") or _NO_ERRORS,
        "void_regions": suite.get("void_regions", "offer"),
        "budgets": list(spec.get("budgets", suite["budgets"])),
        "learner": spec.get("learner", suite["learner"]),
        "files": {key: digest for key, digest in spec.get("files", {}).items() if key.startswith("learner.")},
        _MEAN: _mean_of(trial),
    }
    if "learner.weights" in values["files"]:  # a file counts by its content
        values["learner"] = {**values["learner"], "weights": "a file"}
    return dict(leaves(values))


def differences(first: Protocol, second: Protocol) -> list[str]:
    """Return one phrase for each value that two protocols do not share; none means that they are equal."""
    return [
        f"{key} is {_shown(first, key)} and {_shown(second, key)}"
        for key in dict.fromkeys([*first, *second])
        if (key in first) != (key in second) or first.get(key) != second.get(key)
    ]


def _shown(protocol: Protocol, key: str) -> str:
    if key not in protocol:
        return "not set"
    value = protocol[key]
    if isinstance(value, str):
        return value[:12] if key.endswith("images and masks") else value
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def _mean_of(trial: Trial) -> str:
    nums = {record.test_classes for record in trial.records}
    if None in nums:
        return "over the classes of masks or prediction (schema 2)"
    return f"over {', '.join(map(str, sorted(nums, key=str)))} classes of the masks"


# ------------------------------------------------------------------------------------------------ trials of a folder


def _usable(name: str, results: Results, query: Query, left_out: list[str]) -> Iterator[Trial]:
    """Yield the finished trials of a query whose records are what suite.json says that they are."""
    unfinished: dict[str, int] = {}
    for trial in results.trials:
        if trial.is_full_supervision or trial.query != query:
            continue
        if trial.state != "done":
            unfinished[trial.label] = unfinished.get(trial.label, 0) + 1
        elif (fault := _fault(results, trial)) is not None:
            left_out.append(f"{name}: {trial.label} seed {trial.seed} is left out: {fault}.")
        else:
            yield trial
    if unfinished:
        parts = ", ".join(f"{label} ({num})" for label, num in unfinished.items())
        left_out.append(f"{name}: trials that are not finished are left out: {parts}.")


def _fault(results: Results, trial: Trial) -> str | None:
    """Return why the records of a trial are not of the protocol that suite.json states, or None."""
    budgets = trial.spec.get("budgets", results.suite["budgets"])
    # Of a recipe with a weight file, older records have a digest with the path that it had: that tells nothing.
    has_weight_file = "learner.weights" in trial.spec.get("files", {})
    learner = None if has_weight_file else trial.spec.get("learner")
    for record in trial.records:
        if record.round < len(budgets) and record.regions != budgets[record.round] and not record.exhausted:
            return (
                f"round {record.round} has {record.regions:,} labelled regions, its budget is {budgets[record.round]:,}"
            )
        if (record.region_size, record.seed, record.strategy) != (trial.region_size, trial.seed, trial.strategy):
            return (
                f"the record of round {record.round} is of another region size, seed or strategy than suite.json says"
            )
        if learner and record.recipe != _digest(learner):
            return f"the record of round {record.round} is of another recipe than suite.json says"
    return None


def _digest(learner: Mapping[str, Any]) -> str:
    """Return the digest of a recipe as it was written, see `Recipe.digest`: an older one lacks newer keys."""
    payload = json.dumps(dict(learner), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(payload.encode()).hexdigest()[:16]


def _by_protocol(results: Results, trials: Sequence[Trial]) -> list[tuple[Protocol, list[Trial]]]:
    """Return the trials by protocol: one, unless a folder was added to by a version that changed a meaning."""
    groups: dict[str, tuple[Protocol, list[Trial]]] = {}
    for trial in trials:
        protocol = protocol_of(results, trial)
        groups.setdefault(canonical_json(protocol), (protocol, []))[1].append(trial)
    return list(groups.values())


# ------------------------------------------------------------------------------------------------ drafts


def _draft_for(
    drafts: list[_Draft], data_set: str, query: Query, protocol: Protocol, trials: Sequence[Trial]
) -> _Draft:
    """Return the setting that trials belong to: one that is there, or a new one with what keeps it apart."""
    nearest: tuple[_Draft, list[str]] | None = None
    for draft in drafts:
        found = differences(draft.protocol, protocol) or _first_regions(draft, trials)
        if not found:
            return draft
        if draft.data_set == data_set and (nearest is None or len(found) < len(nearest[1])):
            nearest = (draft, found)
    drafts.append(_Draft(data_set=data_set, query=query, protocol=protocol, apart=nearest))
    return drafts[-1]


def _first_regions(draft: _Draft, trials: Sequence[Trial]) -> list[str]:
    """Return in which seed round 0 has other regions: trials of a seed that do not share them are no pair."""
    known = {
        seed: trial.records[0].picks_digest
        for of_entry in draft.trials.values()
        for seed, (_, trial) in of_entry.items()
    }
    for trial in trials:
        digest = trial.records[0].picks_digest
        if known.get(trial.seed, digest) != digest:
            return [f"the regions of round 0 of seed {trial.seed} are {known[trial.seed][:12]} and {digest[:12]}"]
    return []


def _add(draft: _Draft, name: str, trials: Sequence[Trial], left_out: list[str]) -> None:
    for trial in trials:
        of_entry = draft.trials.setdefault(Entry.of(trial), {})
        first, before = of_entry.setdefault(trial.seed, (name, trial))
        if before is not trial and (found := _differing(before, trial)):
            left_out.append(
                f"{trial.label} seed {trial.seed} is in {first} and in {name} with other numbers ({found}): that of "
                f"{first} counts."
            )


def _add_full_supervision(draft: _Draft, name: str, results: Results, left_out: list[str]) -> None:
    """Add the full supervision of a folder, if it was trained as that of the folders before."""
    trials = [trial for trial in results.trials if trial.is_full_supervision and trial.state == "done"]
    if not trials or not draft.has_equal_full:
        return
    protocol = dict(leaves({"learner": trials[0].spec.get("learner", results.suite["learner"])}))
    protocol["steps"] = trials[0].records[0].steps
    if draft.full_protocol is None:
        draft.full_protocol = protocol
    if found := differences(draft.full_protocol, protocol):
        draft.has_equal_full = False
        draft.full = {}
        left_out.append(
            f"Full supervision is left out on {draft.data_set}, {draft.query}: {draft.folders[0]} and {name} trained "
            f"it in different ways ({'; '.join(found)})."
        )
        return
    for trial in trials:
        draft.full.setdefault(trial.seed, (name, trial))


def _differing(first: Trial, second: Trial) -> str:
    """Return which fields of the records of one trial, run twice, differ: first round first, at most three."""
    if len(first.records) != len(second.records):
        return f"{len(first.records)} and {len(second.records)} rounds"
    for one, other in zip(first.records, second.records, strict=True):
        found = [name for name in differing_fields(one, other) if name not in _NAMES]
        if found:
            return f"{', '.join(found[:3])} of round {one.round}"
    return ""


# ------------------------------------------------------------------------------------------------ names


def _names(drafts: Sequence[_Draft]) -> list[str]:
    """Return a name for each setting, the same in any order of the folders."""
    bases = [f"{draft.data_set}, {draft.query}" for draft in drafts]
    names = []
    for draft, base in zip(drafts, bases, strict=True):
        alike = [other.protocol for other, name in zip(drafts, bases, strict=True) if name == base]
        keys = [
            key
            for key in dict.fromkeys(itertools.chain.from_iterable(alike))
            if len({canonical_json([one.get(key)]) for one in alike}) > 1
        ]
        own = [_short(draft.protocol, key) for key in keys]
        names.append(", ".join([base, *own[:3], *(["…"] if len(own) > 3 else [])]))
    return [
        name if names.count(name) == 1 else f"{name} ({', '.join(draft.folders)})"
        for name, draft in zip(names, drafts, strict=True)
    ]


def _short(protocol: Protocol, key: str) -> str:
    value = protocol.get(key)
    if key == "budgets" and value:
        return f"budgets {value[0]:,} to {value[-1]:,}"
    return f"{key.removeprefix('learner.')} {_shown(protocol, key)}"


def _setting(draft: _Draft, name: str) -> Setting:
    return Setting(
        name=name,
        data_set=draft.data_set,
        query=draft.query,
        protocol=draft.protocol,
        folders=tuple(dict.fromkeys(draft.folders)),
        trials={
            entry: {seed: trial for seed, (_, trial) in sorted(of_entry.items())}
            for entry, of_entry in draft.trials.items()
        },
        full_supervision={seed: trial for seed, (_, trial) in sorted(draft.full.items())},
    )


def _apart(draft: _Draft, names: Mapping[int, str]) -> str:
    assert draft.apart is not None
    other, found = draft.apart
    return (
        f"{names[id(draft)]} ({', '.join(dict.fromkeys(draft.folders))}) is not pooled with {names[id(other)]} "
        f"({', '.join(dict.fromkeys(other.folders))}): {'; '.join(found)}."
    )
