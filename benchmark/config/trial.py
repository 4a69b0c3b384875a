"""Specification of one trial, and its identity: the same before and after it ran."""

import dataclasses
import functools
import hashlib
import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, PositiveInt, field_validator, model_validator

from quadrat.benchmark.config.contents import WEIGHTS
from quadrat.benchmark.data.shapes import GRID, RegionKind, load_kind
from quadrat.benchmark.learning.recipe import Recipe
from quadrat.benchmark.redaction import redact_url
from quadrat.benchmark.storage.atomic import canonical_json
from quadrat.benchmark.storage.remote import is_url

__all__ = [
    "FULL_SUPERVISION",
    "GRID_REGIONS",
    "IDENTITY",
    "IDENTITY_VERSION",
    "IF_CHANGED",
    "NOT_IDENTITY",
    "PRECISE",
    "Annotator",
    "DatasetSpec",
    "LabelType",
    "RegionsSpec",
    "TrialSpec",
    "VoidRegions",
    "cuts",
    "identity",
]

FULL_SUPERVISION: Final = "full-supervision"
"""The reserved strategy name of the trial that trains on all labels: one round with every region labelled."""

IDENTITY_VERSION: Final = 2
"""Raised when the meaning of the same spec changes (a fix that changes numbers), so that old trials run again."""

IDENTITY: Final[Literal["identity"]] = "identity"
NOT_IDENTITY: Final[Literal["not identity"]] = "not identity"
IF_CHANGED: Final[Literal["identity if changed"]] = "identity if changed"
"""Mark of a field that is identity unless it has its default: what trials did before the field was there."""

VoidRegions = Literal["offer", "withhold"]
"""Whether regions that are wholly void can be labelled."""

LabelType = Literal["precise", "dominant", "multi-class"]
"""What an annotator says of a region: the class of each pixel, the class of most pixels, or all classes in it."""

PRECISE: Final[LabelType] = "precise"
"""The label type of suites that name none."""


def identity(model: BaseModel) -> dict[str, Any]:
    """Return the fields of `model` that can change a trial's numbers, nested models included.

    A nested model that is marked `IF_CHANGED` is left out while it equals its default, like any other value: trials of
    before it was there keep their id.

    Raises:
        TypeError: When a field does not say whether it is identity: annotate it with `IDENTITY`, `NOT_IDENTITY` or
            `IF_CHANGED`.
    """
    fields: dict[str, Any] = {}
    for name, info in type(model).model_fields.items():
        marks = {mark for mark in info.metadata if mark in (IDENTITY, NOT_IDENTITY, IF_CHANGED)}
        value = getattr(model, name)
        if marks == {IF_CHANGED} and value == info.get_default(call_default_factory=True):
            continue
        if isinstance(value, Recipe):
            fields[name] = value.model_dump(mode="json")
        elif isinstance(value, BaseModel):
            fields[name] = identity(value)
        elif len(marks) != 1:
            raise TypeError(
                f"{type(model).__name__}.{name} must be marked IDENTITY, NOT_IDENTITY or IF_CHANGED, not {marks}"
            )
        elif marks in ({IDENTITY}, {IF_CHANGED}):
            fields[name] = model.model_dump(mode="json", include={name})[name]
    return fields


def _folder_or_url(root: Any) -> Path | str | None:
    if root is None or isinstance(root, Path):
        return root
    if not isinstance(root, str) or not root:
        raise ValueError("a folder, or a URL such as s3://bucket/folder")
    if is_url(root) and redact_url(root) != root:
        raise ValueError(
            f"expected a URL without a password, got one for {redact_url(root)}: suites are published; credentials are "
            "those of the storage's library, on every node"
        )
    return root if is_url(root) else Path(root)


class DatasetSpec(BaseModel):
    """A data set as a suite names it.

    Attributes:
        name: Registered name, see `quadrat list datasets`.
        root: Folder on this machine, or a URL from which every machine fetches it; not identity, since the same images
            may lie anywhere.
        pool: Split whose regions can be labelled.
        test: Split that is evaluated.
        params: What else the data set's loader takes.
        allow_overlap: Whether images may be in pool and test set, an error otherwise. It changes no number; the report
            names them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, IDENTITY]
    root: Annotated[Path | str | None, PlainValidator(_folder_or_url), NOT_IDENTITY] = None
    pool: Annotated[str, IDENTITY] = "train"
    test: Annotated[str, IDENTITY] = "test"
    params: Annotated[dict[str, Any], IDENTITY] = Field(default_factory=dict)
    allow_overlap: Annotated[bool, NOT_IDENTITY] = False

    @property
    def url(self) -> str | None:
        """URL that the data set is fetched from; None where it is on disk, or is generated."""
        return str(self.root) if is_url(self.root) else None


class Annotator(BaseModel):
    """How an annotator errs: which names of classes are wrong.

    A name is what the annotator says of one class in one region; a dominant label is one name, a precise or multi-class
    label one for each class of the region. See `quadrat.benchmark.trial.annotation` for what is drawn.

    Attributes:
        error_rate: Probability that a name is wrong, 0 to 1.
        kind: What is named instead. `uniform`: any other class. `confused`: another class of the same image, in
            proportion to its pixels there.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    error_rate: Annotated[float, IDENTITY] = Field(default=0.0, ge=0, le=1)
    kind: Annotated[Literal["uniform", "confused"], IDENTITY] = "uniform"

    @model_validator(mode="before")
    @classmethod
    def _no_kind_without_errors(cls, value: object) -> object:
        # Without errors the kind changes nothing, so it must not change an identity.
        if isinstance(value, dict) and value.get("kind") == "confused" and value.get("error_rate", 0) == 0:
            return {key: given for key, given in value.items() if key != "kind"}
        return value


class RegionsSpec(BaseModel):
    """How images are cut into regions, as a suite names it: a name alone, or a name with parameters.

    Attributes:
        name: Registered name, see `quadrat list regions`.
        params: Its parameters; those left out are filled in.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, IDENTITY] = GRID
    params: Annotated[dict[str, Any], IDENTITY] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: object) -> object:
        return {"name": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _known(self) -> Self:
        # Unknown names and parameters are errors here, before anything runs; defaults make equal regions equal.
        self.params.update(self.kind().params())
        return self

    def kind(self) -> RegionKind:
        """Return the kind of regions with these parameters."""
        return load_kind(self.name, **self.params)

    @property
    def is_grid(self) -> bool:
        """Whether regions are square cells, which need no map."""
        return self.name == GRID

    def map_name(self, region_size: int) -> str:
        """Return what a map of these regions is called in suite.json."""
        return f"{self.name} {canonical_json(self.params)} {region_size} px"

    @property
    def title(self) -> str:
        """Name with the parameters that are not the default, for tables: `slic(compactness=20)`, `files(sam)`."""
        default = {item.name: item.default for item in dataclasses.fields(self.kind())}
        own = [
            Path(value).name if name == "folder" else f"{name}={value}"
            for name, value in self.params.items()
            if default.get(name) != value
        ]
        return f"{self.name}({', '.join(own)})" if own else self.name


GRID_REGIONS: Final = RegionsSpec()
"""Square cells, the default."""


class TrialSpec(BaseModel):
    """One active-learning run: data set x region size x label type x recipe x strategy(params) x budgets x seed.

    Attributes:
        label: Name of the trial's strategy in tables and figures.
        strategy: Registered name of the strategy, or `full-supervision`.
        params: The strategy's parameters, defaults filled in.
        seed: Seed of every named generator of the trial.
        dataset: Data set of images and labels.
        region_size: Edge of a grid cell, pixels; of other regions the edge of a square of the intended area.
        regions: How images are cut.
        budgets: Cumulative number of labelled regions after round 0, 1, ...; empty for `full-supervision`.
        learner: How a model is trained.
        void_regions: Whether regions that are wholly void can be labelled.
        labels: What the annotator says of a region.
        annotator: How the annotator errs.
        files: Digest of what a file holds that the trial depends on, by the dotted key of its path (`learner.weights`,
            `params.folder`). It takes the place of the path in the identity; without one the path counts.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    label: Annotated[str, NOT_IDENTITY]
    strategy: Annotated[str, IDENTITY]
    params: Annotated[dict[str, Any], IDENTITY] = Field(default_factory=dict)
    seed: Annotated[int, IDENTITY]
    dataset: DatasetSpec
    region_size: Annotated[PositiveInt, IDENTITY]
    budgets: Annotated[tuple[PositiveInt, ...], IDENTITY]
    learner: Recipe
    void_regions: Annotated[VoidRegions, IF_CHANGED] = "offer"
    labels: Annotated[LabelType, IF_CHANGED] = PRECISE
    annotator: Annotated[Annotator, IF_CHANGED] = Annotator()
    regions: Annotated[RegionsSpec, IF_CHANGED] = GRID_REGIONS
    files: Annotated[dict[str, str], IDENTITY] = Field(default_factory=dict)

    @field_validator("params")
    @classmethod
    def _plain(cls, params: dict[str, Any]) -> dict[str, Any]:
        canonical_json(params)
        return params

    @property
    def num_rounds(self) -> int:
        """Rounds the trial has when the pool does not run out before."""
        return max(1, len(self.budgets))

    @property
    def recipe_settings(self) -> dict[str, Any]:
        """All settings of the recipe, a weight file by its content where that is known."""
        return self.learner.settings(self.files.get(WEIGHTS))

    @property
    def recipe_digest(self) -> str:
        """Hash of these settings."""
        return self.learner.digest(self.files.get(WEIGHTS))

    @property
    def params_by_content(self) -> dict[str, Any]:
        """The strategy's parameters, files by their content where that is known."""
        return _of_part(self.params, "params", self.files)

    @property
    def regions_by_content(self) -> dict[str, Any]:
        """Kind and parameters of the regions, files by their content where that is known."""
        return {"name": self.regions.name, "params": _of_part(self.regions.params, "regions", self.files)}

    @property
    def trial_id(self) -> str:
        """Readable prefix + hash over the canonical JSON of the identity fields and `IDENTITY_VERSION`.

        A label type other than precise is in the prefix, so that a pattern such as `entropy-r32-s0-*` names one trial.
        It is computed once: the driver of a large suite asks for it at every event.
        """
        return self._trial_id

    @functools.cached_property
    def _trial_id(self) -> str:
        payload = canonical_json({"version": IDENTITY_VERSION, **_by_content(identity(self))})
        digest = hashlib.sha256(payload.encode()).hexdigest()[:12]
        prefix = re.sub(r"[^a-z0-9]+", "-", self.strategy.lower()).strip("-")
        labels = "" if self.labels == PRECISE else f"-{self.labels}"
        return f"{prefix}-r{self.region_size}{labels}-s{self.seed}-{digest}"

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy with other fields, whose id is its own; pydantic would copy this one's."""
        copied = super().model_copy(update=update, deep=deep)
        copied.__dict__.pop("_trial_id", None)
        return copied


def cuts(trials: Iterable[TrialSpec]) -> list[tuple[int, RegionsSpec]]:
    """Return every region size and kind of regions that trials are on, each once, by size."""
    found = {spec.regions.map_name(spec.region_size): (spec.region_size, spec.regions) for spec in trials}
    return sorted(found.values(), key=lambda cut: cut[0])


def _of_part(params: Mapping[str, Any], part: str, files: Mapping[str, str]) -> dict[str, Any]:
    of_part = {key.partition(".")[2]: digest for key, digest in files.items() if key.startswith(f"{part}.")}
    return {name: {"content": of_part[name]} if name in of_part else value for name, value in params.items()}


def _by_content(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the identity of a trial with the digests of `files` in place of the paths that they belong to.

    `fields` are what `identity` returned for this call: they are changed.
    """
    found = fields
    for key, digest in found.pop("files").items():
        part, name = key.split(".", 1)
        owner = found[part]["params"] if part == "regions" else found[part]
        owner[name] = {"content": digest}
    return found


def scale_budgets(budgets: tuple[int, ...], from_size: int, region_size: int) -> tuple[int, ...]:
    """Return `budgets` of regions of `from_size` as regions of `region_size` at the same number of pixels.

    The paper's section V-D: 1000 regions of 128 are 250 of 256 and 4000 of 64. Rounded up, so that no budget is 0.

    Examples:
        >>> scale_budgets((1000, 2000), 128, 256)
        (250, 500)
        >>> scale_budgets((1000,), 128, 64)
        (4000,)
    """
    return tuple(math.ceil(budget * from_size**2 / region_size**2) for budget in budgets)
