"""The store: an artefact is complete or absent, computed once, and found by what it depends on."""

import errno
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from quadrat.benchmark.errors import ResultsError
from quadrat.benchmark.storage import atomic as files
from quadrat.benchmark.storage import digest
from quadrat.benchmark.storage import store as store_module
from quadrat.benchmark.storage.remote import Remote
from quadrat.benchmark.storage.store import Artefact, Store

KEY = {"seed": 1, "labelled": "ff"}


def write(text: str) -> Callable[[Path], None]:
    def compute(folder: Path) -> None:
        (folder / "a.txt").write_text(text)

    return compute


def test_an_artefact_is_computed_once_and_then_found(tmp_path: Path) -> None:
    store = Store(tmp_path)
    first = store.get_or_compute("fit", KEY, write("one"))
    second = store.get_or_compute("fit", KEY, write("two"))
    assert first == second
    assert (second.path / "a.txt").read_text() == "one"


def test_another_key_or_kind_is_another_artefact(tmp_path: Path) -> None:
    store = Store(tmp_path)
    paths = {store.path("fit", KEY), store.path("scores", KEY), store.path("fit", {**KEY, "seed": 2})}
    assert len(paths) == 3


def test_a_computation_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def fail(folder: Path) -> None:
        (folder / "half.txt").write_text("half")
        raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom"):
        store.get_or_compute("fit", KEY, fail)
    assert store.get("fit", KEY) is None
    assert not list((tmp_path / "fit").iterdir())
    assert (store.get_or_compute("fit", KEY, write("whole")).path / "a.txt").read_text() == "whole"


def test_a_full_disk_leaves_nothing_that_counts_as_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)

    def full(path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(files, "sync", full)
        with pytest.raises(ResultsError, match="No space left on device"):
            store.get_or_compute("fit", KEY, write("half"))
    assert store.get("fit", KEY) is None
    assert (store.get_or_compute("fit", KEY, write("whole")).path / "a.txt").read_text() == "whole"


def test_a_dropped_artefact_is_computed_again(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.get_or_compute("fit", KEY, write("one"))
    store.drop("fit", KEY)
    assert store.get("fit", KEY) is None
    assert (store.get_or_compute("fit", KEY, write("two")).path / "a.txt").read_text() == "two"


def _compute_slowly(root: Path, log: Path, seconds: float) -> None:
    def compute(folder: Path) -> None:
        with log.open("a") as file:
            file.write(f"{os.getpid()}\n")
        time.sleep(seconds)
        (folder / "a.txt").write_text("done")

    Store(root).get_or_compute("fit", KEY, compute)


def test_of_two_processes_one_computes_and_the_other_waits(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    log = tmp_path / "log"
    workers = [context.Process(target=_compute_slowly, args=(tmp_path, log, 0.5)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    assert len(log.read_text().splitlines()) == 1


def test_the_waiting_process_takes_over_when_the_computing_one_is_killed(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    log = tmp_path / "log"
    victim = context.Process(target=_compute_slowly, args=(tmp_path, log, 600))
    victim.start()
    deadline = time.monotonic() + 60
    while not log.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    heir = context.Process(target=_compute_slowly, args=(tmp_path, log, 0))
    heir.start()
    assert victim.pid is not None
    os.kill(victim.pid, signal.SIGKILL)
    heir.join(60)
    assert heir.exitcode == 0
    assert Store(tmp_path).get("fit", KEY) is not None
    assert len(log.read_text().splitlines()) == 2


def test_temporary_folders_of_a_killed_writer_are_removed_by_the_next_one(tmp_path: Path) -> None:
    store = Store(tmp_path)
    path = store.path("fit", KEY)
    left = path.with_name(f".{path.name}.0123abcd-1-89abcdef.tmp")  # of another machine, for all we know
    left.mkdir(parents=True)
    (left / "half.txt").write_text("half")
    store.get_or_compute("fit", KEY, write("whole"))
    assert [found.name for found in path.parent.iterdir()] == [path.name]


def test_a_folder_without_its_description_is_replaced(tmp_path: Path) -> None:
    store = Store(tmp_path)
    found = store.get_or_compute("fit", KEY, write("one"))
    (found.path / "artefact.json").unlink()
    assert (store.get_or_compute("fit", KEY, write("two")).path / "a.txt").read_text() == "two"


def test_an_artefact_that_is_dropped_before_it_is_loaded_is_computed_again(tmp_path: Path) -> None:
    store = Store(tmp_path)
    loads = []

    def load(artefact: Artefact) -> str:
        loads.append(artefact)
        if len(loads) == 1:
            store.drop("fit", KEY)  # another trial, just now
        return (artefact.path / "a.txt").read_text()

    assert store.load_or_compute("fit", KEY, write("one"), load) == "one"
    assert len(loads) == 2


def test_an_artefact_that_cannot_be_loaded_is_an_error_and_not_tried_forever(tmp_path: Path) -> None:
    def load(artefact: Artefact) -> str:
        raise OSError("damaged")

    with pytest.raises(OSError, match="damaged"):
        Store(tmp_path).load_or_compute("fit", KEY, write("one"), load)


def test_the_time_a_computation_took_is_kept(tmp_path: Path) -> None:
    store = Store(tmp_path)
    first = store.get_or_compute("fit", KEY, write("one"))
    found = store.get("fit", KEY)
    assert found is not None and found.elapsed_s == first.elapsed_s > 0


def flip(path: Path, position: int) -> None:
    """Flip one bit of a file, at a position that counts its bits."""
    data = bytearray(path.read_bytes())
    data[position // 8 % len(data)] ^= 1 << position % 8
    path.write_bytes(data)


@pytest.mark.parametrize("seed", range(3))
def test_no_flipped_bit_of_any_file_is_ever_loaded(tmp_path: Path, seed: int) -> None:
    """Of 200 flips in an artefact and its description, each is either harmless or noticed and said."""
    store, rng = Store(tmp_path), np.random.default_rng(seed)

    def compute(folder: Path) -> None:
        (folder / "confusion.npy").write_bytes(bytes(range(256)) * 4)
        (folder / "summary.json").write_text('{"steps": 3, "loss": 0.5}')

    def load(artefact: Artefact) -> tuple[bytes, str]:
        return (artefact.path / "confusion.npy").read_bytes(), (artefact.path / "summary.json").read_text()

    expected, said = store.load_or_compute("evaluation", KEY, compute, load), []
    for number in range(70):
        name = ("confusion.npy", "summary.json", "artefact.json")[number % 3]
        flip(store.path("evaluation", KEY) / name, int(rng.integers(8 * 400)))
        said.clear()
        assert store.load_or_compute("evaluation", KEY, compute, load, on_damage=said.append) == expected
        assert len(said) == 1 or (name == "artefact.json" and not said)  # "1e-05" and "1E-05" are the same
        if name != "artefact.json":
            assert f"is damaged: {name} has another content than was written; it is computed again" in said[0]
        elif said:
            assert "has no readable artefact.json; it is computed again" in said[0]


@pytest.mark.parametrize("damage", ["short", "missing", "unreadable"])
def test_a_truncated_or_missing_file_is_computed_again_and_said(
    tmp_path: Path, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, said = Store(tmp_path), []
    path = store.get_or_compute("fit", KEY, write("one")).path / "a.txt"
    if damage == "short":
        path.write_text("o")
    elif damage == "missing":
        path.unlink()
    else:
        real, failed = digest.digest_of_file, []

        def broken(file: Path) -> str:
            if not failed:
                failed.append(file)
                raise OSError(errno.EIO, "Input/output error")
            return real(file)

        monkeypatch.setattr(digest, "digest_of_file", broken)
    loaded = store.load_or_compute(
        "fit", KEY, write("two"), lambda artefact: (artefact.path / "a.txt").read_text(), on_damage=said.append
    )
    reason = {"short": "another content", "missing": "is missing", "unreadable": "cannot be read (Input/output error)"}
    assert loaded == "two" and len(said) == 1 and reason[damage] in said[0]


def test_a_disk_that_damages_every_artefact_is_an_error_and_no_endless_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "find_damage", lambda folder, digests: "a.txt has another content")
    with pytest.raises(ResultsError, match=r"is damaged again and again: .*Check the disk"):
        Store(tmp_path).load_or_compute("fit", KEY, write("one"), lambda artefact: None)


def test_an_artefact_of_an_earlier_version_without_digests_is_used_and_replaced_when_it_cannot_be_read(
    tmp_path: Path,
) -> None:
    store = Store(tmp_path)
    path = store.get_or_compute("fit", KEY, write("1")).path
    (path / "artefact.json").write_text('{"kind": "fit", "elapsed_s": 2.0, "key": {}}')

    def load(artefact: Artefact) -> int:
        return int((artefact.path / "a.txt").read_text())

    assert store.load_or_compute("fit", KEY, write("2"), load) == 1
    (path / "a.txt").write_text("half")
    assert store.load_or_compute("fit", KEY, write("2"), load) == 2


def test_a_damaged_copy_is_taken_from_the_remote_and_a_damaged_remote_is_replaced(tmp_path: Path) -> None:
    remote = Remote(f"file://{tmp_path}/there")
    store = Store(tmp_path / "here", remote)

    def load(artefact: Artefact) -> str:
        return (artefact.path / "a.txt").read_text()

    path = store.get_or_compute("fit", KEY, write("one")).path / "a.txt"
    flip(path, 3)
    assert store.load_or_compute("fit", KEY, write("two"), load) == "one"
    (name,) = (name for name in remote.names("fit") if name.endswith("a.txt"))
    remote.write(name, b"onf")
    assert Store(tmp_path / "other", remote).load_or_compute("fit", KEY, write("two"), load) == "two"
    assert remote.read(name) == b"two"
