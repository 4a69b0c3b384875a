"""Published results, read to be verified: the records whose trial and selections are there to run them again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from quadrat.benchmark.config.suite import Suite
from quadrat.benchmark.config.trial import FULL_SUPERVISION, TrialSpec
from quadrat.benchmark.errors import ResultsError
from quadrat.benchmark.results.folder import read_suite_json
from quadrat.benchmark.results.records import Record, read_records
from quadrat.benchmark.results.selections import Selections
from quadrat.benchmark.results.suite_json import first_mistake

__all__ = ["Published", "read_published"]


@dataclass(frozen=True, kw_only=True)
class Published:
    """The records of a results folder that can be verified.

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


def read_published(
    results_dir: Path, *, labels: Sequence[str] = (), seeds: Sequence[int] = (), root: Path | str | None = None
) -> Published:
    """Return the records of a results folder that can be verified.

    Args:
        results_dir: What `quadrat run` wrote.
        labels: Only these strategies; none means all.
        seeds: Only these seeds; none means all.
        root: Folder or URL of the data set, if it is elsewhere than the suite says.

    Raises:
        ResultsError: When the folder holds no results, or nothing with such a label and seed.
    """
    described = read_suite_json(results_dir)
    try:
        suite = Suite.model_validate(described["suite"])
        specs = {entry["trial_id"]: TrialSpec.model_validate(entry.get("spec")) for entry in described["trials"]}
    except ValidationError as error:
        raise ResultsError(
            f"{results_dir / 'suite.json'}: expected a suite and trials that this quadrat can run, got "
            f"{error.error_count()} mistakes ({first_mistake(error)}); use the version of its environment.json"
        ) from error
    if root is not None:
        place = root.absolute() if isinstance(root, Path) else root
        suite = suite.model_copy(update={"dataset": suite.dataset.model_copy(update={"root": place})})
    order = {trial_id: index for index, trial_id in enumerate(specs)}
    label_of = {entry["trial_id"]: entry["label"] for entry in described["trials"]}  # today's: a label may change
    records = [
        replace(record, label=label_of.get(record.trial_id, record.label)) for record in read_records(results_dir)
    ]
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
    wanted.sort(key=lambda record: (order.get(record.trial_id, len(order)), record.round))
    selections = Selections(results_dir)
    faults = {record.key: fault for record in wanted if (fault := _fault(selections, specs, record)) is not None}
    return Published(
        path=results_dir,
        suite=suite,
        dataset=described["dataset"],
        specs=specs,
        rounds=tuple(record for record in wanted if record.key not in faults),
        uncheckable=tuple(f"{record.name}: {faults[record.key]}" for record in wanted if record.key in faults),
    )


def _fault(selections: Selections, specs: Mapping[str, TrialSpec], record: Record) -> str | None:
    """Return why a round can't be recomputed, or None."""
    spec = specs.get(record.trial_id)
    if spec is None:
        return "suite.json does not describe its trial"
    if spec.trial_id != record.trial_id:
        return f"suite.json describes its trial with settings that are known as {spec.trial_id}"
    if (spec.strategy, spec.seed) != (record.strategy, record.seed):
        return f"suite.json describes its trial as {spec.strategy} seed {spec.seed}"
    if spec.strategy == FULL_SUPERVISION:
        return None
    for round_ in range(record.round + 1):
        if selections.find(record.trial_id, round_) is None:
            return f"its selections are not all there, first missing that of round {round_}"
    return None
