"""Stopping on request, or when time is up: a flag that the driver looks at, so that no write is cut in half."""

import signal
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Final, Self

__all__ = ["TIME_IS_UP", "StopRequest"]

TIME_IS_UP: Final = 75
"""Exit code of a run whose time is up: EX_TEMPFAIL of sysexits.h, "try again later"."""

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """Whether the user has asked the driver to stop; handles SIGINT and SIGTERM while its context is open.

    The first signal only sets a flag, which the driver checks between two events. The second one raises
    `KeyboardInterrupt` at once, for a driver that hangs. Even that loses nothing but time, since every artefact is
    written atomically.

    Args:
        until_s: When time is up, by `clock`: from then on it is as if SIGTERM had been received; None for no limit.
        clock: Seconds from any moment on.
    """

    def __init__(self, until_s: float | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._signal: int | None = None
        self._before: dict[int, Any] = {}
        self._until_s = until_s
        self._clock = clock
        self._is_late = False

    @property
    def signal(self) -> int | None:
        """The signal that was received first, SIGTERM when time is up, None as long as there was neither."""
        if self._signal is None and self._until_s is not None and self._clock() >= self._until_s:
            self._signal, self._is_late = signal.SIGTERM, True
        return self._signal

    @property
    def exit_code(self) -> int | None:
        """Exit code of a process that was stopped: 128 + signal as in a shell, or `TIME_IS_UP`; None when it was not.

        A run that was done before it noticed that its time is up was not stopped.
        """
        if self._is_late:
            return TIME_IS_UP
        return None if self._signal is None else 128 + self._signal

    def request(self, number: int) -> None:
        """Note a signal that another handler than ours has received, unless there was one before."""
        if self._signal is None:
            self._signal = number

    def raise_if_requested(self) -> None:
        """Raise `KeyboardInterrupt` when the run is to stop; for loops that cannot end in another way."""
        if self.signal is not None:
            raise KeyboardInterrupt

    def listen(self) -> None:
        """Install the signal handlers, again after a library has installed its own, as `ray.init` does."""
        # Python allows handlers in the main thread only; elsewhere the main thread's owner handles signals.
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                before = signal.signal(number, self._on_signal)
                self._before.setdefault(number, before)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._signal is not None:
            raise KeyboardInterrupt
        self._signal = number

    def __enter__(self) -> Self:
        self.listen()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
