"""Work for processes beside the one that is measured; importable by processes that are spawned."""

import time
from collections.abc import Callable
from pathlib import Path

__all__ = ["broken", "idle"]


def idle(folder: Path, on_step: Callable[[int, int], None]) -> None:
    """Begin, and do nothing for long."""
    (folder / "there").touch()
    on_step(1, 2)
    time.sleep(60)


def broken(folder: Path, on_step: Callable[[int, int], None]) -> None:
    """End before the first step."""
    raise SystemExit(3)
