"""A run of quadrat that is killed before its n-th operation on disk or remote, inside a write, or by the clock.

A run is a fork of this process, which has imported everything and computed nothing: it takes a second instead of ten,
and what is killed is the code that users run. Operations are counted by an audit hook of the interpreter, a wrapped
`os.fsync` and wrapped calls of `Remote`.
"""

import mmap
import os
import re
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

__all__ = ["RUN_LIMIT_S", "Ended", "ForkedRun", "HungError", "Kill", "kind_of"]

RUN_LIMIT_S = 300.0
"""Seconds after which a run counts as hung, from when its end is awaited: on a busy machine one may take a minute."""


class HungError(Exception):
    """A run did not end."""


class Kill(NamedTuple):
    """Where to kill a run."""

    how: Literal["before", "inside", "clock"]
    place: float
    """Index of the operation; seconds for "clock"."""
    part: float = 0.5
    """For "inside": the share of the file that is written."""
    signal: int = signal.SIGKILL
    """SIGSTOP lets it stand still, as a suspended machine does."""


@dataclass(eq=False)
class FaultInjector:
    """Counts the operations of this process under `folder`, and kills it at `kill`. For the forked run only."""

    folder: Path
    kill: Kill | None
    last_operation: mmap.mmap
    count: int = 0

    def install(self) -> None:
        os.fsync = self._wrapped_fsync(os.fsync)  # type: ignore[assignment]
        sys.addaudithook(self._on_audit_event)
        from quadrat.cluster.runner.recorder import Recorder

        original = Recorder.update

        def update(recorder: Recorder, progress: Any) -> None:
            original(recorder, progress)
            self._at(f"phase {progress.phase}")

        Recorder.update = update  # type: ignore[method-assign, assignment]
        from quadrat.benchmark.storage.remote import Remote

        for name in ("read", "read_version", "write", "create", "replace", "upload", "download", "delete"):
            setattr(Remote, name, self._counted(name, getattr(Remote, name)))

    def _counted(self, operation: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def counted(remote: Any, name: str, *arguments: Any, **options: Any) -> Any:
            part = "store/" if remote.url.endswith("/store") else ""
            self._at(f"s3 {operation} {kind_of(part + name)}")
            return method(remote, name, *arguments, **options)

        return counted

    def _on_audit_event(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if isinstance(path, str | os.PathLike) and isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR):
                self._on("write", path)
        elif event in ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree"):
            self._on(event.partition(".")[2], arguments[1] if event == "os.rename" else arguments[0])

    def _on(self, operation: str, path: Any) -> None:
        if not isinstance(path, str | os.PathLike):
            return
        text = os.fspath(path)
        if isinstance(text, str) and text.startswith(str(self.folder)):
            self._at(f"{operation} {kind_of(os.path.relpath(text, self.folder))}")

    def _wrapped_fsync(self, fsync: Callable[[int], None]) -> Callable[[int], None]:
        def sync(descriptor: int) -> None:
            path = os.readlink(f"/proc/self/fd/{descriptor}")
            if path.startswith(str(self.folder)):
                name = f"fsync {kind_of(os.path.relpath(path, self.folder))}"
                if self._is_next and self.kill is not None and self.kill.how == "inside" and os.path.isfile(path):
                    # What a kill inside a write leaves: the beginning of the file; of a log, that of its last line.
                    data = Path(path).read_bytes()
                    start = data.rstrip(b"\n").rfind(b"\n") + 1 if path.endswith(".jsonl") else 0
                    os.truncate(path, start + int((len(data) - start) * self.kill.part))
                    name = f"inside the write of {kind_of(os.path.relpath(path, self.folder))}"
                self._at(name)
            fsync(descriptor)

        return sync

    @property
    def _is_next(self) -> bool:
        return self.kill is not None and self.kill.how != "clock" and self.count == int(self.kill.place)

    def _at(self, name: str) -> None:
        is_here = self._is_next
        self.count += 1
        line = name.encode()[:250]
        self.last_operation[: len(line) + 1] = line + b"\0"
        if is_here:
            assert self.kill is not None
            os.kill(os.getpid(), self.kill.signal)


def kind_of(path: str) -> str:
    """Return the kind of file at a path relative to a results folder, a row of the table of kills."""
    path, num_temporary = re.subn(r"(^|/)\.([^/]+)\.[0-9a-f]{8}-\d+-[0-9a-f]{8}\.tmp", r"\1\2", path)
    parts = Path(path).parts
    if parts and parts[0].startswith("machine-"):
        parts = parts[2:]
    temporary = " (temporary)" if num_temporary else ""
    if parts and parts[0] in ("store", "cache"):
        return "/".join(parts[:2]) + temporary
    return (parts[0] if parts else ".") + temporary


class Ended(NamedTuple):
    """How a run ended, or where it stands still."""

    code: int
    """Exit code, or minus the signal."""
    place: str
    """Its last operation."""
    num_operations: int
    elapsed_s: float
    output: str


class ForkedRun:
    """Calls of the command line in a fork of this process.

    Args:
        arguments: Of one call after the other.
        folder: Operations below it are counted.
        kill: Where the run is hit; None lets it end.
        environment: Variables for the run alone.
    """

    def __init__(
        self,
        arguments: Sequence[Sequence[str]],
        folder: Path,
        kill: Kill | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._last_operation, self._counted = mmap.mmap(-1, 256), mmap.mmap(-1, 8)
        self._start_s = time.monotonic()
        self._kill = kill
        self._output = tempfile.TemporaryFile()
        self.pid = os.fork()
        if self.pid == 0:
            injector = FaultInjector(folder, kill, self._last_operation)
            _run_in_child(arguments, injector, self._counted, self._output.fileno(), environment or {})

    def end(self) -> Ended:
        """Wait for the end, hit by the clock where `kill` says so, and return how it ended.

        Raises:
            HungError: The run hangs.
        """
        by_clock = self._kill is not None and self._kill.how == "clock"
        at_s = self._start_s + self._kill.place if self._kill is not None and by_clock else None
        code = self._wait(time.monotonic() + RUN_LIMIT_S if at_s is None else at_s)
        if code is None:
            os.kill(self.pid, signal.SIGKILL)
            code = self._wait(None)
            if not by_clock:
                raise HungError(self._hung(code))
        assert code is not None
        ended = self._ended(code)
        self._output.close()
        return ended

    def await_stop(self) -> bool:
        """Wait until the run stands still, and return True; False when it ended before (call `end` then).

        Raises:
            HungError: The run hangs.
        """
        until_s = time.monotonic() + RUN_LIMIT_S
        while time.monotonic() < until_s:
            state = Path(f"/proc/{self.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
            if state == "T":
                return True
            if state == "Z":
                return False
            time.sleep(0.002)
        raise HungError(self._hung(0))

    def sleep(self, seconds: float) -> None:
        """Let it run for some time, or until it ends."""
        until_s = time.monotonic() + seconds
        while (
            time.monotonic() < until_s and os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
        ):
            time.sleep(0.002)

    @property
    def place(self) -> str:
        """Return the last operation so far."""
        return self._last_operation[: self._last_operation.find(b"\0")].decode()

    def _hung(self, code: int | None) -> str:
        return f"a run hung for {RUN_LIMIT_S:.0f} s after {self.place}, having said:\n{self._ended(code or 0).output}"

    def _ended(self, code: int) -> Ended:
        self._output.seek(0)
        text = self._output.read().decode(errors="replace")
        num_operations = int.from_bytes(self._counted[:8], "little")
        return Ended(code, self.place, num_operations, time.monotonic() - self._start_s, text)

    def _wait(self, deadline_s: float | None) -> int | None:
        while True:
            found, status = os.waitpid(self.pid, 0 if deadline_s is None else os.WNOHANG)
            if found:
                return os.waitstatus_to_exitcode(status)
            if deadline_s is not None and time.monotonic() > deadline_s:
                return None
            time.sleep(0.002)


def _run_in_child(
    arguments: Sequence[Sequence[str]],
    fault_injector: FaultInjector,
    counted: mmap.mmap,
    output: int,
    environment: Mapping[str, str],
) -> None:
    """Run the commands in the forked process; never returns."""
    code = 3
    try:
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.environ.update(environment)
        from quadrat.benchmark.learning.learner import Learner
        from quadrat.cluster.cli.main import cli

        # A checkpoint after every step: the small fits of this suite would end before the first.
        assert Learner.__init__.__kwdefaults__ is not None
        Learner.__init__.__kwdefaults__["checkpoint_every_s"] = 0.0
        fault_injector.install()
        code = 0
        for each in arguments:
            try:
                cli.main(args=list(each), prog_name="quadrat")
            except SystemExit as end:
                code = code or int(end.code or 0)
        counted[:8] = fault_injector.count.to_bytes(8, "little")
        sys.stdout.flush()
    except BaseException:
        code = 3
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)
