"""The embedded store's file: whole or not there, put aside when damaged and only then."""

import sqlite3
from pathlib import Path

import pytest

from quadrat.benchmark.storage.atomic import remove_all_temporaries
from quadrat.benchmark.tracking.database import find_damage, make_database, put_aside


def make(path: Path, revision: str | None = "new", num_rows: int = 2000) -> None:
    """Make a database of some pages that says its revision; None leaves it half made."""
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE runs (name TEXT)")
    connection.execute("CREATE INDEX names ON runs (name)")
    connection.executemany("INSERT INTO runs VALUES (?)", [(f"run {number:06d}",) for number in range(num_rows)])
    if revision is not None:
        connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
        connection.execute("INSERT INTO alembic_version VALUES (?)", (revision,))
    connection.commit()
    connection.close()


def test_a_database_is_there_once_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"

    def check_and_make(temporary: Path) -> None:
        make(temporary)
        assert not path.exists()

    make_database(path, check_and_make)
    assert find_damage(path, "new") is None
    assert list(tmp_path.iterdir()) == [path]


def test_a_kill_while_it_is_made_leaves_none_and_what_is_left_is_swept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def is_killed(temporary: Path) -> None:
        make(temporary, revision=None)
        (temporary.parent / f"{temporary.name}-journal").write_bytes(b"journal")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", lambda *_, **__: None)  # a killed process tidies nothing
        with pytest.raises(KeyboardInterrupt):
            make_database(tmp_path / "mlflow.db", is_killed)
    assert not (tmp_path / "mlflow.db").exists()
    assert len(list(tmp_path.iterdir())) == 1
    remove_all_temporaries(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_damage_is_named(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    path.write_bytes(b"")
    assert find_damage(path, "new") == "its tables are half made"
    path.write_bytes(b"no database, whatever its name says" * 100)
    assert find_damage(path, "new") == "file is not a database"
    path.unlink()
    make(path, revision="old")
    assert find_damage(path, "new") == "its tables have revision old, MLflow expects new"
    path.unlink()
    make(path)
    data = bytearray(path.read_bytes())
    data[8192 : len(data) - 4096] = bytes(len(data) - 12288)
    path.write_bytes(data)
    assert find_damage(path, "new") is not None


def test_a_locked_database_is_not_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mlflow.db"
    make(path)
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *args, **options: connect(*args, timeout=0.01, **options))
    writer = connect(path, isolation_level=None)
    writer.execute("BEGIN EXCLUSIVE")
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        find_damage(path, "new")
    writer.close()
    assert find_damage(path, "new") is None


def test_what_a_killed_writer_left_half_written_is_rolled_back_and_no_damage(tmp_path: Path) -> None:
    path, copy = tmp_path / "mlflow.db", tmp_path / "copy" / "mlflow.db"
    make(path)
    copy.parent.mkdir()
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("PRAGMA cache_size = 1")  # pages go to the file before the commit
    writer.execute("BEGIN")
    writer.execute("UPDATE runs SET name = name || ' changed'")
    for suffix in ("", "-journal"):
        Path(f"{copy}{suffix}").write_bytes(Path(f"{path}{suffix}").read_bytes())
    writer.close()
    assert find_damage(copy, "new") is None
    with sqlite3.connect(copy) as connection:
        assert connection.execute("SELECT count(*) FROM runs WHERE name LIKE '%changed'").fetchone() == (0,)


def test_each_damaged_database_gets_a_name_of_its_own(tmp_path: Path) -> None:
    for number in (1, 2):
        (tmp_path / "mlflow.db").write_text(str(number))
        (tmp_path / "mlflow.db-journal").write_text(str(number))
        assert put_aside(tmp_path / "mlflow.db") == tmp_path / f"mlflow.db.damaged-{number}"
        assert (tmp_path / f"mlflow.db.damaged-{number}-journal").read_text() == str(number)
    assert not (tmp_path / "mlflow.db").exists()
