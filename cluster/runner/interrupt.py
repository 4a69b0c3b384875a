"""Stopping on request: Ctrl-C or SIGTERM asks once, politely, so that no write is cut in half."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Final, Self

__all__ = ["StopRequest"]

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """Whether somebody has asked the driver to stop; a context manager that listens for it.

    The first signal only sets a flag, which the driver looks at between two events; a second one raises
    `KeyboardInterrupt` at once, for the case that the driver hangs. Even that loses nothing but time, since every
    artefact is written atomically.
    """

    def __init__(self) -> None:
        self._signal: int | None = None
        self._before: dict[int, Any] = {}

    @property
    def signal(self) -> int | None:
        """The signal that asked, None as long as nobody has."""
        return self._signal

    @property
    def exit_code(self) -> int:
        """Exit code of a process that ends for this reason: 128 + signal, as shells count."""
        return 128 + (self._signal or signal.SIGINT)

    def raise_if_asked(self) -> None:
        """Raise `KeyboardInterrupt` when somebody has asked; for loops that cannot end in another way."""
        if self._signal is not None:
            raise KeyboardInterrupt

    def listen(self) -> None:
        """Take over the signals, (again) after a library has set handlers of its own, as `ray.init` does."""
        # Python allows handlers in the main thread only; elsewhere whoever owns the main thread handles signals.
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                before = signal.signal(number, self._ask)
                self._before.setdefault(number, before)

    def _ask(self, number: int, frame: FrameType | None) -> None:
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
