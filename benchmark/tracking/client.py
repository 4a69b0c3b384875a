"""One experiment in an MLflow store: the only module that imports mlflow, and late, since that takes seconds.

Runs are found again by their results folder and their identity (tags), points by their step, pictures by key and step,
files by their path, so writing twice changes nothing. Every call names its run; MLflow's current run is not used.
"""

import json
import logging
import os
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from quadrat.benchmark.storage.sqlite import sqlite_url

if TYPE_CHECKING:
    from PIL import Image

__all__ = [
    "UPLOADING",
    "Experiment",
    "Run",
    "State",
    "close_connections",
    "experiment_id",
    "latest_revision",
    "make_tables",
]

State = Literal["running", "done", "failed", "interrupted", "pruned"]

_STATUS: Final[Mapping[State, str]] = {
    "running": "RUNNING",
    "done": "FINISHED",
    "pruned": "KILLED",
    "failed": "FAILED",
    "interrupted": "KILLED",
}
_DEFAULTS: Final = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # MLflow's own are 120 s and 7 retries with growing pauses: too long to notice that a server is away.
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    # Its progress bar would break a run's display.
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # Nor a line "View run ..." for every trial that ends.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
_PICTURES: Final = "quadrat.pictures"
"""Tag of a run: the pictures that it holds, set once both files of each are there."""

_OWNER: Final = "results_id"
"""Tag of a run: the results folder that it shows. Runs of other folders in the same experiment are left alone."""

_IDENTITY_TAGS: Final = ("trial_id", "group_id", "suite_id", "candidate")
_NOTE: Final = "mlflow.note.content"
UPLOADING: Final = ".artifact.uploading."
"""How MLflow's local artifact store names a file until it is whole."""
_DIGEST_CHARS: Final = 36
"""The longest digest of a data set that MLflow takes."""


def experiment_id(uri: str, suite_name: str) -> str | None:
    """Return the id of the suite's experiment in the store at `uri`, None when nothing was logged there."""
    experiment = _client(uri).get_experiment_by_name(suite_name)
    return None if experiment is None else str(experiment.experiment_id)


@dataclass(kw_only=True)
class Run:
    """What is known of a run in the store.

    Attributes:
        run_id: MLflow's id.
        is_described: Whether its parameters are logged, the second step of creating a run.
        state: Its tag `state`; None when it contradicts its MLflow status.
        tags: Its tags.
        num_datasets: Number of linked data sets.
    """

    run_id: str
    is_described: bool
    state: State | None
    tags: dict[str, str]
    num_datasets: int

    @property
    def is_complete(self) -> bool:
        """Whether its creation has ended; linking its data sets is the last step."""
        return self.is_described and self.num_datasets > 0


class Experiment:
    """One experiment of a store, and in it the runs of one results folder, which are looked up once.

    Args:
        uri: An MLflow tracking URI.
        experiment: Its name; created when it does not exist.
        owner: Identifies the results folder.
        note: Markdown for its page; None leaves that to others who share it.
        artifact_root: Folder for the artifacts of a new experiment; None leaves that to the server.

    Attributes:
        client: MLflow's client.
        experiment_id: MLflow's id of the experiment.
        runs: The runs by identity.
    """

    def __init__(
        self, uri: str, experiment: str, *, owner: str, note: str | None, artifact_root: Path | None = None
    ) -> None:
        self.client = _client(uri)
        self._owner = owner
        found = self.client.get_experiment_by_name(experiment)
        if found is None:
            root = None if artifact_root is None else artifact_root.as_uri()
            self.experiment_id = str(self.client.create_experiment(experiment, artifact_location=root))
            tags: dict[str, str] = {}
        else:
            self.experiment_id, tags = str(found.experiment_id), found.tags
        # Without the kind, MLflow opens the experiment on pages for language models.
        for key, value in ((_NOTE, note), ("mlflow.experimentKind", "custom_model_development")):
            if value is not None and tags.get(key) != value:
                self.client.set_experiment_tag(self.experiment_id, key, value)
        self.runs: dict[str, Run] = dict(self._find_runs())
        self._points: dict[tuple[str, str], dict[int, float]] = {}

    def run(
        self,
        identity: str,
        name: str,
        tags: Mapping[str, str],
        params: Mapping[str, str],
        *,
        started_at: float | None = None,
    ) -> Run:
        """Return the run of that identity; create it and log its parameters if that has not been done.

        Args:
            identity: Value of its tag "trial_id", "group_id", "suite_id" or "candidate".
            name: Name of a new run.
            tags: Tags of a new run, the identity among them.
            params: Its parameters.
            started_at: Start of a new run, Unix seconds; None for now.
        """
        if identity not in self.runs:
            about = {**tags, _OWNER: self._owner, "state": "running"}
            created = self.client.create_run(self.experiment_id, start_time=_ms(started_at), tags=about, run_name=name)
            run_id = created.info.run_id
            self.runs[identity] = Run(run_id=run_id, is_described=False, state="running", tags=about, num_datasets=0)
        run = self.runs[identity]
        if not run.is_described:
            from mlflow.entities import Param

            self.client.log_batch(run.run_id, params=[Param(key, value) for key, value in params.items()])
            run.is_described = True
        return run

    def supersede(self, identity: str) -> Run:
        """Give a run up to a new one of the same identity, and return it: it keeps its values, marked as superseded."""
        run = self.runs.pop(identity)
        self.set_tag(run, _OWNER, f"{self._owner} (superseded)")
        return run

    def set_state(self, run: Run, state: State, *, ended_at: float | None = None) -> None:
        """Set a run's tag and status; one that no longer runs ended then (Unix seconds), or now."""
        if run.state == state:
            return
        self.client.set_tag(run.run_id, "state", state)
        if state == "running":
            self.client.update_run(run.run_id, status=_STATUS[state])
        else:
            self.client.set_terminated(run.run_id, status=_STATUS[state], end_time=_ms(ended_at))
        run.state = state

    def set_note(self, run: Run, note: str) -> None:
        """Set the Markdown of a run's page."""
        self.set_tag(run, _NOTE, note)

    def set_tag(self, run: Run, key: str, value: str) -> None:
        """Set a tag unless it has that value."""
        if run.tags.get(key) != value:
            self.client.set_tag(run.run_id, key, value)
            run.tags[key] = value

    def points(self, run: Run, metric: str) -> dict[int, float]:
        """Return the values of a metric by step, the newest of each step."""
        key = (run.run_id, metric)
        if key not in self._points:
            history = sorted(self.client.get_metric_history(*key), key=lambda point: point.timestamp)
            self._points[key] = {point.step: point.value for point in history}
        return self._points[key]

    def log(self, run: Run, step: int, metrics: Mapping[str, float], *, at: float | None = None) -> None:
        """Log metrics at a step, with the time `at` (Unix seconds) or now; MLflow cannot delete them.

        The first of them is logged last: in a store of files, where each is a write of its own, it tells that all are.
        """
        from mlflow.entities import Metric

        at_ms = int(time.time() * 1000) if at is None else _ms(at)
        points = [Metric(name, value, at_ms, step) for name, value in reversed(list(metrics.items()))]
        self.client.log_batch(run.run_id, metrics=points)
        for name, value in metrics.items():
            if (run.run_id, name) in self._points:
                self._points[run.run_id, name][step] = value

    def link_datasets(self, run: Run, splits: Mapping[str, Mapping[str, Any]], name: str, source: str) -> None:
        """Link a run to the splits it was trained and tested on, if that has not been done.

        Args:
            run: The run.
            splits: Description of the split by context ("train", "test").
            name: The data set's registered name.
            source: Where it is stored.
        """
        if run.num_datasets >= len(splits):
            return
        from mlflow.entities import Dataset, DatasetInput, InputTag

        inputs = [
            DatasetInput(
                Dataset(
                    name=f"{name} {split.get('split', context)}",
                    digest=str(split["fingerprint"])[:_DIGEST_CHARS],
                    source_type="local",
                    source=json.dumps({"uri": source}),
                    profile=json.dumps({key: split[key] for key in ("num_images", "num_px") if key in split}),
                ),
                [InputTag("mlflow.data.context", context)],
            )
            for context, split in splits.items()
        ]
        self.client.log_inputs(run.run_id, datasets=inputs)
        run.num_datasets = len(inputs)

    def add_model(
        self,
        run: Run,
        name: str,
        params: Mapping[str, str],
        tags: Mapping[str, str],
        *,
        step: int,
        metrics: Mapping[str, float],
    ) -> None:
        """Register the model that a run trained, without weights, if that has not been done.

        Args:
            run: The run.
            name: Name of the model.
            params: Its recipe.
            tags: Its tags.
            step: Step of the run's last metrics, which are the model's.
            metrics: What the model's page and the list of models show of them.
        """
        if "model_id" in run.tags:
            return
        from mlflow.entities import LoggedModelOutput, LoggedModelStatus

        # The tag comes last: a process killed before that has left a model, which is found and not created again.
        query = f"source_run_id = '{run.run_id}'"
        found = self.client.search_logged_models([self.experiment_id], filter_string=query, max_results=1)
        model = next(iter(found), None) or self.client.create_logged_model(
            self.experiment_id,
            name=re.sub(r"[^\w\- ]", "_", name),
            source_run_id=run.run_id,
            params=dict(params),
            tags=dict(tags),
            model_type="DeepLabv3+",
        )
        self._log_of_model(run, model.model_id, step, metrics)

        there = self.client.get_run(run.run_id).outputs
        if model.model_id not in {output.model_id for output in (there.model_outputs if there is not None else ())}:
            self.client.log_outputs(run.run_id, [LoggedModelOutput(model.model_id, step)])
        self.client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
        self.set_tag(run, "model_id", model.model_id)

    def _log_of_model(self, run: Run, model_id: str, step: int, metrics: Mapping[str, float]) -> None:
        """Log metrics of a model: the points that its run has, again, with their own times, so that none is added."""
        from mlflow.entities import Metric

        points = []
        for name, value in metrics.items():
            history = self.client.get_metric_history(run.run_id, name)
            times = [point.timestamp for point in history if (point.step, point.value) == (step, value)]
            points.append(Metric(name, value, max(times), step, model_id=model_id))
        self.client.log_batch(run.run_id, metrics=points)

    def has_picture(self, run: Run, key: str, step: int) -> bool:
        """Return whether a run holds a complete picture of that key at that step."""
        return f"{key} {step}" in run.tags.get(_PICTURES, "").splitlines()

    def log_picture(self, run: Run, image: "Image.Image", key: str, step: int) -> None:
        """Log a picture unless it is there; the chart view shows pictures with a slider over steps.

        MLflow writes two files with random names. What a killed process left of them is removed first.
        """
        if self.has_picture(run, key, step):
            return
        self._remove_picture(run, key, step)
        self.client.log_image(run.run_id, image, key=key, step=step, synchronous=True)
        self.set_tag(run, _PICTURES, "\n".join([*run.tags.get(_PICTURES, "").splitlines(), f"{key} {step}"]))

    def _remove_picture(self, run: Run, key: str, step: int) -> None:
        """Remove the files of a picture, complete or not."""
        pattern = re.compile(rf"{re.escape(key.replace('/', '~'))}[+%]step[+%]{step}[+%]")
        found = [entry.path for entry in self.client.list_artifacts(run.run_id, "images")]
        stray = [path for path in found if pattern.match(Path(path).name)]
        if not stray:
            return
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        root = self.client.get_run(run.run_id).info.artifact_uri
        repository = get_artifact_repository(root, tracking_uri=self.client.tracking_uri)
        for path in stray:
            repository.delete_artifacts(path)

    def upload(self, run: Run, path: Path, folder: str | None = None) -> None:
        """Copy a file or folder to a run's artifacts; files of the same name are replaced."""
        if path.is_dir():
            self.client.log_artifacts(run.run_id, str(path), artifact_path=folder)
        else:
            self.client.log_artifact(run.run_id, str(path), artifact_path=folder)

    def _find_runs(self) -> Iterator[tuple[str, Run]]:
        """Yield the folder's runs in the experiment by their identity."""
        token = None
        while True:
            page = self.client.search_runs(
                [self.experiment_id],
                filter_string=f"tags.{_OWNER} = '{self._owner}'",
                max_results=1000,
                page_token=token,
            )
            for run in page:
                tags = dict(run.data.tags)
                if identity := next((tags[name] for name in _IDENTITY_TAGS if name in tags), None):
                    state = next((state for state in _STATUS if state == tags.get("state")), None)
                    is_right = state is not None and _STATUS[state] == run.info.status
                    yield (
                        identity,
                        Run(
                            run_id=run.info.run_id,
                            is_described=bool(run.data.params),
                            state=state if is_right else None,
                            tags=tags,
                            num_datasets=len(run.inputs.dataset_inputs) if run.inputs else 0,
                        ),
                    )
            token = page.token
            if not token:
                return


def _ms(seconds: float | None) -> int | None:
    """Return a time in MLflow's unit."""
    return None if seconds is None else round(seconds * 1000)


def latest_revision() -> str:
    """Return the revision of the tables that the installed MLflow works with."""
    _set_defaults()
    import mlflow.store.db_migrations
    from alembic.script import ScriptDirectory

    _quieten()
    (folder,) = mlflow.store.db_migrations.__path__
    revision = ScriptDirectory(folder).get_current_head()
    assert revision is not None, f"no migrations in {folder}"
    return revision


def make_tables(path: Path, artifacts: Path) -> None:
    """Make a database with MLflow's tables, and close it."""
    _set_defaults()
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    _quieten()
    SqlAlchemyStore(sqlite_url(path), artifacts.as_uri()).engine.dispose()


def close_connections(uri: str) -> None:
    """Close this process's connections to a database; they would stay with its file under whatever name."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    if (engine := SqlAlchemyStore._engine_map.get(uri)) is not None:
        engine.dispose()


def _client(uri: str) -> Any:
    _set_defaults()
    from mlflow import MlflowClient

    _quieten()
    return MlflowClient(tracking_uri=uri)


def _set_defaults() -> None:
    """Set MLflow's options before it is imported, unless the user has."""
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)


def _quieten() -> None:
    """Keep from the user, once MLflow is imported, the steps of a migration and each retry of a server that is away."""
    for logger, level in (("mlflow", logging.WARNING), ("alembic", logging.WARNING), ("urllib3", logging.ERROR)):
        logging.getLogger(logger).setLevel(level)
