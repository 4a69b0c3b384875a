"""Kinds of storage behind a URL: a folder, or what fsspec knows. The only module that imports fsspec, and late.

Every write is atomic: readers see the old content or the new one. `create` and `replace` are conditional: of several
processes that call them at once, one succeeds.

- In a folder (`file://`) a write goes to a temporary name beside the file and is renamed. fsspec's own would truncate
  the file first, and its exclusive create looks before it writes. `create` links the temporary file to its name, which
  only one process can; `replace` compares and renames under a lock.
- On S3 a put is atomic. Conditions are `If-None-Match: *` and `If-Match: <ETag>`.
- Of other storage conditions are not known. It can be read; `Remote.check_conditions` refuses it for writing.
"""

import errno
import hashlib
import os
import shutil
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

from filelock import FileLock, Timeout

from quadrat.benchmark.errors import ResultsError
from quadrat.benchmark.storage.atomic import (
    atomic_file,
    atomic_write,
    make_folders,
    remove_stale_temporaries,
    temporary_beside,
)

__all__ = ["Backend", "ChangedError", "FolderBackend", "FsspecBackend", "Listed", "Versioned", "open_backend"]

_S3_SETTINGS: Final = {"connect_timeout": 5, "read_timeout": 30, "retries": {"max_attempts": 0}}
"""An endpoint that does not answer is an error within seconds; FSSPEC_S3_CONFIG_KWARGS replaces these settings.

Only `Remote` tries again: the tries of botocore, of s3fs and its own would multiply, and a network that swallows
everything (a cut cable, a firewall) would hold a run for hours instead of the time for which `Remote` tries.
"""

_FOLDER: Final = ("file", "local")
_S3: Final = ("s3", "s3a")
_REFUSED: Final = ("PreconditionFailed", "412", "ConditionalRequestConflict", "409")
"""Codes by which S3 refuses a conditional put: the object changed, or is written by another request right now."""
_STAMPS: Final = ("ETag", "etag", "md5Hash", "content_md5", "mtime", "updated", "last_modified", "LastModified")
"""Keys by which fsspec's file systems tell versions of a file apart, the best first."""
_ONE_PART: Final = 2**32
_LOCK: Final = ".quadrat.lock"
_LOCK_S: Final = 30.0


class ChangedError(ResultsError):
    """A file is not in the version that a conditional write expected: another process has written it."""


class Versioned(NamedTuple):
    """Content of a file and its version, both None where there is no file.

    A version is equal only where the content is: the ETag on S3, a hash of the content in a folder.
    """

    data: bytes | None
    version: str | None


class Listed(NamedTuple):
    """A file as a listing has it.

    Attributes:
        num_bytes: Its size.
        version: Changes when the content does, as far as the storage tells: the ETag on S3, the time in a folder.
    """

    num_bytes: int
    version: str


class Backend(Protocol):
    """Files of one storage by full path, as `path_of` makes it.

    A missing file is a `FileNotFoundError` of `read` and `get`. Errors are the storage's; `Remote` explains them.
    """

    def path_of(self, name: str) -> str:
        """Return the path of a name; of "" that of the root."""

    def find(self, path: str) -> list[str]:
        """Return the paths of all files below a folder."""

    def listing(self, path: str) -> dict[str, Listed]:
        """Return all files below a folder by their paths, with what a listing says of them."""

    def exists(self, path: str) -> bool:
        """Return whether a file exists."""

    def read(self, path: str) -> bytes:
        """Return the content of a file."""

    def read_version(self, path: str) -> Versioned:
        """Return content and version of a file, of the same instant."""

    def get(self, path: str, local: Path) -> None:
        """Copy a file to `local`."""

    def write(self, path: str, data: bytes) -> None:
        """Write a file, atomically."""

    def put(self, local: Path, path: str) -> None:
        """Copy the local file to `path`, atomically."""

    def create(self, path: str, data: bytes) -> None:
        """Write a file that must not exist: else `FileExistsError`."""

    def replace(self, path: str, data: bytes, version: str) -> str:
        """Write a file if it is still in `version`, else `ChangedError`; return its new version."""

    def delete(self, path: str) -> None:
        """Remove a file; `FileNotFoundError` when there is none."""

    def remove_stale_temporaries(self) -> None:
        """Remove what killed writers of this machine left."""


def open_backend(url: str) -> Backend:
    """Return the storage of a URL.

    Raises:
        ImportError: The library of its protocol is missing.
        ValueError: fsspec does not know its protocol.
    """
    protocol, _, path = url.partition("://")
    if protocol in _FOLDER:
        return FolderBackend(Path(path).expanduser())
    return FsspecBackend(url)


class FolderBackend:
    """A folder, on this machine's disk or mounted on several machines.

    Args:
        root: The folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()

    def path_of(self, name: str) -> str:
        """See `Backend`."""
        return f"{self._root}/{name}".rstrip("/")

    def find(self, path: str) -> list[str]:
        """See `Backend`. Temporary files and locks, whose names begin with a dot, are left out."""

        def fail(error: OSError) -> None:
            if not isinstance(error, FileNotFoundError):  # not there yet, or removed meanwhile
                raise error

        walked = os.walk(path, onerror=fail)
        return [os.path.join(folder, name) for folder, _, names in walked for name in names if name[0] != "."]

    def listing(self, path: str) -> dict[str, Listed]:
        """See `Backend`."""
        stats = {found: os.stat(found) for found in self.find(path)}
        return {found: Listed(stat.st_size, str(stat.st_mtime_ns)) for found, stat in stats.items()}

    def exists(self, path: str) -> bool:
        """See `Backend`."""
        return os.path.isfile(path)

    def read(self, path: str) -> bytes:
        """See `Backend`."""
        return Path(path).read_bytes()

    def read_version(self, path: str) -> Versioned:
        """See `Backend`."""
        try:
            data = self.read(path)
        except FileNotFoundError:
            return Versioned(None, None)
        return Versioned(data, _hash_of(data))

    def get(self, path: str, local: Path) -> None:
        """See `Backend`."""
        shutil.copyfile(path, local)

    def write(self, path: str, data: bytes) -> None:
        """See `Backend`."""
        atomic_write(Path(path), data)

    def put(self, local: Path, path: str) -> None:
        """See `Backend`."""
        with atomic_file(Path(path)) as temporary:
            shutil.copyfile(local, temporary)

    def create(self, path: str, data: bytes) -> None:
        """See `Backend`."""
        with temporary_beside(Path(path), data) as temporary:
            try:
                os.link(temporary, path)
            except OSError as error:
                if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS):
                    raise
                raise ResultsError(
                    f"expected a file system with hard links at {self._root}, got one that refuses them "
                    f"({error.strerror}): two runs could take the same lease there. Give another --results or --store"
                ) from error

    def replace(self, path: str, data: bytes, version: str) -> str:
        """See `Backend`."""
        make_folders(self._root)
        try:
            with FileLock(self._root / _LOCK, timeout=_LOCK_S):
                if self.read_version(path).version != version:
                    raise ChangedError(f"{path} was written by another process")
                self.write(path, data)
        except Timeout as error:  # a process that was stopped while it held the lock
            raise TimeoutError(f"{self._root / _LOCK} is held by a process that does not go on") from error
        return _hash_of(data)

    def delete(self, path: str) -> None:
        """See `Backend`."""
        os.remove(path)

    def remove_stale_temporaries(self) -> None:
        """See `Backend`."""
        remove_stale_temporaries(self._root)


class FsspecBackend:
    """Storage that fsspec knows by the protocol of its URL.

    Args:
        url: URL of the root.
    """

    def __init__(self, url: str) -> None:
        import fsspec  # late: runs without a URL do not need it

        self._is_s3 = url.partition("://")[0] in _S3
        settings: dict[str, Any] = {}
        if self._is_s3 and "config_kwargs" not in fsspec.config.conf.get("s3", {}):
            settings["config_kwargs"] = _S3_SETTINGS
        self._opened, root = fsspec.core.url_to_fs(url, use_listings_cache=False, **settings)
        self._root = str(root).rstrip("/")
        if self._is_s3:
            self._opened.retries = 1  # calls in all, not further ones

    @property
    def _files(self) -> Any:
        self._opened.invalidate_cache()  # other machines write there too
        return self._opened

    def path_of(self, name: str) -> str:
        """See `Backend`."""
        return f"{self._root}/{name}" if name else self._root

    def find(self, path: str) -> list[str]:
        """See `Backend`."""
        return [str(found) for found in self._files.find(path)]

    def listing(self, path: str) -> dict[str, Listed]:
        """See `Backend`. Empty objects whose names end with a slash, by which consoles draw folders, are left out."""
        found: dict[str, dict[str, Any]] = self._files.find(path, detail=True)
        return {
            str(name): Listed(
                int(info.get("size") or 0), next((str(info[key]) for key in _STAMPS if info.get(key)), "")
            )
            for name, info in found.items()
            if not name.endswith("/")
        }

    def exists(self, path: str) -> bool:
        """See `Backend`."""
        return bool(self._files.isfile(path))

    def read(self, path: str) -> bytes:
        """See `Backend`."""
        return bytes(self._files.cat_file(path))

    def read_version(self, path: str) -> Versioned:
        """See `Backend`. The version is read before and after the content, until both are the same."""
        version = self._version(path)
        while version is not None:
            try:
                data = self.read(path)
            except FileNotFoundError:
                break
            before, version = version, self._version(path)
            if version == before:
                return Versioned(data, version)
        return Versioned(None, None)

    def _version(self, path: str) -> str | None:
        try:
            found = self._files.info(path)
        except FileNotFoundError:
            return None
        return None if found.get("type") == "directory" else str(found.get("ETag", ""))

    def get(self, path: str, local: Path) -> None:
        """See `Backend`."""
        self._files.get_file(path, str(local))

    def write(self, path: str, data: bytes) -> None:
        """See `Backend`."""
        self._files.pipe_file(path, data)

    def put(self, local: Path, path: str) -> None:
        """See `Backend`."""
        self._files.put_file(str(local), path)

    def create(self, path: str, data: bytes) -> None:
        """See `Backend`."""
        try:
            self._files.pipe_file(path, data, mode="create")
        except OSError as error:
            if _code_of(error) in _REFUSED:
                raise FileExistsError(path) from error
            raise

    def replace(self, path: str, data: bytes, version: str) -> str:
        """See `Backend`."""
        # In one part: s3fs sends no condition with several.
        conditions = {"IfMatch": version, "chunksize": _ONE_PART} if self._is_s3 else {}
        try:
            answer = self._files.pipe_file(path, data, **conditions)
        except OSError as error:
            # S3 says that there is no such key when the object was deleted meanwhile.
            if _code_of(error) in (*_REFUSED, "NoSuchKey"):
                raise ChangedError(f"{path} was written by another process") from error
            raise
        tag = answer.get("ETag") if isinstance(answer, dict) else None
        return str(tag) if tag else _version_written(self.read_version(path), path, data)

    def delete(self, path: str) -> None:
        """See `Backend`."""
        self._files.rm_file(path)

    def remove_stale_temporaries(self) -> None:
        """See `Backend`. There are none: a put is atomic."""


def _version_written(found: Versioned, path: str, data: bytes) -> str:
    """Return the version of a file that was written just now, from what is read there."""
    if found.data != data or found.version is None:
        raise ChangedError(f"{path} was written by another process")
    return found.version


def _code_of(error: BaseException) -> str:
    """Return the code of S3's answer that made s3fs raise `error`, "" where there is none."""
    response = getattr(error.__cause__, "response", None) or getattr(error, "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))


def _hash_of(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=20).hexdigest()
