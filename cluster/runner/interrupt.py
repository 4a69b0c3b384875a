"""Stopping on request: the first SIGINT or SIGTERM sets a flag, so that no write is cut in half."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Final, Self

__all__ = ["StopRequest"]

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """Whether the user has asked the driver to stop; handles SIGINT and SIGTERM while its context is open.

    The first signal only sets a flag, which the driver checks between two events. The second one raises
    `KeyboardInterrupt` at once, for a driver that hangs. Even that loses nothing but time, since every artefact is
    written atomically.
    """

    def __init__(self) -> None:
        self._signal: int | None = None
        self._before: dict[int, Any] = {}

    @property
    def signal(self) -> int | None:
        """The signal that was received first, None as long as there was none."""
        return self._signal

    @property
    def exit_code(self) -> int | None:
        """Exit code of a process that was stopped: 128 + signal, as in a shell. None when it was not."""
        return None if self._signal is None else 128 + self._signal

    def request(self, number: int) -> None:
        """Note a signal that another handler than ours has received, unless there was one before."""
        if self._signal is None:
            self._signal = number

    def raise_if_requested(self) -> None:
        """Raise `KeyboardInterrupt` when the user has asked to stop; for loops that cannot end in another way."""
        if self._signal is not None:
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
