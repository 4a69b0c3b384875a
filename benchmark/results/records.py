"""Records: the outcome of each round as one JSON line. `records.jsonl` is authoritative for a results folder."""

import json
from collections.abc import Iterable, Mapping, Set
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple

import numpy as np
from pydantic import Field, TypeAdapter

from quadrat.benchmark.config.trial import PRECISE, LabelType
from quadrat.benchmark.errors import ResultsError
from quadrat.benchmark.results.failures import read_failures, write_failures
from quadrat.benchmark.results.lines import (
    WAY_ON,
    append_line,
    as_class,
    as_object,
    has_checksum,
    whole_lines,
    with_checksum,
    without_checksum,
)
from quadrat.benchmark.storage.atomic import atomic_write

__all__ = [
    "OLDEST_SCHEMA",
    "SCHEMA",
    "Record",
    "append_record",
    "by_trial",
    "differing_fields",
    "finalise",
    "is_complete",
    "merge_records",
    "read_records",
    "read_records_so_far",
    "without_timings",
]

SCHEMA: Final = 3
"""Version of the record schema.

3: the mIoU is the mean over the classes of the test set's masks, `test_classes` in number; `void_px`, `void_regions`.
2: the mean was over the classes of masks or prediction, so that a class that no mask holds counted as 0 as soon as one
   pixel was predicted as it. `read_records` gives such records the meaning of schema 3 where all records of the file
   tell which classes the masks hold; where they don't, they keep schema 2 and have no `test_classes`.
"""

OLDEST_SCHEMA: Final = 2
"""A reader refuses older ones, and newer ones than `SCHEMA`."""

_RECORDS: Final = "records.jsonl"


_Count = Annotated[int, Field(ge=0, lt=2**63)]
_Share = Annotated[float, Field(ge=0, le=1)]
_Number = Annotated[float, Field(allow_inf_nan=False)]
"""What the values of a record can be: readers refuse others, which would draw a figure from nonsense."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """Outcome of one round of one trial.

    Attributes:
        schema: Version of this schema.
        suite: Name of the suite.
        trial_id: Identity of the trial, see `quadrat.benchmark.config.trial.TrialSpec.trial_id`.
        label: Name of the strategy in tables.
        strategy: Registered name of the strategy.
        params: Its parameters, defaults filled in.
        dataset: Registered name of the data set.
        region_size: Edge of a region, pixels.
        labels: Label type, see `quadrat.benchmark.config.trial.LabelType`. Left out of the line where it is precise.
        label_accuracy: Share of the labelled non-void pixels whose label is right: the true class, or a set of classes
            with it. A diagnostic: no strategy sees it. Left out of the line where it is 1, as for precise labels
            without errors.
        recipe: Digest of the learner recipe (the recipe itself is in suite.json).
        seed: The trial's seed.
        round: Counted from 0.
        regions: Labelled regions after this round, cumulative.
        picked: Regions selected in this round.
        labelled_px: Area of the labelled regions, pixels.
        labelled_fraction: That area as a share of the pool's.
        clicks: Clicks needed to annotate the labelled regions, cumulative, see `quadrat.benchmark.data.clicks`.
        class_px: Labelled pixels of each class, cumulative, in the order of suite.json; void pixels are not counted.
        void_px: Labelled pixels that are void: paid for, of no class.
        void_regions: Labelled regions all of whose pixels are void; None in a record that was written as schema 2.
        images_opened: Images with at least one labelled region.
        exhausted: Whether the pool ran out before the budget was spent.
        miou: Mean of `iou` over the classes of the test set's masks, 0..1. They are the same whatever is predicted.
        iou: Per class, in the order of suite.json; None for a class that no mask of the test set holds.
        test_classes: Number of classes that the mean is over; None where the record keeps the definition of schema 2.
        pixel_accuracy: Share of non-void test pixels that are right.
        steps: Optimiser steps of this round's fit.
        loss: Mean training loss over the last tenth of the steps.
        fits: Models trained for this round: its own, and the other members of the ensemble that it was selected with.
            Left out of the line where it is 1.
        picks_digest: SHA-256 of the selected regions in the order of their selection.
        seconds: By phase. It differs between two runs of the same trial, as `ended_at` and `usage` do; no other field
            does.
        ended_at: When the round was complete, Unix seconds by the clock of its machine; None in a record of an earlier
            version. Left out of the line where it is None.
        usage: What the process that made the record used, see `quadrat.benchmark.trial.usage`; empty, and left out of
            the line, in a record of an earlier version.
    """

    schema: int = SCHEMA
    suite: str
    trial_id: str
    label: str
    strategy: str
    params: dict[str, Any]
    dataset: str
    region_size: int
    recipe: str
    seed: int
    round: _Count
    regions: _Count
    picked: _Count
    labelled_px: _Count
    labelled_fraction: _Share
    clicks: _Count
    class_px: tuple[_Count, ...]
    void_px: int
    void_regions: _Count | None
    images_opened: _Count
    exhausted: bool
    miou: _Share
    iou: tuple[_Share | None, ...]
    test_classes: _Count | None
    pixel_accuracy: _Share
    steps: _Count
    loss: _Number
    picks_digest: str
    seconds: dict[str, _Number]
    labels: LabelType = PRECISE
    label_accuracy: _Share = 1.0
    fits: int = 1
    ended_at: _Number | None = None
    usage: dict[str, _Number] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, int]:
        """Trial and round: unique within a results folder."""
        return self.trial_id, self.round

    @property
    def name(self) -> str:
        """The round as messages name it."""
        return f"{self.label} seed {self.seed} round {self.round}"

    def to_line(self) -> str:
        """Return the record as one JSON line of its schema, a checksum last; floats read back to the same bits.

        Lines of an older schema are written as they were, without one.
        """
        values = {name: getattr(self, name) for name in _FIELDS}  # not `asdict`, which copies every list
        if self.schema < SCHEMA:
            values = {name: value for name, value in values.items() if name not in _SINCE_3}
        values = {name: value for name, value in values.items() if name not in _OPTIONAL or value != _OPTIONAL[name]}
        text = json.dumps(values, ensure_ascii=False, allow_nan=False, separators=(", ", ": "))
        return (text if self.schema < SCHEMA else with_checksum(text)) + "\n"


_FIELDS: Final = tuple(field.name for field in fields(Record))
_RECORD: Final = TypeAdapter(Record)

_SINCE_3: Final = frozenset({"void_px", "void_regions", "test_classes"})
"""Fields that schema 2 does not have."""

_OPTIONAL: Final[dict[str, Any]] = {"labels": PRECISE, "label_accuracy": 1.0, "fits": 1, "ended_at": None, "usage": {}}
"""Fields that a line lacks where they have these values: so do all lines of before the fields were there."""

_NAMES: Final = {
    schema: frozenset(_FIELDS) - (_SINCE_3 if schema < SCHEMA else frozenset())
    for schema in range(OLDEST_SCHEMA, SCHEMA + 1)
}
"""Names of the fields of each schema."""


def without_timings(record: Record) -> dict[str, Any]:
    """Return the fields of `record` that a second run must reproduce: all but `seconds`, `ended_at`, `usage`."""
    values = asdict(record)
    del values["seconds"], values["ended_at"], values["usage"]
    return values


def differing_fields(first: Record, second: Record) -> list[str]:
    """Return the names of the fields in which two records differ, timings aside.

    Records of one trial differ in no parameter and no setting of the recipe: its id is a hash of them, in which a file
    counts by its content, while a record names the path that it had. Suite and strategy may have got other names since.
    A record of schema 2 is compared by the classes
    that the other one says the test set's masks hold, and without the fields that it never had.
    """
    records = [first, second]
    if first.schema != second.schema:
        truth = {
            place for one in records if one.schema == SCHEMA for place, iou in enumerate(one.iou) if iou is not None
        }
        records = [one if one.schema == SCHEMA else _with_classes(one, truth) for one in records]
    one, other = map(without_timings, records)
    unknown = {name for name in _SINCE_3 if None in (one[name], other[name])}
    if first.trial_id == second.trial_id:
        unknown |= {"params", "recipe", "label", "suite"}
    return [name for name in one if name not in unknown and one[name] != other[name]]


def read_records_so_far(results_dir: Path) -> list[Record]:
    """Return the records of a results folder, an empty list when nothing has been recorded yet.

    Raises:
        ResultsError: As `read_records`.
    """
    return read_records(results_dir) if (Path(results_dir) / _RECORDS).is_file() else []


def read_records(results_dir: Path) -> list[Record]:
    """Return the records of a results folder in file order, each trial and round once, see `SCHEMA`.

    The first line of a round counts. A last line without a newline was left by a killed writer and is ignored: it was
    never reported as done.

    Raises:
        ResultsError: When there is no records file, a line is damaged, or its schema can't be read.
    """
    return _with_one_meaning([line.record for line in _read_lines(results_dir)])


class _Line(NamedTuple):
    """A record as it was read, and its line without the newline."""

    record: Record
    text: str


def _read_lines(results_dir: Path) -> list[_Line]:
    """Return the lines of a records file, each trial and round once; see `read_records`."""
    path = Path(results_dir) / _RECORDS
    if not path.is_file():
        raise ResultsError(f"expected records at {path}, found none; run the suite first, or name its results folder")
    lines: dict[tuple[str, int], _Line] = {}
    for number, text in whole_lines(path):
        record = _parse(path, number, text)
        lines.setdefault(record.key, _Line(record, text))
    return list(lines.values())


def _with_one_meaning(records: list[Record]) -> list[Record]:
    """Return records whose mIoU is of one definition: that of schema 3 as soon as the classes of the masks are known.

    All records of a file are of one test set. A class with an IoU above 0 anywhere is in its masks; one without an IoU
    anywhere is not: as schema 2 it was absent from masks and prediction. A record of schema 3 tells of every class.
    """
    if all(record.schema == SCHEMA for record in records):
        return records
    classes = range(max(len(record.iou) for record in records))
    absent = {place for place in classes if any(record.iou[place] is None for record in records)}
    present = {place for place in classes if any((record.iou[place] or 0) > 0 for record in records)}
    present |= {place for place in classes for record in records if record.schema == SCHEMA} - absent
    if absent & present or absent | present != set(classes):
        return records
    return [record if record.schema == SCHEMA else _with_classes(record, present) for record in records]


def _with_classes(record: Record, truth: Set[int]) -> Record:
    """Return a record of schema 2 with the mIoU over the classes `truth` that the masks of its test set hold."""
    iou = tuple(value if place in truth else None for place, value in enumerate(record.iou))
    there = [value for value in iou if value is not None]
    if iou == record.iou:  # the same mean: keep its bits
        return replace(record, schema=SCHEMA, test_classes=len(there))
    return replace(record, schema=SCHEMA, iou=iou, miou=float(np.mean(there)), test_classes=len(there))


def _parse(path: Path, number: int, line: str) -> Record:
    line = without_checksum(path, number, line)
    values = as_object(path, number, line)
    schema = values.get("schema")
    if not isinstance(schema, int):
        raise ResultsError(f"{path}:{number}: expected one JSON record, got {line!r:.80}. {WAY_ON}")
    if not OLDEST_SCHEMA <= schema <= SCHEMA:
        raise ResultsError(
            f"{path}:{number}: expected schema {OLDEST_SCHEMA} to {SCHEMA}, got {schema}; read it with the quadrat "
            "that wrote it"
        )
    if odd := (values.keys() | _OPTIONAL.keys()) ^ _NAMES[schema]:
        raise ResultsError(
            f"{path}:{number}: expected the fields of schema {schema}, got a difference in {sorted(odd)}"
        )
    if schema == SCHEMA:
        return as_class(_RECORD, line, path, number)
    values = {"void_px": 0, "void_regions": None, "test_classes": None, **values}
    record: Record = as_class(_RECORD, json.dumps(values), path, number)
    return replace(record, void_px=record.labelled_px - sum(record.class_px))


def append_record(results_dir: Path, record: Record) -> None:
    """Append `record` to the folder's records and fsync.

    A partial line that a killed writer left at the end is truncated first. There is one writer at a time: the driver
    holds the folder's lock.

    Raises:
        ResultsError: When the disk is full; the file then ends where it ended before.
    """
    append_line(Path(results_dir) / _RECORDS, record.to_line())


def merge_records(ours: bytes, *others: bytes) -> bytes:
    """Return the content of a records file: `ours`, then the records of rounds that only `others` hold."""
    lines = ours.splitlines(keepends=True)
    known = {_key_of(line) for line in lines}
    for other in others:
        for line in other.splitlines(keepends=True):
            if (key := _key_of(line)) not in known:
                known.add(key)
                lines.append(line)
    return b"".join(lines)


def _key_of(line: bytes) -> tuple[str, int]:
    try:
        values = json.loads(line)
        return str(values["trial_id"]), int(values["round"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ResultsError(f"{_RECORDS}: expected one JSON record a line, got {line!r:.80}. {WAY_ON}") from error


def finalise(results_dir: Path, num_rounds: Mapping[str, int]) -> None:
    """Sort the records into suite order and drop failures of trials that have finished since.

    The order in which trials finish depends on the cluster; sorted, two complete runs have the same lines. Records of
    trials that are not in `num_rounds` are kept, at the end, and so are their failures.

    Args:
        results_dir: The results folder.
        num_rounds: Rounds of each trial by trial id, in suite order.
    """
    results_dir = Path(results_dir)
    place = {trial_id: index for index, trial_id in enumerate(num_rounds)}
    lines = sorted(
        _read_lines(results_dir), key=lambda line: (place.get(line.record.trial_id, len(place)), *line.record.key)
    )
    records = _with_one_meaning([line.record for line in lines])
    # A record that is what was read keeps its line, if that has a checksum: making 80,000 again takes seconds.
    texts = (
        f"{line.text}\n" if record is line.record and has_checksum(line.text) else record.to_line()
        for line, record in zip(lines, records, strict=True)
    )
    atomic_write(results_dir / _RECORDS, "".join(texts).encode())
    of_trial = by_trial(records)
    failures = [
        failure
        for failure in read_failures(results_dir)
        if failure.trial_id not in num_rounds
        or not is_complete(of_trial.get(failure.trial_id, ()), failure.trial_id, num_rounds[failure.trial_id])
    ]
    write_failures(results_dir, failures)


def by_trial(records: Iterable[Record]) -> dict[str, list[Record]]:
    """Return records by the id of their trial."""
    found: dict[str, list[Record]] = {}
    for record in records:
        found.setdefault(record.trial_id, []).append(record)
    return found


def is_complete(records: Iterable[Record], trial_id: str, num_rounds: int) -> bool:
    """Return whether `records` hold all rounds of the trial, or all until its pool was exhausted."""
    rounds = {record.round: record for record in records if record.trial_id == trial_id}
    if sorted(rounds) != list(range(len(rounds))) or not rounds:
        return False
    return len(rounds) >= num_rounds or rounds[len(rounds) - 1].exhausted
