"""Records: the outcome of each round as one JSON line. `records.jsonl` is authoritative for a results folder."""

import functools
import json
import os
import re
from collections.abc import Iterable, Mapping, Set
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import numpy as np
from pydantic import TypeAdapter, ValidationError

from quadrat.benchmark.config.trial import PRECISE, LabelType
from quadrat.benchmark.errors import ResultsError
from quadrat.benchmark.redaction import redact
from quadrat.benchmark.storage.atomic import atomic_write, clear_disk_errors, make_folders, sync
from quadrat.benchmark.storage.digest import digest_of
from quadrat.benchmark.storage.names import is_part

__all__ = [
    "OLDEST_SCHEMA",
    "SCHEMA",
    "Failure",
    "Record",
    "append_record",
    "by_trial",
    "differing_fields",
    "finalise",
    "is_complete",
    "merge_records",
    "read_failures",
    "read_records",
    "read_records_so_far",
    "record_failure",
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
_FAILURES: Final = "failures.jsonl"


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
        seconds: By phase. It differs between two runs of the same trial, as `ended_at` does; no other field does.
        ended_at: When the round was complete, Unix seconds by the clock of its machine; None in a record of an earlier
            version. Left out of the line where it is None.
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
    round: int
    regions: int
    picked: int
    labelled_px: int
    labelled_fraction: float
    clicks: int
    class_px: tuple[int, ...]
    void_px: int
    void_regions: int | None
    images_opened: int
    exhausted: bool
    miou: float
    iou: tuple[float | None, ...]
    test_classes: int | None
    pixel_accuracy: float
    steps: int
    loss: float
    picks_digest: str
    seconds: dict[str, float]
    labels: LabelType = PRECISE
    label_accuracy: float = 1.0
    fits: int = 1
    ended_at: float | None = None

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
        return (text if self.schema < SCHEMA else _with_checksum(text)) + "\n"


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A trial that was given up after it had failed repeatedly, other than by a lost worker.

    Attributes:
        trial_id: Identity of the trial.
        label: Name of its strategy in tables.
        seed: Its seed.
        round: Round that failed, counted from 0.
        exception: Class and message.
        traceback: The whole traceback, as text.
        host: Machine on which it failed, empty when that is not known.
        node: Ray's id of that machine, empty without Ray.
        needs_mending: Whether any machine would raise it again: suite, data or code must be mended first.
    """

    trial_id: str
    label: str
    seed: int
    round: int
    exception: str
    traceback: str
    host: str = ""
    node: str = ""
    needs_mending: bool = False


_Parsed = TypeVar("_Parsed", Record, Failure)
_FIELDS: Final = tuple(field.name for field in fields(Record))
_RECORD: Final = TypeAdapter(Record)
_FAILURE: Final = TypeAdapter(Failure)

_WAY_ON: Final = "Restore the file, or delete this line: running the suite again brings the record back from the store"

_CHECKSUM: Final = "checksum"
_CHECKED_LINE: Final = re.compile(rf'(\{{.*), "{_CHECKSUM}": "([0-9a-f]{{32}})"\}}')

_SINCE_3: Final = frozenset({"void_px", "void_regions", "test_classes"})
"""Fields that schema 2 does not have."""

_OPTIONAL: Final = {"labels": PRECISE, "label_accuracy": 1.0, "fits": 1, "ended_at": None}
"""Fields that a line lacks where they have these values: so do all lines of before the fields were there."""

_NAMES: Final = {
    schema: frozenset(_FIELDS) - (_SINCE_3 if schema < SCHEMA else frozenset())
    for schema in range(OLDEST_SCHEMA, SCHEMA + 1)
}
"""Names of the fields of each schema."""


def without_timings(record: Record) -> dict[str, Any]:
    """Return the fields of `record` that a second run must reproduce: all but `seconds` and `ended_at`."""
    values = asdict(record)
    del values["seconds"], values["ended_at"]
    return values


def differing_fields(first: Record, second: Record) -> list[str]:
    """Return the names of the fields in which two records differ, timings aside.

    Records of one trial differ in no parameter and no setting of the recipe: its id is a hash of them, in which a file
    counts by its content, while a record names the path that it had. A record of schema 2 is compared by the classes
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
        unknown |= {"params", "recipe"}
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
    for number, text in _whole_lines(path):
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


def _whole_lines(path: Path) -> Iterable[tuple[int, str]]:
    try:
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
    except UnicodeDecodeError as error:
        raise ResultsError(
            f"{path}: expected UTF-8, got {error}. Restore the file from where it was published"
        ) from error
    lines = text.split("\n")
    return [(number, line) for number, line in enumerate(lines[:-1], start=1) if line]


def _with_checksum(text: str) -> str:
    """Return the JSON object `text` with the digest of its bytes as its last field."""
    return f'{text[:-1]}, "{_CHECKSUM}": "{digest_of(text.encode())}"}}'


def _without_checksum(path: Path, number: int, line: str) -> str:
    """Return a line as its checksum says that it was written; one that has none, as an older version wrote, as it is.

    Raises:
        ResultsError: When the line has another content.
    """
    if (found := _CHECKED_LINE.fullmatch(line)) is None:
        return line
    text = found[1] + "}"
    if digest_of(text.encode()) != found[2]:
        raise ResultsError(
            f"{path}:{number}: the line has another content than was written, got {line!r:.80}. {_WAY_ON}"
        )
    return text


def _parse(path: Path, number: int, line: str) -> Record:
    line = _without_checksum(path, number, line)
    values = _json(path, number, line)
    schema = values.get("schema")
    if not isinstance(schema, int):
        raise ResultsError(f"{path}:{number}: expected one JSON record, got {line!r:.80}. {_WAY_ON}")
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
        return _checked(_RECORD, line, path, number)
    values = {"void_px": 0, "void_regions": None, "test_classes": None, **values}
    record: Record = _checked(_RECORD, json.dumps(values), path, number)
    return replace(record, void_px=record.labelled_px - sum(record.class_px))


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number of JSON")


_DECODER: Final = json.JSONDecoder(parse_constant=_no_number)
"""One for all lines: `json.loads` would make a decoder for each."""


def _json(path: Path, number: int, line: str) -> dict[str, Any]:
    """Return a line of a file, one JSON object.

    Raises:
        ResultsError: When it is none.
    """
    try:
        values = _DECODER.decode(line)
    except (ValueError, RecursionError) as error:
        raise ResultsError(f"{path}:{number}: expected one JSON record, got {line!r:.80}. {_WAY_ON}") from error
    if not isinstance(values, dict):
        raise ResultsError(f"{path}:{number}: expected one JSON record, got {line!r:.80}. {_WAY_ON}")
    return values


def _checked(adapter: TypeAdapter[_Parsed], text: str, path: Path, number: int) -> _Parsed:
    """Return a line of a file, one JSON object, as its class.

    Raises:
        ResultsError: When a value is of another type than its field, or the trial can't be the name of a folder.
    """
    try:
        line = adapter.validate_json(text, strict=True)  # in JSON a list may be a tuple
    except ValidationError as error:
        first = error.errors()[0]
        raise ResultsError(
            f"{path}:{number}: `{'.'.join(map(str, first['loc']))}`: {first['msg']}, got {first['input']!r:.80}. "
            f"{_WAY_ON}"
        ) from error
    if not _is_trial_id(line.trial_id):
        raise ResultsError(f"{path}:{number}: expected a `trial_id`, got {line.trial_id!r:.80}. {_WAY_ON}")
    return line


@functools.lru_cache(maxsize=1 << 16)
def _is_trial_id(text: str) -> bool:
    return is_part(text)


def append_record(results_dir: Path, record: Record) -> None:
    """Append `record` to the folder's records and fsync.

    A partial line that a killed writer left at the end is truncated first. There is one writer at a time: the driver
    holds the folder's lock.

    Raises:
        ResultsError: When the disk is full; the file then ends where it ended before.
    """
    _append(Path(results_dir) / _RECORDS, record.to_line())


def _append(path: Path, line: str) -> None:
    with clear_disk_errors(path):
        make_folders(path.parent)
        is_new = not path.exists()
        with path.open("ab+", buffering=0) as file:
            end = _end_of_last_line(file)
            file.truncate(end)
            data = memoryview(line.encode())
            try:
                while data:
                    data = data[file.write(data) :]
                os.fsync(file.fileno())
            except OSError:
                file.truncate(end)
                raise
        if is_new:
            sync(path.parent)


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
        raise ResultsError(f"{_RECORDS}: expected one JSON record a line, got {line!r:.80}. {_WAY_ON}") from error


def _end_of_last_line(file: Any) -> int:
    size = file.seek(0, os.SEEK_END)
    tail = b""
    position = size
    while position > 0:
        step = min(65536, position)
        position -= step
        file.seek(position)
        tail = file.read(step)
        if (newline := tail.rfind(b"\n")) >= 0:
            return int(position + newline + 1)
    return 0


def record_failure(results_dir: Path, failure: Failure) -> None:
    """Append `failure` to the folder's failures, without the passwords that its texts quote, and fsync."""
    failure = replace(failure, exception=redact(failure.exception), traceback=redact(failure.traceback))
    _append(Path(results_dir) / _FAILURES, json.dumps(asdict(failure), ensure_ascii=False) + "\n")


def read_failures(results_dir: Path) -> list[Failure]:
    """Return the failures of a results folder, the last one of each trial, in file order.

    Raises:
        ResultsError: When a line is damaged.
    """
    path = Path(results_dir) / _FAILURES
    failures: dict[str, Failure] = {}
    for number, line in _whole_lines(path):
        _json(path, number, line)
        failure = _checked(_FAILURE, line, path, number)
        failures[failure.trial_id] = failure
    return list(failures.values())


def finalise(results_dir: Path, num_rounds: Mapping[str, int]) -> None:
    """Sort the records into suite order and drop failures of trials that have finished since.

    The order in which trials finish depends on the cluster; sorted, two complete runs have the same lines. Records of
    trials that are not in `num_rounds` are kept, at the end.

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
        f"{line.text}\n" if record is line.record and _CHECKED_LINE.fullmatch(line.text) else record.to_line()
        for line, record in zip(lines, records, strict=True)
    )
    atomic_write(results_dir / _RECORDS, "".join(texts).encode())
    of_trial = by_trial(records)
    failures = [
        failure
        for failure in read_failures(results_dir)
        if not is_complete(of_trial.get(failure.trial_id, ()), failure.trial_id, num_rounds.get(failure.trial_id, 1))
    ]
    path = results_dir / _FAILURES
    if failures:
        text = "".join(json.dumps(asdict(failure), ensure_ascii=False) + "\n" for failure in failures)
        atomic_write(path, text.encode())
    else:
        path.unlink(missing_ok=True)


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
