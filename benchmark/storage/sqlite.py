"""The URL by which SQLAlchemy, and so MLflow and Optuna, opens an SQLite file."""

from pathlib import Path

__all__ = ["sqlite_url"]


def sqlite_url(path: Path) -> str:
    """Return the URL of an SQLite file.

    SQLAlchemy decodes percent signs and takes what follows a question mark for options: `/data/50%20off?/study.db`
    would be another file.

    Examples:
        >>> sqlite_url(Path("/data/a run/study.db")), sqlite_url(Path("/data/50%?/study.db"))
        ('sqlite:////data/a run/study.db', 'sqlite:////data/50%25%3F/study.db')
    """
    return "sqlite:///" + str(path).replace("%", "%25").replace("?", "%3F")
