"""Files at a URL, by names relative to it: retries and error messages around a backend.

A results folder is always a local working folder. With a URL it has a remote, and only what is stored there counts as
done. So nodes need no file system in common, and a machine that is lost takes nothing with it.
"""

import errno
import functools
import hashlib
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

from tenacity import Retrying, retry_if_exception, stop_after_attempt, stop_before_delay, wait_exponential

from quadrat.benchmark.errors import ResultsError, UnavailableError
from quadrat.benchmark.redaction import redact, redact_url
from quadrat.benchmark.storage.atomic import atomic_file
from quadrat.benchmark.storage.backends import Backend, ChangedError, Listed, Versioned, open_backend
from quadrat.benchmark.storage.names import check_name
from quadrat.benchmark.storage.user_cache import user_cache

__all__ = ["ChangedError", "Listed", "Remote", "Versioned", "is_url", "working_folder"]

_RETRY_FOR_S: Final = 120.0
"""How long to retry when a storage that has answered before fails."""

_PERMANENT: Final = (PermissionError, FileNotFoundError, NotADirectoryError, ValueError, ImportError, TypeError)
_CREDENTIALS: Final = ("NoCredentialsError", "PartialCredentialsError", "ProfileNotFound", "NoRegionError")
"""Errors that a retry does not fix. Those of botocore by name, so that it need not be imported."""

_PROBE: Final = "driver-probe"
"""Name of the file that `check_conditions` writes and removes."""

_NUM_RACERS: Final = 8
_NUM_RACES: Final = 3

_Result = TypeVar("_Result")


def is_url(place: object) -> bool:
    """Return whether a place for results is a URL, not a folder."""
    return isinstance(place, str) and "://" in place


def working_folder(url: str) -> Path:
    """Return this machine's copy of the files at `url`: a folder below `$QUADRAT_WORK`, or in the user's cache.

    It may be deleted whenever nothing runs; missing files are fetched again.
    """
    url = url.rstrip("/")
    base = os.environ.get("QUADRAT_WORK")
    folder = Path(base).expanduser().absolute() if base else user_cache() / "work"
    readable = "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in url.rpartition("/")[2])
    return folder / f"{readable}-{hashlib.sha256(url.encode()).hexdigest()[:10]}"


class Remote:
    """Files below a URL, by names relative to it, with slashes.

    Credentials and endpoint are those of the storage's own library: for `s3://` AWS_ACCESS_KEY_ID,
    AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL, AWS_PROFILE, ~/.aws/config, or FSSPEC_S3_... (fsspec's configuration).

    Args:
        url: Such as "s3://bucket/prefix".
        has_answered: Whether the storage has answered already, this process or the driver of its run: then a call that
            fails is retried for two minutes from the first one on. Otherwise it may be a mistake in the URL.

    Attributes:
        url: The URL.
        shown: The URL for messages and files, without a password.

    Raises:
        ResultsError: When fsspec does not know the protocol, or its library is missing. Raised by the first call.
    """

    def __init__(self, url: str, *, has_answered: bool = False) -> None:
        self.url = url.rstrip("/")
        self.shown = redact_url(self.url)
        self._has_answered = has_answered

    def at(self, name: str) -> "Remote":
        """Return the remote of a folder below this one."""
        return Remote(f"{self.url}/{name}", has_answered=self._has_answered)

    def check(self) -> None:
        """Check within seconds that the storage answers and can be read.

        Raises:
            ResultsError: When it does not answer, may not be read, or the bucket is missing; with what to do.
        """
        # Lists a few files at most, and fails when there is no bucket, unlike a listing of one level.
        self._call("", lambda: self._backend.find(self._path("driver")))

    def check_conditions(self) -> None:
        """Check that the storage refuses conditional writes whose condition does not hold, by trying some.

        What guards the records against a driver that was taken over is such a refusal; storage that ignores the
        condition would let it overwrite them. So would storage that looks first and writes then: of those who create
        one file at a time, one must succeed. Only for the holder of the lease of the driver.

        Raises:
            ResultsError: When the storage ignores a condition, or lets several create one file.
        """
        self.delete(_PROBE)
        is_right = self.create(_PROBE, b"1") and not self.create(_PROBE, b"2")
        if is_right:
            first = self.read_version(_PROBE).version
            second = self.replace(_PROBE, b"3", first)
            try:
                self.replace(_PROBE, b"4", first)
                is_right = False
            except ChangedError:
                is_right = first != second
        self.delete(_PROBE)
        if not is_right:
            raise ResultsError(
                f"expected storage at {self.shown} that refuses a conditional write (If-None-Match, If-Match) when its "
                "condition does not hold, got one that ignores it: two runs could overwrite each other's records. Give "
                "S3 or a server compatible with it (s3://), a folder (file://), or a local --results"
            )
        for _ in range(_NUM_RACES):
            if (num_winners := self._race()) != 1:
                raise ResultsError(
                    f"expected storage at {self.shown} on which one of {_NUM_RACERS} that create the same file at once "
                    f"(If-None-Match) succeeds, got {num_winners}: two runs could both take the lease of the results. "
                    "Give S3, another server or a newer version of this one, a folder (file://), or a local --results"
                )

    def _race(self) -> int:
        """Return how many of several threads that create the same file at once succeed."""
        barrier = threading.Barrier(_NUM_RACERS)

        def create(number: int) -> bool:
            barrier.wait()
            return self.create(_PROBE, f"{number}".encode())

        with ThreadPoolExecutor(_NUM_RACERS) as pool:
            num_winners = sum(pool.map(create, range(_NUM_RACERS)))
        self.delete(_PROBE)
        return num_winners

    def read(self, name: str) -> bytes | None:
        """Return the content of a file, None when it does not exist.

        Raises:
            ResultsError: When the storage cannot be reached.
        """

        def read() -> bytes | None:
            try:
                return self._backend.read(self._path(name))
            except FileNotFoundError:
                return None

        return self._call(name, read)

    def read_version(self, name: str) -> Versioned:
        """Return content and version of a file, both None when it does not exist.

        Raises:
            ResultsError: When the storage cannot be reached.
        """
        return self._call(name, lambda: self._backend.read_version(self._path(name)))

    def write(self, name: str, data: bytes) -> None:
        """Write `data` to a file; readers see the old or the new content.

        Raises:
            ResultsError: When the storage cannot be reached or written.
        """
        self._call(name, lambda: self._backend.write(self._path(name), data))

    def create(self, name: str, data: bytes) -> bool:
        """Write `data` to a file that must not exist yet (a conditional put), and return whether that succeeded.

        Of several processes that create the same file, one succeeds.

        Raises:
            ResultsError: When the storage cannot be reached or written.
        """

        def create() -> bool:
            try:
                self._backend.create(self._path(name), data)
            except FileExistsError:
                # After a lost answer it may be ours, written by the request that seemed to have failed.
                return self._backend.read(self._path(name)) == data
            return True

        return self._call(name, create)

    def replace(self, name: str, data: bytes, version: str | None, check: Callable[[], None] = lambda: None) -> str:
        """Write `data` to a file if it is still in the version that was read, and return its new version.

        Args:
            name: The file.
            data: Its new content.
            version: What `read_version` or an earlier `replace` returned; None for a file that must not exist.
            check: Called before every attempt, so that a writer which was paused or cut off for long notices what has
                happened meanwhile; what it raises ends the attempts.

        Raises:
            ChangedError: When the file is in another version. It is unchanged then.
            ResultsError: When the storage cannot be reached or written.
        """

        def replace() -> str:
            check()
            if version is not None:
                return self._backend.replace(self._path(name), data, version)
            try:
                self._backend.create(self._path(name), data)
            except FileExistsError as error:
                raise ChangedError(f"{self.shown}/{name} was written by another process") from error
            there = self._backend.read_version(self._path(name))
            if there.version is None or there.data != data:
                raise ChangedError(f"{self.shown}/{name} was written by another process")
            return there.version

        try:
            return self._call(name, replace)
        except ChangedError:
            there = self.read_version(name)
            if there.version is None or there.data != data:
                raise
            return there.version  # ours, written by a request whose answer was lost

    def has(self, name: str) -> bool:
        """Return whether a file exists."""
        return bool(self._call(name, lambda: self._backend.exists(self._path(name))))

    def upload(self, name: str, path: Path, *, unless: str | None = None) -> None:
        """Copy the local file `path` to the remote; readers see the old or the new content.

        Args:
            name: The file.
            path: The local file.
            unless: A file whose existence makes the copy unwanted, looked for before every attempt: a machine that was
                cut off for long may find that another has finished its work.
        """

        def put() -> None:
            if unless is None or not self._backend.exists(self._path(unless)):
                self._backend.put(path, self._path(name))

        self._call(name, put)

    def download(self, name: str, path: Path) -> bool:
        """Copy a file to the local `path`, atomically, and return whether it existed."""

        def download() -> bool:
            try:
                with atomic_file(path) as temporary:
                    self._backend.get(self._path(name), temporary)
            except FileNotFoundError:
                return False
            return True

        return self._call(name, download)

    def names(self, prefix: str = "") -> list[str]:
        """Return the names of all files below `prefix`, sorted.

        Raises:
            ResultsError: When one of them can't be a name below a folder, see `check_name`: whoever may write to the
                storage must not choose where files are written here.
        """

        def find() -> list[str]:
            root = self._path("")
            found = (path[len(root) + 1 :] for path in self._backend.find(self._path(prefix)))
            return sorted(check_name(name, self.shown) for name in found)

        return self._call(prefix, find)

    def listing(self) -> dict[str, Listed]:
        """Return all files by their names, with size and version.

        Raises:
            ResultsError: As `names`.
        """

        def find() -> dict[str, Listed]:
            root = self._path("")
            found = self._backend.listing(root)
            return {check_name(path[len(root) + 1 :], self.shown): found[path] for path in sorted(found)}

        return self._call("", find)

    def delete(self, name: str) -> None:
        """Remove a file if it exists."""

        def delete() -> None:
            try:
                self._backend.delete(self._path(name))
            except FileNotFoundError:
                pass

        self._call(name, delete)

    def sync(self, folder: Path, name: str) -> Path:
        """Copy the file `name` to whichever of the local `folder` and the remote lacks it; return the local path.

        For files that never change. Call it before a file is read, so that one that a killed process wrote locally and
        did not upload is uploaded now, and after a file is written.
        """
        path = folder / name
        if not path.is_file():
            self.download(name, path)
        elif not self.has(name):
            self.upload(name, path)
        return path

    def remove_stale_temporaries(self) -> None:
        """Remove what killed writers of this machine left there."""
        self._call("", lambda: self._backend.remove_stale_temporaries())

    @functools.cached_property
    def _backend(self) -> Backend:
        return open_backend(self.url)

    def _path(self, name: str) -> str:
        return self._backend.path_of(check_name(name, self.shown) if name else name)

    def _call(self, name: str, operation: Callable[[], _Result]) -> _Result:
        """Return the result of `operation`, retried for a while when the storage has answered before."""
        attempts = Retrying(
            retry=retry_if_exception(_is_transient),
            wait=wait_exponential(multiplier=0.5, max=15.0),
            stop=stop_before_delay(_RETRY_FOR_S) if self._has_answered else stop_after_attempt(1),
            reraise=True,
        )
        try:
            result = attempts(operation)
        except ResultsError:
            raise
        except Exception as error:  # every storage has errors of its own
            kind = UnavailableError if _is_transient(error) else ResultsError
            # Given up: what is still to be done at the end (to release leases) is tried once, not for minutes each.
            self._has_answered = self._has_answered and not _is_transient(error)
            raise kind(self._explain(name, error)) from error
        self._has_answered = True
        return result

    def _hide(self, text: str) -> str:
        """Return the text of an error without the part of the URL that is not shown: a library may quote it alone."""
        user, mark, _ = self.url.partition("://")[2].rpartition("@")
        return text.replace(f"{user}@", "***@") if mark and user not in self.shown else text

    def _explain(self, name: str, error: Exception) -> str:
        place = f"{self.shown}/{name}" if name else self.shown
        kind = type(error).__name__
        text = (
            f"expected storage at {place} that can be read and written, got {kind}: {redact(self._hide(str(error)))}. "
        )
        protocol = self.url.partition("://")[0]
        if isinstance(error, FileNotFoundError):
            text += "Create the bucket first, or correct its name."
        elif isinstance(error, PermissionError):
            text += "Check the credentials and their permissions (list, read, write, delete)."
        elif kind in _CREDENTIALS:
            text += (
                "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or ~/.aws/credentials, on every node."
            )
        elif isinstance(error, ValueError | ImportError | TypeError):
            text += f"Check the URL, and that what fsspec needs for {protocol}:// is installed."
        else:
            text += "Check the endpoint (AWS_ENDPOINT_URL for s3://) and the network."
        return f"{text} Nothing that was reported as done is lost: run the same command again to go on"


def _is_transient(error: BaseException) -> bool:
    """Return whether the operation may succeed later without the user doing anything."""
    if not isinstance(error, Exception) or isinstance(error, (*_PERMANENT, ResultsError)):
        return False
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return False
    return not {kind.__name__ for kind in type(error).__mro__} & set(_CREDENTIALS)
