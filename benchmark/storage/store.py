"""Content-addressed store: the output of a phase, under the hash of everything that it depends on.

Equal keys mean equal content, so two trials (or two runs of one trial) that share a prefix share its work. The first
process to ask computes an artefact; others wait for its lock, which is freed when that process dies.

Its description holds a digest of every file, which is checked whenever the artefact is loaded. A damaged one is
computed again.
"""

import contextlib
import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from quadrat.benchmark.errors import ResultsError
from quadrat.benchmark.storage.atomic import (
    atomic_directory,
    canonical_json,
    clear_disk_errors,
    discard,
    make_folders,
    remove_temporaries_of,
)
from quadrat.benchmark.storage.digest import digests_of, find_damage, with_digest, without_digest
from quadrat.benchmark.storage.file_lock import file_lock
from quadrat.benchmark.storage.lease import acquire_lease
from quadrat.benchmark.storage.remote import Remote, is_url, working_folder

__all__ = ["STORE_VERSION", "Artefact", "Checkpoint", "Store", "open_store"]

STORE_VERSION: Final = 1
"""Part of every key. Raise it when the same key would give other numbers, so that old artefacts are not used."""

_META: Final = "artefact.json"
_MAX_DAMAGED: Final = 3
"""Times in a row that an artefact may be damaged: the copy here, the one at the remote, and one just computed."""

_Loaded = TypeVar("_Loaded")


@dataclass(frozen=True, kw_only=True)
class Artefact:
    """A finished artefact.

    Attributes:
        path: Folder with its files.
        elapsed_s: Seconds that computing it took.
        digests: Digest of each of its files, by name; None for one that an earlier version wrote, which is not checked.
    """

    path: Path
    elapsed_s: float
    digests: Mapping[str, str] | None


class Checkpoint:
    """Checkpoint of an artefact that is being computed; for the holder of the artefact's lock.

    Args:
        path: The local file.
        name: Its name on the remote.
        finished: Name on the remote of what appears there when the artefact is complete; it needs no checkpoint then.
        remote: Remote that it is copied to, so that another machine can resume from it.
    """

    def __init__(self, path: Path, name: str, finished: str, remote: Remote | None) -> None:
        self.path = path
        self._name = name
        self._finished = finished
        self._remote = remote
        self._uploaded = self._stamp()

    def fetch(self) -> None:
        """Download the checkpoint of another machine if there is none here; remove what a killed writer left."""
        remove_temporaries_of(self.path)
        if self._remote is not None and not self.path.is_file():
            self._remote.download(self._name, self.path)
        self._uploaded = self._stamp()

    def upload(self) -> None:
        """Upload the checkpoint if it has changed; cheap enough to be called at every step."""
        if self._remote is not None and (stamp := self._stamp()) != self._uploaded:
            self._remote.upload(self._name, self.path, unless=self._finished)
            self._uploaded = stamp

    def remove(self) -> None:
        """Remove the checkpoint, here and on the remote: its artefact is complete."""
        self.path.unlink(missing_ok=True)
        if self._remote is not None:
            self._remote.delete(self._name)

    def _stamp(self) -> tuple[int, int] | None:
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return None
        return found.st_mtime_ns, found.st_ino


class Store:
    """Artefacts of one results folder or of several, as `<kind>/<hash>/`.

    With a remote, an artefact is uploaded before its local folder appears, its description (`artefact.json`) last. One
    that is only on the remote is downloaded when it is asked for.

    Args:
        root: Local folder.
        remote: Where artefacts are kept as well, for machines without a file system in common.
        is_shared: Whether several suites use it. Weights are then kept, since another suite may continue from them.
    """

    def __init__(self, root: Path, remote: Remote | None = None, *, is_shared: bool = False) -> None:
        self._root = Path(root)
        self._remote = remote
        self.is_shared = is_shared

    def path(self, kind: str, key: Mapping[str, Any]) -> Path:
        """Return the folder of the artefact of `kind` under `key`, whether it exists or not."""
        payload = canonical_json({"version": STORE_VERSION, "kind": kind, **key})
        return self._root / kind / hashlib.sha256(payload.encode()).hexdigest()[:32]

    def get(self, kind: str, key: Mapping[str, Any]) -> Artefact | None:
        """Return the artefact; None when it has not been computed, or was dropped."""
        path = self.path(kind, key)
        found = _read(path)
        if found is None and self._remote is not None:
            discard(path)  # nothing, or a folder whose description is damaged
            if self._fetch(self._remote, kind, path):
                found = _read(path)
        return found

    def get_or_compute(
        self,
        kind: str,
        key: Mapping[str, Any],
        compute: Callable[[Path], None],
        *,
        on_wait: Callable[[], None] | None = None,
        on_damage: Callable[[str], None] | None = None,
    ) -> Artefact:
        """Return the artefact; if it does not exist, compute it, or wait for the process that does.

        Args:
            kind: Folder name, such as "fit" or "scores".
            key: Everything that the content depends on, JSON-plain.
            compute: Called with an empty folder; writes the artefact's files there.
            on_wait: Called about once a second while another process computes the same artefact.
            on_damage: Called with what is wrong when there is one without a readable description, which is replaced.

        Raises:
            ResultsError: When the disk is full, or the remote cannot be reached.
        """
        if (found := self.get(kind, key)) is not None:
            return found
        path = self.path(kind, key)
        locks = self._root / "locks"
        with clear_disk_errors(locks):
            make_folders(locks)
        with file_lock(locks / f"{path.name}.lock", on_wait), self._lease(path.name, on_wait):
            if (found := self.get(kind, key)) is not None:
                return found
            remove_temporaries_of(path)
            if path.exists() and on_damage is not None:
                on_damage(f"{path} has no readable {_META}; it is computed again")
            discard(path)
            start = time.perf_counter()
            with atomic_directory(path) as temporary:
                compute(temporary)
                elapsed_s = time.perf_counter() - start
                digests = digests_of(temporary)
                meta = with_digest({"kind": kind, "elapsed_s": elapsed_s, "key": dict(key), "files": digests})
                (temporary / _META).write_text(json.dumps(meta, indent=1), encoding="utf-8")
                if self._remote is not None:
                    for file in sorted(temporary.iterdir(), key=lambda file: file.name == _META):
                        self._remote.upload(f"{kind}/{path.name}/{file.name}", file)
        return Artefact(path=path, elapsed_s=elapsed_s, digests=digests)

    def load_or_compute(
        self,
        kind: str,
        key: Mapping[str, Any],
        compute: Callable[[Path], None],
        load: Callable[[Artefact], _Loaded],
        *,
        on_wait: Callable[[], None] | None = None,
        on_damage: Callable[[str], None] | None = None,
    ) -> _Loaded:
        """Return `load(artefact)` of the artefact that `get_or_compute` returns, after checking its digests.

        An artefact that another trial drops before it is loaded is computed again. So dropping is safe at any time,
        also in a store that several suites share. A damaged one is taken from the remote, where it may be intact, or
        computed again.

        Args:
            kind: As for `get_or_compute`.
            key: As for `get_or_compute`.
            compute: As for `get_or_compute`.
            load: Reads the artefact's files.
            on_wait: As for `get_or_compute`.
            on_damage: Called with what is wrong with a damaged artefact, before it is replaced.

        Raises:
            ResultsError: When the artefact is damaged as often as it is computed; as `get_or_compute`.
        """
        num_damaged = 0
        while True:
            artefact = self.get_or_compute(kind, key, compute, on_wait=on_wait, on_damage=on_damage)
            damage = find_damage(artefact.path, artefact.digests or {})
            if damage is None:
                try:
                    return load(artefact)
                except Exception as error:
                    if _read(artefact.path) is None:
                        continue  # dropped
                    if artefact.digests is not None:
                        raise
                    damage = f"{type(error).__name__}: {error}"
            elif _read(artefact.path) is None:
                continue
            num_damaged += 1
            if num_damaged > _MAX_DAMAGED:
                raise ResultsError(
                    f"{artefact.path} is damaged again and again: {damage}. Check the disk and the memory"
                )
            if on_damage is not None:
                on_damage(f"{artefact.path} is damaged: {damage}; it is computed again")
            if self._remote is not None and num_damaged == 1:
                discard(artefact.path)
            else:
                self.drop(kind, key)

    def checkpoint(self, kind: str, key: Mapping[str, Any]) -> Checkpoint:
        """Return the checkpoint of an artefact, for `compute` of `get_or_compute`, which holds the lock."""
        number = self.path(kind, key).name
        name = f"checkpoints/{kind}-{number}"
        path = self._root / name
        make_folders(path.parent)
        return Checkpoint(path, name, f"{kind}/{number}/{_META}", self._remote)

    def drop(self, kind: str, key: Mapping[str, Any]) -> None:
        """Remove an artefact that no later step needs. It can be computed again at any time."""
        path = self.path(kind, key)
        if self._remote is not None:
            names = self._remote.names(f"{kind}/{path.name}")
            for name in sorted(names, key=lambda name: not name.endswith(_META)):  # first: the rest is ignored then
                self._remote.delete(name)
        discard(path)

    def _fetch(self, remote: Remote, kind: str, path: Path) -> bool:
        """Download an artefact, and return whether there was a complete one."""
        names = remote.names(f"{kind}/{path.name}")
        if f"{kind}/{path.name}/{_META}" not in names:
            return False
        try:
            with atomic_directory(path) as temporary:
                for name in names:
                    if not remote.download(name, temporary / name.rpartition("/")[2]):
                        raise _DroppedError
        except _DroppedError:
            return False
        return True

    def _lease(self, name: str, on_wait: Callable[[], None] | None) -> contextlib.AbstractContextManager[object]:
        """Return the lease that keeps other machines from computing the same artefact (see README.md)."""
        if self._remote is None:
            return contextlib.nullcontext()
        return acquire_lease(self._remote, f"locks/{name}", on_wait=on_wait)


class _DroppedError(Exception):
    """The artefact was dropped while it was downloaded."""


def _read(path: Path) -> Artefact | None:
    """Return the artefact of a folder; None where there is no description, or none that can be read."""
    try:
        meta = json.loads((path / _META).read_text(encoding="utf-8"))
        if ("files" in meta or "digest" in meta) and without_digest(meta) is None:
            return None
        files = meta.get("files")
        digests = None if files is None else {str(name): str(digest) for name, digest in files.items()}
        return Artefact(path=path, elapsed_s=float(meta["elapsed_s"]), digests=digests)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # not there, or damaged: it describes nothing
        return None


def open_store(place: str | None, results_dir: Path, remote: Remote | None, *, has_answered: bool = False) -> Store:
    """Return the store of a run.

    Args:
        place: A folder or URL that several suites may share; None for the store of the results folder itself.
        results_dir: The local results folder.
        remote: Remote of the results folder.
        has_answered: Of a store at a URL, as for `Remote`.
    """
    if place is None:
        return Store(results_dir / "store", remote.at("store") if remote is not None else None)
    if is_url(place):
        return Store(working_folder(place), Remote(place, has_answered=has_answered), is_shared=True)
    return Store(Path(place), is_shared=True)
