"""A results folder: made for one suite, refused to any other, used by one driver at a time."""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from filelock import FileLock, Timeout

from quadrat.benchmark.config.suite import Suite
from quadrat.benchmark.config.trial import TrialSpec
from quadrat.benchmark.errors import ResultsError
from quadrat.benchmark.results.records import Record, is_complete, read_records_so_far
from quadrat.benchmark.storage.atomic import atomic_write, canonical_json, sweep_beside, sweep_dead, write_json
from quadrat.benchmark.storage.lease import Holder, Lease, acquire_lease, holder_of
from quadrat.benchmark.storage.remote import Remote, working_folder

__all__ = [
    "ResultsLock",
    "driver_of",
    "fetch_results",
    "finished_trials",
    "lock_results",
    "prepare_results",
    "read_suite_json",
]

SUITE_SCHEMA: Final = 1
_RECORDS: Final = ("records.jsonl", "study/records.jsonl")
_DATABASE: Final = "study/study.db"
_FILES: Final = (
    "suite.json",
    "environment.json",
    *_RECORDS,
    "failures.jsonl",
    "study/failures.jsonl",
    _DATABASE,
    "study/study.json",
)
"""Files that only the driver writes; those in `study` exist when the suite has a study."""
_DRIVER: Final = "driver"
"""Name of the lease of the driver, for results on a URL."""
_FRAME: Final = ("dataset", "region_size", "budgets", "learner")
"""What must stay the same within a results folder. Strategies, seeds and resources may change between runs."""


class ResultsLock:
    """The held lock of a results folder; a context manager that releases it.

    Args:
        results_dir: The folder.
        lock: Its file lock, acquired; the operating system frees it when its holder dies.
        remote: Remote of the folder, for results on a URL.
        lease: Its lease there, acquired; others take it over when its holder dies.
    """

    def __init__(
        self, results_dir: Path, lock: FileLock, remote: Remote | None = None, lease: Lease | None = None
    ) -> None:
        self._results_dir = results_dir
        self._lock = lock
        self._remote = remote
        self._lease = lease

    def publish(self, *names: str) -> None:
        """Upload files of the folder, for results on a URL; a file that is gone locally is deleted there.

        Raises:
            ResultsError: When the storage cannot be reached, or another driver has taken over.
        """
        if self._remote is None or self._lease is None:
            return
        self._lease.ensure()
        for name in names:
            path = self._results_dir / name
            if path.is_file():
                self._remote.write(name, path.read_bytes())
            else:
                self._remote.delete(name)

    def set_status(self, status: dict[str, Any]) -> None:
        """Write the run status into the lease, where `quadrat status URL` reads it; does nothing without a URL."""
        if self._lease is not None:
            self._lease.set_status(status)

    def release(self) -> None:
        """Release lock and lease."""
        try:
            if self._lease is not None:
                self._lease.release()
        finally:
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def lock_results(
    results_dir: Path, remote: Remote | None = None, on_wait: Callable[[], None] | None = None
) -> ResultsLock:
    """Acquire the lock of a results folder, then download its files from the remote, if there is one.

    Temporary files of drivers and workers that were killed are removed.

    Args:
        results_dir: The folder.
        remote: Its remote, whose files are authoritative.
        on_wait: Called about once a second while it is not known whether another driver on the URL is alive.

    Raises:
        ResultsError: When another driver runs on the folder or the URL, or the URL cannot be reached.
    """
    results_dir = Path(results_dir)
    lock = _lock_folder(results_dir)
    if remote is None:
        return ResultsLock(results_dir, lock)
    try:
        remote.check()
        lease = acquire_lease(remote, _DRIVER, on_wait=on_wait, blocking=False)
        try:
            _pull(remote, results_dir)
        except BaseException:
            lease.release()
            raise
    except BaseException:
        lock.release()
        raise
    return ResultsLock(results_dir, lock, remote, lease)


def fetch_results(url: str, folders: Iterable[str] = ()) -> Path:
    """Download the files of results on a URL for reading, and return the working folder.

    While a driver on this machine writes to that folder, its files are left as they are: they are the newest.

    Args:
        url: URL of the results.
        folders: Folders to download as well, such as "selections".

    Raises:
        ResultsError: When the URL cannot be reached.
    """
    remote, results_dir = Remote(url), working_folder(url)
    remote.check()
    try:
        lock = _lock_folder(results_dir)
    except ResultsError as error:
        if not isinstance(error.__cause__, Timeout):
            raise
    else:
        try:
            _pull(remote, results_dir)
        finally:
            lock.release()
    for folder in folders:
        for name in remote.names(folder):
            remote.sync(results_dir, name)
    return results_dir


def driver_of(url: str) -> Holder | None:
    """Return the driver of a run with its results on a URL, with its last run status; None when there is none.

    Raises:
        ResultsError: When the URL cannot be reached.
    """
    remote = Remote(url)
    remote.check()
    return holder_of(remote, _DRIVER)


def _pull(remote: Remote, results_dir: Path) -> None:
    """Replace the small files of the folder by those of the remote."""
    found = {name: remote.read(name) for name in _FILES}
    if found["suite.json"] is None and any((results_dir / name).is_file() for name in _RECORDS):
        raise ResultsError(
            f"expected the results whose copy is {results_dir} at {remote.url}, found nothing there: it was emptied. "
            "Copy the folder's files back, or delete the folder to start anew"
        )
    # The journal of a driver that was killed here belongs to the old database; SQLite would roll it back into the new
    # one. Removed first, so that a kill in between leaves no journal beside a database that is not its own.
    (results_dir / f"{_DATABASE}-journal").unlink(missing_ok=True)
    for name, data in found.items():
        path = results_dir / name
        if data is None:
            path.unlink(missing_ok=True)
        elif not path.is_file() or path.read_bytes() != data:
            atomic_write(path, data)


def _lock_folder(results_dir: Path) -> FileLock:
    lock = FileLock(results_dir / ".driver.lock")
    try:
        results_dir.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except OSError as error:
        if isinstance(error, Timeout):
            raise _in_use(results_dir) from error
        raise ResultsError(
            f"expected a results folder that can be written, got {results_dir}: {error.strerror or error}; "
            "give another --results, or mend its rights"
        ) from error
    for name in _FILES:  # only the holder of the lock writes them
        sweep_beside(results_dir / name)
    sweep_dead(results_dir)
    return lock


def _in_use(results_dir: Path) -> ResultsError:
    return ResultsError(
        f"{results_dir} is in use by another quadrat run; wait until it ends, stop it, or give another --results"
    )


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
    for key in _FRAME:
        first, second = dict(old), dict(new)
        if key == "dataset":  # the same images may lie in another folder
            first["dataset"] = {**first["dataset"], "root": None}
            second["dataset"] = {**second["dataset"], "root": None}
        if canonical_json(first[key]) != canonical_json(second[key]):
            raise ResultsError(
                f"{results_dir} holds results of suite '{old['name']}' with {key} = {_short(first[key])}, got {key} = "
                f"{_short(second[key])}; give another --results (or another name) to keep both"
            )


def prepare_results(
    results_dir: Path, suite: Suite, *, dataset: Mapping[str, Any], environment: Mapping[str, Any]
) -> None:
    """Write suite.json and environment.json, or refuse a folder that belongs to other data or another suite.

    Trials of an earlier run of the suite (with other strategies or seeds) stay listed.

    Args:
        results_dir: The folder.
        suite: The suite that is run.
        dataset: What `TrialContext.describe` says of its data.
        environment: What `describe_environment` says of this machine.

    Raises:
        ResultsError: When suite or data differ from what the folder holds.
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
    trials = [_describe_trial(spec) for spec in suite.trials()]
    if before is not None:
        known = {trial["trial_id"] for trial in trials}
        trials += [trial for trial in before["trials"] if trial["trial_id"] not in known]
    value = {
        "schema": SUITE_SCHEMA,
        "suite": json.loads(suite.model_dump_json()),
        "dataset": dict(dataset),
        "trials": trials,
    }
    write_json(results_dir / "suite.json", value)
    write_json(results_dir / "environment.json", dict(environment))


def _describe_trial(spec: TrialSpec) -> dict[str, Any]:
    return {
        "trial_id": spec.trial_id,
        "label": spec.label,
        "strategy": spec.strategy,
        "params": spec.params,
        "seed": spec.seed,
        "region_size": spec.region_size,
        "num_rounds": spec.num_rounds,
        "spec": json.loads(spec.model_dump_json()),
    }


def read_suite_json(results_dir: Path) -> dict[str, Any]:
    """Return what suite.json of a results folder holds.

    Raises:
        ResultsError: When there is none: the folder is not a results folder.
    """
    value = _read(Path(results_dir))
    if value is None:
        raise ResultsError(f"expected a results folder of `quadrat run` with a suite.json, got {results_dir}")
    return value


def finished_trials(results_dir: Path, trials: list[TrialSpec]) -> set[str]:
    """Return the ids of the trials whose records are complete."""
    records = read_records_so_far(results_dir)
    by_trial: dict[str, list[Record]] = {}
    for record in records:
        by_trial.setdefault(record.trial_id, []).append(record)
    return {
        spec.trial_id for spec in trials if is_complete(by_trial.get(spec.trial_id, []), spec.trial_id, spec.num_rounds)
    }


def _read(results_dir: Path) -> dict[str, Any] | None:
    path = results_dir / "suite.json"
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ResultsError(
            f"{path}: expected JSON, got a damaged file; restore it or give another --results"
        ) from error
    if value.get("schema", 0) > SUITE_SCHEMA:
        raise ResultsError(f"{path}: expected schema {SUITE_SCHEMA} or older, got {value['schema']}; update quadrat")
    return dict(value)


def _short(value: object) -> str:
    text = canonical_json(value)
    return text if len(text) <= 120 else text[:117] + "..."
