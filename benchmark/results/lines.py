"""Files of JSON lines, one object each: read whole lines, check them, append one and fsync.

A last line without a newline was left by a killed writer: it was never reported as done.
"""

import functools
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from pydantic import TypeAdapter, ValidationError

from quadrat.benchmark.errors import ResultsError
from quadrat.benchmark.results.suite_json import first_mistake
from quadrat.benchmark.storage.atomic import clear_disk_errors, make_folders, sync
from quadrat.benchmark.storage.digest import digest_of
from quadrat.benchmark.storage.names import is_part

__all__ = [
    "WAY_ON",
    "append_line",
    "as_class",
    "as_object",
    "has_checksum",
    "whole_lines",
    "with_checksum",
    "without_checksum",
]


class _OfTrial(Protocol):
    @property
    def trial_id(self) -> str: ...


_Parsed = TypeVar("_Parsed", bound=_OfTrial)

WAY_ON: Final = "Restore the file, or delete this line: running the suite again brings the record back from the store"

_CHECKSUM: Final = "checksum"
_CHECKED_LINE: Final = re.compile(rf'(\{{.*), "{_CHECKSUM}": "([0-9a-f]{{32}})"\}}')


def whole_lines(path: Path) -> Sequence[tuple[int, str]]:
    """Return the number, from 1, and the text of each line that ends with a newline; none where there is no file.

    Raises:
        ResultsError: When it is not UTF-8.
    """
    try:
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
    except UnicodeDecodeError as error:
        raise ResultsError(
            f"{path}: expected UTF-8, got {error}. Restore the file from where it was published"
        ) from error
    lines = text.split("\n")
    return [(number, line) for number, line in enumerate(lines[:-1], start=1) if line]


def with_checksum(text: str) -> str:
    """Return the JSON object `text` with the digest of its bytes as its last field."""
    return f'{text[:-1]}, "{_CHECKSUM}": "{digest_of(text.encode())}"}}'


def without_checksum(path: Path, number: int, line: str) -> str:
    """Return a line as its checksum says that it was written; one that has none, as an older version wrote, as it is.

    Raises:
        ResultsError: When the line has another content.
    """
    if (found := _CHECKED_LINE.fullmatch(line)) is None:
        return line
    text = found[1] + "}"
    if digest_of(text.encode()) != found[2]:
        raise ResultsError(
            f"{path}:{number}: the line has another content than was written, got {line!r:.80}. {WAY_ON}"
        )
    return text


def has_checksum(line: str) -> bool:
    """Return whether a line ends with a checksum, right or wrong."""
    return _CHECKED_LINE.fullmatch(line) is not None


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number of JSON")


_DECODER: Final = json.JSONDecoder(parse_constant=_no_number)
"""One for all lines: `json.loads` would make a decoder for each."""


def as_object(path: Path, number: int, line: str) -> dict[str, Any]:
    """Return a line of a file, one JSON object.

    Raises:
        ResultsError: When it is none.
    """
    try:
        values = _DECODER.decode(line)
    except (ValueError, RecursionError) as error:
        raise ResultsError(f"{path}:{number}: expected one JSON record, got {line!r:.80}. {WAY_ON}") from error
    if not isinstance(values, dict):
        raise ResultsError(f"{path}:{number}: expected one JSON record, got {line!r:.80}. {WAY_ON}")
    return values


def as_class(adapter: TypeAdapter[_Parsed], text: str, path: Path, number: int) -> _Parsed:
    """Return a line of a file, one JSON object, as its class.

    Raises:
        ResultsError: When a value is of another type than its field, or the trial can't be the name of a folder.
    """
    try:
        line = adapter.validate_json(text, strict=True)  # in JSON a list may be a tuple
    except ValidationError as error:
        raise ResultsError(f"{path}:{number}: {first_mistake(error)}. {WAY_ON}") from error
    if not _is_trial_id(line.trial_id):
        raise ResultsError(f"{path}:{number}: expected a `trial_id`, got {line.trial_id!r:.80}. {WAY_ON}")
    return line


@functools.lru_cache(maxsize=1 << 16)
def _is_trial_id(text: str) -> bool:
    return is_part(text)


def append_line(path: Path, line: str) -> None:
    """Append `line`, which ends with a newline, and fsync; a partial line at the end is truncated first.

    Raises:
        ResultsError: When the disk is full; the file then ends where it ended before.
    """
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
