"""Arguments and options that several commands share, and what they mean."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.shell_completion import CompletionItem

from quadrat.cluster.cli.extras import require_extras
from quadrat.cluster.cli.places import DEFAULT_RESULTS, locate_results, open_suite, remote_of

if TYPE_CHECKING:
    from quadrat.benchmark.config.suite import Suite
    from quadrat.benchmark.config.trial import TrialSpec
    from quadrat.cluster.runner.context import RunOptions

__all__ = [
    "cache_option",
    "experiment_option",
    "mlflow_option",
    "ray_option",
    "read_params",
    "report_option",
    "resource_options",
    "results_argument",
    "results_option",
    "root_option",
    "run_options",
    "select_trials",
    "store_option",
    "suite_arguments",
    "tracking_of",
    "trackio_option",
    "trial_options",
    "with_resources",
]

_Command = TypeVar("_Command", bound=Callable[..., Any])


class _FolderOrUrl(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.4 on
    """A folder, converted to a path, or a URL, kept as text."""

    name = "folder or URL"

    def __init__(self) -> None:
        self._folder = click.Path(file_okay=False, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from quadrat.benchmark.storage.remote import is_url

        return value if is_url(value) else self._folder.convert(value, param, ctx)


class _Suite(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.4 on
    """A suite: the name of a shipped one, or a file; TAB offers both."""

    name = "suite"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return the shipped suites that begin so, and let the shell offer files."""
        return [*_suites(incomplete), CompletionItem(incomplete, type="file")]


class _Label(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.4 on
    """A label of the suite that was named before; TAB offers them."""

    name = "label"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return the labels of the suite that begin so; none where there is no such suite."""
        from quadrat.benchmark.errors import QuadratError

        # After an option without its value, click leaves arguments unread.
        suite_name = ctx.params.get("suite_name") or next(iter(ctx.args), "")
        try:
            trials = open_suite(suite_name, ()).suite.trials()
        except QuadratError:  # it is said when the command runs
            return []
        labels = dict.fromkeys(spec.label for spec in trials)
        return [CompletionItem(label) for label in labels if label.startswith(incomplete)]


def _suites(incomplete: str) -> list[CompletionItem]:
    from quadrat.benchmark.config.suite_file import shipped_suites

    return [CompletionItem(name) for name in shipped_suites() if name.startswith(incomplete)]


class _Results(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.4 on
    """Results that exist: converted to their folder, or a URL, kept as text."""

    name = "suite, folder or URL"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return locate_results(value) if isinstance(value, str) else value

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return the shipped suites that begin so, and let the shell offer folders."""
        return [*_suites(incomplete), CompletionItem(incomplete, type="dir")]


# ------------------------------------------------------------------------------------------------ decorators


def suite_arguments(command: _Command) -> _Command:
    """Add SUITE and --set."""
    command = click.option(
        "settings",
        "--set",
        metavar="KEY=VALUE",
        multiple=True,
        help="Override a key of the suite, such as learner.iterations=50 (repeatable)",
    )(command)
    return click.argument("suite_name", metavar="SUITE", type=_Suite())(command)


def results_argument(name: str = "results", *, is_many: bool = False) -> Callable[[_Command], _Command]:
    """Add an argument that names results which exist: by their suite, their folder or its URL.

    Args:
        name: Of the parameter.
        is_many: Whether one or more may be given.
    """
    if is_many:
        return click.argument(name, metavar="SUITE|DIR|URL...", type=_Results(), nargs=-1, required=True)
    return click.argument(name, metavar="SUITE|DIR|URL", type=_Results())


def root_option(default: str) -> Callable[[_Command], _Command]:
    """Add --root.

    Args:
        default: What holds without it.
    """
    return click.option(
        "--root",
        type=_FolderOrUrl(),
        metavar="DIR|URL",
        help=f"Folder of the data set, or a URL that it is fetched from. Default: {default}",
    )


results_option = click.option(
    "--results",
    type=_FolderOrUrl(),
    metavar="DIR|URL",
    help="Results folder, or a URL such as s3://bucket/prefix; all output lies below it. Default: "
    f"$QUADRAT_RESULTS/<name of the suite>, else {DEFAULT_RESULTS}/<name of the suite>",
)

cache_option = click.option(
    "--cache",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Packed images and frozen features; suites may share it. Default: cache/ in the results folder",
)

store_option = click.option(
    "--store",
    type=_FolderOrUrl(),
    metavar="DIR|URL",
    help="Fits, evaluations and scores; suites with equal data set and recipe may share it. Default: store/ in the "
    "results folder",
)

mlflow_option = click.option(
    "mlflow_uri",
    "--mlflow",
    metavar="URI|none",
    envvar="MLFLOW_TRACKING_URI",
    help="MLflow tracking URI. Default: $MLFLOW_TRACKING_URI, else mlflow.db in the results folder",
)

experiment_option = click.option(
    "--experiment",
    metavar="NAME",
    envvar="MLFLOW_EXPERIMENT_NAME",
    help="MLflow experiment, which results folders may share. Default: $MLFLOW_EXPERIMENT_NAME, else the suite's name",
)

trackio_option = click.option(
    "--trackio",
    metavar="PROJECT",
    help="Log to this project of Trackio as well, on this machine (`trackio show --project PROJECT`)",
)

ray_option = click.option(
    "ray_address",
    "--ray",
    metavar="ADDRESS",
    help="Join this Ray cluster (host:port, or auto). Default: $RAY_ADDRESS, else start Ray on this machine",
)

report_option = click.option(
    "--report/--no-report", default=True, show_default=True, help="Write the report at the end"
)


def trial_options(command: _Command) -> _Command:
    """Add --strategy and --seed, which select some trials of a suite."""
    command = click.option(
        "seeds", "--seed", type=int, multiple=True, help="Only the trials of this seed (repeatable)"
    )(command)
    return click.option(
        "labels",
        "--strategy",
        metavar="LABEL",
        type=_Label(),
        multiple=True,
        help="Only the trials of this label (repeatable)",
    )(command)


def resource_options(command: _Command) -> _Command:
    """Add --jobs, --cpus, --gpus and --max-hours."""
    options = (
        click.option("--jobs", type=click.IntRange(min=1), help="Trials at a time. Default: as the suite says"),
        click.option(
            "--cpus",
            type=click.IntRange(min=1),
            help="Cores and threads of a trial; equal records need equal ones. Default: as the suite says",
        ),
        click.option(
            "--gpus",
            type=click.FloatRange(min=0),
            help="GPUs of a trial; 0.25: four share one. Default: as the suite says",
        ),
        click.option(
            "--max-hours",
            type=click.FloatRange(min=0, min_open=True),
            help="Stop after this time, with exit code 75; the same command goes on. For batch queues",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


# ------------------------------------------------------------------------------------------------ their meaning


def with_resources(settings: Sequence[str], jobs: int | None, cpus: int | None, gpus: float | None) -> tuple[str, ...]:
    """Return the settings of a suite with what --jobs, --cpus and --gpus say, which come last."""
    given = {"max_in_flight": jobs, "cpus": cpus, "gpus": gpus}
    return (*settings, *(f"resources.{key}={value}" for key, value in given.items() if value is not None))


def run_options(
    results_dir: Path,
    results: Path | str | None,
    *,
    cache: Path | None,
    store: Path | str | None,
    mlflow_uri: str | None,
    experiment: str | None = None,
    trackio: str | None = None,
    ray_address: str | None = None,
    writes_report: bool = False,
    uses_ray: bool = True,
    max_hours: float | None = None,
) -> "RunOptions":
    """Return how a suite or a study is run, from the options of the command.

    Args:
        results_dir: Local folder of the results, see `open_suite`.
        results: --results as given.
        cache: --cache as given.
        store: --store as given.
        mlflow_uri: --mlflow as given; "none" logs nothing to MLflow.
        experiment: --experiment as given.
        trackio: --trackio as given.
        ray_address: --ray as given.
        writes_report: Whether a report is written at the end.
        uses_ray: Whether trials run on Ray.
        max_hours: --max-hours as given; counted from now on.

    Raises:
        MissingExtraError: When packages are missing that the command needs, at its end too.
    """
    logs_to_mlflow, uri = tracking_of(mlflow_uri)
    needed = {
        "train": True,
        "cluster": uses_ray,
        "tracking": logs_to_mlflow,
        "trackio": trackio is not None,
        "report": writes_report,
        "s3": isinstance(results, str) or isinstance(store, str),
    }
    extras = [extra for extra, is_needed in needed.items() if is_needed]
    require_extras(extras, what=click.get_current_context().command_path)
    from quadrat.cluster.runner.address import protect_own_ray

    if uses_ray:
        protect_own_ray(ray_address)  # before anything imports Ray
    from quadrat.cluster.runner.context import RunOptions
    from quadrat.cluster.runner.engine import benchmark_engine

    engine = benchmark_engine(
        cache.expanduser().absolute() if cache else None,
        url=results if isinstance(results, str) else None,
        store=str(store.expanduser().absolute()) if isinstance(store, Path) else store,
    )
    return RunOptions(
        results_dir=results_dir,
        engine=engine,
        remote=remote_of(results),
        logs_to_mlflow=logs_to_mlflow,
        mlflow_uri=uri,
        experiment=experiment or None,
        trackio=trackio or None,
        ray_address=ray_address,
        until_s=None if max_hours is None else time.monotonic() + 3600 * max_hours,
    )


def tracking_of(mlflow_uri: str | None) -> tuple[bool, str | None]:
    """Return (whether to log to MLflow, URI or None for the store in the results folder)."""
    return mlflow_uri != "none", None if mlflow_uri in (None, "", "none") else mlflow_uri


def select_trials(suite: "Suite", labels: Sequence[str], seeds: Sequence[int]) -> "list[TrialSpec]":
    """Return the suite's trials with these labels and seeds; an empty sequence stands for all.

    Raises:
        SuiteError: When the suite has no such label or seed.
    """
    from quadrat.benchmark.errors import SuiteError

    trials = suite.trials()
    known_labels, known_seeds = (
        dict.fromkeys(spec.label for spec in trials),
        dict.fromkeys(spec.seed for spec in trials),
    )
    for label in labels:
        if label not in known_labels:
            raise SuiteError(
                f"--strategy: expected a label of suite '{suite.name}' ({', '.join(known_labels)}), got '{label}'"
            )
    for seed in seeds:
        if seed not in known_seeds:
            known = ", ".join(map(str, known_seeds))
            raise SuiteError(
                f"--seed: expected a seed of suite '{suite.name}' ({known}), got {seed}; add it with --set seeds=[...]"
            )
    return [spec for spec in trials if (not labels or spec.label in labels) and (not seeds or spec.seed in seeds)]


def read_params(params: Sequence[str]) -> dict[str, Any]:
    """Return `key=value` settings as a dictionary; values are YAML.

    Raises:
        QuadratError: When one of them is no such setting.
    """
    import yaml

    from quadrat.benchmark.config.suite_file import load_yaml
    from quadrat.benchmark.errors import QuadratError

    values = {}
    for param in params:
        key, separator, text = param.partition("=")
        if not separator or not key:
            raise QuadratError(f"--param: expected key=value, got '{param}'")
        try:
            values[key] = load_yaml(text)
        except yaml.YAMLError as error:
            raise QuadratError(f"--param {key}: expected a YAML value, got '{text}'") from error
    return values
