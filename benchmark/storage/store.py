"""Content-addressed artefacts: what a phase produced, kept under the hash of all that it depends on.

Equal keys mean equal content, so two trials (or two runs of one trial) that share a prefix share its work. Whoever
comes first computes; whoever comes second waits at the lock, which the operating system frees when its holder dies.
"""

import contextlib
import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from filelock import FileLock, Timeout

from quadrat.benchmark.storage.atomic import atomic_directory, canonical_json, clear_disk_errors, discard, sweep_beside
from quadrat.benchmark.storage.lease import acquire_lease
from quadrat.benchmark.storage.remote import Remote, is_url, working_folder

__all__ = ["STORE_VERSION", "Artefact", "Partial", "Store", "open_store"]

STORE_VERSION: Final = 1
"""Part of every key: raised when the same key would give other numbers, so that old artefacts are not used."""

_META: Final = "artefact.json"

_Loaded = TypeVar("_Loaded")


@dataclass(frozen=True, kw_only=True)
class Artefact:
    """A finished artefact.

    Attributes:
        path: Folder that holds its files.
        elapsed_s: Seconds that it took when it was computed.
    """

    path: Path
    elapsed_s: float


class Partial:
    """Where a computation keeps its checkpoint, valid for who computes the artefact.

    Args:
        path: The local file.
        name: Its name remote.
        remote: Where it is kept as well, so that another machine can go on from it.
    """

    def __init__(self, path: Path, name: str, remote: Remote | None) -> None:
        self.path = path
        self._name = name
        self._upstream = remote
        self._kept = self._stamp()

    def fetch(self) -> None:
        """Get the checkpoint that another machine left, if there is none here; sweep what died here in its write."""
        sweep_beside(self.path)
        if self._upstream is not None and not self.path.is_file():
            self._upstream.download(self._name, self.path)
        self._kept = self._stamp()

    def keep(self) -> None:
        """Bring the checkpoint remote if it is another than before; cheap enough to be called at every step."""
        if self._upstream is not None and (stamp := self._stamp()) != self._kept:
            self._upstream.upload(self._name, self.path)
            self._kept = stamp

    def remove(self) -> None:
        """Remove the checkpoint: what it was for is there."""
        self.path.unlink(missing_ok=True)
        if self._upstream is not None:
            self._upstream.delete(self._name)

    def _stamp(self) -> tuple[int, int] | None:
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return None
        return found.st_mtime_ns, found.st_ino


class Store:
    """Artefacts of a results folder, or of several.

    With an remote, an artefact lies there before it lies here, its description last; one that lies there only is
    fetched when it is asked for.

    Args:
        root: Folder under which `<kind>/<hash>/` lie.
        remote: Where they lie as well, for machines without a file system in common.
        is_shared: Whether other suites use it too: then weights are kept, since a trial of theirs may go on from them.
    """

    def __init__(self, root: Path, remote: Remote | None = None, *, is_shared: bool = False) -> None:
        self._root = Path(root)
        self._upstream = remote
        self.is_shared = is_shared

    def path(self, kind: str, key: Mapping[str, Any]) -> Path:
        """Return the folder of the artefact of `kind` under `key`, whether it is there or not."""
        payload = canonical_json({"version": STORE_VERSION, "kind": kind, **key})
        return self._root / kind / hashlib.sha256(payload.encode()).hexdigest()[:32]

    def get(self, kind: str, key: Mapping[str, Any]) -> Artefact | None:
        """Return the artefact, or None when it has not been computed (or was dropped)."""
        path = self.path(kind, key)
        found = _read(path)
        if found is None and self._upstream is not None and self._fetch(self._upstream, kind, path):
            found = _read(path)
        return found

    def get_or_compute(
        self,
        kind: str,
        key: Mapping[str, Any],
        compute: Callable[[Path], None],
        *,
        on_wait: Callable[[], None] | None = None,
    ) -> Artefact:
        """Return the artefact; when it is not there, compute it, or wait for the process that does.

        Args:
            kind: Folder name, one of "fit", "evaluation", "preview", "scores".
            key: All that the content depends on; JSON-plain.
            compute: Writes the artefact's files into the folder it is given.
            on_wait: Called about once a second while another process computes the same artefact.

        Raises:
            ResultsError: When the disk is full, or the remote cannot be reached.
        """
        if (found := self.get(kind, key)) is not None:
            return found
        path = self.path(kind, key)
        with self._locked(path.name, on_wait), self._leased(path.name, on_wait):
            if (found := self.get(kind, key)) is not None:
                return found
            sweep_beside(path)
            discard(path)  # without its description it is no artefact, and in the way of one
            start = time.perf_counter()
            with atomic_directory(path) as temporary:
                compute(temporary)
                elapsed_s = time.perf_counter() - start
                meta = {"kind": kind, "elapsed_s": elapsed_s, "key": dict(key)}
                (temporary / _META).write_text(json.dumps(meta, indent=1), encoding="utf-8")
                if self._upstream is not None:
                    for file in sorted(temporary.iterdir(), key=lambda file: file.name == _META):
                        self._upstream.upload(f"{kind}/{path.name}/{file.name}", file)
        return Artefact(path=path, elapsed_s=elapsed_s)

    def load_or_compute(
        self,
        kind: str,
        key: Mapping[str, Any],
        compute: Callable[[Path], None],
        load: Callable[[Artefact], _Loaded],
        *,
        on_wait: Callable[[], None] | None = None,
    ) -> _Loaded:
        """Return what `load` makes of the artefact, see `get_or_compute`.

        Another trial may drop the artefact between the finding and the loading; it is computed again then. So dropping
        is safe at any time, in a store that several suites share too.
        """
        while True:
            artefact = self.get_or_compute(kind, key, compute, on_wait=on_wait)
            try:
                return load(artefact)
            except Exception:
                if self.get(kind, key) is not None:
                    raise

    def partial(self, kind: str, key: Mapping[str, Any]) -> Partial:
        """Return where the computation of an artefact may keep checkpoints; valid while it holds the lock."""
        name = f"partial/{kind}-{self.path(kind, key).name}"
        path = self._root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return Partial(path, name, self._upstream)

    def drop(self, kind: str, key: Mapping[str, Any]) -> None:
        """Remove an artefact that no later step needs. It can be computed again from its key at any time."""
        path = self.path(kind, key)
        if self._upstream is not None:
            names = self._upstream.names(f"{kind}/{path.name}")
            for name in sorted(names, key=lambda name: not name.endswith(_META)):  # without it the rest is no artefact
                self._upstream.delete(name)
        discard(path)

    def _fetch(self, remote: Remote, kind: str, path: Path) -> bool:
        """Fetch an artefact that lies remote, and return whether there was one, whole to the last file."""
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

    def _leased(self, name: str, on_wait: Callable[[], None] | None) -> contextlib.AbstractContextManager[object]:
        """Return what keeps other machines from computing the same; the lock is for the processes of this one."""
        if self._upstream is None:
            return contextlib.nullcontext()
        return acquire_lease(self._upstream, f"locks/{name}", on_wait=on_wait)

    @contextlib.contextmanager
    def _locked(self, name: str, on_wait: Callable[[], None] | None) -> Iterator[None]:
        folder = self._root / "locks"
        with clear_disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / f"{name}.lock")
        while True:
            try:
                lock.acquire(timeout=1.0)
                break
            except Timeout:
                if on_wait is not None:
                    on_wait()
        try:
            yield
        finally:
            lock.release()


class _DroppedError(Exception):
    """An artefact was dropped remote while it was fetched."""


def _read(path: Path) -> Artefact | None:
    try:
        meta = json.loads((path / _META).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return Artefact(path=path, elapsed_s=float(meta["elapsed_s"]))


def open_store(place: str | None, results_dir: Path, remote: Remote | None) -> Store:
    """Return the store at a place: a folder or a URL that several suites may share, or None for the results' own.

    Args:
        place: Where artefacts lie.
        results_dir: The (local) results folder.
        remote: Where the results are kept as well.
    """
    if place is None:
        return Store(results_dir / "store", remote.at("store") if remote is not None else None)
    if is_url(place):
        return Store(working_folder(place), Remote(place), is_shared=True)
    return Store(Path(place), is_shared=True)
