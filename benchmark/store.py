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

from quadrat.benchmark.files import atomic_directory, canonical_json, clear_disk_errors, discard, sweep_beside

__all__ = ["STORE_VERSION", "Artefact", "Store"]

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


class Store:
    """Artefacts of a results folder.

    Args:
        root: Folder under which `<kind>/<hash>/` lie.
    """

    def __init__(self, root: Path) -> None:
        self._root = Path(root)

    def path(self, kind: str, key: Mapping[str, Any]) -> Path:
        """Return the folder of the artefact of `kind` under `key`, whether it is there or not."""
        payload = canonical_json({"version": STORE_VERSION, "kind": kind, **key})
        return self._root / kind / hashlib.sha256(payload.encode()).hexdigest()[:32]

    def get(self, kind: str, key: Mapping[str, Any]) -> Artefact | None:
        """Return the artefact, or None when it has not been computed (or was dropped)."""
        path = self.path(kind, key)
        try:
            meta = json.loads((path / _META).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        return Artefact(path=path, elapsed_s=float(meta["elapsed_s"]))

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
            kind: Folder name, one of "fit", "evaluation", "glimpse", "scores".
            key: All that the content depends on; JSON-plain.
            compute: Writes the artefact's files into the folder it is given.
            on_wait: Called about once a second while another process computes the same artefact.

        Raises:
            ResultsError: When the disk is full.
        """
        if (found := self.get(kind, key)) is not None:
            return found
        path = self.path(kind, key)
        with self._locked(path.name, on_wait):
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

    def partial(self, kind: str, key: Mapping[str, Any]) -> Path:
        """Return where the computation of an artefact may keep checkpoints; valid while it holds the lock."""
        path = self._root / "partial" / f"{kind}-{self.path(kind, key).name}"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def drop(self, kind: str, key: Mapping[str, Any]) -> None:
        """Remove an artefact that no later step needs. It can be computed again from its key at any time."""
        discard(self.path(kind, key))

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
