"""Stopping on request, or when time is up: a flag that the driver looks at, so that no write is cut in half."""

import os
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Final, Self

from quadrat.benchmark.errors import StopRequested

__all__ = ["GRACE_S", "TIME_IS_UP", "StopRequest"]

TIME_IS_UP: Final = 75
"""Exit code of a run whose time is up: EX_TEMPFAIL of sysexits.h, "try again later"."""

GRACE_S: Final = 15.0
"""Seconds that a run which is to stop waits for the checkpoints of its fits: a step, and a file of some 100 MB."""

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)

_ANSWERS: Final[dict[int, str]] = {
    signal.SIGINT: "stopping: running fits write a checkpoint first; Ctrl-C again: at once",
    signal.SIGTERM: "stopping on SIGTERM: running fits write a checkpoint first",
}

_END: Final = 0
"""Byte that ends the thread; no signal has this number."""

_MLFLOW_S: Final = 5.0
"""Seconds that a run which is to stop waits for MLflow: the next run logs from the files what is missing."""


class StopRequest:
    """Whether the user has asked the driver to stop; handles SIGINT and SIGTERM while its context is open.

    The first signal only sets a flag, which the driver checks between two events. The second one raises
    `KeyboardInterrupt` at once, for a driver that hangs. Even that loses nothing but time, since every artefact is
    written atomically.

    The first signal is answered by a thread, which Python's own C handler wakes: within milliseconds, also while the
    main thread is in native code, such as an import of torch or a step of a fit.

    Args:
        until_s: When time is up, by `clock`: from then on it is as if SIGTERM had been received; None for no limit.
        clock: Seconds from any moment on.

    Attributes:
        say: Prints the answer; a display puts its own printing here.
    """

    def __init__(self, until_s: float | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.say: Callable[[str], None] = _print
        self._signal: int | None = None
        self._before: dict[int, Any] = {}
        self._until_s = until_s
        self._clock = clock
        self._is_late = False
        self._is_urgent = False
        self._answerer: _Answerer | None = None

    @property
    def signal(self) -> int | None:
        """The signal that was received first, SIGTERM when time is up, None as long as there was neither."""
        if self._signal is None and self._until_s is not None and self._clock() >= self._until_s:
            self._signal, self._is_late = signal.SIGTERM, True
            self.say("time is up: running fits write a checkpoint first")
        return self._signal

    @property
    def exit_code(self) -> int | None:
        """Exit code of a process that was stopped: 128 + signal as in a shell, or `TIME_IS_UP`; None when it was not.

        A run that was done before it noticed that its time is up was not stopped.
        """
        if self._is_late:
            return TIME_IS_UP
        return None if self._signal is None else 128 + self._signal

    @property
    def mlflow_s(self) -> float | None:
        """Seconds that the end of a run waits for MLflow; None for as long as one that was not stopped."""
        if self._is_urgent:
            return 0.0
        return None if self._signal is None else _MLFLOW_S

    def request(self, number: int) -> None:
        """Note a signal that another handler than ours has received, unless there was one before."""
        if self._signal is None:
            self._signal = number

    def raise_if_requested(self) -> None:
        """Raise `StopRequested`, a `KeyboardInterrupt`, when the run is to stop; for loops that end in no other way."""
        if self.signal is not None:
            raise StopRequested

    def listen(self) -> None:
        """Install the signal handlers, again after a library has installed its own, as `ray.init` does."""
        # Python allows handlers in the main thread only; elsewhere the main thread's owner handles signals.
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                before = signal.signal(number, self._on_signal)
                self._before.setdefault(number, before)
            if self._answerer is None:
                self._answerer = _Answerer(lambda text: self.say(text))

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._signal is not None:
            self._is_urgent = True
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
        if self._answerer is not None:
            self._answerer.close()
            self._answerer = None


class _Answerer:
    """Says once that a signal has arrived: a thread that Python's C handler wakes with the number of the signal.

    Args:
        say: Prints a line; called in the thread.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._reading, self._writing = os.pipe()
        os.set_blocking(self._writing, False)
        self._before = signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)
        self._thread = threading.Thread(target=self._work, name="stop-request", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        has_answered = False
        while (number := os.read(self._reading, 1)[0]) != _END:
            if number in _ANSWERS and not has_answered:
                has_answered = True
                self._say(_ANSWERS[number])

    def close(self) -> None:
        """End the thread, and wake it no more."""
        signal.set_wakeup_fd(self._before)
        os.write(self._writing, bytes([_END]))  # not by closing it: a process that was forked may hold it too
        self._thread.join()
        os.close(self._writing)
        os.close(self._reading)


def _print(text: str) -> None:
    print(text, flush=True)
