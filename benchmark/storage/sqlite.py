"""The URL by which SQLAlchemy, and so MLflow and Optuna, opens an SQLite file."""

from pathlib import Path
from urllib.parse import unquote

__all__ = ["sqlite_path", "sqlite_url"]


def sqlite_url(path: Path) -> str:
    """Return the URL of an SQLite file.

    SQLAlchemy decodes percent signs and takes what follows a question mark for options: `/data/50%20off?/study.db`
    would be another file.

    Examples:
        >>> sqlite_url(Path("/data/a run/study.db")), sqlite_url(Path("/data/50%?/study.db"))
        ('sqlite:////data/a run/study.db', 'sqlite:////data/50%25%3F/study.db')
    """
    return "sqlite:///" + str(path).replace("%", "%25").replace("?", "%3F")


def sqlite_path(url: str) -> Path | None:
    """Return the file that an SQLAlchemy URL of SQLite names; None for another URL, and for a database in memory.

    Examples:
        >>> sqlite_path("sqlite:////data/50%25%3F/study.db"), sqlite_path("sqlite:///runs.db?mode=ro")
        (PosixPath('/data/50%?/study.db'), PosixPath('runs.db'))
        >>> sqlite_path("sqlite://"), sqlite_path("postgresql://host/db")
        (None, None)
    """
    scheme, separator, rest = url.partition(":///")
    path = unquote(rest.partition("?")[0])
    is_file = scheme.partition("+")[0] == "sqlite" and separator and path and path != ":memory:"
    return Path(path) if is_file else None
