"""Fault injection: kill a run of quadrat before its n-th operation on disk or remote, inside a write, or by the clock.

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
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

__all__ = ["RUN_LIMIT_S", "Ended", "Kill", "kind_of", "run_once"]

RUN_LIMIT_S = 120.0


class Kill(NamedTuple):
    """Where to kill a run."""

    how: Literal["before", "inside", "clock"]
    place: float
    """Index of the operation; seconds for "clock"."""
    part: float = 0.5
    """For "inside": the share of the file that is written."""


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
            os.kill(os.getpid(), signal.SIGKILL)


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
    """How a run ended."""

    code: int
    """Exit code, or minus the signal."""
    place: str
    """Its last operation."""
    num_operations: int
    elapsed_s: float
    output: str


def run_once(
    arguments: Sequence[Sequence[str]], folder: Path, kill: Kill | None, environment: dict[str, str] | None = None
) -> Ended:
    """Call the command line in a fork of this process, once for each of `arguments`, and return how it ended."""
    last_operation, counted = mmap.mmap(-1, 256), mmap.mmap(-1, 8)
    start_s = time.monotonic()
    with tempfile.TemporaryFile() as output:
        pid = os.fork()
        if pid == 0:
            _run_in_child(
                arguments, FaultInjector(folder, kill, last_operation), counted, output.fileno(), environment or {}
            )
        deadline_s = start_s + RUN_LIMIT_S
        if kill is not None and kill.how == "clock":
            deadline_s = start_s + kill.place
        code = _wait(pid, deadline_s)
        if code is None:
            os.kill(pid, signal.SIGKILL)
            code = _wait(pid, None)
            if kill is None or kill.how != "clock":
                raise SystemExit(f"a run hung for {RUN_LIMIT_S:.0f} s")
        output.seek(0)
        text = output.read().decode(errors="replace")
    place = last_operation[: last_operation.find(b"\0")].decode()
    assert code is not None
    return Ended(code, place, int.from_bytes(counted[:8], "little"), time.monotonic() - start_s, text)


def _wait(pid: int, deadline_s: float | None) -> int | None:
    while True:
        found, status = os.waitpid(pid, 0 if deadline_s is None else os.WNOHANG)
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
    environment: dict[str, str],
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
