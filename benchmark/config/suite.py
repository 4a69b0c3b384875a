"""A suite: the YAML file that says which trials to run and compare."""

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError, field_validator, model_validator

from quadrat.benchmark.config.contents import contents_of
from quadrat.benchmark.config.mistakes import explain_all
from quadrat.benchmark.config.resources import Resources
from quadrat.benchmark.config.strategy_entry import StrategyEntry, with_labels
from quadrat.benchmark.config.study import REGION_SIZE, Study
from quadrat.benchmark.config.suite_file import read_suite_file, shipped_suites
from quadrat.benchmark.config.trial import (
    FULL_SUPERVISION,
    GRID_REGIONS,
    PRECISE,
    Annotator,
    DatasetSpec,
    LabelType,
    RegionsSpec,
    TrialSpec,
    VoidRegions,
    scale_budgets,
)
from quadrat.benchmark.errors import SuiteError
from quadrat.benchmark.learning.recipe import Recipe
from quadrat.benchmark.learning.scoring.signals import SIGNALS
from quadrat.benchmark.redaction import secret_in
from quadrat.benchmark.storage.atomic import canonical_json
from quadrat.strategies import load

__all__ = ["NAME", "FullSupervision", "Suite", "load_suite", "shipped_suites"]

NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
"""What the name of a suite looks like: it becomes that of a folder."""


class FullSupervision(BaseModel):
    """How long full supervision is trained; exactly one of the two.

    Full supervision is the upper bound that strategies are read against. All labels take longer to fit than a few
    percent of them, so its length is its own: long enough that more iterations gain nothing on images that are not
    reported on.

    Attributes:
        iterations: Length of the fit.
        epochs: Length of the fit in passes over all images.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    iterations: PositiveInt | None = None
    epochs: PositiveInt | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.iterations is None) == (self.epochs is None):
            raise ValueError("one of iterations and epochs, such as {iterations: 30000}")
        return self

    def recipe(self, learner: Recipe) -> Recipe:
        """Return `learner` with this length."""
        return learner.model_copy(update={"iterations": self.iterations, "epochs": self.epochs})


class Suite(BaseModel):
    """Trials to run and compare.

    Attributes:
        name: Names the results folder and the MLflow experiment.
        description: One line on what the suite is for.
        paper: The table or figure of the paper that the suite repeats, by its section ("V-A/cityscapes"), so that the
            report can print the paper's numbers beside ours; it changes nothing that is computed.
        dataset: The pool and the test set.
        region_size: Edge of a region, pixels. A list compares sizes at the same number of pixels (paper, V-D); the
            budgets then count regions of the first. Of regions that are not square: the edge of a square of their
            intended area.
        regions: How images are cut: `grid`, or another kind with its parameters, {name: slic, params: {...}}.
        budgets: Cumulative number of labelled regions after round 0, 1, 2, ...
        learner: How models are trained.
        strategies: What is compared.
        seeds: One trial per strategy and seed; paired over strategies.
        labels: What the annotator says of a region. `precise`: the class of each pixel. `dominant`: the class of most
            pixels, which all of them get. `multi-class`: the classes in it, not where they are. A list compares types.
        annotator: How the annotator errs, by default never. The evaluator never does, nor what full supervision trains
            on.
        void_regions: `offer`: regions that are wholly void can be labelled and cost what others cost, as an annotator
            would find out. `withhold`: they are known beforehand not to be part of the task, as the border of a camera.
        full_supervision: Whether to train on all labels too: true with the length of the strategies' fits, or
            {iterations: N} or {epochs: N} for its own.
        resources: What one trial may use.
        study: A search over one strategy's parameters, for `quadrat study`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=NAME)
    description: str = ""
    paper: str | None = None
    dataset: DatasetSpec
    region_size: PositiveInt | Annotated[tuple[PositiveInt, ...], Field(min_length=1)]
    budgets: tuple[PositiveInt, ...] = Field(min_length=1)
    learner: Recipe
    strategies: tuple[StrategyEntry, ...] = Field(min_length=1)
    seeds: tuple[Annotated[int, Field(strict=True, ge=0)], ...] = Field(min_length=1)
    labels: LabelType | tuple[LabelType, ...] = PRECISE
    annotator: Annotator = Annotator()
    void_regions: VoidRegions = "offer"
    regions: RegionsSpec = GRID_REGIONS
    full_supervision: bool | FullSupervision = False
    resources: Resources = Field(default_factory=Resources)
    study: Study | None = None

    @field_validator("budgets")
    @classmethod
    def _growing(cls, budgets: tuple[int, ...]) -> tuple[int, ...]:
        if any(later <= earlier for earlier, later in itertools.pairwise(budgets)):
            raise ValueError("cumulative budgets that grow from round to round, such as [1000, 2000, 4000]")
        return budgets

    @field_validator("seeds", "region_size", "labels")
    @classmethod
    def _distinct(cls, values: Any) -> Any:
        if isinstance(values, tuple) and len(set(values)) != len(values):
            raise ValueError("values that differ from each other")
        return values

    @model_validator(mode="after")
    def _has_no_secret(self) -> Self:
        if (place := secret_in(self.model_dump(mode="json"))) is not None:
            raise ValueError(
                f"expected no password, got one in {place}: suites are sent to clusters and published with results; "
                "have the loader or plugin read it from the environment of every node"
            )
        return self

    @model_validator(mode="after")
    def _strategies_differ(self) -> Self:
        labels = [entry.label for entry in self.strategies]
        if len(set(labels)) != len(labels):
            twice = sorted({label for label in labels if labels.count(label) > 1})
            raise ValueError(f"strategies with different labels; {twice} occurs twice: give each its own 'label'")
        first: dict[str, str] = {}
        for entry, size, label_type in self._entries():
            same = self.effective(entry, size, label_type)
            if first.setdefault(same, entry.label) != entry.label:
                raise ValueError(
                    f"strategies that differ; '{first[same]}' and '{entry.label}' have equal parameters, at regions of "
                    f"{size} px and {label_type} labels"
                )
        return self

    @model_validator(mode="after")
    def _budgets_grow_at_every_size(self) -> Self:
        sizes = {size for _, size, _ in self._entries()}
        if self.study is not None:
            sizes |= set(self.study.region_sizes())
        for size in sorted(sizes):
            scaled = scale_budgets(self.budgets, self.region_sizes[0], size)
            if any(later <= earlier for earlier, later in itertools.pairwise(scaled)):
                first = self.region_sizes[0]
                raise ValueError(
                    f"budgets that grow at every region size; {list(self.budgets)} regions of {first} px are "
                    f"{list(scaled)} of {size} px, so a round would select nothing: larger budgets, further apart"
                )
        return self

    @model_validator(mode="after")
    def _dropout_where_it_is_needed(self) -> Self:
        if self.learner.dropout:
            return self
        searched = [] if self.study is None else [(self.study.strategy, params) for params in self.study.corners()]
        for name, params in [*((entry.name, entry.params) for entry in self.strategies), *searched]:
            for signal in load(name, **params).needs.signals:
                if SIGNALS.get(signal).needs_dropout:
                    raise ValueError(
                        f"learner.dropout above 0, such as 0.5: '{name}' reads the signal '{signal}', which compares "
                        "passes with dropout; without it all are the same"
                    )
        return self

    @model_validator(mode="after")
    def _pseudo_labels_are_made_of_sets(self) -> Self:
        given = {*self.label_types, *(entry.labels for entry in self.strategies)}
        if self.learner.pseudo_labels and "multi-class" not in given:
            raise ValueError(
                "labels: multi-class with learner.pseudo_labels, which are made of sets of classes: other labels name "
                "one class; leave it out"
            )
        return self

    @model_validator(mode="after")
    def _sizes_are_of_regions_that_have_one(self) -> Self:
        fixed = next((one.name for one in self.all_regions() if not one.kind().has_size), None)
        if fixed is None:
            return self
        own = [entry.region_size for entry in self.strategies if entry.region_size is not None]
        is_searched = self.study is not None and REGION_SIZE in self.study.distributions()
        if len({*self.region_sizes, *own}) > 1 or is_searched:
            raise ValueError(
                f"one region_size, since regions: {fixed} are as large as they are: a size is only the unit of their "
                "distances, and budgets of another one would be no fair comparison"
            )
        return self

    @model_validator(mode="after")
    def _study_has_its_own_seeds(self) -> Self:
        if self.study is None:
            return self
        if both := sorted(set(self.study.search_seeds) & set(self.seeds)):
            raise ValueError(
                f"study.search_seeds other than the report's seeds, {list(self.seeds)}: what was chosen on a seed must "
                f"not be reported on it; {both[0]} is in both"
            )
        if self.study.needs_full_supervision and not self.full_supervision:
            raise ValueError("full_supervision: true, since the study's objective is a share of it")
        return self

    @property
    def region_sizes(self) -> tuple[int, ...]:
        """All region sizes; budgets count regions of the first."""
        return self.region_size if isinstance(self.region_size, tuple) else (self.region_size,)

    @property
    def label_types(self) -> tuple[LabelType, ...]:
        """All label types, without those that only single strategies have."""
        return self.labels if isinstance(self.labels, tuple) else (self.labels,)

    @property
    def full_supervision_recipe(self) -> Recipe:
        """How full supervision is trained: as the strategies' models, with its own length where the suite gives one."""
        own = self.full_supervision
        return own.recipe(self.learner) if isinstance(own, FullSupervision) else self.learner

    def effective(self, entry: StrategyEntry, size: int | None = None, labels: LabelType | None = None) -> str:
        """Return what makes two strategies of the suite the same: name, parameters, regions, label type.

        Args:
            entry: The strategy.
            size: Region size, by default its own or the suite's first.
            labels: Label type, by default its own or the suite's first.
        """
        size, labels = size or entry.region_size or self.region_sizes[0], labels or entry.labels or self.label_types[0]
        regions = (entry.regions or self.regions).model_dump()
        return canonical_json([entry.name, load(entry.name, **entry.params).params(), size, labels, regions])

    def labels_of_trials(self) -> dict[str, str]:
        """Return the label that trials have by what makes their strategy the same, see `effective`."""
        return {
            self.effective(entry, size, labels): self._label(entry, size, labels)
            for entry, size, labels in self._entries()
        }

    def _entries(self) -> Iterator[tuple[StrategyEntry, int, LabelType]]:
        """Yield each strategy with each region size and label type that it has trials with, in the order of trials."""
        for size, labels in itertools.product(self.region_sizes, self.label_types):
            for entry in self.strategies:
                # Its own size or type: one trial per seed, not one for each of the suite's.
                is_first_size, is_first_type = size == self.region_sizes[0], labels == self.label_types[0]
                if (entry.region_size is None or is_first_size) and (entry.labels is None or is_first_type):
                    yield entry, entry.region_size or size, entry.labels or labels

    def _label(self, entry: StrategyEntry, size: int, labels: LabelType) -> str:
        has_one_size = len(self.region_sizes) == 1 or entry.region_size is not None
        has_one_type = len(self.label_types) == 1 or entry.labels is not None
        label = entry.label if has_one_size else f"{entry.label} r{size}"
        return label if has_one_type else with_labels(label, labels)

    def trials(self) -> list[TrialSpec]:
        """Return every trial: full supervision first, then strategy by strategy with the seeds inside."""
        return list(self._trials())

    def all_regions(self) -> Iterator[RegionsSpec]:
        """Yield every way to cut images: the suite's, then those of strategies that have their own."""
        yield self.regions
        yield from (entry.regions for entry in self.strategies if entry.regions is not None)

    def _trials(self) -> Iterator[TrialSpec]:
        first_size = self.region_sizes[0]
        if self.full_supervision:
            for seed in self.seeds:
                yield TrialSpec(
                    label=FULL_SUPERVISION,
                    strategy=FULL_SUPERVISION,
                    seed=seed,
                    dataset=self.dataset,
                    region_size=first_size,
                    budgets=(),
                    learner=self.full_supervision_recipe,
                    void_regions=self.void_regions,
                    regions=self.regions,
                    files=contents_of(self.full_supervision_recipe, None, self.regions.kind()),
                )
        # Once an entry, not once a trial: loading reads the entry points of all installed distributions.
        loaded = {entry.label: load(entry.name, **entry.params) for entry in self.strategies}
        kinds = {id(regions): regions.kind() for regions in self.all_regions()}
        files: dict[str, dict[str, str]] = {}
        for entry, region_size, labels in self._entries():
            strategy, regions = loaded[entry.label], entry.regions or self.regions
            defaults = strategy.params()
            for seed in self.seeds:
                params = _of_seed(defaults, seed)
                key = canonical_json([entry.name, params, regions.model_dump()])
                if key not in files:
                    own = strategy if params == defaults else load(entry.name, **params)
                    files[key] = contents_of(self.learner, own, kinds[id(regions)])
                yield TrialSpec(
                    label=self._label(entry, region_size, labels),
                    strategy=entry.name,
                    params=params,
                    seed=seed,
                    dataset=self.dataset,
                    region_size=region_size,
                    budgets=scale_budgets(self.budgets, first_size, region_size),
                    learner=self.learner,
                    void_regions=self.void_regions,
                    labels=labels,
                    annotator=self.annotator,
                    regions=regions,
                    files=files[key],
                )


def _of_seed(params: dict[str, Any], seed: int) -> dict[str, Any]:
    """Return `params` with `{seed}` in a text replaced by the trial's seed: a replay has a folder for each."""
    return {
        key: value.replace("{seed}", str(seed)) if isinstance(value, str) else value for key, value in params.items()
    }


def load_suite(path_or_name: str | Path, overrides: Sequence[str] = ()) -> Suite:
    """Return the validated suite of a YAML file, or the shipped one of that name.

    Args:
        path_or_name: A path, or a name of `shipped_suites()`.
        overrides: `key=value` settings that override the file; keys are dotted (`learner.iterations=50`), values YAML.

    Raises:
        SuiteError: Naming file, key, what was expected and what came.
    """
    file = read_suite_file(path_or_name, overrides)
    try:
        return Suite.model_validate(file.values)
    except ValidationError as error:
        raise SuiteError("\n".join(explain_all(Suite, file, error.errors()))) from error
