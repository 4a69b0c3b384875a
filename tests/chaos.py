"""Chaos: kill quadrat again and again, run the same command again, and compare with a run that was never killed.

    python tests/chaos.py --kills 100

A story is a results folder: its runs are killed with SIGKILL at a drawn place, again and again, until one reaches the
end. Places are every operation on the file system that the uninterrupted run made (before it; at an fsync also with the
file cut to a part of its length, which is what a kill inside the write leaves), every step of every phase, and instants
on the clock. Then records, selections and leftovers are compared. Exit code 1 on any difference.

The runs are forks of this process, which has imported everything and done nothing: a run takes a second instead of
ten, and the code that is killed is the code that users run. What counts operations lives here: an audit hook of the
interpreter and a wrapped `os.fsync`.
"""

import argparse
import json
import mmap
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import yaml
from conftest import TINY_SUITE

from quadrat.benchmark.comparison import differences

SUITE = {**TINY_SUITE, "learner": {**TINY_SUITE["learner"], "iterations": 4}}
TRIALS = ("random", "entropy-spatial")
_RUN_LIMIT_S = 120.0


# ------------------------------------------------------------------------------------------------ where a run is killed


class Kill(NamedTuple):
    """Where a run is to die."""

    how: Literal["before", "inside", "clock"]
    place: float
    """Number of the operation, counted from 0; seconds for "clock"."""
    part: float = 0.5
    """For "inside": the part of the file that was written."""


@dataclass(eq=False)
class Saboteur:
    """Counts what a run does under `folder`, and kills it where `kill` says. Lives in the forked run alone."""

    folder: Path
    kill: Kill | None
    note: mmap.mmap
    count: int = 0

    def install(self) -> None:
        os.fsync = self._wrapped_fsync(os.fsync)  # type: ignore[assignment]
        sys.addaudithook(self._hear)
        from quadrat.cluster.journal import Journal

        told = Journal.progress

        def progress(journal: Journal, progress: Any) -> None:
            told(journal, progress)
            self._at(f"phase {progress.phase}")

        Journal.progress = progress  # type: ignore[method-assign]

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
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
                    # What is on its way when a writer dies inside its write: the beginning of the file, for a log the
                    # beginning of its last line.
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
        self.note[: len(line) + 1] = line + b"\0"
        if is_here:
            os.kill(os.getpid(), signal.SIGKILL)


def kind_of(path: str) -> str:
    """Return what kind of file lies at a path relative to a results folder: its table row."""
    path, num_temporary = re.subn(r"(^|/)\.([^/]+)\.[0-9a-f]{8}-\d+-[0-9a-f]{8}\.tmp", r"\1\2", path)
    parts = Path(path).parts
    temporary = " (temporary)" if num_temporary else ""
    if parts and parts[0] in ("store", "cache"):
        return "/".join(parts[:2]) + temporary
    return (parts[0] if parts else ".") + temporary


# ------------------------------------------------------------------------------------------------------ running one run


class Ended(NamedTuple):
    """How a run ended."""

    code: int
    """Exit code, or minus the signal."""
    place: str
    """The last operation before its end."""
    num_operations: int
    elapsed_s: float
    output: str


def run_once(
    arguments: Sequence[Sequence[str]], folder: Path, kill: Kill | None, environment: dict[str, str] | None = None
) -> Ended:
    """Call the command line in a fork of this process, once for each of `arguments`, and return how that ended."""
    note, counted = mmap.mmap(-1, 256), mmap.mmap(-1, 8)
    start_s = time.monotonic()
    with tempfile.TemporaryFile() as output:
        pid = os.fork()
        if pid == 0:
            _be_the_run(arguments, Saboteur(folder, kill, note), counted, output.fileno(), environment or {})
        deadline_s = start_s + _RUN_LIMIT_S
        if kill is not None and kill.how == "clock":
            deadline_s = start_s + kill.place
        code = _wait(pid, deadline_s)
        if code is None:
            os.kill(pid, signal.SIGKILL)
            code = _wait(pid, None)
            if kill is None or kill.how != "clock":
                raise SystemExit(f"a run hung for {_RUN_LIMIT_S:.0f} s")
        output.seek(0)
        text = output.read().decode(errors="replace")
    place = note[: note.find(b"\0")].decode()
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


def _be_the_run(
    arguments: Sequence[Sequence[str]],
    saboteur: Saboteur,
    counted: mmap.mmap,
    output: int,
    environment: dict[str, str],
) -> None:
    """Be the process that is killed; never returns."""
    code = 3
    try:
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.environ.update(environment)
        from quadrat.benchmark.learning.learner import Learner
        from quadrat.cluster.cli import cli

        # A checkpoint after every step: the small fits of this suite would be over before the first.
        assert Learner.__init__.__kwdefaults__ is not None
        Learner.__init__.__kwdefaults__["checkpoint_every_s"] = 0.0
        saboteur.install()
        code = 0
        for each in arguments:
            try:
                cli.main(args=list(each), prog_name="quadrat")
            except SystemExit as end:
                code = code or int(end.code or 0)
        counted[:8] = saboteur.count.to_bytes(8, "little")
        sys.stdout.flush()
    except BaseException:
        code = 3
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


# ------------------------------------------------------------------------------------------------ what has to be equal


def records_without_seconds(folder: Path) -> list[str]:
    """Return the lines of records.jsonl, each with its `seconds` cut out of the text: all other bytes stay."""
    lines = (folder / "records.jsonl").read_text(encoding="utf-8").splitlines()
    return [re.sub(r', "seconds": \{[^}]*\}', "", line) for line in lines]


def faults(reference: Path, folder: Path) -> list[str]:
    """Return what is wrong with `folder`, one line each; none when it equals `reference`."""
    lines = list(differences(reference, folder))  # what `quadrat compare` prints
    expected, got = records_without_seconds(reference), records_without_seconds(folder)
    if expected != got:
        lines.append(f"records.jsonl: expected {len(expected)} lines, got {len(got)}, or other bytes in them")
    keys = Counter((json.loads(line)["trial_id"], json.loads(line)["round"]) for line in got)
    lines += [f"{key} is there {number} times" for key, number in keys.items() if number > 1]
    for path in sorted((reference / "selections").rglob("*.npz")):
        other = folder / path.relative_to(reference)
        if not other.is_file():
            lines.append(f"{other}: missing")
            continue
        with np.load(path) as first, np.load(other) as second:
            names = set(first.files) - {"score_s", "select_s"}
            lines += [f"{other}: {name} differs" for name in names if first[name].tobytes() != second[name].tobytes()]
    lines += [f"left over: {path.relative_to(folder)}" for path in sorted(folder.rglob("*.tmp"))]
    lines += [f"left over: {path.relative_to(folder)}" for path in sorted((folder / "store/partial").glob("*"))]
    if (folder / "failures.jsonl").exists():
        lines.append("failures.jsonl is there")
    return lines


# ------------------------------------------------------------------------------------------------------------- stories


class Tally:
    """What happened so far."""

    def __init__(self) -> None:
        self.kills: Counter[str] = Counter()
        self.num_stories = 0
        self.faults: list[str] = []

    @property
    def num_kills(self) -> int:
        return sum(self.kills.values())

    def table(self) -> str:
        width = max(map(len, self.kills), default=0)
        return "\n".join(f"{place:<{width}}  {number:>4}" for place, number in sorted(self.kills.items()))


def draw_kill(rng: random.Random, first: float, last: float, run_s: float) -> Kill:
    """Draw a place between two parts (0..1) of a whole run's operations; a quarter of the kills go by the clock."""
    how = rng.choices(("before", "inside", "clock"), (2, 1, 1))[0]
    part = first + (last - first) * rng.random()
    return Kill(how, part, rng.random()) if how != "clock" else Kill(how, part * run_s)  # type: ignore[arg-type]


def tell_stories(work: Path, num_kills: int, rng: random.Random, say: Callable[[str], None]) -> Tally:
    """Kill `quadrat trial` until `num_kills` kills have hit, and compare every story with the uninterrupted run."""
    suite = work / "suite.yaml"
    suite.write_text(yaml.safe_dump(SUITE), encoding="utf-8")

    def commands(folder: Path) -> list[list[str]]:
        return [["trial", str(suite), "--strategy", name, "--seed", "0", "--results", str(folder)] for name in TRIALS]

    reference = work / "reference"
    whole = run_once(commands(reference), reference, None)
    if whole.code:
        raise SystemExit(f"the uninterrupted run failed:\n{whole.output}")
    say(f"uninterrupted: {whole.num_operations} places to be killed at, {whole.elapsed_s:.1f} s")
    tally = Tally()
    while tally.num_kills < num_kills:
        folder = work / f"story-{tally.num_stories}"
        # The first kill of each story goes through the whole run in order, so that no phase is left out by chance.
        share = tally.num_kills / num_kills
        first, last, left = share, min(1.0, share + 0.1), rng.randrange(1, 5)
        while True:
            kill = None
            if left and tally.num_kills < num_kills:
                kill = draw_kill(rng, first, last, whole.elapsed_s)
                if kill.how != "clock":
                    kill = kill._replace(place=int(kill.place * whole.num_operations))
            ended = run_once(commands(folder), folder, kill)
            if ended.code != -signal.SIGKILL:
                break
            left -= 1
            first, last = 0.0, 0.7
            assert kill is not None
            tally.kills[f"{'by the clock, after: ' if kill.how == 'clock' else ''}{ended.place}"] += 1
        tally.num_stories += 1
        found = faults(reference, folder) if ended.code == 0 else [f"exit code {ended.code}:\n{ended.output}"]
        if found:
            tally.faults += [f"{folder.name}: {line}" for line in found]
            say(f"{folder.name} DIFFERS, kept at {folder}")
        else:
            shutil.rmtree(folder)
        if tally.num_stories % 10 == 0:
            say(f"{tally.num_kills} kills in {tally.num_stories} stories, {len(tally.faults)} faults")
    return tally


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=100, help="kills of the foreground process (default 100)")
    parser.add_argument("--seed", type=int, default=0, help="of the places that are drawn (default 0)")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="where to work; default: a folder that is removed")
    options = parser.parse_args()
    # Imported before the forks; nothing of it may compute here: threads of torch do not survive a fork.
    import quadrat.benchmark.learning.learner
    import quadrat.cluster.driver
    import quadrat.cluster.engine  # noqa: F401

    start_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="chaos-") as scratch:
        work = options.keep.absolute() if options.keep else Path(scratch)
        work.mkdir(parents=True, exist_ok=True)
        tally = tell_stories(work, options.kills, random.Random(options.seed), lambda text: print(text, flush=True))
        print(f"\nwhere the kills fell\n{tally.table()}")
        for line in tally.faults:
            print(f"FAULT {line}")
        print(
            f"\n{tally.num_kills} kills in {tally.num_stories} stories, {time.monotonic() - start_s:.0f} s: "
            + (f"{len(tally.faults)} faults" if tally.faults else "records equal, none lost, none doubled")
        )
        return 1 if tally.faults else 0


if __name__ == "__main__":
    sys.exit(main())
