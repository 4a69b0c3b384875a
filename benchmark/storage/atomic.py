"""Atomic writes: a reader sees all of a file or none of it, whenever the writer is killed."""

import contextlib
import errno
import functools
import glob
import hashlib
import json
import os
import re
import secrets
import shutil
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from quadrat.benchmark.errors import ResultsError

__all__ = [
    "atomic_directory",
    "atomic_file",
    "atomic_write",
    "canonical_json",
    "clear_disk_errors",
    "discard",
    "is_process_gone",
    "json_bytes",
    "machine_id",
    "make_folders",
    "remove_all_temporaries",
    "remove_stale_temporaries",
    "remove_temporaries_of",
    "sync",
    "temporary_beside",
    "temporary_folder",
    "write_json",
]

_TEMPORARY = re.compile(r"\..+\.(?P<machine>[0-9a-f]{8})-(?P<pid>\d+)-[0-9a-f]{8}\.tmp")


def canonical_json(value: object) -> str:
    """Return `value` as JSON with sorted keys and no spaces: equal values give equal text.

    Raises:
        TypeError: When something in `value` cannot be written as JSON (never its `repr` instead).
        ValueError: On NaN or infinity, which JSON does not have.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def sync(path: Path) -> None:
    """Flush the file or folder at `path` to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folders(folder: Path) -> None:
    """Create a folder with its parents unless it exists, and flush the entry of each new one to the disk.

    An fsync of a file does not flush the entries of new folders above it: after a power cut the file would be gone.
    """
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for new in reversed(missing):
        new.mkdir(exist_ok=True)
        sync(new.parent)


def _temporary(path: Path) -> Path:
    """Return an unused name beside `path`, from which `remove_stale_temporaries` can tell the writer."""
    return path.with_name(f".{path.name}.{machine_id()}-{os.getpid()}-{secrets.token_hex(4)}.tmp")


@functools.cache
def machine_id() -> str:
    """Return an id of the scope of process ids: this host since its last boot, and this container of it."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    parts = [socket.gethostname(), boot.read_text(encoding="ascii") if boot.is_file() else ""]
    with contextlib.suppress(OSError):
        parts.append(os.readlink("/proc/self/ns/pid"))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:8]


def _is_writer_dead(temporary: Path) -> bool:
    """Return whether `temporary` was made by a process of this machine that no longer runs."""
    found = _TEMPORARY.fullmatch(temporary.name)
    return found is not None and found["machine"] == machine_id() and is_process_gone(int(found["pid"]))


def is_process_gone(pid: int) -> bool:
    """Return whether process `pid` of this machine (see `machine_id`) no longer runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # another user's process: it runs
        return False
    return False


def remove_stale_temporaries(folder: Path) -> None:
    """Remove temporary files under `folder` whose writer, a process of this machine, no longer runs.

    Those of running writers and of other machines stay; for the latter see `remove_temporaries_of`.
    """
    for temporary in folder.rglob(".*.tmp"):
        if _is_writer_dead(temporary):
            discard(temporary)


def remove_temporaries_of(path: Path) -> None:
    """Remove all temporary files of `path`, of any machine. Only for the holder of the lock of `path`."""
    for name in glob.iglob(f".{glob.escape(path.name)}.*.tmp", root_dir=path.parent, include_hidden=True):
        if _TEMPORARY.fullmatch(name):
            discard(path.parent / name)


def remove_all_temporaries(folder: Path) -> None:
    """Remove all temporary files under `folder`, of any machine. Only for the holder of the lock of `folder`."""
    for temporary in folder.rglob(".*.tmp"):
        if _TEMPORARY.fullmatch(temporary.name):
            discard(temporary)


def discard(path: Path) -> None:
    """Remove the file or folder at `path` if it exists; a folder atomically, by a rename.

    A kill leaves the complete folder, or a temporary one that the next sweep removes, but never half a folder.
    """
    if not path.is_dir():
        path.unlink(missing_ok=True)
        return
    if not _TEMPORARY.fullmatch(path.name):
        try:
            path = path.rename(_temporary(path))
        except FileNotFoundError:  # another process was faster
            return
    shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def clear_disk_errors(path: Path) -> Iterator[None]:
    """Convert a full disk, a quota, a limit of sizes or missing rights into a `ResultsError` that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES):
            raise
        raise ResultsError(
            f"cannot write {path}: {error.strerror}. Nothing half-written counts as done: "
            "free some space (or fix the rights) and run the same command again to go on."
        ) from error


def atomic_write(path: Path, data: bytes) -> None:
    """Write `data` to `path` through a temporary file, fsync and rename.

    Raises:
        ResultsError: When the disk is full or not writable; `path` is then unchanged.
    """
    with temporary_beside(path, data) as temporary:
        os.replace(temporary, path)


@contextlib.contextmanager
def temporary_beside(path: Path, data: bytes) -> Iterator[Path]:
    """Yield a temporary file beside `path` that holds `data`, on the disk; the block gives it its name.

    At the end the entries of the folder are flushed, and the temporary file is removed if it is still there.

    Raises:
        ResultsError: When the disk is full or not writable.
    """
    with clear_disk_errors(path):
        make_folders(path.parent)
        temporary = _temporary(path)
        try:
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            yield temporary
        finally:
            temporary.unlink(missing_ok=True)
        sync(path.parent)


@contextlib.contextmanager
def temporary_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder beside `path`, for what others write there before it becomes `path`.

    It is removed at the end; that of a killed process by the next sweep.

    Raises:
        ResultsError: When the disk is full or not writable.
    """
    with clear_disk_errors(path):
        make_folders(path.parent)
        temporary = _temporary(path)
        temporary.mkdir()
        try:
            yield temporary
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path; the file that the block writes there becomes `path` when the block ends without an error.

    Raises:
        ResultsError: When the disk is full or not writable; `path` is then unchanged.
    """
    with clear_disk_errors(path):
        make_folders(path.parent)
        temporary = _temporary(path)
        try:
            yield temporary
            sync(temporary)
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync(path.parent)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write `value` to `path` as indented JSON, atomically."""
    atomic_write(path, json_bytes(value))


def json_bytes(value: Mapping[str, Any]) -> bytes:
    """Return `value` as the content of a file of indented JSON."""
    return (json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


@contextlib.contextmanager
def atomic_directory(path: Path) -> Iterator[Path]:
    """Yield a temporary folder that becomes `path` when the block ends without an error.

    Every file in it is fsynced before the rename. If `path` exists by then (another process was faster), it stays and
    the new folder is removed: both have the same content by construction.

    Raises:
        ResultsError: When the disk is full or not writable; there is no `path` then.
    """
    with clear_disk_errors(path):
        make_folders(path.parent)
        temporary = _temporary(path)
        temporary.mkdir()
        try:
            yield temporary
            for file in temporary.rglob("*"):
                sync(file)
            sync(temporary)
            try:
                os.rename(temporary, path)
            except OSError as error:
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                    raise
                shutil.rmtree(temporary)
            sync(path.parent)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
