"""A file lock between the processes of one file system; the operating system frees it when its holder dies."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

__all__ = ["file_lock"]

_POLL_S: Final = 1.0


@contextmanager
def file_lock(path: Path, on_wait: Callable[[], None] | None) -> Iterator[None]:
    """Hold the lock of the file `path`, whose folder exists.

    Args:
        path: The lock file.
        on_wait: Called about once a second while another process holds it; what it raises ends the wait.
    """
    lock = FileLock(path)
    while True:
        try:
            lock.acquire(timeout=_POLL_S)
            break
        except Timeout:
            if on_wait is not None:
                on_wait()
    try:
        yield
    finally:
        lock.release()
