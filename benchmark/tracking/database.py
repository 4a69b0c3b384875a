"""The SQLite file of the store in a results folder: made whole or not at all, put aside when it is damaged."""

import contextlib
import itertools
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Final

from quadrat.benchmark.storage.atomic import sync, temporary_folder
from quadrat.benchmark.tracking.addresses import default_uri
from quadrat.benchmark.tracking.client import UPLOADING, close_connections, latest_revision, make_tables

__all__ = ["find_damage", "make_database", "prepare_store", "put_aside"]

_DAMAGE: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
"""Errors of SQLite that say that the file is damaged; others (locked, read-only, disk full) say nothing about it."""


def prepare_store(results_dir: Path, warn: Callable[[str], None]) -> None:
    """Make the embedded store of a results folder unless it is there and whole.

    One that MLflow cannot open is put aside: it only shows what is in the files. For the holder of the folder's lock.

    Args:
        results_dir: The results folder.
        warn: Called with a message when a damaged store was put aside.
    """
    path = Path(results_dir).resolve() / "mlflow.db"
    for stray in (path.parent / "mlartifacts").rglob(f"{UPLOADING}*"):  # left by a killed process: the lock is held
        stray.unlink(missing_ok=True)
    if path.exists():
        damage = find_damage(path, latest_revision())
        if damage is None:
            return
        aside = put_aside(path)
        close_connections(default_uri(results_dir))
        warn(f"! MLflow's store {path} is damaged: {damage}. It is now {aside.name}, and made again from the records")
    make_database(path, lambda temporary: make_tables(temporary, path.parent / "mlartifacts"))


def make_database(path: Path, make: Callable[[Path], None]) -> None:
    """Make a database under a temporary name, and move it to `path`: a kill leaves a whole one or none.

    MLflow makes its tables in some fifty transactions, and cannot go on with half of them.

    Args:
        path: The file; its folder exists.
        make: Called with the temporary path. It leaves a database there, whose connections are closed.
    """
    with temporary_folder(path) as folder:
        temporary = folder / path.name
        make(temporary)
        sync(temporary)
        os.replace(temporary, path)
        sync(path.parent)


def find_damage(path: Path, revision: str) -> str | None:
    """Return why MLflow cannot open a database, None when it can.

    Args:
        path: The file.
        revision: The revision of its tables that the installed MLflow works with.

    Raises:
        sqlite3.Error: When the file cannot be read now: it is locked, or the disk has an error.
    """
    # mode=rw: what a killed writer left half-written is rolled back, which is no damage.
    uri = f"{path.resolve().as_uri()}?mode=rw"
    try:
        with contextlib.closing(sqlite3.connect(uri, uri=True)) as connection:
            (first, *_) = connection.execute("PRAGMA quick_check(1)").fetchone()
            if first != "ok":
                return f"SQLite's check says: {first}"
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            query = "SELECT version_num FROM alembic_version"
            found = [version for (version,) in connection.execute(query)] if "alembic_version" in tables else []
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode & 0xFF not in _DAMAGE:
            raise
        return str(error)
    if found == [revision]:
        return None
    if not found:
        return "its tables are half made"
    return f"its tables have revision {', '.join(found)}, MLflow expects {revision}"


def put_aside(path: Path) -> Path:
    """Rename a database, and what SQLite keeps beside it, to a name that is free; return the new path."""
    aside = next(
        name for number in itertools.count(1) if not (name := path.with_name(f"{path.name}.damaged-{number}")).exists()
    )
    for suffix in ("-journal", "-wal", "-shm"):
        if (beside := Path(f"{path}{suffix}")).exists():
            beside.rename(f"{aside}{suffix}")
    path.rename(aside)
    sync(path.parent)
    return aside
