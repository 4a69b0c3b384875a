"""Stories of one command at a time: it is killed, in a fork of this process, until one run reaches the end.

Places of a kill are all operations on the file system that an uninterrupted run makes (before it; at an fsync also with
the file truncated, as a kill inside the write leaves it), every call to a URL, every step of every phase, and instants
on the clock. With results on a URL, the local files are lost too after half of the kills, as with the machine.
"""

import os
import random
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import yaml

from support.chaos.check import Fault, faults, file_faults, mlflow_faults
from support.chaos.forked_run import ForkedRun, Kill
from support.chaos.servers import Network, s3_bucket
from support.chaos.tally import Tally
from support.tiny_suite import TINY_SUITE

__all__ = [
    "SUITE",
    "TRIALS",
    "Place",
    "partitions",
    "pauses",
    "reports",
    "shapes",
    "tracks",
    "trials",
    "trials_on_files",
    "trials_on_s3",
]

SUITE = {**TINY_SUITE, "learner": {**TINY_SUITE["learner"], "iterations": 4}}
TRIALS = ("random", "entropy-spatial")
SHAPES = {
    **SUITE,
    "regions": "slic",
    "labels": ["dominant", "multi-class"],
    "strategies": ["entropy-spatial", {"name": "ensemble-entropy", "labels": "dominant"}],
    "budgets": [6, 12],
    "learner": {**SUITE["learner"], "iterations": 2, "pseudo_labels": True},
}
SHAPES_TRIALS = ("entropy-spatial dominant", "entropy-spatial multi-class", "ensemble-entropy dominant")
LEASE_S = 4.0


class Place(NamedTuple):
    """Where a scenario lies."""

    argument: str
    """Value of --results: `folder` or a URL."""
    folder: Path
    """Parent of all local files."""
    bucket: Any = None
    """Bucket of results on S3."""

    def environment(self, machine: int) -> dict[str, str]:
        """Return the environment variables of a run on machine number `machine`."""
        if self.argument == str(self.folder):
            return {}
        return {"QUADRAT_WORK": str(self.folder / f"machine-{machine}"), "QUADRAT_LEASE_S": f"{LEASE_S}"}

    def collected(self) -> Path:
        """Return a folder with the results, downloaded if they are on S3."""
        if self.argument == str(self.folder):
            return self.folder
        if self.bucket is None:
            return Path(self.argument.removeprefix("file://"))
        folder = self.folder / "collected"
        prefix = self.argument.split("/", 3)[3] + "/"
        for item in self.bucket.objects.filter(Prefix=prefix):
            path = folder / item.key.removeprefix(prefix)
            path.parent.mkdir(parents=True, exist_ok=True)
            self.bucket.download_file(item.key, str(path))
        return folder


@dataclass(frozen=True)
class Story:
    """What is run and killed, and what must be there in the end."""

    commands: Callable[[Place], list[list[str]]]
    faults: Callable[[Place], list[Fault]]
    place: Callable[[str], Place]
    prepare: Callable[[Place], object] = lambda place: None


def run_trials(suite: Path, results: str, labels: Sequence[str] = TRIALS) -> list[list[str]]:
    """Return the command lines of all trials."""
    return [["trial", str(suite), "--strategy", label, "--seed", "0", "--results", results] for label in labels]


def write_reference(work: Path, values: Mapping[str, Any] = SUITE, labels: Sequence[str] = TRIALS) -> tuple[Path, Path]:
    """Run a suite undisturbed in a folder, and return suite and folder."""
    suite, reference = work / "suite.yaml", work / "reference"
    suite.write_text(yaml.safe_dump(dict(values)), encoding="utf-8")
    _undisturbed(run_trials(suite, str(reference), labels), reference)
    return suite, reference


def _undisturbed(commands: list[list[str]], folder: Path, environment: dict[str, str] | None = None) -> None:
    ended = ForkedRun(commands, folder, environment=environment).end()
    if ended.code:
        raise SystemExit(f"the undisturbed run failed:\n{ended.output}")


def kill_until_it_ends(story: Story, tally: Tally, num_kills: int, rng: random.Random) -> None:
    """Kill the runs of one scenario after the other until `num_kills` kills have hit."""
    first_place = story.place("undisturbed")
    story.prepare(first_place)
    whole = ForkedRun(story.commands(first_place), first_place.folder, environment=first_place.environment(0)).end()
    if whole.code or (found := story.faults(first_place)):
        raise SystemExit(f"the undisturbed run is wrong:\n{whole.output}\n{'' if whole.code else found}")
    tally.say(f"undisturbed: {whole.num_operations} places, {whole.elapsed_s:.1f} s")
    while tally.num_kills < num_kills and not tally.is_over:
        place = story.place(f"scenario-{tally.num_scenarios}")
        story.prepare(place)
        # The first kills of the scenarios go through the whole run in order, so that no phase is left out by chance.
        share = tally.num_kills / num_kills
        first, last, left, machine = share, min(1.0, share + 0.1), rng.randrange(1, 5), 0
        while True:
            kill = None
            if left and tally.num_kills < num_kills:
                kill = draw_kill(rng, first, last, whole.elapsed_s, whole.num_operations)
            run = ForkedRun(story.commands(place), place.folder, kill, place.environment(machine))
            ended = run.end()
            if ended.code != -signal.SIGKILL:
                break
            assert kill is not None
            left -= 1
            first, last = 0.0, 0.7
            tally.kill(("by the clock, after: " if kill.how == "clock" else "") + ended.place, ended.code)
            if place.environment(0) and rng.random() < 0.5:
                shutil.rmtree(place.folder / f"machine-{machine}", ignore_errors=True)
                machine += 1
        tally.end(place.folder, ended.code, ended.output, partial(story.faults, place))


def draw_kill(rng: random.Random, first: float, last: float, run_s: float, num_operations: int) -> Kill:
    """Draw a place between two parts (0..1) of a whole run's operations; a quarter of the kills go by the clock."""
    how = rng.choices(("before", "inside", "clock"), (2, 1, 1))[0]
    part = first + (last - first) * rng.random()
    if how == "clock":
        return Kill("clock", part * run_s)
    return Kill(how, int(part * num_operations), rng.random())  # type: ignore[arg-type]


def trials(work: Path, tally: Tally, num_kills: int, rng: random.Random) -> None:
    """Kill `quadrat trial` with its results in a folder."""
    suite, reference = write_reference(work)
    story = Story(
        commands=lambda place: run_trials(suite, place.argument),
        faults=partial(_collected_faults, reference),
        place=lambda name: Place(str(work / name), work / name),
    )
    kill_until_it_ends(story, tally, num_kills, rng)


def shapes(work: Path, tally: Tally, num_kills: int, rng: random.Random) -> None:
    """Kill trials on superpixels with dominant and multi-class labels, one of them with an ensemble."""
    suite, reference = write_reference(work, SHAPES, SHAPES_TRIALS)
    story = Story(
        commands=lambda place: run_trials(suite, place.argument, SHAPES_TRIALS),
        faults=partial(_map_faults, reference),
        place=lambda name: Place(str(work / name), work / name),
    )
    kill_until_it_ends(story, tally, num_kills, rng)


def _map_faults(reference: Path, place: Place) -> list[Fault]:
    """Return what is wrong with records and selections, and with the packed map of regions."""
    expected, got = (
        {path.parent.name: path.read_bytes() for path in sorted(folder.glob("cache/packed/*/regions-*/ids.bin"))}
        for folder in (reference, place.folder)
    )
    found = [Fault("lost", f"region map {name}") for name in expected if name not in got]
    found += [Fault("left over", f"region map {name}") for name in got if name not in expected]
    found += [Fault("different", f"region map {name}") for name in expected.keys() & got if expected[name] != got[name]]
    return (
        found
        + ([] if expected else [Fault("lost", "no region map in the reference")])
        + faults(reference, place.folder)
    )


def trials_on_files(work: Path, tally: Tally, num_kills: int, rng: random.Random) -> None:
    """Kill `quadrat trial` with its results at a `file://` URL."""
    suite, reference = write_reference(work)
    story = Story(
        commands=lambda place: run_trials(suite, place.argument),
        faults=partial(_collected_faults, reference),
        place=lambda name: Place(f"file://{work / name}/there", work / name),
    )
    kill_until_it_ends(story, tally, num_kills, rng)


def trials_on_s3(work: Path, tally: Tally, num_kills: int, rng: random.Random) -> None:
    """Kill `quadrat trial` with its results on an S3-compatible server."""
    suite, reference = write_reference(work)
    with s3_bucket() as bucket:
        story = Story(
            commands=lambda place: run_trials(suite, place.argument),
            faults=partial(_collected_faults, reference),
            place=lambda name: Place(f"s3://{bucket.name}/{name}", work / name, bucket),
        )
        kill_until_it_ends(story, tally, num_kills, rng)


def reports(work: Path, tally: Tally, num_kills: int, rng: random.Random) -> None:
    """Kill `quadrat report`; in the end its files are those of a report that nobody disturbed."""
    _, reference = write_reference(work)

    def found(place: Place) -> list[Fault]:
        fresh = place.folder / "fresh"
        _undisturbed([["report", str(place.folder), "--out", str(fresh)]], fresh)
        return file_faults(fresh, place.folder / "report") + faults(reference, place.folder)

    story = Story(
        commands=lambda place: [["report", place.argument]],
        faults=found,
        place=lambda name: Place(str(work / name), work / name),
        prepare=lambda place: shutil.copytree(reference, place.folder),
    )
    kill_until_it_ends(story, tally, num_kills, rng)


def tracks(work: Path, tally: Tally, num_kills: int, rng: random.Random) -> None:
    """Kill `quadrat track` while it makes MLflow's embedded store and fills it."""
    _, reference = write_reference(work)
    whole = work / "tracked"
    shutil.copytree(reference, whole)
    _undisturbed([["track", str(whole)]], whole)
    story = Story(
        commands=lambda place: [["track", place.argument]],
        faults=lambda place: mlflow_faults(whole, place.folder) + faults(reference, place.folder),
        place=lambda name: Place(str(work / name), work / name),
        prepare=lambda place: shutil.copytree(reference, place.folder),
    )
    kill_until_it_ends(story, tally, num_kills, rng)


@contextmanager
def _two_machines(work: Path) -> Iterator[tuple[Path, Path, Any]]:
    suite, reference = write_reference(work)
    with s3_bucket() as bucket:
        yield suite, reference, bucket


def pauses(work: Path, tally: Tally, num_kills: int, rng: random.Random) -> None:
    """Suspend a machine at a drawn place for longer than its lease; another one takes over; then the first wakes up."""
    with _two_machines(work) as (suite, reference, bucket):
        whole = Place(f"s3://{bucket.name}/undisturbed", work / "undisturbed", bucket)
        ended = ForkedRun(run_trials(suite, whole.argument), whole.folder, environment=whole.environment(0)).end()
        while tally.num_kills < num_kills and not tally.is_over:
            name = f"scenario-{tally.num_scenarios}"
            place = Place(f"s3://{bucket.name}/{name}", work / name, bucket)
            commands = run_trials(suite, place.argument)
            kill = Kill("before", rng.randrange(ended.num_operations), signal=signal.SIGSTOP)
            first = ForkedRun(commands, place.folder, kill, place.environment(0))
            stands_still = first.await_stop()
            second = ForkedRun(commands, place.folder, environment=place.environment(1)).end()
            if stands_still:
                os.kill(first.pid, signal.SIGCONT)
                woken = first.end()
                tally.kill(f"suspended at: {woken.place if woken.code else 'its end'}", woken.code)
                _check_stopped(tally, place, woken.code, woken.output)
            else:
                first.end()
            tally.end(place.folder, second.code, second.output, partial(_collected_faults, reference, place))


def partitions(work: Path, tally: Tally, num_kills: int, rng: random.Random) -> None:
    """Cut a machine off its S3 server at a drawn instant; another one takes over; then the network heals."""
    with _two_machines(work) as (suite, reference, bucket):
        network = Network(urlsplit(os.environ["AWS_ENDPOINT_URL"]).port or 0)
        whole = Place(f"s3://{bucket.name}/undisturbed", work / "undisturbed", bucket)
        ended = ForkedRun(run_trials(suite, whole.argument), whole.folder, environment=whole.environment(0)).end()
        while tally.num_kills < num_kills and not tally.is_over:
            name = f"scenario-{tally.num_scenarios}"
            place = Place(f"s3://{bucket.name}/{name}", work / name, bucket)
            commands = run_trials(suite, place.argument)
            through = {**place.environment(0), "AWS_ENDPOINT_URL": network.url}
            first = ForkedRun(commands, place.folder, environment=through)
            first.sleep(rng.random() * ended.elapsed_s)
            network.cut()
            where = first.place
            second = ForkedRun(commands, place.folder, environment=place.environment(1)).end()
            network.heal()
            cut_off = first.end()
            tally.kill(f"cut off after: {where if cut_off.code else 'its end'}", cut_off.code)
            _check_stopped(tally, place, cut_off.code, cut_off.output)
            tally.end(place.folder, second.code, second.output, partial(_collected_faults, reference, place))
        network.close()


def _collected_faults(reference: Path, place: Place) -> list[Fault]:
    return faults(reference, place.collected())


def _check_stopped(tally: Tally, place: Place, code: int, output: str) -> None:
    """Note a fault unless a driver that lost its lease said so, without a traceback."""
    if code and ("Traceback" in output or "taken over" not in output):
        tally.faults.append(Fault("ended wrongly", f"{place.folder.name}: exit code {code}, and said:\n{output}"))
