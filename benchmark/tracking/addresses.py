"""Where MLflow's stores, artifacts and pages are: addresses, of which only one needs MLflow to be found."""

from pathlib import Path
from typing import Final

from quadrat.benchmark.redaction import redact_url
from quadrat.benchmark.storage.sqlite import sqlite_path, sqlite_url
from quadrat.benchmark.tracking.client import experiment_id

__all__ = ["artifact_root", "default_uri", "runs_page", "runs_path"]

_DATABASES: Final = frozenset({"sqlite", "postgresql", "postgres", "mysql", "mssql"})
"""Schemes of databases that MLflow opens itself, without a server in between."""

_CHARTS: Final = "workflowType=machine_learning&compareRunsMode=CHART"
"""MLflow's chart view of training runs, without its menus for language models."""


def default_uri(results_dir: Path) -> str:
    """Return the embedded store of a results folder, an sqlite file inside it."""
    return sqlite_url(Path(results_dir).resolve() / "mlflow.db")


def artifact_root(uri: str, results_dir: Path) -> Path | None:
    """Return the folder of an experiment's artifacts; None for a server, or a folder, which has a place of its own.

    MLflow itself puts those of a database into `mlruns` of the working directory, where nobody looks for them.

    Args:
        uri: An MLflow tracking URI.
        results_dir: The results folder, which holds them where the database is no file.
    """
    scheme = uri.partition("://")[0].partition("+")[0].lower()
    if scheme not in _DATABASES:
        return None
    path = sqlite_path(uri)
    return (Path(results_dir) if path is None else path.parent).resolve() / "mlartifacts"


def runs_page(uri: str, experiment: str) -> str | None:
    """Return the address of an experiment's runs on a tracking server, as charts; None where `uri` is no server's.

    Args:
        uri: An MLflow tracking URI.
        experiment: Name of the experiment; where it does not exist, the address is that of the server's first page.
    """
    if not uri.startswith(("http://", "https://")):
        return None
    return f"{redact_url(uri).rstrip('/')}/{runs_path(experiment_id(uri, experiment))}"


def runs_path(id_: str | None) -> str:
    """Return the path of an experiment's runs below a server's address; of None that of the first page."""
    return f"#/experiments/{id_}/runs?{_CHARTS}" if id_ is not None else ""
