"""Commands on results folders: `report`, `stats`, `track`, `publish` and `compare`."""

import shlex
import sys
import tempfile
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Final

import click

from quadrat.cluster.cli.console import pasteable, say, text_columns
from quadrat.cluster.cli.extras import require_extras
from quadrat.cluster.cli.options import experiment_option, mlflow_option, results_argument, tracking_of, trackio_option
from quadrat.cluster.cli.places import local_copy, remote_of

__all__ = ["COMMANDS"]


@click.command()
@results_argument()
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder of the report. Default: report/ in the results folder",
)
@click.option(
    "--readme",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Put headline, curves and table between the markers <!-- results:start --> and <!-- results:end --> of FILE",
)
@click.option(
    "--cache",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="Cache folder of another run on the same images, for the galleries where these results have none",
)
@click.option("--page-only", is_flag=True, help="Write no files/ and no links to it, for a page that is sent alone")
def report(results: Path | str, out: Path | None, readme: Path | None, cache: Path | None, page_only: bool) -> None:
    """Write the HTML report of a results folder.

    Its figures (SVG, PDF) and tables (CSV, LaTeX) lie beside it in files/.
    """
    if readme is not None and page_only:
        raise click.UsageError("--readme shows a figure of files/, which --page-only leaves out: give one of them")
    require_extras(["report"], what="quadrat report")
    from quadrat.benchmark.reporting import update_readme, write_report
    from quadrat.benchmark.results.lock import upload_report

    folder = local_copy(results, "selections", "previews")
    page = write_report(folder, out, cache_dir=cache, page_only=page_only)
    if readme is not None:
        update_readme(readme, folder, page)
    if out is None and (remote := remote_of(results)) is not None:
        upload_report(remote, folder, page.parent.name)
    click.echo(page)


@click.command()
@results_argument()
@click.option(
    "cost_key",
    "--cost",
    metavar="COST",
    help="Cost of labels in exploratory numbers: regions, labelled-fraction, clicks or images-opened. Default: "
    "labelled-fraction. Implies --all",
)
@click.option(
    "--all", "is_all", is_flag=True, help="p-values, seeds needed, exploratory findings and limitations as well"
)
@click.option("--json", "is_json", is_flag=True, help="All statistics as JSON instead of sentences")
def stats(results: Path | str, cost_key: str | None, is_all: bool, is_json: bool) -> None:
    """Print the statistical comparison of a results folder.

    Which strategies are significantly better than Random over labelled pixels and over clicks, and by how much. With
    --all also p-values, how many seeds would decide the open comparisons, limitations, and exploratory numbers, such
    as the cost to reach a share of full supervision.
    """
    import json

    from quadrat.benchmark.analysis.analyse import analyse
    from quadrat.benchmark.redaction import redact
    from quadrat.benchmark.reporting.text import as_brief_text, as_json, as_text, cost_of_key
    from quadrat.benchmark.results.trials import read_results

    cost = cost_of_key("labelled-fraction" if cost_key is None else cost_key)
    found = read_results(local_copy(results))
    if is_json:
        click.echo(json.dumps(as_json(analyse(found, cost)), indent=1))
    elif is_all or cost_key is not None:
        click.echo(as_text(found, cost, text_columns()), nl=False)
    else:
        more = pasteable("stats", redact(str(results)), "--all")
        click.echo(as_brief_text(found, text_columns(), more), nl=False)


@click.command()
@results_argument()
@mlflow_option
@experiment_option
@trackio_option
def track(results: Path | str, mlflow_uri: str | None, experiment: str | None, trackio: str | None) -> None:
    """Log a results folder to MLflow (and Trackio), from its files.

    Doing it twice changes nothing.
    """
    from quadrat.benchmark.errors import QuadratError
    from quadrat.benchmark.redaction import redact
    from quadrat.benchmark.reporting.formatting import counted
    from quadrat.benchmark.results.folder import read_suite_json
    from quadrat.benchmark.results.lock import lock_results
    from quadrat.benchmark.tracking.addresses import default_uri, runs_page
    from quadrat.benchmark.tracking.writer import log_results

    logs_to_mlflow, uri = tracking_of(mlflow_uri)
    if not logs_to_mlflow and not trackio:
        raise QuadratError("--mlflow: expected a tracking URI, got 'none'; leave it out for the store in the folder")
    require_extras(["tracking"] * logs_to_mlflow + ["trackio"] * bool(trackio), what="quadrat track")
    results_dir = local_copy(results)
    if trackio:
        _track_in_trackio(results_dir, results, trackio)
    if not logs_to_mlflow:
        return
    uri = uri or default_uri(results_dir)
    read_suite_json(results_dir)
    # Locked: a suite that runs at the same time would create the same MLflow runs again.
    with lock_results(results_dir, remote_of(results)):
        try:
            num_trials = log_results(
                results_dir, uri, warn=partial(click.echo, err=True), experiment=experiment or None
            )
        except QuadratError:
            raise
        except Exception as error:
            reason = redact(f"{type(error).__name__}: {error}")
            way_on = (
                ". The experiment was deleted there: `mlflow experiments restore --experiment-id ID` brings it back, "
                "`mlflow gc` removes it for good"
                if "deleted" in reason
                else ""
            )
            raise QuadratError(
                f"expected an MLflow store at {redact(uri)}, got {reason.rstrip('.')}{way_on}"
            ) from error
    page = runs_page(uri, experiment or read_suite_json(results_dir)["suite"]["name"])
    click.echo(f"{counted(num_trials, 'trial')} logged in {page or redact(uri)}")


def _track_in_trackio(results_dir: Path, results: Path | str, project: str) -> None:
    from quadrat.benchmark.errors import QuadratError
    from quadrat.benchmark.reporting.formatting import counted
    from quadrat.benchmark.results.lock import lock_results
    from quadrat.benchmark.tracking.trackio_writer import log_to_trackio

    with lock_results(results_dir, remote_of(results)):
        try:
            num_trials = log_to_trackio(results_dir, project, warn=partial(click.echo, err=True))
        except QuadratError:
            raise
        except Exception as error:  # of its store: a name that it does not take, a disk that is full
            raise QuadratError(f"--trackio: expected a project that Trackio can write, got {error}") from error
    click.echo(f"{counted(num_trials, 'trial')} logged; look: trackio show --project {shlex.quote(project)}")


@click.command()
@results_argument("places", is_many=True)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder of the bundle. Default: published/ in the results folder; required with several",
)
@click.option(
    "license_id", "--license", metavar="ID", help="License that the card states, as the hub calls it, such as cc-by-4.0"
)
def publish(places: tuple[Path | str, ...], out: Path | None, license_id: str | None) -> None:
    """Write a bundle of results, ready to upload.

    Records, selections (one zip file), suite, environment and figures, without passwords, paths and host names, and a
    card in Hugging Face's format. Every command that takes a results folder takes the bundle.

    Several folders of one suite, such as seeds that ran in different places, become one bundle. Their figures are left
    out: `quadrat report` draws those of all.
    """
    from quadrat.benchmark.reporting.bundle import write_bundle
    from quadrat.benchmark.results.union import unite

    if out is None and len(places) > 1:
        raise click.UsageError("several results need --out: the folder of their bundle")
    folders = [local_copy(place, "selections") for place in places]
    target = folders[0] / "published" if out is None else out
    with ExitStack() as stack:
        source = folders[0]
        if len(folders) > 1:
            source = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="quadrat-publish-")))
            unite(folders, source)
        write_bundle(source, target, license=license_id)
    num_bytes = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
    click.echo(f"{target}: {num_bytes / 2**20:.1f} MiB")


@click.command()
@results_argument("first")
@results_argument("second")
@click.option("--common", "only_common", is_flag=True, help="Ignore trials that only one of the two has")
def compare(first: Path | str, second: Path | str, only_common: bool) -> None:
    """Compare the records of two results folders, timings aside.

    The exit code is 1 when they differ.
    """
    from quadrat.benchmark.reporting.formatting import counted
    from quadrat.benchmark.results.comparison import common_trials, differences, suite_differences
    from quadrat.benchmark.results.records import read_records

    folders = local_copy(first), local_copy(second)
    lines = differences(*folders, only_common=only_common)
    records = read_records(folders[0])
    if only_common:
        common = common_trials(*folders)
        trials = {record.trial_id for record in (*records, *read_records(folders[1]))}
        say(f"{counted(len(common), 'trial')} in both, {len(trials - common)} in one of them and left out")
        records = [record for record in records if record.trial_id in common]
    if lines and all((folder / "suite.json").is_file() for folder in folders):
        for line in suite_differences(*folders):
            say(f"! the suites differ: {line}")
    say("\n".join(lines) or f"equal: {counted(len(records), 'record')}")
    sys.exit(1 if lines else 0)


COMMANDS: Final = (report, stats, track, publish, compare)
