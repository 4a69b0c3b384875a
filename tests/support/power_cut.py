"""A disk that forgets: which files and folders a power cut would take, by the fsyncs that were made."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

__all__ = ["Disk"]


class Disk:
    """Watches the fsyncs of this process.

    A file survives when its content was flushed after its last change, and the entries of the file and of each folder
    above it, up to the one that was there before, were flushed after they were made.
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._entries: dict[int, dict[str, int]] = {}  # inode of a folder -> name -> inode, as of its last fsync
        self._contents: dict[int, tuple[int, int]] = {}  # inode of a file -> size and time of change
        self._fsync = os.fsync
        patch.setattr(os, "fsync", self._on_fsync)

    def _on_fsync(self, descriptor: int) -> None:
        self._fsync(descriptor)
        found = os.fstat(descriptor)
        if stat.S_ISDIR(found.st_mode):
            with os.scandir(f"/proc/self/fd/{descriptor}") as entries:
                self._entries[found.st_ino] = {entry.name: entry.inode() for entry in entries}
        else:
            self._contents[found.st_ino] = (found.st_size, found.st_mtime_ns)

    def lost(self, folder: Path) -> list[str]:
        """Return the paths below `folder`, which survives, that a power cut now would take or empty."""
        return sorted(path.relative_to(folder).as_posix() for path in self._lost(folder, is_lost=False))

    def _lost(self, folder: Path, *, is_lost: bool) -> Iterator[Path]:
        kept = self._entries.get(folder.stat().st_ino, {})
        for path in folder.iterdir():
            found = path.stat()
            is_gone = is_lost or kept.get(path.name) != found.st_ino
            if path.is_dir():
                if is_gone:
                    yield path
                yield from self._lost(path, is_lost=is_gone)
            elif is_gone or self._contents.get(found.st_ino) != (found.st_size, found.st_mtime_ns):
                yield path
