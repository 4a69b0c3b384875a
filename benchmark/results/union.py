"""Several results folders of one suite as one: seeds or strategies that were run apart, then reported together."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from quadrat.benchmark.config.trial import FULL_SUPERVISION
from quadrat.benchmark.errors import ResultsError
from quadrat.benchmark.results.environment import environment_differences
from quadrat.benchmark.results.failures import read_failures, write_failures
from quadrat.benchmark.results.folder import frame_difference, read_environment, read_suite_json, results_id
from quadrat.benchmark.results.listing import merge_maps, merge_trials
from quadrat.benchmark.results.records import Record, differing_fields, finalise, merge_records, read_records_so_far
from quadrat.benchmark.results.selections import ARCHIVE, pack_selections
from quadrat.benchmark.storage.atomic import atomic_write, write_json

__all__ = ["unite"]


def unite(sources: Sequence[Path], target: Path) -> None:
    """Write the trials of several results folders of one suite to the folder `target`: a results folder.

    Taken are suite, environment, records, failures and selections. Strategies and seeds may differ. A round that
    several folders hold must be equal in all of them, timings aside, and so must round 0 of all strategies of a seed:
    comparisons are paired by seed. suite.json lists the first folder's trials first, and a strategy has the label that
    the first folder with it gives it. environment.json is that of the
    first folder, with those of folders from another commit, machine or version in `others`.

    Args:
        sources: Two results folders or more.
        target: A folder without results.

    Raises:
        ResultsError: They are of different suites, data or region maps, a label names several strategies, one holds a
            study, or rounds are not equal.
    """
    documents = [read_suite_json(source) for source in sources]
    for source, document in zip(sources, documents, strict=True):
        _check_belongs(sources[0], documents[0], source, document)
    records = {source: read_records_so_far(source) for source in sources}
    _check_rounds(records)
    of_source = {str(source): document for source, document in zip(sources, documents, strict=True)}
    listed = merge_trials({where: document["trials"] for where, document in of_source.items()})
    pool = merge_maps({where: document["dataset"]["pool"] for where, document in of_source.items()})
    trials = {trial["trial_id"]: trial for trial in listed}
    _check_round_0(records, trials)
    suites = [document["suite"] for document in documents]
    labels = {trial["label"] for trial in listed}
    strategies: dict[str, Any] = {}
    for entry in (entry for suite in suites for entry in suite["strategies"] if entry["label"] in labels):
        strategies.setdefault(entry["label"], entry)
    seeds = sorted({seed for suite in suites for seed in suite["seeds"]})
    environments = [read_environment(source) for source in sources]
    ids = [results_id(*pair) for pair in zip(documents, environments, strict=True)]
    document = {
        **documents[0],
        "id": hashlib.sha256(" ".join(sorted(ids)).encode()).hexdigest()[:16],
        "suite": {**suites[0], "strategies": list(strategies.values()), "seeds": seeds},
        "dataset": {**documents[0]["dataset"], "pool": pool},
        "trials": listed,
    }
    write_json(target / "suite.json", document)
    write_json(target / "environment.json", _united(environments))
    lines = ["".join(record.to_line() for record in found).encode() for found in records.values()]
    atomic_write(target / "records.jsonl", merge_records(*lines))
    write_failures(target, [failure for source in sources for failure in read_failures(source)])
    finalise(target, {trial_id: trial["num_rounds"] for trial_id, trial in trials.items()})
    pack_selections(sources, target / ARCHIVE)


def _check_belongs(first_dir: Path, first: Mapping[str, Any], other_dir: Path, other: Mapping[str, Any]) -> None:
    for source in (first_dir, other_dir):
        if (source / "study").is_dir():
            raise ResultsError(f"expected results of runs, got those of a study in {source}: a search can't be united")
    if first["suite"]["name"] != other["suite"]["name"]:
        raise ResultsError(
            f"expected results of one suite, got '{first['suite']['name']}' in {first_dir} and "
            f"'{other['suite']['name']}' in {other_dir}"
        )
    if (found := frame_difference(first["suite"], other["suite"])) is not None:
        raise ResultsError(
            f"expected results of one suite, got {found.key} = {found.first} in {first_dir} and {found.second} in "
            f"{other_dir}; `quadrat leaderboard` shows different suites together"
        )
    for split in ("pool", "test"):
        one, two = (document["dataset"][split]["fingerprint"] for document in (first, other))
        if one != two:
            raise ResultsError(
                f"expected results on the same images, got {split} images with fingerprint {one[:12]} in {first_dir} "
                f"and {two[:12]} in {other_dir}"
            )


def _check_rounds(records: Mapping[Path, Sequence[Record]]) -> None:
    seen: dict[tuple[str, int], tuple[Path, Record]] = {}
    for source, found in records.items():
        for record in found:
            where, known = seen.setdefault(record.key, (source, record))
            if different := differing_fields(known, record):
                raise ResultsError(
                    f"{record.name}: expected equal records, got other {', '.join(different)} in {where} than in "
                    f"{source}; unite folders that have no such trial in common"
                )


def _check_round_0(records: Mapping[Path, Sequence[Record]], trials: Mapping[str, Mapping[str, Any]]) -> None:
    seen: dict[tuple[Any, ...], tuple[Path, Record]] = {}
    for source, found in records.items():
        for record in found:
            if record.round or record.strategy == FULL_SUPERVISION or record.trial_id not in trials:
                continue
            query = (record.seed, record.region_size, record.labels, trials[record.trial_id].get("regions"))
            where, known = seen.setdefault(query, (source, record))
            if (known.picks_digest, known.miou) != (record.picks_digest, record.miou):
                raise ResultsError(
                    f"expected one round 0 for all strategies of seed {record.seed}, got another of {known.label} in "
                    f"{where} than of {record.label} in {source}: run all strategies of a seed on one kind of machine"
                )


def _united(environments: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the first environment, with each that differs from those before it in `others`."""
    kept: list[dict[str, Any]] = []
    for environment in environments:
        alone = {name: value for name, value in environment.items() if name != "others"}
        for one in (alone, *environment.get("others", ())):
            if not any(_is_same(one, before) for before in kept):
                kept.append(one)
    return {**kept[0], **({"others": kept[1:]} if len(kept) > 1 else {})}


def _is_same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return one.get("commit") == other.get("commit") and not environment_differences(one, other)
