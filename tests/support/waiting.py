"""Waiting for what another thread, process or machine does."""

import time
from collections.abc import Callable

__all__ = ["await_"]


def await_(
    condition: Callable[[], object], timeout_s: float = 90.0, what: str = "a condition", every_s: float = 0.1
) -> None:
    """Wait for a condition that is cheap to ask for: a command takes seconds of the workers' CPUs."""
    until_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < until_s, f"waited too long for {what}"
        time.sleep(every_s)
