"""Packed splits beside results on a URL: one machine fetches the data set and packs, the others fetch what it packed.

They lie in `packs/<fingerprint>/`, so a name says what must be in it. `meta.json` is uploaded last: without it there is
no packed split. It holds the digests that are checked after a download.
"""

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from filelock import FileLock

from quadrat.benchmark.data.packed import META, PackedSplit, open_packed
from quadrat.benchmark.data.packing import intact
from quadrat.benchmark.errors import DataError
from quadrat.benchmark.storage.atomic import atomic_directory, clear_disk_errors, make_folders, remove_temporaries_of
from quadrat.benchmark.storage.remote import Remote

__all__ = ["find_shared_pack", "share_pack"]

_FOLDER: Final = "packs"
_LOG = logging.getLogger(__name__)


def share_pack(packed: PackedSplit, remote: Remote) -> None:
    """Upload a packed split, with the maps of regions and the clicks beside it, as far as they are not there.

    Only for the driver, which holds the lease of the results.

    Raises:
        ResultsError: When the storage cannot be reached or written.
    """
    prefix = f"{_FOLDER}/{packed.fingerprint}"
    there = set(remote.names(prefix))
    files = [path for path in packed.path.rglob("*") if path.is_file() and not _is_of_a_writer(path)]
    for path in sorted(files, key=lambda path: (path == packed.path / META, path)):
        name = f"{prefix}/{path.relative_to(packed.path).as_posix()}"
        if name not in there:
            remote.upload(name, path)


def find_shared_pack(
    results_dir: Path, described: Mapping[str, Any], cache_dir: Path, remote: Remote | None
) -> PackedSplit | None:
    """Return a packed split as suite.json describes it, from this machine, else from the URL of the results.

    One process of a machine downloads while the others wait on a file lock.

    Args:
        results_dir: The results folder.
        described: `split`, `path` and `fingerprint`, as suite.json has them.
        cache_dir: Where packed splits are kept.
        remote: URL of the results; None for results in a folder alone.

    Returns:
        The packed split with its digests checked; None where none is to be had, or a damaged one, of which a warning
        tells.

    Raises:
        ResultsError: When the storage cannot be reached, or the disk is full.
    """
    if (found := _here(results_dir, described, cache_dir)) is not None or remote is None:
        return found
    fingerprint, folder = described["fingerprint"], cache_dir / "packed"
    path = folder / f"{re.sub(r'[^A-Za-z0-9_.-]+', '_', described['split'])}-{fingerprint[:20]}"
    with clear_disk_errors(path):
        make_folders(folder)
        with FileLock(folder / f".{path.name}.lock"):
            if (found := intact(path)) is None:
                remove_temporaries_of(path)
                found = _download(remote, f"{_FOLDER}/{fingerprint}", path)
    if found is not None and found.fingerprint != fingerprint:
        _LOG.warning("%s is not the packed split that suite.json names: it is not used", path)
        return None
    return found


def _here(results_dir: Path, described: Mapping[str, Any], cache_dir: Path) -> PackedSplit | None:
    try:
        found = open_packed(results_dir, described, cache_dir=cache_dir)
        found.check()
    except DataError:  # not here, or damaged: fetched, or packed again, which says so
        return None
    return found


def _download(remote: Remote, prefix: str, path: Path) -> PackedSplit | None:
    names = remote.names(prefix)
    if f"{prefix}/{META}" not in names:
        return None
    with atomic_directory(path) as temporary:
        for name in names:
            remote.download(name, temporary / name.removeprefix(f"{prefix}/"))
    return intact(path)


def _is_of_a_writer(path: Path) -> bool:
    """Return whether a file is a lock, or lies in a folder that is being written."""
    return path.suffix == ".lock" or any(
        part.startswith(".") and part.endswith((".tmp", ".lock")) for part in path.parts
    )
