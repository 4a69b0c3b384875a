"""The user's cache folder: what can be made again, and is kept because that takes long."""

import os
from pathlib import Path

from quadrat.benchmark.errors import ResultsError

__all__ = ["user_cache"]


def user_cache() -> Path:
    """Return quadrat's folder in the user's cache, which may not exist: `$XDG_CACHE_HOME/quadrat`, or in `~/.cache`.

    Everything in it may be deleted whenever nothing runs.

    Raises:
        ResultsError: For a user without a home folder, when XDG_CACHE_HOME isn't set.
    """
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(base or "~/.cache") / "quadrat").expanduser().absolute()
    except RuntimeError as error:
        raise ResultsError("expected a home folder for the cache, got none: set XDG_CACHE_HOME to a folder") from error
