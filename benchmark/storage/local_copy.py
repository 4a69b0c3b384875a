"""A copy of a folder at a URL on this machine's disk: fetched once, whoever asks, and resumed after a kill.

```
 $QUADRAT_WORK/<name>-<hash of the URL>/
   files/<name>/...   the copy, file by file as at the URL
   files.jsonl        a line for each file that is complete here: its size and version there, its time here
   files.json         there while the copy is complete
   files.lock         held by the process that fetches; the operating system frees it when that one dies
```

A copy is up to date when every file of the listing is here in its version. So a second run lists the URL, which takes a
request for a thousand files, and fetches what has changed.
"""

import json
import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any, Final, NamedTuple

from quadrat.benchmark.errors import ResultsError, UnavailableError
from quadrat.benchmark.storage.atomic import clear_disk_errors, make_folders, remove_all_temporaries, write_json
from quadrat.benchmark.storage.file_lock import file_lock
from quadrat.benchmark.storage.names import is_part
from quadrat.benchmark.storage.remote import Listed, Remote, working_folder

__all__ = ["fetch", "find_copy", "require_files"]

_THREADS: Final = 8
"""Files that are fetched at a time: small ones wait for the storage's answer more than for the network."""

_OnProgress = Callable[[int, int], None]


class _Place(NamedTuple):
    """Where the copy of a URL is on this machine."""

    root: Path
    journal: Path
    complete: Path
    lock: Path


class _Here(NamedTuple):
    """A file of the copy: what it was at the URL when it was fetched, and when it was written here."""

    num_bytes: int
    version: str
    mtime_ns: int


def find_copy(url: str) -> Path | None:
    """Return the folder that `fetch` has filled; None when it has not, or was stopped. Asks no storage."""
    place = _place(url)
    return place.root if place.complete.is_file() else None


def fetch(url: str, on_progress: _OnProgress | None = None) -> Path:
    """Return a local folder with all files at `url`; those that are not here in their version are fetched first.

    One process fetches while the others of this machine wait. Each file is written atomically, so a killed process has
    lost no more than the files that were under way. Files that are no longer at the URL are removed.

    Args:
        url: Of the folder.
        on_progress: Called with (files here, files in all); what it raises ends the fetch, which may be resumed.

    Raises:
        UnavailableError: When the storage cannot be reached, or a file changed while it was fetched.
        ResultsError: When there are no files, a name can't be a file's here, or the disk is full.
    """
    remote, place = Remote(url), _place(url)
    listed = _listing(remote)
    if place.complete.is_file() and not _lacking(place, listed) and not _superfluous(place.root, listed):
        return place.root
    _require_no_file_for_a_folder(listed, remote.shown)

    def report_other() -> None:
        """Report the progress of the process that fetches."""
        if on_progress is not None:
            on_progress(min(len(_read(place.journal)), len(listed)), len(listed))

    with clear_disk_errors(place.root):
        make_folders(place.lock.parent)
        with file_lock(place.lock, report_other):
            _update(remote, place, listed, on_progress)
    return place.root


def require_files(url: str) -> None:
    """Check that there are files at `url`, without fetching any.

    Raises:
        ResultsError: When the storage cannot be read, or there are none.
    """
    _listing(Remote(url))


def _listing(remote: Remote) -> dict[str, Listed]:
    listed = remote.listing()
    if not listed:
        raise ResultsError(f"expected files at {remote.shown}, got none: correct the URL, or copy them there")
    return listed


def _place(url: str) -> _Place:
    folder, name = working_folder(url), url.rstrip("/").rpartition("/")[2]
    root = folder / "files" / (name if is_part(name) else "files")
    return _Place(root, folder / "files.jsonl", folder / "files.json", folder / "files.lock")


def _update(remote: Remote, place: _Place, listed: Mapping[str, Listed], on_progress: _OnProgress | None) -> None:
    """Make the copy one of `listed`. Only for the holder of the lock."""
    if place.root.is_dir():
        remove_all_temporaries(place.root)
    lacking, superfluous = _lacking(place, listed), _superfluous(place.root, listed)
    if lacking or superfluous:
        place.complete.unlink(missing_ok=True)
    for path in superfluous:
        path.unlink()
    _remove_empty_folders(place.root)

    def get(name: str) -> tuple[str, _Here]:
        path = place.root / name
        if not remote.download(name, path):
            raise UnavailableError(f"{remote.shown}/{name} is gone since it was listed: run the same command again")
        found = path.stat()
        if found.st_size != listed[name].num_bytes:
            raise UnavailableError(
                f"{remote.shown}/{name} has changed since it was listed ({found.st_size:,} bytes, not "
                f"{listed[name].num_bytes:,}): run the same command again"
            )
        return name, _Here(*listed[name], found.st_mtime_ns)

    num_here = len(listed) - len(lacking)
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="fetch") as pool, place.journal.open("a") as journal:
        try:
            for future in as_completed([pool.submit(get, name) for name in lacking]):
                name, here = future.result()
                # The line break is first: a torn line of a killed process must not spoil this one.
                journal.write("\n" + json.dumps({"name": name, **here._asdict()}))
                journal.flush()
                num_here += 1
                if on_progress is not None:
                    on_progress(num_here, len(listed))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    write_json(
        place.complete,
        {"url": remote.shown, "num_files": len(listed), "num_bytes": sum(file.num_bytes for file in listed.values())},
    )


def _lacking(place: _Place, listed: Mapping[str, Listed]) -> list[str]:
    """Return the names of the files that are not here in their version, whole and untouched."""
    here = _read(place.journal)
    return [name for name, file in listed.items() if not _is_here(place.root / name, file, here.get(name))]


def _is_here(path: Path, listed: Listed, here: _Here | None) -> bool:
    if here is None or (here.num_bytes, here.version) != listed:
        return False
    try:
        found = path.stat()
    except OSError:
        return False
    return (found.st_size, found.st_mtime_ns) == (listed.num_bytes, here.mtime_ns)


def _superfluous(root: Path, listed: Mapping[str, Listed]) -> list[Path]:
    """Return the files of the copy that are not at the URL any more."""
    return [
        path
        for path in (root.rglob("*") if root.is_dir() else ())
        if path.is_file() and path.relative_to(root).as_posix() not in listed
    ]


def _remove_empty_folders(root: Path) -> None:
    """Remove the folders that hold no file: where one was, a file may be now."""
    for folder in sorted((path for path in root.rglob("*") if path.is_dir()), reverse=True):
        if not any(folder.iterdir()):
            shutil.rmtree(folder)


def _read(journal: Path) -> dict[str, _Here]:
    """Return the files of the journal by their names; a torn line, left by a kill, says nothing."""
    found: dict[str, _Here] = {}
    if not journal.is_file():
        return found
    for line in journal.read_text(encoding="utf-8", errors="replace").split("\n"):
        try:
            entry: dict[str, Any] = json.loads(line)
        except ValueError:
            continue
        found[entry["name"]] = _Here(entry["num_bytes"], entry["version"], entry["mtime_ns"])
    return found


def _require_no_file_for_a_folder(listed: Mapping[str, Listed], shown: str) -> None:
    """Refuse a name that is a file and a folder, which a bucket may have and a disk may not.

    Raises:
        ResultsError: When there is one.
    """
    for name in listed:
        parents = name.split("/")[:-1]
        for depth in range(1, len(parents) + 1):
            if (above := "/".join(parents[:depth])) in listed:
                raise ResultsError(
                    f"expected names at {shown} that can be files and folders here, got '{above}', a file, and "
                    f"'{name}' below it: rename one of them there"
                )
