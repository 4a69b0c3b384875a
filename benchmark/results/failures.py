"""Failures: trials that were given up, one JSON line each in `failures.jsonl`."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter

from quadrat.benchmark.redaction import redact
from quadrat.benchmark.results.lines import append_line, as_class, as_object, whole_lines
from quadrat.benchmark.storage.atomic import atomic_write

__all__ = ["Failure", "read_failures", "record_failure", "to_line", "write_failures"]

_FAILURES: Final = "failures.jsonl"


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A trial that was given up after it had failed repeatedly, other than by a lost worker.

    Its texts are printed, sent and written: they hold no passwords from its beginning on.

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

    def __post_init__(self) -> None:
        for name in ("exception", "traceback"):
            object.__setattr__(self, name, redact(getattr(self, name)))


_FAILURE: Final = TypeAdapter(Failure)


def record_failure(results_dir: Path, failure: Failure) -> None:
    """Append `failure` to the folder's failures, and fsync."""
    append_line(Path(results_dir) / _FAILURES, to_line(failure))


def read_failures(results_dir: Path) -> list[Failure]:
    """Return the failures of a results folder, the last one of each trial, in file order.

    Raises:
        ResultsError: When a line is damaged.
    """
    path = Path(results_dir) / _FAILURES
    failures: dict[str, Failure] = {}
    for number, line in whole_lines(path):
        as_object(path, number, line)
        failure = as_class(_FAILURE, line, path, number)
        failures[failure.trial_id] = failure
    return list(failures.values())


def write_failures(results_dir: Path, failures: Sequence[Failure]) -> None:
    """Replace the failures of a results folder; without any there is no file."""
    path = Path(results_dir) / _FAILURES
    if failures:
        atomic_write(path, "".join(map(to_line, failures)).encode())
    else:
        path.unlink(missing_ok=True)


def to_line(failure: Failure) -> str:
    """Return a failure as one JSON line."""
    return json.dumps(asdict(failure), ensure_ascii=False) + "\n"
