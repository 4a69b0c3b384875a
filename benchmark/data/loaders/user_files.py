"""Folders and text files as people have them: hidden and system entries are skipped, encodings are read or named."""

import codecs
import itertools
import json
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Any, Final

from quadrat.benchmark.data.loaders.reading import IMAGE_SUFFIXES
from quadrat.benchmark.errors import DataError

__all__ = [
    "first_files",
    "folders_below",
    "is_visible",
    "read_ids_list",
    "read_json",
    "read_lines",
    "same_name",
    "visible_entries",
    "walk",
]

_SYSTEM: Final = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "@eadir", "$recycle.bin"})
"""What systems and programs leave in folders; names in lower case. Others begin with a dot."""

_BOMS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def is_visible(name: str) -> bool:
    """Return whether a file or folder of this name is the user's: neither hidden nor left by a system."""
    return not name.startswith(".") and name.lower() not in _SYSTEM


def visible_entries(folder: Path) -> Iterator[Path]:
    """Yield the files and folders inside `folder` in the order of their names; none where it is no folder."""
    if folder.is_dir():
        yield from sorted(path for path in folder.iterdir() if is_visible(path.name))


def walk(folder: Path) -> Iterator[Path]:
    """Yield the files below `folder`, folder by folder and by name, links followed; hidden and system ones are not."""
    for place, names in folders_below(folder):
        yield from (Path(place, name) for name in names)


def folders_below(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield `folder` and each folder below it with the names of its files, as `walk` does without a `Path` for each."""
    known = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if is_visible(name))
        if (real := os.path.realpath(place)) in known:  # a link to a folder above itself
            folders.clear()
            continue
        known.add(real)
        yield place, sorted(name for name in files if is_visible(name))


def first_files(folder: Path, num: int) -> list[Path]:
    """Return the first `num` files below `folder`."""
    return list(itertools.islice(walk(folder), num))


def same_name(name: str) -> str:
    """Return a name with its accents written in one way: `u` and an accent are the letter with it (Unicode NFC).

    Systems differ in how they store names, so that an image and its mask may be spelt in two ways.
    """
    return unicodedata.normalize("NFC", name)


def read_lines(path: Path, content: str) -> list[str]:
    """Return the lines of a text file that are not empty, without spaces around them.

    Args:
        path: The file.
        content: What it should hold, for the message when it is missing.

    Raises:
        DataError: When it is missing, or no text in UTF-8, or UTF-16 or 32 with their marks.
    """
    return [line.strip() for line in _read_text(path, content).splitlines() if line.strip()]


def read_ids_list(path: Path, known: Container[str]) -> list[str]:
    """Return the ids that a list file names, one a line: as an id, a file name or a path; more words are ignored.

    SegNet's lists name image and mask by their paths, VOC's lists of one class have a second column.

    Args:
        path: The file.
        known: The ids that there are; a line that names none of them is an id that is missing.

    Raises:
        DataError: When the file is missing or names an id twice.
    """
    ids = [_id_of_line(same_name(line), known) for line in read_lines(path, "ids, one a line")]
    if twice := sorted(name for name, num in Counter(ids).items() if num > 1):
        raise DataError(f"{path} lists {len(twice)} ids more than once: {', '.join(twice[:5])}. List each once.")
    return ids


def _id_of_line(line: str, known: Container[str]) -> str:
    if line in known:
        return line
    parts = re.split(r"[\s,;]", line)[0].replace("\\", "/").strip("/").split("/")
    for start in range(len(parts)):
        tail = "/".join(parts[start:])
        for name in (tail, tail.rpartition(".")[0]):
            if name in known:
                return name
    stem, _, suffix = parts[-1].rpartition(".")
    return stem if f".{suffix.lower()}" in IMAGE_SUFFIXES else parts[-1]


def read_json(path: Path, content: str) -> Any:
    """Return the content of a JSON file.

    Raises:
        DataError: As `read_lines`; also when it is not JSON.
    """
    try:
        return json.loads(_read_text(path, content), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path} is not JSON ({error}). Expected {content}.") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the pairs of a JSON object; of equal keys, JSON would keep the last without a word."""
    found = dict(pairs)
    if len(found) < len(pairs):
        (key, _), *_ = Counter(key for key, _ in pairs).most_common(1)
        raise ValueError(f"it has the key {key!r} more than once")
    return found


def _read_text(path: Path, content: str) -> str:
    try:
        raw = path.read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing: expected {content}.", kind="missing files") from error
    except OSError as error:
        raise DataError(
            f"{path} cannot be read ({error.strerror}): expected {content}.", kind="files that cannot be read"
        ) from error
    encoding = next((name for mark, name in _BOMS if raw.startswith(mark)), "utf-8")
    if encoding == "utf-8" and b"\0" in raw:
        raise DataError(f"{path} holds bytes that are 0, as UTF-16 without its mark. Save it as UTF-8.")
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError as error:
        line, byte = raw.count(b"\n", 0, error.start) + 1, error.object[error.start]
        raise DataError(
            f"{path} is no {encoding.upper()} text: byte {byte:#04x} in line {line}, as in Latin-1 or another encoding "
            "that a file does not tell. Save it as UTF-8."
        ) from error
