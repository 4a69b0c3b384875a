"""What suite.json lists of several runs or folders together: trials with one label a strategy, and region maps."""

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from quadrat.benchmark.config.trial import TrialSpec
from quadrat.benchmark.errors import ResultsError
from quadrat.benchmark.storage.atomic import canonical_json

__all__ = ["merge_maps", "merge_trials", "short"]


def merge_trials(listed: Mapping[str, Iterable[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Return the trials of several lists, each once: as the first list that has it says.

    A label is no identity: a strategy that lists call by several names has that of the first in all its trials.

    Args:
        listed: Where a list is from, for the message -> entries of `trials` in suite.json.

    Raises:
        ResultsError: When a label names trials of several strategies, whose numbers no reader could tell apart.
    """
    trials: dict[str, dict[str, Any]] = {}
    label_of: dict[str, str] = {}
    known: dict[str, tuple[str, str, Mapping[str, Any]]] = {}
    for where, entries in listed.items():
        for entry in entries:
            if entry["trial_id"] in trials:
                continue
            strategy = _but_seed(entry)
            label = label_of.setdefault(strategy, entry["label"])
            first, other, params = known.setdefault(label, (where, strategy, entry["params"]))
            if other != strategy:
                raise ResultsError(
                    f"expected one strategy behind each label, got '{label}' with {short(params)} in {first} and "
                    f"'{label}' with {short(entry['params'])} or other settings in {where}, and tables could not tell "
                    "them apart; give one of them another label, or another --results"
                )
            spec = {"spec": {**entry["spec"], "label": label}} if isinstance(entry.get("spec"), Mapping) else {}
            trials[entry["trial_id"]] = {**entry, "label": label, **spec}
    return list(trials.values())


def _but_seed(entry: Mapping[str, Any]) -> str:
    """Return what the trials of a strategy have in common, whatever their seeds."""
    try:
        spec = TrialSpec.model_validate(entry.get("spec"))
    except ValidationError:
        spec = None
    if spec is not None and spec.trial_id == entry["trial_id"]:
        return spec.model_copy(update={"seed": 0}).trial_id
    # Of an earlier version, or written by hand: never the same as a trial of today, whose numbers may be others.
    own = ("trial_id", "seed", "label", "spec")
    return canonical_json({name: value for name, value in entry.items() if name not in own})


def merge_maps(pools: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the first description of a pool with the region maps of all of them.

    Maps from files may differ: a trial is known by what they hold, so other maps are other trials.

    Args:
        pools: Where a description is from, for the message -> `dataset.pool` of suite.json.

    Raises:
        ResultsError: When the same cut of the same images gave another map.
    """
    maps: dict[str, tuple[str, Mapping[str, Any]]] = {}
    for where, pool in pools.items():
        for found in pool.get("maps", ()):
            first, known = maps.setdefault(found["name"], (where, found))
            if known["digest"] != found["digest"] and not found["by_content"]:
                raise ResultsError(
                    f"expected one map of regions {found['name']}, got digest {known['digest'][:12]} in {first} and "
                    f"{found['digest'][:12]} in {where}: the library that cuts images is another; give another "
                    "--results, or unite folders of one version"
                )
    merged = {name: value for name, value in next(iter(pools.values())).items() if name != "maps"}
    return {**merged, **({"maps": [found for _, found in maps.values()]} if maps else {})}


def short(value: object) -> str:
    """Return a value of a document as JSON, at most 120 characters of it."""
    text = canonical_json(value)
    return text if len(text) <= 120 else text[:117] + "..."
