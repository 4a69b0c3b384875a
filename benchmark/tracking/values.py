"""Names, tags, parameters, metrics and notes that describe a suite, a trial and a record in MLflow, as plain values.

The first part of a metric's name is its section of MLflow's chart view: `class_iou/`, `cost/`, `fit/`, `seconds/`,
`system/`. What is asked for most has no section, so that a query needs no quotes: `metrics.miou > 0.6`.
"""

import hashlib
import json
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from quadrat.benchmark.config.trial import FULL_SUPERVISION, PRECISE, Annotator
from quadrat.benchmark.results.folder import results_id
from quadrat.benchmark.results.markdown import markdown
from quadrat.benchmark.results.palette import looks_of
from quadrat.benchmark.results.records import Record
from quadrat.benchmark.storage.atomic import canonical_json

__all__ = [
    "MIOU",
    "PIXEL_ACCURACY",
    "SuiteFacts",
    "class_name",
    "experiment_note",
    "group_id",
    "mean_metrics",
    "metric_name",
    "metrics",
    "params",
    "results_note",
    "strategy_note",
    "summary_name",
]

MIOU: Final = "miou"
"""The metric by which MLflow's points are found again; queries take it without quotes."""

_ACCURACY: Final = "cost/label_accuracy"

PIXEL_ACCURACY: Final = "pixel_accuracy"

_LINES: Final = (MIOU, PIXEL_ACCURACY, "class_iou")
"""Metrics, or sections, of full supervision, a line over all budgets; its costs are those of the pool at each."""


class SuiteFacts:
    """Content of `suite.json`, for use in MLflow.

    Args:
        document: The content of `suite.json`.
        environment: The content of `environment.json`; empty where there is none.

    Attributes:
        suite: The resolved suite.
        dataset: Description of its data.
        trials: Every trial, by id.
        classes: Class names as MLflow takes them.
        commit: Commit of the code that ran, "" when unknown.
        results_id: Identifies the results folder, see `results_id`.
        groups: The first trial of every group (trials that differ in seed alone), by group id, in suite order.
    """

    def __init__(self, document: Mapping[str, Any], environment: Mapping[str, Any]) -> None:
        self.suite: dict[str, Any] = document["suite"]
        self.dataset: dict[str, Any] = document["dataset"]
        self.trials: dict[str, dict[str, Any]] = {trial["trial_id"]: trial for trial in document["trials"]}
        self.classes = [metric_name(name) for name in self.dataset["classes"]]
        self.commit = str(environment.get("commit") or "")
        self.results_id = results_id(document, environment)
        self.groups: dict[str, dict[str, Any]] = {}
        self._members: dict[str, list[str]] = {}
        self._group_of: dict[str, str] = {}
        for trial_id, trial in self.trials.items():
            group = self._group_of[trial_id] = group_id(trial)
            self.groups.setdefault(group, trial)
            self._members.setdefault(group, []).append(trial_id)
        self._seed_width = len(str(max(trial["seed"] for trial in self.trials.values())))
        own = [trial for trial in self.trials.values() if trial["strategy"] != FULL_SUPERVISION]
        self._looks = looks_of(
            {trial["label"]: trial["strategy"] for trial in own},
            {
                trial["label"]: (trial["region_size"], str(trial.get("regions")), trial.get("labels", PRECISE))
                for trial in own
            },
        )

    def own(self, records: Iterable[Record]) -> list[Record]:
        """Return the records of trials that suite.json lists; a folder may hold others, which readers leave out."""
        return [record for record in records if record.trial_id in self.trials]

    @property
    def name(self) -> str:
        """Name of the suite."""
        return str(self.suite["name"])

    @property
    def dataset_source(self) -> str:
        """Folder of the data set, its name where it has none."""
        return str(self.suite["dataset"].get("root") or self.suite["dataset"]["name"])

    @property
    def dataset_name(self) -> str:
        """Name of the data set: its own where it has one, else that of its loader."""
        return str(self.dataset.get("title") or self.suite["dataset"]["name"])

    def group_of(self, trial: Mapping[str, Any]) -> str:
        """Return the id of a trial's group."""
        return self._group_of[trial["trial_id"]]

    def members(self, trial: Mapping[str, Any]) -> list[str]:
        """Return the ids of the trials in the group of `trial`."""
        return self._members[self.group_of(trial)]

    def trial_name(self, trial: Mapping[str, Any]) -> str:
        """Return the name of a trial's run; seeds are padded with zeros, so that names sort."""
        return f"{trial['label']} seed {trial['seed']:0{self._seed_width}d}"

    def tags(self, trial: Mapping[str, Any], kind: str) -> dict[str, str]:
        """Return the tags of a run, by which runs are filtered, and its colour, that of the report."""
        return {
            "kind": kind,
            "mlflow.runColor": self._looks[trial["label"]].colour,
            "strategy": trial["strategy"],
            "label": trial["label"],
            "dataset": self.dataset_name,
            "model": f"DeepLabv3+ on {trial['spec']['learner']['encoder']}",
            "weights": str(trial["spec"]["learner"]["weights"]),
            **self.source_tags(),
        }

    def source_tags(self) -> dict[str, str]:
        """Return the tags that MLflow shows as a run's source."""
        commit = {"commit": self.commit, "mlflow.source.git.commit": self.commit} if self.commit else {}
        return {**commit, "mlflow.source.name": f"quadrat run {self.name}", "mlflow.source.type": "LOCAL"}

    def steps(self, record: Record) -> list[int]:
        """Return the steps at which a record's metrics are logged: the number of labelled regions.

        Regions of another size than the suite's first count as that many of the first size, at equal area, so that
        curves of several sizes share an axis. Full supervision is a line over all budgets of the suite.
        """
        if record.strategy == FULL_SUPERVISION:
            return list(self.suite["budgets"])
        sizes = self.suite["region_size"]
        first = sizes[0] if isinstance(sizes, Sequence) else sizes
        return [round(record.regions * record.region_size**2 / first**2)]

    @property
    def splits(self) -> dict[str, dict[str, Any]]:
        """Description of the split that is trained on, and of the one that is tested on, by MLflow's context."""
        return {"train": self.dataset["pool"], "test": self.dataset["test"]}


def metric_name(name: str) -> str:
    """Return a class name as a part of a metric's name, which may hold word characters, `-`, `.` and spaces alone.

    Each other character is written as `_x` with its number in hexadecimal and `_`, and so is the first underscore of
    what looks like that in the name itself, and the first dot of a name of dots: names that differ stay different, and
    `class_name` reads them back.

    Examples:
        >>> metric_name("traffic light"), metric_name("road/pavement"), metric_name("road_pavement")
        ('traffic light', 'road_x2F_pavement', 'road_pavement')
        >>> metric_name("_x2F_"), metric_name(".")
        ('_x5F_x2F_', '_x2E_')
    """
    return _NO_METRIC_NAME.sub(lambda match: f"_x{ord(match[0]):X}_", name)


def class_name(metric: str) -> str:
    """Return the class name that `metric_name` made a part of a metric's name of."""
    return _ESCAPED.sub(lambda match: chr(int(match[1], 16)), metric)


_ESCAPED: Final = re.compile("_x([0-9A-F]+)_")
_NO_METRIC_NAME: Final = re.compile(r"[^\w\-. ]|_(?=x[0-9A-F]+_)|\A\.(?=\.*\Z)")


_ADDED: Final = {"labels": PRECISE, "annotator": Annotator().model_dump(mode="json")}
"""Keys of a spec that were added, and their defaults."""


def _is_default(key: str, value: object) -> bool:
    return key in _ADDED and value == _ADDED[key]


def group_id(trial: Mapping[str, Any]) -> str:
    """Return a hash of a trial's spec without its seed and the folder of its data: equal for all seeds of a label."""
    # What has its default is left out where it was added later: runs of before keep their hash.
    spec = {key: value for key, value in trial["spec"].items() if key != "seed" and not _is_default(key, value)}
    for key in spec.get("files", {}):  # a file counts by its content, which is in `files`
        part, name = key.split(".", 1)
        if part == "regions":
            spec[part] = {**spec[part], "params": {**spec[part]["params"], name: None}}
        else:
            spec[part] = {**spec[part], name: None}
    spec["dataset"] = {key: value for key, value in spec["dataset"].items() if key not in ("root", "allow_overlap")}
    return hashlib.sha256(canonical_json(spec).encode()).hexdigest()[:16]


def metrics(record: Record, classes: Iterable[str]) -> dict[str, float]:
    """Return the metrics of one record by name; a class that the masks of the test set lack has none."""
    found: dict[str, float] = {
        MIOU: record.miou,
        PIXEL_ACCURACY: record.pixel_accuracy,
        **{f"class_iou/{name}": value for name, value in zip(classes, record.iou, strict=True) if value is not None},
        "cost/regions": record.regions,
        "cost/labelled_px": record.labelled_px,
        "cost/labelled_fraction": record.labelled_fraction,
        "cost/images_opened": record.images_opened,
        "cost/clicks": record.clicks,
        "cost/void_fraction": record.void_px / max(record.labelled_px, 1),
        **({} if (record.labels, record.label_accuracy) == (PRECISE, 1) else {_ACCURACY: record.label_accuracy}),
        **({} if record.fits == 1 else {"cost/fits": record.fits}),
        "fit/loss": record.loss,
        "fit/steps": record.steps,
        **{f"seconds/{phase}": value for phase, value in record.seconds.items()},
        **_system(record.usage),
        "round": record.round,
    }
    if record.strategy == FULL_SUPERVISION:
        return {name: value for name, value in found.items() if name.partition("/")[0] in _LINES}
    return found


def _system(usage: Mapping[str, float]) -> dict[str, float]:
    """Return what a round used; MLflow shows metrics of this section on a tab of their own."""
    found = {}
    if usage.get("wall_s"):
        found["system/cpu_cores"] = usage["cpu_s"] / usage["wall_s"]
    for name in ("memory", "gpu_memory"):
        if f"{name}_bytes" in usage:
            found[f"system/{name}_peak_megabytes"] = usage[f"{name}_bytes"] / 1e6
    return found


def mean_metrics(records: Sequence[Record], classes: Sequence[str]) -> dict[str, float]:
    """Return means over seeds of one round, their number, and for two or more the mIoU's standard deviation."""
    each = [metrics(record, classes) for record in records]
    means = {
        name: statistics.fmean(found)
        for name in each[0]
        if len(found := [one[name] for one in each if name in one]) == len(each)
    }
    spread = {"miou_std": statistics.stdev(record.miou for record in records)} if len(records) > 1 else {}
    return {**means, **spread, "num_seeds": len(records)}


def params(trial: Mapping[str, Any]) -> dict[str, str]:
    """Return the parameters of a trial: those of the strategy by their own names, the rest as `learner.lr`."""
    spec = trial["spec"]
    dataset = {key: value for key, value in spec["dataset"].items() if key not in ("root", "params")}
    nested = {
        "strategy": spec["strategy"],
        **spec["params"],
        "region_size": spec["region_size"],
        **{key: spec[key] for key in _ADDED if key in spec and not _is_default(key, spec[key])},
        "budgets": spec["budgets"],
        **{f"dataset.{key}": value for key, value in {**dataset, **spec["dataset"]["params"]}.items()},
        **{f"learner.{key}": value for key, value in spec["learner"].items()},
    }
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in nested.items()}


def experiment_note(facts: SuiteFacts) -> str:
    """Return the experiment's note (Markdown): what it is and how to read it."""
    return f"""{markdown(facts.suite["description"] or facts.name)}

**How to read it.** A run is a strategy: its metrics are means over seeds, and the runs below it are the single seeds.
The chart view draws the curves of all strategies; the step is the number of labelled regions, and full supervision is
a flat line. Next to `miou` and `pixel_accuracy` there are sections `class_iou`, `cost`, `fit` and `seconds`. The run of
a strategy also holds pictures of what it selected, and run `{summary_name(facts)}` the report, with statistics, among
its artifacts.

**Filter** by tags: `tags.kind = "strategy"` (means), `"trial"` (one seed), `"suite"` (the report);
`tags.state` is running, done, failed, interrupted or pruned; `tags.results_id` tells results folders of one suite
apart. MLflow shows what is in the files of a results folder: after an outage, `quadrat track DIR` brings it up to date.
"""


def strategy_note(facts: SuiteFacts, trial: Mapping[str, Any]) -> str:
    """Return the note of a strategy's run."""
    seeds = ", ".join(str(facts.trials[member]["seed"]) for member in facts.members(trial))
    if trial["strategy"] == FULL_SUPERVISION:
        return f"Full supervision: all regions labelled. Mean over seeds {seeds}, drawn as a line over all budgets."
    return (
        f"Mean over seeds {seeds} of strategy `{trial['strategy']}`, regions of {trial['region_size']} px, "
        f"{trial.get('labels', PRECISE)} labels. The single seeds are the runs below this one."
    )


def summary_name(facts: SuiteFacts) -> str:
    """Return the name of the suite's run."""
    return f"{facts.name} (report)"


def results_note(facts: SuiteFacts, records: Iterable[Record]) -> str:
    """Return the note of the suite's run (Markdown): mIoU after each round, and where the report is."""
    by_label: dict[str, dict[int, list[float]]] = {}
    for record in records:
        rounds = by_label.setdefault(facts.trials[record.trial_id]["label"], {})  # of today: a label may change
        is_full_supervision = record.strategy == FULL_SUPERVISION
        round_ = len(facts.suite["budgets"]) - 1 if is_full_supervision else record.round
        rounds.setdefault(round_, []).append(record.miou)
    budgets = facts.suite["budgets"]
    head = "| strategy | " + " | ".join(f"{budget:,} regions" for budget in budgets) + " |"
    rule = "|---" * (len(budgets) + 1) + "|"
    rows = [
        f"| {markdown(label)} | "
        + " | ".join(_cell(rounds[round_]) if round_ in rounds else "" for round_ in range(len(budgets)))
        + " |"
        for label, rounds in sorted(by_label.items(), key=lambda item: item[0] == FULL_SUPERVISION)
    ]
    table = "\n".join([head, rule, *rows])
    return (
        f"mIoU in %, mean (standard deviation over seeds).\n\n{table}\n\n"
        "The whole report, with intervals and significance: Artifacts, `report/index.html`.\n"
    )


def _cell(values: Sequence[float]) -> str:
    mean = 100 * statistics.fmean(values)
    return f"{mean:.1f} ({100 * statistics.stdev(values):.1f})" if len(values) > 1 else f"{mean:.1f}"
