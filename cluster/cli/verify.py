"""The command `verify`: run a sample of published rounds again and compare."""

import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from quadrat.cluster.cli.console import say, show_progress
from quadrat.cluster.cli.options import results_argument, root_option
from quadrat.cluster.cli.places import local_copy

if TYPE_CHECKING:
    from quadrat.benchmark.results.published import Published
    from quadrat.benchmark.results.records import Record
    from quadrat.benchmark.trial.context import TrialContext
    from quadrat.benchmark.trial.verify import RoundCheck

__all__ = ["COMMANDS"]


@click.command()
@results_argument()
@click.option(
    "num_rounds", "--rounds", type=click.IntRange(min=0), default=3, show_default=True, help="Rounds to train again"
)
@click.option("is_all", "--all", is_flag=True, help="Train every round again")
@click.option("labels", "--strategy", metavar="LABEL", multiple=True, help="Only the trials of this label (repeatable)")
@click.option("seeds", "--seed", type=int, multiple=True, help="Only the trials of this seed (repeatable)")
@root_option("as in the suite")
@click.option(
    "--cache",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Packed images (compared with the data set) and frozen features to use. Default: both are made again",
)
@click.option(
    "--scratch",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Where to work; kept, so that a second call resumes. Default: a folder that is removed at the end",
)
def verify(
    results: Path | str,
    num_rounds: int,
    is_all: bool,
    labels: Sequence[str],
    seeds: Sequence[int],
    root: Path | str | None,
    cache: Path | None,
    scratch: Path | None,
) -> None:
    """Recompute published results; exit code 1 when they differ.

    Selections and costs of all rounds are checked against the records, without training. A sample of rounds (the same
    in every call; a larger one holds the smaller) is trained again from the selections, and compared field by field.
    Nothing is written to the results.
    """
    from quadrat.benchmark.results.published import read_published
    from quadrat.benchmark.trial.verify import estimate_s, open_scratch, sample
    from quadrat.cluster.progress.display import seconds

    results_dir = local_copy(results, "selections")
    published = read_published(results_dir, labels=labels, seeds=seeds, root=root)
    for line in _by_trial(published.uncheckable):
        say(f"can't be checked: {line}")
    with ExitStack() as stack:
        if scratch is None:
            scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="quadrat-verify-")))
        cache = cache.expanduser().absolute() if cache else None
        context = open_scratch(published, scratch.expanduser().absolute(), cache_dir=cache, on_pack=show_progress)
        num_faults = _check_selections(published, context)
        chosen = sample(published, None if is_all else num_rounds)
        _show_environment(results_dir, context)
        whole_s = estimate_s(published, published.rounds)
        say(
            f"{len(chosen)} of {len(published.rounds)} rounds are trained again, about "
            f"{seconds(estimate_s(published, chosen))} by the recorded seconds (all of them: {seconds(whole_s)})"
        )
        num_faults += sum(not _recompute(published, context, record) for record in chosen)
    _conclude(published, len(chosen), num_faults)


def _by_trial(lines: Sequence[str]) -> list[str]:
    """Return lines about rounds, `NAME round N: REASON`, as one for all rounds of a trial with the same reason."""
    found: dict[tuple[str, str], list[str]] = {}
    for line in lines:
        name, _, reason = line.partition(": ")
        trial, _, round_ = name.rpartition(" round ")
        found.setdefault((trial, reason) if trial else (line, ""), []).append(round_)
    return [
        f"{trial} {'round' if len(rounds) == 1 else 'rounds'} {', '.join(rounds)}: {reason}" if reason else trial
        for (trial, reason), rounds in found.items()
    ]


def _check_selections(published: "Published", context: "TrialContext") -> int:
    from quadrat.benchmark.trial.verify import check_selections

    faults = [check for check in check_selections(published, context) if check.differences]
    for check in faults:
        _show(check)
    num = len(published.rounds)
    say(f"selections and costs of {num} rounds, without training: {num - len(faults)} as recorded")
    return len(faults)


def _show_environment(results_dir: Path, context: "TrialContext") -> None:
    """List what may change the last bits of a number: only the same device, threads and libraries give equal bytes."""
    from quadrat.benchmark.results.environment import describe_environment, environment_differences
    from quadrat.benchmark.results.folder import read_environment

    there = read_environment(results_dir)
    if not there:
        say("! environment.json is not there: hardware and versions can't be compared")
        return
    differences = environment_differences(there, describe_environment(context.suite, context.device))
    for line in differences:
        say(f"! {line}")
    if differences:
        say(
            "! so the last digits may differ, and training amplifies them: a round that is trained again may have "
            "another selection and another mIoU. Equal records need the same processor, threads and libraries"
        )


def _recompute(published: "Published", context: "TrialContext", record: "Record") -> bool:
    from quadrat.benchmark.trial.verify import recompute

    check = recompute(
        published, context, record, lambda progress: show_progress(progress.phase, progress.done, progress.total)
    )
    if check.differences:
        _show(check)
        return False
    say(f"equal    {check.name}: its selection and every field of its record but seconds")
    return True


def _show(check: "RoundCheck") -> None:
    for line in check.differences:
        say(f"differs  {check.name}: {line}")


def _conclude(published: "Published", num_trained: int, num_faults: int) -> None:
    from quadrat.benchmark.reporting.formatting import counted

    left = len(published.uncheckable)
    unchecked = f"; {counted(left, 'round')} can't be checked" if left else ""
    if num_faults:
        say(f"not the same: {counted(num_faults, 'check')} found differences{unchecked}")
    elif not published.rounds:
        say(f"nothing could be checked{unchecked}")
    elif not num_trained:
        say(f"selections and costs are as recorded; no round was trained again{unchecked}")
    else:
        say(f"the same, as far as it was checked: {counted(num_trained, 'round')} trained again{unchecked}")
    sys.exit(1 if num_faults or left or not published.rounds else 0)


COMMANDS: Final = (verify,)
