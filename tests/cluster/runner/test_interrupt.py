"""The answer to a signal: at once, also while the main thread is in native code."""

import hashlib
import os
import signal
import threading
import time

import pytest

from quadrat.benchmark.errors import StopRequested
from quadrat.cluster.runner.interrupt import StopRequest


def test_a_signal_is_answered_while_native_code_runs_in_the_main_thread() -> None:
    answers: list[tuple[str, float]] = []
    with StopRequest() as stop:
        stop.say = lambda text: answers.append((text, time.monotonic()))
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
        while len(answers) == 0:  # one call that takes longer than the answer
            hashlib.pbkdf2_hmac("sha256", b"", b"", 400_000)  # Python handles no signal meanwhile
            ended_s = time.monotonic()
        assert stop.exit_code == 130
        with pytest.raises(StopRequested):
            stop.raise_if_requested()
        with pytest.raises(KeyboardInterrupt):  # at once, and without a second answer
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)
    ((text, said_s),) = answers
    assert text == "stopping: running fits write a checkpoint first; Ctrl-C again: at once"
    assert said_s < ended_s


def test_handlers_and_wakeup_are_as_before_at_the_end() -> None:
    before = signal.getsignal(signal.SIGINT)
    num_threads = threading.active_count()
    with StopRequest():
        pass
    assert signal.getsignal(signal.SIGINT) is before
    assert signal.set_wakeup_fd(-1) == -1
    assert threading.active_count() == num_threads


def test_mlflow_is_not_waited_for_as_long_once_the_user_wants_to_stop() -> None:
    with StopRequest() as stop:
        stop.say = lambda text: None
        assert stop.mlflow_s is None
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.mlflow_s == 5.0
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)
        assert stop.mlflow_s == 0.0


def test_time_that_is_up_is_said_once() -> None:
    said: list[str] = []
    stop = StopRequest(10.0, clock=lambda: 11.0)
    stop.say = said.append
    assert (stop.signal, stop.signal) == (signal.SIGTERM, signal.SIGTERM)
    assert said == ["time is up: running fits write a checkpoint first"]
