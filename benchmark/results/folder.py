"""A results folder belongs to one suite: suite.json and environment.json."""

import hashlib
import json
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from quadrat.benchmark.config.suite import Suite
from quadrat.benchmark.config.trial import GRID_REGIONS, PRECISE, Annotator, DatasetSpec, TrialSpec, identity
from quadrat.benchmark.errors import ResultsError
from quadrat.benchmark.learning.recipe import Recipe
from quadrat.benchmark.redaction import redact
from quadrat.benchmark.results.listing import merge_maps, merge_trials, short
from quadrat.benchmark.results.records import Record, by_trial, is_complete, read_records_so_far
from quadrat.benchmark.results.suite_json import SUITE_SCHEMA, check_suite_json
from quadrat.benchmark.storage.atomic import canonical_json, write_json

__all__ = [
    "FrameDifference",
    "check_results",
    "finished_trials",
    "frame_difference",
    "leaves",
    "prepare_results",
    "read_environment",
    "read_suite_json",
    "results_id",
]

_FRAME: Final = ("dataset", "region_size", "budgets", "learner", "void_regions", "regions", "labels", "annotator")
"""What must stay the same within a results folder. Strategies, seeds and resources may change between runs."""
_ADDED: Final = {
    "void_regions": "offer",
    "regions": GRID_REGIONS.model_dump(mode="json"),
    "labels": PRECISE,
    "annotator": Annotator().model_dump(mode="json"),
}
"""What a folder has for keys of `_FRAME` that were not there when it was written."""


def check_results(results_dir: Path, suite: Suite) -> None:
    """Refuse a results folder that another suite has written to, before any data is read.

    Raises:
        ResultsError: Naming what differs.
    """
    results_dir = Path(results_dir)
    before = _read(results_dir)
    if before is None:
        if (results_dir / "records.jsonl").exists():
            raise ResultsError(f"{results_dir} has records.jsonl but no suite.json; give another --results")
        return
    old, new = before["suite"], json.loads(suite.model_dump_json())
    if old["name"] != new["name"]:
        raise ResultsError(
            f"{results_dir} holds results of suite '{old['name']}', got suite '{new['name']}'; give another --results"
        )
    if (found := frame_difference(old, new)) is not None:
        raise ResultsError(
            f"{results_dir} holds results of suite '{old['name']}' with {found.key} = {found.first}, got {found.key} = "
            f"{found.second}; give another --results (or another name) to keep both"
        )


class FrameDifference(NamedTuple):
    """A setting that two suites do not share and that must be one within a results folder, such as `learner.lr`."""

    key: str
    first: str
    second: str


def frame_difference(first: Mapping[str, Any], second: Mapping[str, Any]) -> FrameDifference | None:
    """Return the first setting, with both values, that keeps two suites out of one results folder; or None.

    Args:
        first: A suite, as `suite` in suite.json.
        second: Another one.
    """
    suites = [{**_ADDED, **suite} for suite in (first, second)]
    for suite in suites:
        suite["dataset"] = identity(DatasetSpec.model_validate(suite["dataset"]))  # the same images in another folder
        suite["regions"] = _without_folder(suite["regions"])  # maps count by their content, see `prepare_results`
        suite["learner"] = _without_path(suite["learner"])  # a weight file counts by its content, in a trial's id
    one, other = (dict(leaves({key: suite[key] for key in _FRAME})) for suite in suites)
    for key in {**one, **other}:
        if canonical_json(one.get(key)) != canonical_json(other.get(key)):
            return FrameDifference(key, short(one.get(key)), short(other.get(key)))
    return None


def leaves(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted key, value) of nested settings."""
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def prepare_results(
    results_dir: Path, suite: Suite, *, dataset: Mapping[str, Any], environment: Mapping[str, Any]
) -> None:
    """Write suite.json and environment.json, or refuse a folder that belongs to other data or another suite.

    Trials of an earlier run of the suite (with other strategies or seeds) stay listed, and so do the region maps that
    they are on. Labels are today's: a strategy that has got another one has it in all its trials.

    Args:
        results_dir: The folder.
        suite: The suite that is run.
        dataset: What `TrialContext.describe` says of its data.
        environment: What `describe_environment` says of this machine.

    Raises:
        ResultsError: When suite, data or maps differ from what the folder holds, or a label names another strategy
            there.
    """
    check_results(results_dir, suite)
    before = _read(results_dir)
    if before is not None:
        for split in ("pool", "test"):
            old, new = before["dataset"][split]["fingerprint"], dataset[split]["fingerprint"]
            if old != new:
                raise ResultsError(
                    f"{results_dir} holds results on {split} images with fingerprint {old[:12]}, got images with "
                    f"fingerprint {new[:12]}: the data changed; give another --results"
                )
    own_id = secrets.token_hex(8) if before is None else results_id(before, read_environment(results_dir))
    listed = {"this suite": [_describe_trial(spec) for spec in suite.trials()]}
    data = dict(dataset)
    if before is not None:
        listed[str(results_dir)] = before["trials"]
        data["pool"] = merge_maps({"this suite": data["pool"], str(results_dir): before["dataset"]["pool"]})
    value = {
        "schema": SUITE_SCHEMA,
        "id": own_id,
        "suite": json.loads(suite.model_dump_json()),
        "dataset": data,
        "trials": merge_trials(listed),
    }
    write_json(results_dir / "suite.json", value)
    write_json(results_dir / "environment.json", dict(environment))


def _without_folder(regions: Mapping[str, Any]) -> dict[str, Any]:
    """Return a kind of regions without the folder that its maps are in: they may be moved."""
    return {**regions, "params": {name: value for name, value in regions["params"].items() if name != "folder"}}


def _without_path(learner: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recipe without the path of its weight file: it may be moved."""
    has_file = Recipe.model_construct(weights=learner["weights"]).has_weight_file
    return {**learner, "weights": "a file"} if has_file else dict(learner)


def results_id(document: Mapping[str, Any], environment: Mapping[str, Any]) -> str:
    """Return what identifies a results folder among those of its suite: where several share a tracking server.

    It is drawn when the folder is made and kept by copies of the folder. One that was made before there was an id has a
    hash of its suite, data, machine and commit instead.

    Args:
        document: Content of its suite.json.
        environment: Content of its environment.json.
    """
    if "id" in document:
        return str(document["id"])
    splits = [document["dataset"][split]["fingerprint"] for split in ("pool", "test")]
    text = canonical_json([document["suite"], splits, dict(environment)])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _describe_trial(spec: TrialSpec) -> dict[str, Any]:
    return {
        "trial_id": spec.trial_id,
        "label": spec.label,
        "strategy": spec.strategy,
        "params": spec.params,
        "seed": spec.seed,
        "region_size": spec.region_size,
        **(
            {}
            if spec.regions.is_grid
            else {"regions": spec.regions.title, "map": spec.regions.map_name(spec.region_size)}
        ),
        **({} if spec.labels == PRECISE else {"labels": spec.labels}),
        "num_rounds": spec.num_rounds,
        "spec": json.loads(spec.model_dump_json()),
    }


def read_suite_json(results_dir: Path) -> dict[str, Any]:
    """Return the content of suite.json.

    Raises:
        ResultsError: When there is none, so that the folder is not a results folder, or it is damaged.
    """
    results_dir = Path(results_dir)
    value = _read(results_dir)
    if value is None:
        found = "a folder without suite.json" if results_dir.is_dir() else "no such folder"
        raise ResultsError(
            f"{results_dir}: expected a results folder with suite.json, got {found}; `quadrat run SUITE --results DIR` "
            "writes one"
        )
    return value


def read_environment(results_dir: Path) -> dict[str, Any]:
    """Return the content of environment.json; empty when there is none.

    Earlier versions wrote the command as it was typed: what is published from here has no passwords.

    Raises:
        ResultsError: When it is damaged.
    """
    found = _read_json(Path(results_dir) / "environment.json") or {}
    return {**found, "command": redact(str(found["command"]))} if "command" in found else found


def finished_trials(
    results_dir: Path, trials: Sequence[TrialSpec], records: Iterable[Record] | None = None
) -> set[str]:
    """Return the ids of the trials whose records are complete.

    Args:
        results_dir: The results folder.
        trials: Trials that are asked for.
        records: Those of the folder, where they have been read.
    """
    found = by_trial(read_records_so_far(results_dir) if records is None else records)
    return {
        spec.trial_id for spec in trials if is_complete(found.get(spec.trial_id, ()), spec.trial_id, spec.num_rounds)
    }


def _read(results_dir: Path) -> dict[str, Any] | None:
    path = results_dir / "suite.json"
    value = _read_json(path)
    if value is not None:
        check_suite_json(path, value)
    return value


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(value, dict):
            raise TypeError("no object")
        return value
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, RecursionError, IsADirectoryError) as error:
        raise ResultsError(
            f"{path}: expected JSON, got a damaged file ({error}); restore it, or run the suite in another folder"
        ) from error
