"""Tables of `quadrat status`: the jobs of a cluster, and the trials in flight of a run."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

import click
from rich.table import Table

from quadrat.cluster.cli.console import make_table, print_part, text_columns
from quadrat.cluster.progress.display import WIDE, percent, seconds
from quadrat.cluster.progress.status import STALE_S

if TYPE_CHECKING:
    from quadrat.cluster.jobs.client import Job

__all__ = ["print_jobs", "print_status", "totals"]


def print_jobs(jobs: Sequence["Job"]) -> None:
    """Print a line for each job."""
    table = _table(("job", "left"), ("suite", "left"), ("state", "left"), ("since", "left"), ("took", "right"))
    for job in jobs:
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(job.started_s)) if job.started_s else "-"
        took = seconds((job.ended_s or time.time()) - job.started_s) if job.started_s else "-"
        state = job.state if job.exit_code is None else f"{job.state} ({job.exit_code})"
        table.add_row(job.id, job.suite or "-", state, since, took)
    print_part(table)


def print_status(status: dict[str, Any], stale_s: float = STALE_S) -> None:
    """Print the status of a run: its totals, and a line for each trial in flight.

    Args:
        status: Content of the status file.
        stale_s: Age in seconds from which on its driver is reported as silent.
    """
    click.echo(f"\n{status['suite']}  {totals(status)}  {status['results']}")
    age_s = (datetime.now(UTC) - datetime.fromisoformat(status["written_at"])).total_seconds()
    if status["state"] == "running" and age_s > stale_s:
        click.echo(f"! its driver has not written its status for {seconds(age_s)}: it was killed, or hangs")
    if not status["in_flight"]:
        click.echo(status["activity"])
        return
    is_wide = (text_columns() or WIDE) >= WIDE
    columns: list[tuple[str, Literal["left", "right"]]] = [
        ("trial", "left"), ("seed", "right"), ("round", "right"), ("phase", "left"), ("mIoU", "right"),
        ("left", "right"), ("machine", "left"),
    ]  # fmt: skip
    if is_wide:
        columns += [("elapsed", "right"), ("node", "left"), ("pid", "right")]
    table = _table(*columns)
    for row in status["in_flight"]:
        steps = f" {row['done']}/{row['total']}" if row["total"] else ""
        phase = "waiting for a shared fit" if row["phase"] == "wait" else row["phase"] + steps
        table.add_row(
            row["label"],
            str(row["seed"]),
            f"{row['round']}/{row['num_rounds'] - 1}",
            phase,
            percent(row["miou"]),
            seconds(row["left_s"]),
            row["host"],
            *([seconds(row["elapsed_s"]), row["node"][:8], str(row["pid"] or "")] if is_wide else []),
        )
    print_part(table)


def totals(status: dict[str, Any]) -> str:
    """Return how far a run is; a search is counted in candidates, since pruning leaves their rounds open."""
    elapsed = f"{seconds(status['elapsed_s'])} elapsed"
    if (candidates := status.get("candidates")) is not None:
        failed = f", {candidates['failed']} of them failed" if candidates["failed"] else ""
        return f"{candidates['ended']}/{candidates['num']} candidates have ended{failed}  {elapsed}"
    trials, rounds = status["trials"], status["rounds"]
    failed = f", {trials['failed']} failed" if trials["failed"] else ""
    return (
        f"{trials['complete']}/{trials['num']} trials{failed}  {rounds['done']}/{rounds['num']} rounds  "
        f"{elapsed}, {seconds(status['left_s'])} left"
    )


def _table(*columns: tuple[str, Literal["left", "right"]]) -> Table:
    table = make_table()
    for name, justify in columns:
        table.add_column(name, justify=justify, no_wrap=True)
    return table
