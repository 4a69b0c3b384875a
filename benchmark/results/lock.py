"""The lock of a results folder: one driver at a time writes to it, also when it is a copy of results on a URL."""

import errno
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

from filelock import FileLock, Timeout

from quadrat.benchmark.errors import ResultsError, UnavailableError
from quadrat.benchmark.results.parts import Growth, Piece, parts_folder
from quadrat.benchmark.results.records import merge_records
from quadrat.benchmark.results.selections import ARCHIVE, FOLDER
from quadrat.benchmark.storage.atomic import (
    atomic_write,
    clear_disk_errors,
    make_folders,
    remove_stale_temporaries,
    remove_temporaries_of,
)
from quadrat.benchmark.storage.backends import Versioned
from quadrat.benchmark.storage.lease import Holder, Lease, acquire_lease, holder_of
from quadrat.benchmark.storage.remote import ChangedError, Remote, working_folder

__all__ = ["ResultsLock", "driver_of", "fetch_results", "lock_results", "upload_report"]

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
_REPORT: Final = "locks/report"
"""Name of the lease of who uploads a report."""
_WAIT_S: Final = 1.0
"""How long a driver waits for the lock: a reader holds it for milliseconds."""
_ATTEMPTS: Final = 5
"""Versions of a file that are taken over from the driver before; there is at most one that it was writing."""


class ResultsLock:
    """The held lock of a results folder; a context manager that releases it.

    Args:
        results_dir: The folder.
        lock: Its file lock, acquired; the operating system frees it when its holder dies.
        remote: Remote of the folder, for results on a URL.
        lease: Its lease there, acquired; others take it over when its holder dies.
        versions: Version of each file on the remote that was read, None for one that is not there.
    """

    def __init__(
        self,
        results_dir: Path,
        lock: FileLock,
        remote: Remote | None = None,
        lease: Lease | None = None,
        versions: Mapping[str, str | None] | None = None,
    ) -> None:
        self._results_dir = results_dir
        self._lock = lock
        self._remote = remote
        self._lease = lease
        self._versions = dict(versions or {})
        self._growths = {name: Growth(self._results_dir / name, name) for name in _RECORDS}

    def publish(self, *names: str) -> None:
        """Upload files of the folder, for results on a URL; one that is gone locally becomes an empty one there.

        Records are uploaded in parts, see `Growth`: names in `_RECORDS`.

        Every attempt first reads the lease back, and writes only over the version that this driver has read or written
        last. So neither a request that a network held back nor a driver that was suspended overwrites its successor.

        Raises:
            ResultsError: When the storage cannot be reached, or another driver has taken over.
        """
        if self._remote is not None and self._lease is not None:
            for name in names:
                self._publish(self._remote, self._lease, name)

    def _publish(self, remote: Remote, lease: Lease, name: str) -> None:
        path = self._results_dir / name
        for _ in range(_ATTEMPTS):
            if self._versions.get(name) is None and not path.is_file():
                return
            growth = self._growths.get(name) if path.is_file() else None
            piece = growth.next() if growth else Piece(name, path.read_bytes() if path.is_file() else b"", False)
            if piece.is_whole and self._take_over(remote, name):
                continue
            try:
                version = remote.replace(piece.name, piece.data, self._versions.get(piece.name), check=lease.ensure)
            except ChangedError:
                # With the lease held, only a last request of the driver before this one can have written it. It cannot
                # write again. What it recorded is kept; all other files are this driver's.
                lease.ensure()
                there = remote.read_version(piece.name)
                self._versions[piece.name] = there.version
                if name in _RECORDS and there.data:
                    atomic_write(path, merge_records(path.read_bytes(), there.data))
                continue
            self._versions[piece.name] = version
            if growth:
                growth.on_uploaded(piece)
            if piece.is_whole:
                lease.ensure()
                for part in remote.names(parts_folder(name)):
                    remote.delete(part)
                    self._versions.pop(part, None)
            return
        raise ResultsError(
            f"{remote.shown}/{name} changes while the lease is held: another program writes there. Nothing is lost: "
            "stop it, and run the same command again"
        )

    def _take_over(self, remote: Remote, name: str) -> bool:
        """Merge parts that this driver has neither read nor written into its records; return whether there are any.

        Only a last request of the driver before this one can have written them.
        """
        unknown = [part for part in remote.names(parts_folder(name)) if part not in self._versions]
        for part in unknown:
            there = remote.read_version(part)
            self._versions[part] = there.version
            path = self._results_dir / name
            atomic_write(path, merge_records(path.read_bytes(), there.data or b""))
        return bool(unknown)

    def set_status(self, status: dict[str, Any]) -> None:
        """Write the run status into the lease, where `quadrat status URL` reads it; does nothing without a URL.

        Raises:
            ResultsError: When another driver has taken over, as far as is known here.
        """
        if self._lease is not None:
            self._lease.raise_if_lost()
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
            remote.check_conditions()
            remote.remove_stale_temporaries()
            there = _download(remote)
            _replace(results_dir, there, remote)
        except BaseException:
            lease.release()
            raise
    except BaseException:
        lock.release()
        raise
    return ResultsLock(results_dir, lock, remote, lease, there.versions)


def fetch_results(url: str, folders: Iterable[str] = ()) -> Path:
    """Download the files of results on a URL for reading, and return the working folder.

    While a driver on this machine writes to that folder, its files are left as they are: they are the newest. The lock
    of the folder is held for as long as it takes to write them, not while they are downloaded.

    Args:
        url: URL of the results.
        folders: Folders to download as well, such as "selections"; with those the zip file of a published copy.

    Raises:
        ResultsError: When the URL cannot be reached.
    """
    remote, results_dir = Remote(url), working_folder(url)
    remote.check()
    before = _stamps(results_dir)
    there = _download(remote)
    try:
        lock = _lock_folder(results_dir)
    except ResultsError as error:
        if not isinstance(error.__cause__, Timeout):
            raise
    else:
        try:
            if _stamps(results_dir) == before:  # else a driver has come and gone meanwhile: its files are newer
                _replace(results_dir, there, remote)
        finally:
            lock.release()
    for folder in folders:
        for name in remote.names(folder):
            remote.sync(results_dir, name)
        if folder == FOLDER:  # of a published copy
            remote.download(ARCHIVE, results_dir / ARCHIVE)
    return results_dir


def upload_report(remote: Remote, results_dir: Path, name: str, on_wait: Callable[[], None] | None = None) -> None:
    """Upload all files of a report, under a lease of its own, so that page and files on the URL are of one report.

    What an earlier report had there and this one does not have is deleted. The lease is read back before each file and
    released at the end; that of a process that was killed expires.

    Args:
        remote: The remote of the results folder.
        results_dir: The results folder.
        name: Name of the report's folder in it.
        on_wait: Called about once a second while another process uploads a report.

    Raises:
        ResultsError: When the storage cannot be reached, or another process has taken the lease over.
    """
    with acquire_lease(remote, _REPORT, on_wait=on_wait) as lease:
        paths = {
            path.relative_to(results_dir).as_posix(): path for path in (results_dir / name).rglob("*") if path.is_file()
        }
        for there, path in sorted(paths.items()):
            lease.ensure()
            remote.upload(there, path)
        for there in sorted(set(remote.names(name)) - paths.keys()):
            lease.ensure()
            remote.delete(there)


def driver_of(url: str) -> Holder | None:
    """Return the driver of a run with its results on a URL, with its last run status; None when there is none.

    Raises:
        ResultsError: When the URL cannot be reached.
    """
    remote = Remote(url)
    remote.check()
    return holder_of(remote, _DRIVER)


class _There(NamedTuple):
    """The small files of results on a URL, those in parts put together, and the version of each file and part."""

    files: Mapping[str, Versioned]
    versions: Mapping[str, str | None]


def _download(remote: Remote) -> _There:
    """Return the small files of the remote.

    Parts are read before the file that they belong to: a driver that finalises writes the whole file before it deletes
    them, so that no record is missed in between.
    """
    parts = {name: {part: remote.read_version(part) for part in remote.names(parts_folder(name))} for name in _RECORDS}
    found = {name: remote.read_version(name) for name in _FILES}
    for name, pieces in parts.items():
        if pieces:
            data = merge_records(found[name].data or b"", *(piece.data or b"" for piece in pieces.values()))
            found[name] = Versioned(data, found[name].version)
    versions = {name: there.version for name, there in found.items()}
    return _There(found, versions | {part: one.version for pieces in parts.values() for part, one in pieces.items()})


def _stamps(results_dir: Path) -> list[tuple[int, int, int] | None]:
    """Return what changes when one of the small files of the folder is written."""
    paths = (results_dir / name for name in _FILES)
    stats = [path.stat() if path.is_file() else None for path in paths]
    return [None if stat is None else (stat.st_mtime_ns, stat.st_size, stat.st_ino) for stat in stats]


def _replace(results_dir: Path, there: _There, remote: Remote) -> None:
    """Replace the small files of the folder by those of the remote."""
    found = there.files
    if found["suite.json"].data is None and any((results_dir / name).is_file() for name in _RECORDS):
        raise ResultsError(
            f"expected the results whose copy is {results_dir} at {remote.shown}, found nothing there: it was emptied. "
            "Copy the folder's files back, or delete the folder to start anew"
        )
    # The journal of a driver that was killed here belongs to the old database; SQLite would roll it back into the new
    # one. Removed first, so that a kill in between leaves no journal beside a database that is not its own.
    (results_dir / f"{_DATABASE}-journal").unlink(missing_ok=True)
    for name, file in found.items():
        path = results_dir / name
        if not file.data:  # not there, or emptied by `publish`
            path.unlink(missing_ok=True)
        elif not path.is_file() or path.read_bytes() != file.data:
            atomic_write(path, file.data)


def _lock_folder(results_dir: Path) -> FileLock:
    lock = FileLock(results_dir / ".driver.lock")
    try:
        make_folders(results_dir)
        lock.acquire(timeout=_WAIT_S)
    except OSError as error:
        if isinstance(error, Timeout):
            raise _in_use(results_dir) from error
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            with clear_disk_errors(results_dir):
                raise
        raise ResultsError(
            f"expected a results folder that can be written, got {results_dir}: {error.strerror or error}; "
            "give another --results, or mend its rights"
        ) from error
    for name in _FILES:  # only the holder of the lock writes them
        remove_temporaries_of(results_dir / name)
    remove_stale_temporaries(results_dir)
    return lock


def _in_use(results_dir: Path) -> UnavailableError:
    return UnavailableError(
        f"{results_dir} is in use by another quadrat run; wait until it ends, stop it, or give another --results"
    )
