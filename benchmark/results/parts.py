"""How a records file on a URL grows: in parts, so that the bytes uploaded grow as the file and not as its square."""

import os
from pathlib import Path
from typing import Final, NamedTuple

__all__ = ["PART_BYTES", "Growth", "Piece", "part_name", "parts_folder"]

PART_BYTES: Final = 65536
"""Size from which on a part is left as it is and the next one begun: about 60 records.

A record is uploaded with those before it in its part: half of this on average. A part is one object to list and read.
"""

_CHECKED_BYTES: Final = 64


class Piece(NamedTuple):
    """What is uploaded next of a file.

    Attributes:
        name: Of the object: the file's own, or that of a part.
        data: Its content.
        is_whole: Whether this is the whole file, in place of all parts.
    """

    name: str
    data: bytes
    is_whole: bool


class Growth:
    """A local file of lines to which lines are added, and what of it has been uploaded.

    The first part has the name of the file, so a small file is one object, as if there were no parts. A file that was
    written anew (sorted at the end of a run, or merged) is uploaded whole, in place of its parts.

    Args:
        path: The local file.
        name: Its name on the remote.
    """

    def __init__(self, path: Path, name: str) -> None:
        self._path = path
        self._name = name
        self._inode = -1
        self._num_sealed = 0  # bytes in parts that are left as they are
        self._last = b""  # the last of them
        self._part = 0

    def next(self) -> Piece:
        """Return what is to be uploaded now."""
        with self._path.open("rb") as file:
            file.seek(max(0, self._num_sealed - _CHECKED_BYTES))
            is_grown = os.fstat(file.fileno()).st_ino == self._inode and file.read(len(self._last)) == self._last
            if is_grown:
                name = part_name(self._name, self._part) if self._part else self._name
                return Piece(name, file.read(), is_whole=False)
        self._num_sealed, self._last, self._part = 0, b"", 0
        with self._path.open("rb") as file:
            self._inode = os.fstat(file.fileno()).st_ino
            return Piece(self._name, file.read(), is_whole=True)

    def on_uploaded(self, piece: Piece) -> None:
        """Note that a piece has been uploaded, and begin the next part when it was large."""
        if len(piece.data) >= PART_BYTES:
            self._num_sealed += len(piece.data)
            self._last = piece.data[-_CHECKED_BYTES:]
            self._part += 1


def parts_folder(name: str) -> str:
    """Return the folder of the parts of a file, but for the first."""
    return f"{name}.parts"


def part_name(name: str, number: int) -> str:
    """Return the name of a part, counted from 1 after the file of the name itself."""
    return f"{parts_folder(name)}/{number:06d}"
