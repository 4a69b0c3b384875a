"""Arguments that several commands share, and how they are read."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import click

from quadrat.cluster.runner.job_folder import in_job_folder

if TYPE_CHECKING:
    from quadrat.benchmark.config.suite import Suite
    from quadrat.benchmark.config.trial import TrialSpec
    from quadrat.benchmark.storage.remote import Remote
    from quadrat.cluster.runner.engine import Engine

__all__ = [
    "DEFAULT_RESULTS",
    "Opened",
    "engine_of",
    "local_copy",
    "mlflow_option",
    "open_suite",
    "pick_trials",
    "read_params",
    "remote_of",
    "results_argument",
    "results_option",
    "results_root",
    "store_option",
    "suite_arguments",
    "tracking_of",
]

DEFAULT_RESULTS: Final = Path("results/runs")
"""Where results folders lie unless --results or $QUADRAT_RESULTS says otherwise, relative to the working directory."""

_Command = TypeVar("_Command", bound=Callable[..., Any])


class Opened(NamedTuple):
    """A suite and where its results belong."""

    suite: "Suite"
    results_dir: Path


def suite_arguments(command: _Command) -> _Command:
    """Add SUITE and --set."""
    command = click.option(
        "settings",
        "--set",
        metavar="KEY=VALUE",
        multiple=True,
        help="Override a key of the suite: learner.iterations=50",
    )(command)
    return click.argument("suite_name", metavar="SUITE")(command)


class _Place(click.ParamType[Any]):
    """A folder, as a path, or a URL, as text."""

    name = "place"

    def __init__(self, *, must_exist: bool = False) -> None:
        self._folder = click.Path(exists=must_exist, file_okay=False, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from quadrat.benchmark.storage.remote import is_url

        return value if is_url(value) else self._folder.convert(value, param, ctx)


def results_option(command: _Command) -> _Command:
    """Add --results."""
    return click.option(
        "--results",
        type=_Place(),
        metavar="DIR|URL",
        help="Results folder, or a URL such as s3://bucket/prefix (benchmark/README.md); all that is written lies "
        f"below it. Default: <name of the suite> in $QUADRAT_RESULTS, or in {DEFAULT_RESULTS}",
    )(command)


def store_option(command: _Command) -> _Command:
    """Add --store."""
    return click.option(
        "--store",
        type=_Place(),
        metavar="DIR|URL",
        help="Fits and scores; suites with one data set and recipe may share it. Default: DIR/store",
    )(command)


def results_argument(name: str = "results") -> Callable[[_Command], _Command]:
    """Add an argument that is a results folder or the URL of one."""
    return click.argument(name, metavar="DIR|URL", type=_Place(must_exist=True))


def local_copy(results: Path | str, *folders: str) -> Path:
    """Return the folder of results that are there, after fetching them (and these folders of them) if they are a URL.

    Raises:
        ResultsError: When the URL cannot be reached.
    """
    from quadrat.benchmark.results.folder import fetch_results

    return results if isinstance(results, Path) else fetch_results(results, folders)


def remote_of(results: Path | str | None) -> "Remote | None":
    """Return where results are kept as well: the URL of --results, None for a folder."""
    from quadrat.benchmark.storage.remote import Remote

    return Remote(results) if isinstance(results, str) else None


def engine_of(results: Path | str | None, cache: Path | None, store: Path | str | None) -> "Engine":
    """Return the engine that trains, with its files where --results, --cache and --store say."""
    from quadrat.cluster.runner.engine import benchmark_engine

    return benchmark_engine(
        cache.absolute() if cache else None,
        url=results if isinstance(results, str) else None,
        store=str(store.expanduser().absolute()) if isinstance(store, Path) else store,
    )


def mlflow_option(command: _Command) -> _Command:
    """Add --mlflow."""
    return click.option(
        "mlflow_uri",
        "--mlflow",
        metavar="URI|none",
        envvar="MLFLOW_TRACKING_URI",
        help="Where to log to MLflow. Default: $MLFLOW_TRACKING_URI, else sqlite in the results folder",
    )(command)


def tracking_of(mlflow_uri: str | None) -> tuple[bool, str | None]:
    """Return (whether to log to MLflow, URI or None for the store in the results folder)."""
    return mlflow_uri != "none", None if mlflow_uri in (None, "", "none") else mlflow_uri


def results_root() -> Path:
    """Return where results folders lie by default: $QUADRAT_RESULTS, else below the working directory.

    A submitted job has a working directory that Ray deletes; its results go to the home directory.
    """
    if root := os.environ.get("QUADRAT_RESULTS"):
        return Path(root)
    return Path.home() / DEFAULT_RESULTS if in_job_folder() else DEFAULT_RESULTS


def _refuse_lost_results(results: Path) -> None:
    from quadrat.benchmark.errors import QuadratError

    if in_job_folder() and not results.expanduser().is_absolute():
        raise QuadratError(
            f"--results: expected an absolute path or a URL, got '{results}', which would lie in the working directory "
            "of a Ray job, and Ray deletes that"
        )


def open_suite(suite_name: str, settings: Sequence[str], results: Path | str | None = None) -> Opened:
    """Return the suite of a path or a shipped name with its settings, and the (local) folder of its results.

    Paths become absolute: workers may have another working directory.
    """
    from quadrat.benchmark.config.suite import load_suite
    from quadrat.benchmark.storage.remote import working_folder

    suite = load_suite(suite_name, settings)
    if (root := suite.dataset.root) is not None:
        dataset = suite.dataset.model_copy(update={"root": root.expanduser().absolute()})
        suite = suite.model_copy(update={"dataset": dataset})
    if isinstance(results, str):
        return Opened(suite, working_folder(results))
    if results is not None:
        _refuse_lost_results(results)
    return Opened(suite, (results or results_root() / suite.name).expanduser().absolute())


def pick_trials(suite: "Suite", labels: Sequence[str], seeds: Sequence[int]) -> "list[TrialSpec]":
    """Return the suite's trials with these labels and seeds, all of them where none are given.

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

    from quadrat.benchmark.errors import QuadratError

    values = {}
    for param in params:
        key, separator, text = param.partition("=")
        if not separator or not key:
            raise QuadratError(f"--param: expected key=value, got '{param}'")
        try:
            values[key] = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise QuadratError(f"--param {key}: expected a YAML value, got '{text}'") from error
    return values
