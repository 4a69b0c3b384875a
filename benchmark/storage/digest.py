"""Digests of files and of JSON, which show a flipped bit: XXH3 of 128 bits, several times faster than a disk reads.

A digest says that a file is what was written, not who wrote it: XXH3 is no cryptographic hash.
"""

import functools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import xxhash

from quadrat.benchmark.storage.atomic import canonical_json

__all__ = [
    "digest_of",
    "digest_of_file",
    "digest_of_file_once",
    "digests_of",
    "find_damage",
    "is_intact_once",
    "new_digest",
    "with_digest",
    "without_digest",
]

new_digest = xxhash.xxh3_128
"""Makes an object with `update` and `hexdigest`, for data that is written in parts."""

_BLOCK: Final = 4 * 2**20


def digest_of(data: bytes) -> str:
    """Return the digest of `data`."""
    return new_digest(data).hexdigest()


def with_digest(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return `content`, which is JSON-plain, with the digest of all of it under the key `digest`."""
    return {**content, "digest": digest_of(canonical_json(content).encode())}


def without_digest(document: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the content that `with_digest` was given; None where it has changed since, or has no digest."""
    content = {key: value for key, value in document.items() if key != "digest"}
    return content if document == with_digest(content) else None


def digest_of_file(path: Path) -> str:
    """Return the digest of a file's content, read block by block.

    Raises:
        OSError: When it is not there or cannot be read.
    """
    found = new_digest()
    block = memoryview(bytearray(_BLOCK))
    with open(path, "rb", buffering=0) as file:
        while count := file.readinto(block):
            found.update(block[:count])
    return found.hexdigest()


def digests_of(folder: Path) -> dict[str, str]:
    """Return the digest of every file in a folder, by its name."""
    return {path.name: digest_of_file(path) for path in sorted(folder.iterdir()) if path.is_file()}


def find_damage(folder: Path, digests: Mapping[str, str]) -> str | None:
    """Return what is wrong with the first file that is missing or has another digest; None when all are intact."""
    for name, digest in digests.items():
        try:
            found = digest_of_file(folder / name)
        except FileNotFoundError:
            return f"{name} is missing"
        except OSError as error:  # the disk cannot read a block of it
            return f"{name} cannot be read ({error.strerror})"
        if found != digest:
            return f"{name} has another content than was written"
    return None


def is_intact_once(path: Path, digest: str) -> bool:
    """Return whether a file has this digest, read once a process unless the file is replaced or written to."""
    return digest_of_file_once(path) == digest


def digest_of_file_once(path: Path) -> str:
    """Return the digest of a file's content, read once a process unless the file is replaced or written to.

    Raises:
        OSError: When it is not there or cannot be read.
    """
    found = os.stat(path)
    return _digest_once(path, found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


@functools.cache
def _digest_once(path: Path, device: int, inode: int, size: int, mtime_ns: int) -> str:
    return digest_of_file(path)
