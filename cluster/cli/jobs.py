"""The commands `submit`, `status` and `stop`, for jobs on a Ray cluster elsewhere."""

import json
import shlex
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from quadrat.cluster.cli.console import pasteable
from quadrat.cluster.cli.options import select_trials, suite_arguments, trial_options
from quadrat.cluster.cli.places import locate_results, open_suite

if TYPE_CHECKING:
    from quadrat.benchmark.config.suite import Suite
    from quadrat.cluster.jobs.client import Cluster, Job

__all__ = ["COMMANDS"]

_Command = TypeVar("_Command", bound=Callable[..., Any])
_DEFAULT_ADDRESS: Final = "http://127.0.0.1:8265"


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
    "--study",
    "is_study",
    is_flag=True,
    help="Search the parameters of the suite's study: `quadrat study` on the cluster",
)
@trial_options
@click.option("mlflow_uri", "--mlflow", metavar="URI|none", help="As for run; the cluster must reach it")
@click.option("--experiment", metavar="NAME", help="As for run")
@click.option("--cache", metavar="DIR", help="As for run; a path on the cluster's nodes")
@click.option("--store", metavar="DIR|URL", help="As for run; a path that all nodes share, or a URL")
@click.option(
    "variables",
    "--env",
    metavar="NAME=VALUE",
    multiple=True,
    help="Set this on the cluster, as QUADRAT_DATA=/data; no secrets, which all could read",
)
@click.option(
    "--ship/--no-ship",
    default=True,
    show_default=True,
    help="Send quadrat and the suite's plugins as they are installed here, or use those of the cluster",
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
    experiment: str | None,
    cache: str | None,
    store: str | None,
    variables: Sequence[str],
    ship: bool,
    wait: bool,
) -> None:
    """Run a suite, or its study, as a job on a Ray cluster.

    The log is followed until the job ends, and the exit code is the job's. Ctrl-C stops following, not the job. To
    resume a suite that was interrupted, submit it again with the same --results. The cluster's token is read where Ray
    reads it: RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH, or ~/.ray/auth_token.
    """
    suite = open_suite(suite_name, settings).suite
    _check_paths(suite_name, settings)
    if is_study:  # an error here, not minutes later on the cluster
        _check_study(suite, labels, seeds)
    else:
        select_trials(suite, labels, seeds)
    options = {
        "--results": _on_cluster("--results", results),
        "--mlflow": _without_secret("--mlflow", mlflow_uri, "MLFLOW_TRACKING_URI"),
        "--experiment": experiment,
        "--cache": _on_cluster("--cache", cache),
        "--store": _on_cluster("--store", store),
    }
    arguments = [f"{name}={value}" for name, value in options.items() if value is not None]
    arguments += [f"--strategy={label}" for label in labels]
    arguments += [f"--seed={seed}" for seed in seeds]
    from quadrat.benchmark.redaction import redact_argv
    from quadrat.benchmark.results.environment import COMMAND

    env = {COMMAND: shlex.join(["quadrat", *redact_argv(sys.argv[1:])]), **_variables(variables)}

    from quadrat.cluster.jobs.client import Package
    from quadrat.cluster.jobs.wheels import distributions_of, pack

    cluster = _connect(address)
    with tempfile.TemporaryDirectory(prefix="quadrat-wheels-") as folder:
        wheels = tuple(pack(name, Path(folder)) for name in distributions_of(suite)) if ship else ()
        job_id = cluster.submit(
            Package(
                command="study" if is_study else "run",
                suite_name=suite.name,
                suite_text=suite.model_dump_json(indent=1),  # resolved: files it extends are not sent; JSON is YAML
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
@click.argument("target", metavar="[JOB|SUITE|DIR|URL]", required=False)
@_address_option
@click.option("--follow", is_flag=True, help="Follow the log of JOB until it ends, and exit with its code")
@click.option("--json", "is_json", is_flag=True, help="Print one JSON object")
def status(target: str | None, address: str, follow: bool, is_json: bool) -> None:
    """Show the jobs of a cluster, or the trials in flight of one run.

    Without an argument: all jobs that were submitted. With a JOB: its trials in flight, with machine, round and phase.
    With a SUITE, its results folder DIR or a URL: the same for the run that writes there, without asking a cluster. A
    search of a study shows its candidates in flight, and how many have ended.
    """
    from quadrat.benchmark.config.suite import shipped_suites
    from quadrat.benchmark.redaction import redact_url
    from quadrat.benchmark.storage.remote import is_url
    from quadrat.cluster.cli.status_view import print_jobs, print_status

    # Ray makes the names of jobs; none is a path.
    if target is not None and (is_url(target) or Path(target).exists() or target in shipped_suites()):
        if follow:
            raise click.UsageError(f"--follow: expected a JOB, whose log there is, got results, '{target}'")
        _show_results(locate_results(target), is_json=is_json)
        return
    cluster = _connect(address)
    if target is None:
        jobs = cluster.jobs()
        if is_json:
            click.echo(json.dumps({"jobs": [_plain(job) for job in jobs]}, indent=1))
        elif jobs:
            print_jobs(jobs)
        else:
            click.echo(f"no job was submitted to {redact_url(address)}")
        return
    if follow:
        _follow(cluster, target, address)
    job = cluster.job(target)
    found = None if job.has_ended else cluster.run_status(job)
    if is_json:
        click.echo(json.dumps({**_plain(job), "run": found}, indent=1))
        return
    print_jobs([job])
    if job.has_ended:
        click.echo(f"\n{job.message}" if job.message else "")
    elif found is None:
        click.echo(f"\nits driver has not joined Ray yet; the log: quadrat status --follow {job.id}")
    else:
        print_status(found)


@click.command()
@click.argument("job_id", metavar="JOB")
@_address_option
def stop(job_id: str, address: str) -> None:
    """Stop a job, as Ctrl-C would.

    Trials in flight resume when the suite is submitted again.
    """
    cluster = _connect(address)
    job = cluster.stop(job_id)
    click.echo(f"{job.id} had {job.state}" if job.has_ended else f"{job.id} is asked to stop")


def _connect(address: str) -> "Cluster":
    from quadrat.cluster.jobs.client import Cluster, read_token

    return Cluster(address, read_token())


def _follow(cluster: "Cluster", job_id: str, address: str) -> None:
    """Follow a job's log and exit with its code."""
    from quadrat.benchmark.redaction import redact_url
    from quadrat.cluster.jobs.client import exit_code_of

    at = "" if address == _DEFAULT_ADDRESS else f" --address {redact_url(address)}"
    try:
        job = cluster.follow(job_id, lambda text: click.echo(text, nl=False))
    except KeyboardInterrupt:
        click.echo(
            f"\nthe job goes on. Look: {pasteable('status', job_id)}{at}   stop: {pasteable('stop', job_id)}{at}",
            err=True,
        )
        sys.exit(130)
    click.echo(
        f"{job_id} {job.state}" + (f": {job.message.splitlines()[0]}" if job.message and job.state == "failed" else ""),
        err=True,
    )
    sys.exit(exit_code_of(job))


def _check_study(suite: "Suite", labels: Sequence[str], seeds: Sequence[int]) -> None:
    from quadrat.benchmark.config.candidates import study_of

    study_of(suite)
    if labels or seeds:
        raise click.UsageError("--strategy and --seed: expected without --study, which runs all that it needs")


def _check_paths(suite_name: str, settings: Sequence[str]) -> None:
    """Refuse paths in the suite that mean nothing on other machines, and name those that may mean something else there.

    Raises:
        QuadratError: When a path is relative, or starts at the user's home folder.
    """
    from quadrat.benchmark.config.contents import paths_of
    from quadrat.benchmark.config.suite import load_suite
    from quadrat.benchmark.errors import QuadratError

    for key, path in paths_of(load_suite(suite_name, settings)).items():
        if not path.is_absolute():
            raise QuadratError(
                f"{key}: expected an absolute path that all nodes of the cluster have, got '{path}', which only this "
                "machine can resolve. Only suite and plugins are sent: put it on storage that the nodes share"
            )
        if path.exists():
            click.echo(f"! {key}: the nodes read {path} on the cluster; it is not sent from here", err=True)


def _on_cluster(name: str, value: str | None) -> str | None:
    from quadrat.benchmark.errors import QuadratError

    if value is None or value.startswith(("/", "~")) or "://" in value:
        return _without_secret(name, value, "AWS_PROFILE or what else the storage's library reads")
    raise QuadratError(f"{name}: expected an absolute path on the cluster, or a URL, got '{value}'")


def _variables(settings: Sequence[str]) -> dict[str, str]:
    from quadrat.benchmark.errors import QuadratError

    found = {}
    for setting in settings:
        name, separator, value = setting.partition("=")
        if not separator or not name:
            raise QuadratError(f"--env: expected NAME=VALUE, got '{setting}'")
        _without_secret("--env", setting, name)
        found[name] = value
    return found


def _without_secret(option: str, value: str | None, variable: str) -> str | None:
    """Return an argument of a job unless it holds a secret: Ray shows a job's command and variables to all who may ask.

    Args:
        option: The option, for the message.
        value: What was given.
        variable: Where the secret belongs in the environment of the nodes.
    """
    from quadrat.benchmark.errors import QuadratError
    from quadrat.benchmark.redaction import has_secret, redact

    if value is None or not has_secret(value):
        return value
    raise QuadratError(
        f"{option}: expected no password, got '{redact(value)}': `ps` here and Ray's list of jobs would show it. Set "
        f"{variable} in the environment of the nodes, before Ray starts there, or name a file on them that holds the "
        "secret (AWS_SHARED_CREDENTIALS_FILE, ~/.aws/credentials, ~/.mlflow/credentials)"
    )


def _show_results(place: Path | str, *, is_json: bool) -> None:
    """Print the status of the run that writes to a results folder or URL."""
    from quadrat.benchmark.errors import QuadratError
    from quadrat.cluster.cli.status_view import print_status
    from quadrat.cluster.progress.status import read_status

    found = read_status(place)
    if found is None:
        raise QuadratError(
            f"expected a run that writes to {place}, got none: it has ended, or was never started. What it left: "
            f"{pasteable('report', place)}"
        )
    if is_json:
        click.echo(json.dumps(found.document, indent=1))
    else:
        print_status(found.document, found.stale_s)


def _plain(job: "Job") -> dict[str, Any]:
    names = ("id", "suite", "state", "message", "started_s", "ended_s", "exit_code", "node")
    return {name: getattr(job, name) for name in names}


COMMANDS: Final = (submit, status, stop)
