"""The `study` of a suite: the searched parameters of a strategy, sampler and pruner, and the objective.

Report seeds are the suite's own `seeds`: its strategies run on them, with or without a study.
"""

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PositiveInt, field_validator, model_validator

from quadrat.strategies import Strategy, load

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

__all__ = [
    "REGION_SIZE",
    "Direction",
    "Named",
    "Objective",
    "Space",
    "Study",
    "direction_of",
    "needs_full_supervision",
    "values_of",
]

Space = Mapping[str, "BaseDistribution"]

Objective = Literal["area", "cost-95", "select-seconds"]
Direction = Literal["maximize", "minimize"]

_DIRECTIONS: Final[dict[Objective, Direction]] = {
    "area": "maximize",
    "cost-95": "minimize",
    "select-seconds": "minimize",
}

REGION_SIZE: Final = "region_size"
"""The dimension that is no parameter of the strategy."""

_ASHA: Final = {"min_resource": 2, "reduction_factor": 2}
"""Rounds before the first pruning, and 1 / the share that continues. Round 0 is shared, so it can't rank candidates."""

_FORMS: Final = "{float: [1, 6]}, {float: [0.25, 4], log: true}, {int: [1, 9], step: 2} or a list of choices"


def direction_of(objective: Objective) -> Direction:
    """Return whether more of `objective` is better, in Optuna's words."""
    return _DIRECTIONS[objective]


def needs_full_supervision(objective: Objective) -> bool:
    """Return whether `objective` compares with full supervision."""
    return objective == "cost-95"


def _by_name(value: object) -> object:
    return {"name": value} if isinstance(value, str) else value


class Named(BaseModel):
    """A class of Optuna by name.

    Attributes:
        name: Name of the class, such as TPESampler.
        params: Its arguments.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    params: dict[str, Any] = Field(default_factory=dict)


class Study(BaseModel):
    """A search over the parameters of one strategy.

    Attributes:
        strategy: Registered name of the strategy.
        params: Parameters that are fixed; those left out and not searched take the strategy's default.
        space: Searched dimensions, which replace or add to the strategy's own; `region_size` is one like any other, at
            the same number of pixels.
        objective: What candidates are compared by, see `analysis.objective.value_of`; two of them search for the
            trade-off.
        candidates: How many are tried.
        search_seeds: Seeds of the search; the suite's `seeds` are for the report, and must be others.
        test: Split that candidates are compared on; by default the suite's: parameters are then chosen on the images of
            the report, though on other seeds.
        sampler: Class of `optuna.samplers` that proposes candidates.
        pruner: Class of `optuna.pruners` that stops candidates between rounds, or "none"; by default successive
            halving (ASHA), and none where there are two objectives.
        best: How many of the best are run on the report seeds.
        seed: Of the sampler.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    strategy: str
    params: dict[str, Any] = Field(default_factory=dict)
    space: dict[str, Any] = Field(default_factory=dict)
    objective: Annotated[
        tuple[Objective, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)
    ] = Field(default=("area",), min_length=1, max_length=2)
    candidates: PositiveInt
    search_seeds: tuple[Annotated[int, Field(strict=True, ge=0)], ...] = Field(min_length=1)
    test: str | None = None
    sampler: Annotated[Named, BeforeValidator(_by_name)] = Field(default_factory=lambda: Named(name="TPESampler"))
    pruner: Annotated[Named | None, BeforeValidator(_by_name)] = None
    best: PositiveInt = 1
    seed: int = Field(default=0, ge=0, lt=2**32)

    @model_validator(mode="before")
    @classmethod
    def _no_report_seeds(cls, value: object) -> object:
        if isinstance(value, dict) and "report_seeds" in value:
            raise ValueError("no 'report_seeds': the suite's own 'seeds' are those of the report")
        return value

    @field_validator("search_seeds", "objective")
    @classmethod
    def _distinct(cls, values: tuple[Any, ...]) -> tuple[Any, ...]:
        if len(set(values)) != len(values):
            raise ValueError("values that differ from each other")
        return values

    @model_validator(mode="after")
    def _sound(self) -> Self:
        strategy = load(self.strategy, **self.params)
        if both := sorted(self.params.keys() & self.space.keys()):
            raise ValueError(f"'{both[0]}' either in params (fixed) or in space (searched), not in both")
        space = self.distributions()
        if not space:
            raise ValueError(
                f"something to search: strategy '{self.strategy}' has no space of its own; give one, such as "
                "space: {region_size: [16, 32]}"
            )
        for name, distribution in space.items():
            self._check_ends(strategy, name, distribution)
        self._check_optuna()
        if self.best > self.candidates:
            raise ValueError(f"at least as many candidates as are to be run again, best = {self.best}")
        return self

    def _check_ends(self, strategy: Strategy, name: str, distribution: "BaseDistribution") -> None:
        """Construct the strategy with the ends of a dimension, so that no candidate fails for them hours later."""
        for value in _ends(distribution):
            if name == REGION_SIZE:
                if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                    raise ValueError(f"space.region_size of whole pixels above 0, such as [16, 32]; not {value!r}")
            elif name not in strategy.params():
                known = ", ".join([*strategy.params(), REGION_SIZE])
                raise ValueError(f"dimensions that '{self.strategy}' has ({known}); there is no '{name}'")
            else:
                load(self.strategy, **{**self.params, name: value})

    def corners(self) -> list[dict[str, Any]]:
        """Return the parameters of the strategy that show all that it may need: the fixed ones, then each end alone."""
        ends = [
            {**self.params, name: value}
            for name, distribution in self.distributions().items()
            if name != REGION_SIZE
            for value in _ends(distribution)
        ]
        return [dict(self.params), *ends]

    def region_sizes(self) -> tuple[int, ...]:
        """Return the region sizes that are searched, of a range its ends; none where the size is not searched."""
        distribution = self.distributions().get(REGION_SIZE)
        return () if distribution is None else _ends(distribution)

    def _check_optuna(self) -> None:
        if self.pruner is not None and self.pruner.name != "none":
            if len(self.objective) > 1:
                raise ValueError("pruner: none, since there is no order between candidates with two objectives")
            if self.pruner.name == "WilcoxonPruner":
                raise ValueError(
                    "a pruner that compares rounds; WilcoxonPruner compares values of equal problem instances, step by "
                    "step, and the rounds of a trial are none. Take MedianPruner or SuccessiveHalvingPruner"
                )
        self._propose()

    def _propose(self) -> None:
        """Let sampler and pruner work once in a study of drawn values: what they lack shows only then, not at creation.

        Some import a package, or refuse a space or two objectives, with the first candidate that they model.
        """
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        space, sampler = self.distributions(), self.make_sampler(0)
        drawn = optuna.create_study(directions=self.directions, sampler=optuna.samplers.RandomSampler(seed=0))
        num_modelled = int(self.sampler.params.get("n_startup_trials", 10)) + 1
        for number in range(min(num_modelled, self.candidates - 1)):
            drawn.tell(drawn.ask(space), [float(number)] * len(self.directions))
        study = optuna.create_study(directions=self.directions, sampler=sampler, pruner=self.make_pruner())
        study.add_trials(drawn.trials)
        kind, name = "sampler", self.sampler.name
        try:
            trial = study.ask(space)
            if self.pruner is not None and len(self.objective) == 1:
                kind, name = "pruner", self.pruner.name
                for step in range(1, 4):
                    trial.report(0.5, step)
                    trial.should_prune()
        except Exception as error:  # whatever a class of Optuna raises: it would end the study later
            raise ValueError(f"a {kind} that works on this study; {name} does not: {error}") from error

    @property
    def directions(self) -> tuple[Direction, ...]:
        """Whether each objective is to be large or small."""
        return tuple(direction_of(objective) for objective in self.objective)

    @property
    def needs_full_supervision(self) -> bool:
        """Whether an objective compares with full supervision on the search seeds."""
        return any(map(needs_full_supervision, self.objective))

    def distributions(self) -> dict[str, "BaseDistribution"]:
        """Return the space: the strategy's own dimensions without those that are fixed, updated with `space`.

        Raises:
            ValueError: When a dimension of `space` is written in no form that is known.
        """
        own = load(self.strategy, **self.params).space
        space = {name: distribution for name, distribution in own.items() if name not in self.params}
        return {**space, **{name: _distribution(name, value) for name, value in self.space.items()}}

    def make_sampler(self, number: int) -> Any:
        """Return the sampler that proposes candidate `number`.

        Each candidate has a sampler of its own, with a seed of its own: a study that goes on after a kill must not draw
        again what it drew before. What samplers learn, they read from the candidates there are.
        """
        import optuna

        name, params = self.sampler.name, dict(self.sampler.params)
        if name == "TPESampler":  # Optuna's default of 10 random candidates leaves small studies nothing to model
            params = {"n_startup_trials": min(10, max(2, self.candidates // 3)), "constant_liar": True, **params}
        if name == "GridSampler":
            params = {"search_space": self._grid(), **params}
        # These two follow one sequence per seed and keep their position in it in the storage.
        own_seed = self.seed if name in ("GridSampler", "QMCSampler") else _seed_of(self.seed, number)
        return _make(optuna.samplers, "sampler", name, {"seed": own_seed, **params})

    def _grid(self) -> dict[str, list[Any]]:
        from optuna.distributions import CategoricalDistribution

        space = self.distributions()
        if ranges := [name for name, found in space.items() if not isinstance(found, CategoricalDistribution)]:
            raise ValueError(
                f"a list of choices for each dimension, since GridSampler takes no range; not '{ranges[0]}'"
            )
        return {
            name: list(found.choices) for name, found in space.items() if isinstance(found, CategoricalDistribution)
        }

    def make_pruner(self) -> Any:
        """Return the pruner, which never prunes where there are two objectives or `pruner` is none."""
        import optuna

        if len(self.objective) > 1 or (self.pruner is not None and self.pruner.name == "none"):
            return optuna.pruners.NopPruner()
        if self.pruner is None:
            return optuna.pruners.SuccessiveHalvingPruner(**_ASHA)
        return _make(optuna.pruners, "pruner", self.pruner.name, self.pruner.params)


def values_of(distribution: "BaseDistribution") -> tuple[Any, ...]:
    """Return the values of a dimension of choices or of whole numbers."""
    from optuna.distributions import CategoricalDistribution, IntDistribution

    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices
    assert isinstance(distribution, IntDistribution)
    return tuple(range(distribution.low, distribution.high + 1, distribution.step))


def _seed_of(seed: int, number: int) -> int:
    from quadrat.benchmark.seeds import rng

    return int(rng(seed, "study-candidate", number).integers(2**32))


def _make(module: Any, kind: Literal["sampler", "pruner"], name: str, params: Mapping[str, Any]) -> Any:
    """Return an instance of a class of Optuna by name."""
    import warnings

    suffix = kind.capitalize()
    named = {found: getattr(module, found) for found in module.__all__ if found.endswith(suffix)}
    # One that wraps a sampler can't be written in a suite.
    known = sorted(
        found for found, one in named.items() if not inspect.isabstract(one) and found != "PartialFixedSampler"
    )
    if name not in known:
        raise ValueError(f"a {kind} of Optuna ({', '.join(known)}); there is no {kind} '{name}'")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an argument that a suite names may be experimental
        try:
            return getattr(module, name)(**params)
        except (TypeError, ValueError, ImportError) as error:
            raise ValueError(f"arguments that Optuna's {name} takes: {error}") from error


def _ends(distribution: "BaseDistribution") -> tuple[Any, ...]:
    from optuna.distributions import CategoricalDistribution

    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices
    return distribution.low, distribution.high  # type: ignore[attr-defined]


def _distribution(name: str, value: object) -> "BaseDistribution":
    """Return the distribution that a dimension of a suite file means."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    malformed = ValueError(f"space.{name} as {_FORMS}; not {value!r}")
    if isinstance(value, list | tuple):
        if not value or any(not isinstance(choice, bool | int | float | str | None) for choice in value):
            raise malformed
        return CategoricalDistribution(tuple(value))
    if not isinstance(value, dict):
        raise malformed
    settings = dict(value)
    kind = next((kind for kind in ("float", "int") if kind in settings), None)
    bounds = settings.pop(kind) if kind else None
    is_plain = isinstance(bounds, list | tuple) and len(bounds) == 2
    if kind is None or not is_plain or settings.keys() - {"log", "step"}:
        raise malformed
    make = FloatDistribution if kind == "float" else IntDistribution
    assert isinstance(bounds, list | tuple)
    try:
        return make(bounds[0], bounds[1], **settings)
    except (TypeError, ValueError) as error:
        raise ValueError(f"space.{name} as {_FORMS}; not {value!r}: {error}") from error
