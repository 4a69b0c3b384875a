"""Atomic writes: complete or absent; temporary files of dead writers are removed, those of running ones stay."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from quadrat.benchmark.storage import atomic as files
from quadrat.benchmark.storage.atomic import (
    atomic_directory,
    atomic_write,
    discard,
    remove_stale_temporaries,
    remove_temporaries_of,
)

_KILLED = """
import os, signal, sys
from pathlib import Path
from quadrat.benchmark.storage import atomic as files
files.os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGKILL)
files.atomic_write(Path(sys.argv[1]), b"new")
"""


def temporaries(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob(".*.tmp")]


def test_a_killed_writer_leaves_the_old_file_and_a_temporary_one_that_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "inner" / "a.json"
    atomic_write(path, b"old")
    done = subprocess.run([sys.executable, "-c", _KILLED, str(path)])
    assert done.returncode == -9
    assert path.read_bytes() == b"old"
    assert len(temporaries(tmp_path)) == 1
    remove_stale_temporaries(tmp_path)
    assert temporaries(tmp_path) == []
    assert path.read_bytes() == b"old"


def test_temporary_files_of_a_running_writer_stay(tmp_path: Path) -> None:
    with atomic_directory(tmp_path / "a") as temporary:
        (temporary / "x").write_text("half")
        remove_stale_temporaries(tmp_path)
        assert temporary.is_dir()
    assert (tmp_path / "a" / "x").read_text() == "half"


def test_files_of_other_machines_and_foreign_files_stay(tmp_path: Path) -> None:
    names = [".a.00000000-1-00000000.tmp", ".notes.tmp", "b.tmp"]
    for name in names:
        (tmp_path / name).write_text("theirs")
    remove_stale_temporaries(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)


def test_remove_temporaries_of_removes_those_of_one_path_and_any_machine(tmp_path: Path) -> None:
    for name in (".a.00000000-1-00000000.tmp", ".ab.00000000-1-00000000.tmp", ".a.tmp"):
        (tmp_path / name).write_text("theirs")
    remove_temporaries_of(tmp_path / "a")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".a.tmp", ".ab.00000000-1-00000000.tmp"]
    remove_temporaries_of(tmp_path / "nowhere" / "a")


def test_a_folder_is_discarded_atomically(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "artefact"
    folder.mkdir()
    (folder / "x").write_text("1")
    with monkeypatch.context() as patched:
        patched.setattr(files.shutil, "rmtree", lambda path, ignore_errors: None)  # killed right here
        discard(folder)
    assert not folder.exists()
    (left,) = temporaries(tmp_path)
    assert str(os.getpid()) in left
    discard(tmp_path / left)
    discard(tmp_path / "nowhere")
    assert list(tmp_path.iterdir()) == []
