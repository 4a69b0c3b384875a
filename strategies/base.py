"""The base class of all strategies: parameters, needs, and the validation around every selection."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from quadrat.strategies.errors import StrategyError
from quadrat.strategies.pool import Needs, Pool, Selection

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

__all__ = ["Space", "Strategy", "check_generator", "lazy_space", "validated_selection"]

Space = Mapping[str, "BaseDistribution"]

# Numbers checked at a time: features may be a memory map larger than memory, and these stay in the cache.
_BLOCK = 1 << 18
# What numpy raises when a read-only array is written to, by an assignment, in place, and by a ufunc's `out`.
_WRITES = (
    "assignment destination is read-only",
    "output array is read-only",
    "sort array is read-only",
    "array is read-only",
)
# The square of a larger feature overflows float32; pooled features of a network are far below.
_LARGEST_FEATURE = 1e15


class _LazySpace:
    """Class attribute whose value is computed by a function of the class when it is read."""

    def __init__(self, build: Callable[[Any], Space]) -> None:
        self._build = build
        self.__doc__ = build.__doc__

    def __get__(self, instance: object, owner: type) -> Space:
        return self._build(owner)


def lazy_space(build: Callable[[Any], Space]) -> Any:
    """Turn ``def space(cls)`` into the class attribute ``space``, computed when it is read.

    Importing ``optuna.distributions`` takes longer than importing this package, so a strategy imports it inside this
    function. Where import time does not matter, assign a dictionary to the class attribute ``space`` instead.
    """
    return _LazySpace(build)


@dataclass(frozen=True, kw_only=True)
class Strategy:
    """A selection strategy: a frozen dataclass whose fields are its parameters.

    A subclass sets ``name``, declares its parameters as fields, lists its inputs in ``needs`` and implements
    ``_select``. It validates parameters in ``__post_init__`` (after ``super().__post_init__()``) and may define the
    search ``space`` of a study.

    Callers use ``select``, which validates the pool, limits the budget to the unlabelled regions, calls ``_select``
    and validates what it returned. ``_select`` is a pure function: equal arguments give equal selections, and every
    random number comes from ``rng``.
    """

    name: ClassVar[str]
    """The registered name, kebab-case."""
    space: ClassVar[Space] = lazy_space(lambda cls: {})
    """Search space of a study: parameter name -> Optuna distribution. Empty: nothing to search."""
    sees_labels: ClassVar[bool] = False
    """Whether it is an oracle strategy, which is given ground truth; only OracleStrategy sets it."""

    def __post_init__(self) -> None:
        for parameter, value in self.params().items():
            try:
                json.dumps(value, allow_nan=False)
            except (TypeError, ValueError) as cause:
                raise StrategyError(
                    f"{self.name}: parameter {parameter} must be plain JSON (a finite number, text, true, false, null "
                    f"or lists of them), got {value!r}"
                ) from cause

    @property
    def needs(self) -> Needs:
        """Return the signals, features and profiles that ``_select`` reads; may depend on the parameters."""
        return Needs()

    def params(self) -> dict[str, Any]:
        """Return all parameters by name, including defaults."""
        return {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}

    def contents(self) -> dict[str, str]:
        """Return a digest of what the files hold that parameters name, by parameter; most strategies name none.

        A trial is known by this content and not by the path, since the content can change its selections.

        Raises:
            StrategyError: A file is missing or damaged.
        """
        return {}

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        """Return the regions to label next: ``min(budget, number of unlabelled regions)`` of them.

        Args:
            pool: All regions, with at least the inputs of ``needs``.
            budget: Number of regions to select, 0 or more.
            rng: Source of all random numbers.

        Raises:
            StrategyError: The budget is negative; ``rng`` is no generator; an input is missing or not finite; or
                ``_select`` wrote to the pool, or returned no Selection, the wrong number of regions, a labelled region
                or a region twice.
        """
        check_generator(self.name, rng)
        return validated_selection(self, pool, budget, lambda checked, count: self._select(checked, count, rng))

    def _select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        """Return exactly ``budget`` unlabelled regions of a validated pool; every strategy implements this method.

        Args:
            pool: All regions, with the inputs of ``needs`` and no others, all finite.
            budget: From 1 to the number of unlabelled regions.
            rng: Source of all random numbers.
        """
        raise NotImplementedError(f"{type(self).__name__} must define _select(pool, budget, rng)")


def check_generator(strategy: str, rng: object) -> None:
    """Refuse anything but a ``numpy.random.Generator``, a seed for example."""
    if not isinstance(rng, np.random.Generator):
        raise StrategyError(
            f"{strategy}: rng must be a numpy.random.Generator, got {rng!r}; pass numpy.random.default_rng(seed)"
        )


def validated_selection(
    strategy: Strategy, pool: Pool, budget: int, select: Callable[[Pool, int], Selection]
) -> Selection:
    """Validate the arguments, call ``select`` and validate its result.

    Args:
        strategy: Names the needs, and itself in messages.
        pool: All regions, with at least the inputs of ``strategy.needs``.
        budget: Number of regions to select, 0 or more.
        select: Called with the pool reduced to the needs, and with the budget limited to the unlabelled regions;
            not called when that is 0.

    Raises:
        StrategyError: As for ``Strategy.select``.
    """
    if budget < 0:
        raise StrategyError(f"{strategy.name}: budget must be 0 or more regions, got {budget}")
    _check_needs(strategy.name, pool, strategy.needs)
    count = min(budget, int(np.count_nonzero(~pool.labelled)))
    if count == 0:
        return Selection.of(np.empty(0, np.int64))
    try:
        selection = select(pool.only(strategy.needs), count)
    except ValueError as cause:
        if str(cause) not in _WRITES:
            raise
        raise StrategyError(
            f"{strategy.name}: _select writes to an array of the pool, which is read-only; write to a copy of it"
        ) from cause
    _check_selection(strategy.name, pool, count, selection)
    return selection


def _check_needs(strategy: str, pool: Pool, needs: Needs) -> None:
    """Refuse needs of another type, a pool that lacks one of them, or an input that is not finite."""
    if not isinstance(needs, Needs) or isinstance(needs.signals, str) or isinstance(needs.profiles, str):
        raise StrategyError(
            f"{strategy}: needs must be a Needs of tuples, such as Needs(signals=('entropy',)), got {needs!r}"
        )
    for signal in needs.signals:
        if signal not in pool.signals:
            raise StrategyError(
                f"{strategy} needs the signal {signal!r}, the pool has {sorted(pool.signals) or 'none'}; pass it in "
                f"Pool(signals=...)"
            )
        finite = np.isfinite(pool.signals[signal])
        if not finite.all():
            region = int(np.argmin(finite))
            raise StrategyError(
                f"{strategy}: signal {signal!r} of region {region} is {pool.signals[signal][region]}, expected a "
                f"finite number; look for a diverged network or an empty region"
            )
    for profile in needs.profiles:
        if profile not in pool.profiles:
            raise StrategyError(
                f"{strategy} needs the profile {profile!r}, the pool has {sorted(pool.profiles) or 'none'}; pass it in "
                f"Pool(profiles=...)"
            )
        _check_rows(strategy, f"profile {profile!r}, entry", pool.profiles[profile])
    if needs.borders and pool.borders is None and not pool.has_cells:
        raise StrategyError(
            f"{strategy} needs borders, the pool has centres and no borders; pass Pool(borders=...) of shape (E, 2), "
            "the pairs of regions that share a border"
        )
    if not needs.features:
        return
    if pool.features is None:
        raise StrategyError(f"{strategy} needs features, the pool has none; pass Pool(features=...) of shape (R, D)")
    _check_rows(strategy, "feature", pool.features)


def _check_rows(strategy: str, entry: str, rows: NDArray[np.float32]) -> None:
    """Refuse an entry that is not finite or whose square overflows float32."""
    num_rows = max(1, _BLOCK // max(1, rows.shape[1]))
    for start in range(0, len(rows) if rows.shape[1] else 0, num_rows):
        block = rows[start : start + num_rows]
        if not (block.max() < _LARGEST_FEATURE and block.min() > -_LARGEST_FEATURE):  # NaN is neither
            region, axis = np.argwhere(~(np.abs(block) < _LARGEST_FEATURE))[0]
            raise StrategyError(
                f"{strategy}: {entry} {axis} of region {start + region} is {block[region, axis]}, expected a finite "
                f"number below {_LARGEST_FEATURE:g}; look for a diverged network or an empty region"
            )


def _check_selection(strategy: str, pool: Pool, budget: int, selection: Selection) -> None:
    """Refuse what is no selection, or one of the wrong size, out of range, labelled or with duplicates."""
    if not isinstance(selection, Selection):
        raise StrategyError(
            f"{strategy}: _select returned {_article(type(selection).__name__)}, expected a Selection; write `return "
            "Selection.of(regions)`"
        )
    regions = selection.regions
    if len(regions) != budget:
        raise StrategyError(f"{strategy}: _select returned {len(regions)} regions, expected {budget}")
    if regions.min() < 0 or regions.max() >= pool.num_regions:
        wrong = regions[(regions < 0) | (regions >= pool.num_regions)][0]
        raise StrategyError(f"{strategy}: _select returned region {wrong}, expected 0 to {pool.num_regions - 1}")
    if pool.labelled[regions].any():
        region = regions[pool.labelled[regions]][0]
        raise StrategyError(f"{strategy}: _select returned region {region}, which is labelled already")
    if len(np.unique(regions)) != len(regions):
        values, counts = np.unique(regions, return_counts=True)
        raise StrategyError(f"{strategy}: _select returned region {values[counts.argmax()]} twice")


def _article(noun: str) -> str:
    return f"{'an' if noun[0].lower() in 'aeio' or noun == 'ndarray' else 'a'} {noun}"
