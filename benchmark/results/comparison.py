"""Comparison of two results folders: the same records, timings aside?"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from quadrat.benchmark.errors import ResultsError
from quadrat.benchmark.results.folder import leaves, read_suite_json
from quadrat.benchmark.results.records import Record, differing_fields, read_records

__all__ = ["common_trials", "differences", "suite_differences"]

_IGNORED: Final = ("name", "description", "dataset.root")
"""Settings that cannot change a number; the same images may lie in another folder."""


def differences(first_dir: Path, second_dir: Path, *, only_common: bool = False) -> list[str]:
    """Return one line per record that is missing or differs, or trial that is missing; none: the records are equal.

    Everything but `seconds` is compared, floats to the last bit.

    Args:
        first_dir: A results folder.
        second_dir: Another one.
        only_common: Ignore trials that only one of them has. A round that a common trial lacks is a difference.

    Raises:
        ResultsError: When a folder holds no records, or they have no trial in common and only those are asked for.
    """
    first, second = _by_key(read_records(first_dir)), _by_key(read_records(second_dir))
    if only_common:
        common = common_trials(first_dir, second_dir)
        if not common:
            raise ResultsError(
                f"expected trials that both folders hold, got none in {first_dir} and {second_dir}: a trial is known "
                "by its data set, region size, recipe, strategy, parameters, budgets and seed"
            )
        first, second = (
            {key: record for key, record in records.items() if key[0] in common} for records in (first, second)
        )
    lines = [f"{name}: only in {first_dir}" for name in _missing(first, second)]
    lines += [f"{name}: only in {second_dir}" for name in _missing(second, first)]
    for key in first:
        if key in second:
            lines += _differing_fields(first[key], second[key])
    return lines


def suite_differences(first_dir: Path, second_dir: Path) -> list[str]:
    """Return one line per setting that the suites of two results folders do not share.

    Raises:
        ResultsError: A folder has no suite.json.
    """
    first, second = (dict(leaves(read_suite_json(path)["suite"])) for path in (first_dir, second_dir))
    keys = [key for key in {**first, **second} if key not in _IGNORED]
    return [
        f"{key} is {first.get(key, 'not set')} and {second.get(key, 'not set')}"
        for key in keys
        if first.get(key) != second.get(key)
    ]


def common_trials(first_dir: Path, second_dir: Path) -> set[str]:
    """Return the ids of the trials that both folders have records of."""
    first, second = ({record.trial_id for record in read_records(path)} for path in (first_dir, second_dir))
    return first & second


def _by_key(records: Sequence[Record]) -> dict[tuple[str, int], Record]:
    return {record.key: record for record in records}


def _missing(own: Mapping[tuple[str, int], Record], other: Mapping[tuple[str, int], Record]) -> list[str]:
    """Return the names of records that `other` lacks; of trials where it has none of their records."""
    trials = {trial_id for trial_id, _ in other}
    names = {
        record.name if record.trial_id in trials else (record.trial_id, f"{record.label} seed {record.seed}"): None
        for key, record in own.items()
        if key not in other
    }
    return [name if isinstance(name, str) else name[1] for name in names]


def _differing_fields(first: Record, second: Record) -> list[str]:
    return [
        f"{first.name}: {name} is {getattr(first, name)} and {getattr(second, name)}"
        for name in differing_fields(first, second)
    ]
