"""The files of a results folder that are published: small, without passwords, paths and host names of this machine.

They are what `quadrat report`, `compare`, `verify` and a replay read. Store, cache, previews and page are not copied.
Records are copied as they are, byte for byte, and so is what identifies a trial in suite.json; the rest is text that
only a reader of the copy meets:

- folders of the packed images become their names in `cache/packed`, the folder of the data set is left out;
- a path that a digest of its content stands for (weights, replayed selections, region maps) becomes its last part;
- absolute paths in the command become the name of their option, those in tracebacks their last part;
- passwords in URLs and assignments are hidden, see `quadrat.benchmark.redaction`.
"""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from quadrat.benchmark.errors import ResultsError
from quadrat.benchmark.redaction import redact
from quadrat.benchmark.results.failures import Failure, read_failures, to_line
from quadrat.benchmark.results.folder import read_environment, read_suite_json
from quadrat.benchmark.results.records import read_records
from quadrat.benchmark.results.selections import ARCHIVE, pack_selections
from quadrat.benchmark.storage.atomic import atomic_write, json_bytes

__all__ = ["CURVES", "GAINS", "publish"]

_REQUIRED: Final = ("records.jsonl", "suite.json", "environment.json")
_OPTIONAL: Final = ("failures.jsonl", "study/study.json")
CURVES: Final = "learning-curves.svg"
GAINS: Final = "gains.svg"
"""Names of the figures in a published folder."""
_FIGURES_OF_REPORT: Final = {
    CURVES: "report/files/learning-curves-labelled-fraction.svg",
    GAINS: "report/files/gains.svg",
}
_PATH: Final = re.compile(r"(?<![\w./:~-])/(?:[^\s\"'<>|:;,()]+/)+([^\s\"'<>|:;,()]*)")
"""An absolute path in a text; not the path of a URL."""


def publish(source: Path, target: Path) -> None:
    """Write the files of the results folder `source` that are published to the folder `target`.

    These are records, suite, environment, failures and study where there are any, all selections in one zip file, and
    the figures of mIoU by labelled share and of the gains if `quadrat report` has been run since the last record came.
    A published folder can be published again.

    Raises:
        ResultsError: When `source` is no results folder or one of its files is damaged, or both are one folder.
    """
    source, target = Path(source), Path(target)
    for name in _REQUIRED:
        if not (source / name).is_file():
            raise ResultsError(f"expected a results folder with {name}, got {source}")
    if source.resolve() == target.resolve():
        raise ResultsError(f"expected another folder than the results to publish in, got {target} for both")
    read_records(source)  # what is damaged is refused before anything is written
    cleaned = {
        "suite.json": json_bytes(_redacted(_clean_suite(read_suite_json(source)))),
        "environment.json": json_bytes(_redacted(_clean_environment(read_environment(source)))),
        "failures.jsonl": "".join(map(_clean_failure, read_failures(source))).encode(),
    }
    for name in (*_REQUIRED, *_OPTIONAL):
        if not (source / name).is_file():
            (target / name).unlink(missing_ok=True)  # of an earlier copy: a failure that is gone
        else:
            atomic_write(target / name, cleaned[name] if name in cleaned else (source / name).read_bytes())
    for name, of_report in _FIGURES_OF_REPORT.items():
        found = next((path for path in (source / of_report, source / name) if path.is_file()), None)
        if found is None or (found == source / of_report and _is_older(found, source / "records.jsonl")):
            (target / name).unlink(missing_ok=True)  # of other records
        else:
            atomic_write(target / name, found.read_bytes())
    pack_selections([source], target / ARCHIVE)


def _is_older(path: Path, other: Path) -> bool:
    return path.stat().st_mtime_ns < other.stat().st_mtime_ns


def _clean_suite(document: dict[str, Any]) -> dict[str, Any]:
    dataset, suite = document["dataset"], document["suite"]
    for described in (dataset["pool"], dataset["test"]):
        pack = Path(described["path"])
        for found in described.get("maps", ()):
            if (path := Path(found["path"])).is_absolute():
                found["path"] = f"cache/packed/{pack.name}/{path.name}"
        if pack.is_absolute():
            described["path"] = f"cache/packed/{pack.name}"
    if "warnings" in dataset:
        dataset["warnings"] = [_PATH.sub(r"\1", text) for text in dataset["warnings"]]
    suite["dataset"] = _without_folder(suite["dataset"])
    _shorten(suite["learner"], "weights")
    for part in (suite.get("regions", {}), *suite.get("strategies", ())):
        _shorten(part.get("params") or {}, "folder")
    for trial in document["trials"]:
        spec = trial.get("spec")
        if not spec:
            continue
        spec["dataset"] = _without_folder(spec["dataset"])
        for key in spec.get("files", {}):  # the digest is the identity, not the path
            part, _, name = key.partition(".")
            _shorten(spec["regions"]["params"] if part == "regions" else spec[part], name)
            if part == "params":
                _shorten(trial["params"], name)
    return document


def _without_folder(dataset: dict[str, Any]) -> dict[str, Any]:
    """Return a data set without the folder that it is in; a URL stays."""
    return {**dataset, "root": root if "://" in (root := str(dataset.get("root"))) else None}


def _shorten(values: dict[str, Any], name: str) -> None:
    """Replace an absolute path by its last part."""
    if isinstance(path := values.get(name), str) and Path(path).is_absolute():
        values[name] = Path(path).name


def _clean_environment(document: dict[str, Any]) -> dict[str, Any]:
    for environment in (document, *document.get("others", ())):
        if environment.get("command"):
            environment["command"] = _command_without_paths(environment["command"])
        _shorten(environment, "weights")
    return document


def _clean_failure(failure: Failure) -> str:
    """Return the line of a failure without the names of machines; paths in its traceback are cut."""
    exception, traceback = (_PATH.sub(r"\1", redact(text)) for text in (failure.exception, failure.traceback))
    return to_line(replace(failure, host="", node="", exception=exception, traceback=traceback))


def _redacted(value: Any) -> Any:
    """Return a JSON value with the passwords in its texts hidden."""
    if isinstance(value, dict):
        return {key: _redacted(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_redacted(item) for item in value]
    return redact(value) if isinstance(value, str) else value


def _command_without_paths(command: str) -> str:
    """Return a command with each absolute path replaced by its option, in capitals, or else by its last part.

    Examples:
        >>> _command_without_paths("quadrat run /home/me/my.yaml --cache /scratch/me --results=/home/me/out")
        'quadrat run my.yaml --cache CACHE --results=RESULTS'
    """
    words = command.split(" ")
    for place, word in enumerate(words):
        option, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
        if Path(value).is_absolute():
            before = option or (words[place - 1] if place else "")
            name = before.removeprefix("--").upper() if before.startswith("--") else Path(value).name
            words[place] = f"{option}{equals}{name}"
    return " ".join(words)
