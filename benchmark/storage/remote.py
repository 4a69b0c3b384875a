"""Results on a URL: files kept in a bucket or on any other storage that fsspec knows (the only fsspec import).

A results folder is always a local working folder; with a URL it has an remote, and what counts as done is what lies
there. So nodes need no file system in common, and a machine that is lost takes nothing with it.
"""

import errno
import functools
import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

from quadrat.benchmark.errors import ResultsError
from quadrat.benchmark.storage.atomic import atomic_file

__all__ = ["Remote", "is_url", "working_folder"]

_PATIENCE_S: Final = 120.0
"""For how long a storage that has answered before may be away before a run gives up."""

_S3_SETTINGS: Final = {"connect_timeout": 5, "read_timeout": 60, "retries": {"max_attempts": 2}}
"""So that an endpoint that nobody listens at is told in seconds; FSSPEC_S3_CONFIG_KWARGS replaces it."""

_MENDABLE: Final = (PermissionError, FileNotFoundError, NotADirectoryError, ValueError, ImportError, TypeError)
_MENDABLE_NAMES: Final = ("NoCredentialsError", "PartialCredentialsError", "ProfileNotFound", "NoRegionError")
"""Errors that waiting does not mend; the latter are botocore's, which is not imported for them."""

_Answer = TypeVar("_Answer")


def is_url(place: object) -> bool:
    """Return whether a place for results is a URL rather than a folder."""
    return isinstance(place, str) and "://" in place


def working_folder(url: str) -> Path:
    """Return where this machine keeps its copy of what lies at `url`: below `$QUADRAT_WORK`, or the user's cache.

    It may be deleted at any time when nothing runs: what is not there is fetched again.
    """
    url = url.rstrip("/")
    base = os.environ.get("QUADRAT_WORK")
    folder = Path(base) if base else Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "quadrat" / "work"
    readable = "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in url.rpartition("/")[2])
    return folder.expanduser().absolute() / f"{readable}-{hashlib.sha256(url.encode()).hexdigest()[:10]}"


class Remote:
    """Files under a URL, by names relative to it with slashes.

    Credentials and endpoint are those of the storage's own library: for `s3://` AWS_ACCESS_KEY_ID,
    AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL, AWS_PROFILE, ~/.aws/config, or FSSPEC_S3_... (fsspec's configuration).

    Args:
        url: Where the files lie, such as "s3://bucket/prefix".

    Raises:
        ResultsError: When the URL is of a kind that is not known here, or its library is missing.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._has_answered = False

    def at(self, name: str) -> "Remote":
        """Return the remote of a folder below this one."""
        return Remote(f"{self.url}/{name}")

    def check(self) -> None:
        """Find out in seconds whether the storage answers and can be read.

        Raises:
            ResultsError: When it does not, cannot, or the bucket is missing; saying what to do.
        """
        # A few files at most, and an error when there is no bucket, unlike a listing level by level.
        self._ask("", lambda: self._files.find(self._path("driver")))

    def read(self, name: str) -> bytes | None:
        """Return the content of a file, None when there is none.

        Raises:
            ResultsError: When the storage cannot be reached.
        """

        def read() -> bytes | None:
            try:
                return bytes(self._files.cat_file(self._path(name)))
            except FileNotFoundError:
                return None

        return self._ask(name, read)

    def write(self, name: str, data: bytes) -> None:
        """Put `data` into a file; readers see the old or the new content.

        Raises:
            ResultsError: When the storage cannot be reached or written.
        """
        self._ask(name, lambda: self._files.pipe_file(self._path(name), data))

    def create(self, name: str, data: bytes) -> bool:
        """Put `data` into a file that must not be there yet, and return whether it was not: one of several wins.

        Raises:
            ResultsError: When the storage cannot be reached or written.
        """

        def create() -> bool:
            try:
                self._files.pipe_file(self._path(name), data, mode="create")
            except FileExistsError:
                # After a lost answer it may be ours, put by the request that seemed to have failed.
                return bool(self._files.cat_file(self._path(name)) == data)
            return True

        return self._ask(name, create)

    def has(self, name: str) -> bool:
        """Return whether a file is there."""
        return bool(self._ask(name, lambda: self._files.isfile(self._path(name))))

    def upload(self, name: str, path: Path) -> None:
        """Put the local file `path` there."""
        self._ask(name, lambda: self._files.put_file(str(path), self._path(name)))

    def upload_folder(self, folder: Path, name: str) -> None:
        """Put all files of the local `folder / name` there."""
        for path in sorted((folder / name).rglob("*")):
            if path.is_file():
                self.upload(path.relative_to(folder).as_posix(), path)

    def download(self, name: str, path: Path) -> bool:
        """Fetch a file to the local `path`, atomically, and return whether there was one."""

        def download() -> bool:
            try:
                with atomic_file(path) as temporary:
                    self._files.get_file(self._path(name), str(temporary))
            except FileNotFoundError:
                return False
            return True

        return self._ask(name, download)

    def names(self, prefix: str = "") -> list[str]:
        """Return the names of all files below `prefix`, sorted."""

        def find() -> list[str]:
            found = self._files.find(self._path(prefix) if prefix else self._root)
            return sorted(str(path)[len(self._root) + 1 :] for path in found)

        return self._ask(prefix, find)

    def delete(self, name: str) -> None:
        """Remove a file if it is there."""

        def delete() -> None:
            try:
                self._files.rm_file(self._path(name))
            except FileNotFoundError:
                pass

        self._ask(name, delete)

    def sync(self, folder: Path, name: str) -> Path:
        """Have the file `name` both here, in the local `folder`, and there, if it is at either; return the local path.

        A file that a killed process wrote here and did not get there is brought there now, so it is called before a
        file is looked for and after it is written. For files that never change.
        """
        path = folder / name
        if not path.is_file():
            self.download(name, path)
        elif not self.has(name):
            self.upload(name, path)
        return path

    # ------------------------------------------------------------------------------------------------------- inside

    @functools.cached_property
    def _opened(self) -> tuple[Any, str]:
        import fsspec  # here: runs without a URL need no part of it

        protocol = self.url.partition("://")[0]
        settings: dict[str, Any] = {"auto_mkdir": True} if protocol in ("file", "local") else {}
        if protocol in ("s3", "s3a") and "config_kwargs" not in fsspec.config.conf.get("s3", {}):
            settings["config_kwargs"] = _S3_SETTINGS
        files, root = fsspec.core.url_to_fs(self.url, use_listings_cache=False, **settings)
        return files, str(root).rstrip("/")

    @property
    def _files(self) -> Any:
        files = self._opened[0]
        files.invalidate_cache()  # others write there too
        return files

    @property
    def _root(self) -> str:
        return self._opened[1]

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _ask(self, name: str, question: Callable[[], _Answer]) -> _Answer:
        """Return the answer of the storage; ask one that has answered before again for a while when it is away."""
        until_s = time.monotonic() + (_PATIENCE_S if self._has_answered else 0.0)
        pause_s = 0.5
        while True:
            try:
                answer = question()
            except ResultsError:
                raise
            except Exception as error:  # every storage has errors of its own
                if _is_mendable(error) or time.monotonic() + pause_s > until_s:
                    raise ResultsError(self._explain(name, error)) from error
                time.sleep(pause_s)
                pause_s = min(2 * pause_s, 15.0)
            else:
                self._has_answered = True
                return answer

    def _explain(self, name: str, error: Exception) -> str:
        place = f"{self.url}/{name}" if name else self.url
        text = f"expected storage at {place} that can be read and written, got {type(error).__name__}: {error}. "
        kind = type(error).__name__
        protocol = self.url.partition("://")[0]
        if isinstance(error, FileNotFoundError):
            text += "Make the bucket first, or mend its name."
        elif isinstance(error, PermissionError):
            text += "Check the credentials and what they may do there (list, read, write, delete)."
        elif kind in _MENDABLE_NAMES:
            text += (
                "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or ~/.aws/credentials, on every node."
            )
        elif isinstance(error, ValueError | ImportError | TypeError):
            text += f"Check the URL, and that what fsspec needs for {protocol}:// is installed."
        else:
            text += "Check the endpoint (AWS_ENDPOINT_URL for s3://) and the network."
        return f"{text} Nothing that was reported as done is lost: run the same command again to go on"


def _is_mendable(error: Exception) -> bool:
    """Return whether the user, and not time, has to mend what went wrong."""
    names = {kind.__name__ for kind in type(error).__mro__}
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    return full or isinstance(error, _MENDABLE) or bool(names & set(_MENDABLE_NAMES))
