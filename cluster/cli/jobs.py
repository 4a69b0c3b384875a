"""Commands for a cluster that is elsewhere: `submit`, `status` and `stop`."""

import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from quadrat.cluster.cli.options import open_suite, select_trials, suite_arguments

if TYPE_CHECKING:
    from rich.table import Table

    from quadrat.benchmark.config.suite import Suite
    from quadrat.cluster.jobs.client import Cluster, Job

__all__ = ["COMMANDS"]

_Command = TypeVar("_Command", bound=Callable[..., Any])
_DEFAULT_ADDRESS: Final = "http://127.0.0.1:8265"
_STALE_S: Final = 30.0


def _address_option(command: _Command) -> _Command:
    return click.option(
        "--address",
        metavar="URL",
        envvar="RAY_API_SERVER_ADDRESS",
        default=_DEFAULT_ADDRESS,
        show_default=True,
        help="Dashboard of the cluster. Default: $RAY_API_SERVER_ADDRESS, else this machine's",
    )(command)


@click.command()
@suite_arguments
@_address_option
@click.option(
    "--results",
    metavar="DIR|URL",
    help="Where the results belong on the cluster: an absolute path that all nodes share, or a URL. Default: "
    "$QUADRAT_RESULTS there, else ~/results/runs/<name of the suite>",
)
@click.option(
    "--study", "is_study", is_flag=True, help="Search the parameters of the suite's study: `quadrat study` over there"
)
@click.option("labels", "--strategy", metavar="LABEL", multiple=True, help="Only the trials of this label (repeatable)")
@click.option("seeds", "--seed", type=int, multiple=True, help="Only the trials of this seed (repeatable)")
@click.option("mlflow_uri", "--mlflow", metavar="URI|none", help="As for run; the cluster must reach it")
@click.option("--cache", metavar="DIR", help="As for run; a path on the cluster's nodes")
@click.option("--store", metavar="DIR|URL", help="As for run; a path that all nodes share, or a URL")
@click.option(
    "variables", "--env", metavar="NAME=VALUE", multiple=True, help="Set this on the cluster, as QUADRAT_DATA=/data"
)
@click.option(
    "--ship/--no-ship",
    default=True,
    show_default=True,
    help="Send quadrat and the suite's plugins as they are installed here; else the cluster's own are used",
)
@click.option("--wait/--no-wait", default=True, show_default=True, help="Follow the log until the job ends")
def submit(
    suite_name: str,
    settings: Sequence[str],
    address: str,
    results: str | None,
    is_study: bool,
    labels: Sequence[str],
    seeds: Sequence[int],
    mlflow_uri: str | None,
    cache: str | None,
    store: str | None,
    variables: Sequence[str],
    ship: bool,
    wait: bool,
) -> None:
    """Run a suite, or its study, on a Ray cluster elsewhere, follow its log, and exit as it does.

    Ctrl-C ends the following and not the job. A suite that was interrupted goes on when it is submitted again with the
    same --results. The cluster's token is read where Ray reads it: RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH, or
    ~/.ray/auth_token.
    """
    suite = open_suite(suite_name, settings).suite
    if is_study:  # what is wrong is said here, not minutes later on the cluster
        _check_study(suite, labels, seeds)
    else:
        select_trials(suite, labels, seeds)
    options = {
        "--results": _on_cluster("--results", results),
        "--mlflow": mlflow_uri,
        "--cache": cache,
        "--store": _on_cluster("--store", store),
    }
    arguments = [f"{name}={value}" for name, value in options.items() if value is not None]
    arguments += [f"--strategy={label}" for label in labels]
    arguments += [f"--seed={seed}" for seed in seeds]
    env = _variables(variables)

    from quadrat.cluster.jobs.client import Package
    from quadrat.cluster.jobs.wheels import distributions_of, pack

    cluster = _open(address)
    with tempfile.TemporaryDirectory(prefix="quadrat-wheels-") as folder:
        wheels = tuple(pack(name, Path(folder)) for name in distributions_of(suite)) if ship else ()
        job_id = cluster.submit(
            Package(
                command="study" if is_study else "run",
                suite_name=suite.name,
                suite_text=suite.model_dump_json(indent=1),  # resolved: what it extends may be here only; JSON is YAML
                arguments=tuple(arguments),
                wheels=wheels,
                env=env,
            )
        )
    sent = f" (sent: {', '.join(path.name for path in wheels)})" if wheels else ""
    click.echo(f"submitted {job_id}{sent}", err=True)
    if wait:
        _follow(cluster, job_id, address)
    else:
        click.echo(job_id)


@click.command()
@click.argument("target", metavar="[JOB|DIR|URL]", required=False)
@_address_option
@click.option("--follow", is_flag=True, help="Follow the log of JOB until it ends, and exit as it does")
@click.option("--json", "is_json", is_flag=True, help="Print one JSON object")
def status(target: str | None, address: str, follow: bool, is_json: bool) -> None:
    """Show the jobs of a cluster, or what runs where in one of them.

    Without an argument: all jobs that were submitted. With a JOB: its trials in flight, with machine, round and phase.
    With results, a folder DIR or a URL: the same of the run that writes there, without asking any cluster. A study that
    searches shows its candidates in flight, and how many have ended.
    """
    from quadrat.benchmark.storage.remote import is_url

    if target is not None and (is_url(target) or Path(target).is_dir()):
        if follow:
            raise click.UsageError(f"--follow: expected a JOB, whose log there is, got results, '{target}'")
        _show_results(target, is_json=is_json)
        return
    cluster = _open(address)
    if target is None:
        jobs = cluster.jobs()
        if is_json:
            click.echo(json.dumps({"jobs": [_plain(job) for job in jobs]}, indent=1))
        elif jobs:
            _print(_jobs_table(jobs))
        else:
            click.echo(f"no job was submitted to {address}")
        return
    if follow:
        _follow(cluster, target, address)
    job = cluster.job(target)
    bulletin = None if job.has_ended else cluster.bulletin(job)
    if is_json:
        click.echo(json.dumps({**_plain(job), "board": bulletin}, indent=1))
        return
    _print(_jobs_table([job]))
    if job.has_ended:
        click.echo(f"\n{job.message}" if job.message else "")
    elif bulletin is None:
        click.echo("\nits driver has not joined Ray yet; the log: quadrat status --follow " + job.id)
    else:
        _show(bulletin)


@click.command()
@click.argument("job_id", metavar="JOB")
@_address_option
def stop(job_id: str, address: str) -> None:
    """Stop a job, as Ctrl-C would: what is in flight is left where it is, and goes on when it is submitted again."""
    cluster = _open(address)
    job = cluster.stop(job_id)
    click.echo(f"{job.id} had {job.state}" if job.has_ended else f"{job.id} is asked to stop")


def _open(address: str) -> "Cluster":
    from quadrat.cluster.jobs.client import Cluster, read_token

    return Cluster(address, read_token())


def _follow(cluster: "Cluster", job_id: str, address: str) -> None:
    """Follow a job's log and exit as the job does."""
    from quadrat.cluster.jobs.client import exit_code_of

    at = "" if address == _DEFAULT_ADDRESS else f" --address {address}"
    try:
        job = cluster.follow(job_id, lambda text: click.echo(text, nl=False))
    except KeyboardInterrupt:
        click.echo(f"\nthe job goes on. Look: quadrat status {job_id}{at}   stop: quadrat stop {job_id}{at}", err=True)
        sys.exit(130)
    click.echo(
        f"{job_id} {job.state}" + (f": {job.message.splitlines()[0]}" if job.message and job.state == "failed" else ""),
        err=True,
    )
    sys.exit(exit_code_of(job))


def _check_study(suite: "Suite", labels: Sequence[str], seeds: Sequence[int]) -> None:
    from quadrat.benchmark.results.candidates import study_of

    study_of(suite)
    if labels or seeds:
        raise click.UsageError("--strategy and --seed: expected without --study, which runs all that it needs")


def _on_cluster(name: str, value: str | None) -> str | None:
    from quadrat.benchmark.errors import QuadratError

    if value is None or value.startswith(("/", "~")) or "://" in value:
        return value
    raise QuadratError(f"{name}: expected an absolute path on the cluster, or a URL, got '{value}'")


def _variables(settings: Sequence[str]) -> dict[str, str]:
    from quadrat.benchmark.errors import QuadratError

    found = {}
    for setting in settings:
        name, separator, value = setting.partition("=")
        if not separator or not name:
            raise QuadratError(f"--env: expected NAME=VALUE, got '{setting}'")
        found[name] = value
    return found


def _show_results(place: str, *, is_json: bool) -> None:
    """Print what the driver says that writes to a results folder or URL."""
    from quadrat.benchmark.errors import QuadratError
    from quadrat.benchmark.storage.remote import is_url

    bulletin, silent_s = _on_url(place) if is_url(place) else _in_folder(Path(place))
    if bulletin is None:
        raise QuadratError(
            f"expected a run that writes to {place}, got none: it has ended, or was never started. What it left: "
            f"quadrat report {place}"
        )
    if is_json:
        click.echo(json.dumps(bulletin, indent=1))
    else:
        _show(bulletin, silent_s)


def _in_folder(results_dir: Path) -> tuple[dict[str, Any] | None, float]:
    """Return what the driver of a folder wrote last, and after how many silent seconds it is taken for dead."""
    from quadrat.cluster.progress.status import read_status

    return read_status(results_dir), _STALE_S


def _on_url(url: str) -> tuple[dict[str, Any] | None, float]:
    """Return the same of results on a URL.

    Raises:
        QuadratError: When there is a driver that has not written its status yet.
    """
    from quadrat.benchmark.errors import QuadratError
    from quadrat.benchmark.results.folder import driver_of

    driver = driver_of(url)
    if driver is None:
        return None, _STALE_S
    if driver.status is None:
        raise QuadratError(
            f"{url} is in use by process {driver.pid} on {driver.host}, which has not written its status yet: look "
            f"again in {driver.renewed_every_s:.0f} s"
        )
    return driver.status, _STALE_S + 2 * driver.renewed_every_s


def _show(bulletin: dict[str, Any], silent_s: float = _STALE_S) -> None:
    """Print what a driver has said about its trials; one that has said nothing for `silent_s` is pointed at."""
    from datetime import UTC, datetime

    from quadrat.cluster.progress.display import percent, seconds

    click.echo(f"\n{bulletin['suite']}  {_progress(bulletin)}  {bulletin['results']}")
    age_s = (datetime.now(UTC) - datetime.fromisoformat(bulletin["written_at"])).total_seconds()
    if bulletin["state"] == "running" and age_s > silent_s:
        click.echo(f"! its driver has said nothing for {seconds(age_s)}: it was killed, or hangs")
    if not bulletin["in_flight"]:
        click.echo(bulletin["activity"])
        return
    table = _table(
        ("trial", "left"), ("seed", "right"), ("round", "right"), ("phase", "left"), ("mIoU", "right"),
        ("elapsed", "right"), ("left", "right"), ("machine", "left"), ("node", "left"), ("pid", "right"),
    )  # fmt: skip
    for row in bulletin["in_flight"]:
        steps = f" {row['done']}/{row['total']}" if row["total"] else ""
        phase = "waiting for a shared fit" if row["phase"] == "wait" else row["phase"] + steps
        table.add_row(
            row["label"],
            str(row["seed"]),
            f"{row['round'] + 1}/{row['num_rounds']}",
            phase,
            percent(row["miou"]),
            seconds(row["elapsed_s"]),
            seconds(row["left_s"]),
            row["host"],
            row["node"][:8],
            str(row["pid"] or ""),
        )
    _print(table)


def _progress(bulletin: dict[str, Any]) -> str:
    """Return how far a run is; a search is counted in candidates, whose rounds nobody knows before they are pruned."""
    from quadrat.cluster.progress.display import seconds

    elapsed = f"{seconds(bulletin['elapsed_s'])} elapsed"
    if (candidates := bulletin.get("candidates")) is not None:
        failed = f", {candidates['failed']} of them failed" if candidates["failed"] else ""
        return f"{candidates['ended']}/{candidates['num']} candidates have ended{failed}  {elapsed}"
    trials, rounds = bulletin["trials"], bulletin["rounds"]
    failed = f", {trials['failed']} failed" if trials["failed"] else ""
    return (
        f"{trials['complete']}/{trials['num']} trials{failed}  {rounds['done']}/{rounds['num']} rounds  "
        f"{elapsed}, {seconds(bulletin['left_s'])} left"
    )


def _jobs_table(jobs: Sequence["Job"]) -> "Table":
    from quadrat.cluster.progress.display import seconds

    table = _table(("job", "left"), ("suite", "left"), ("state", "left"), ("since", "left"), ("took", "right"))
    for job in jobs:
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(job.started_s)) if job.started_s else "-"
        took = seconds((job.ended_s or time.time()) - job.started_s) if job.started_s else "-"
        state = job.state if job.exit_code is None else f"{job.state} ({job.exit_code})"
        table.add_row(job.id, job.suite or "-", state, since, took)
    return table


def _plain(job: "Job") -> dict[str, Any]:
    names = ("id", "suite", "state", "message", "started_s", "ended_s", "exit_code", "node")
    return {name: getattr(job, name) for name in names}


def _table(*columns: tuple[str, Any]) -> "Table":
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name, justify in columns:
        table.add_column(name, justify=justify, no_wrap=True)
    return table


def _print(part: object) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    (console if console.is_terminal else Console(highlight=False, width=200)).print(part)


COMMANDS: Final = (submit, status, stop)
