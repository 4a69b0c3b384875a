"""The base class of all strategies: parameters, needs, and the door that a selection goes through."""

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

__all__ = ["Space", "Strategy", "lazy_space", "validated_selection"]

Space = Mapping[str, "BaseDistribution"]

# Rows checked at a time: features may be a memory map larger than the machine.
_BLOCK = 1 << 16
# Above this the square of a feature leaves float32; nothing a network pools is near it.
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

    Importing ``optuna.distributions`` takes longer than everything else here together, so a strategy imports it inside
    this function. A plain dictionary as class attribute is just as good where that does not matter.
    """
    return _LazySpace(build)


@dataclass(frozen=True, kw_only=True)
class Strategy:
    """A way of choosing regions: a frozen dataclass whose fields are its parameters.

    To write one, set ``name``, declare the fields, say what it ``needs`` and write ``pick``; check the fields in
    ``__post_init__`` (call ``super().__post_init__()``) and let ``space`` say where a study may search. ``select`` is
    the door: it checks the pool, cuts the budget to what is left and checks what ``pick`` returned. ``pick`` is a pure
    function: same arguments, same picks; every draw comes from ``rng``.
    """

    name: ClassVar[str]
    """The registered name, kebab-case."""
    space: ClassVar[Space] = lazy_space(lambda cls: {})
    """Where a study may search: parameter name -> optuna distribution. Empty: nothing to search."""
    sees_labels: ClassVar[bool] = False
    """Whether it is a reference that is told the truth; only OracleStrategy sets it."""

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
        """Say which signals, features and profiles ``pick`` reads; may depend on the parameters."""
        return Needs()

    def params(self) -> dict[str, Any]:
        """Return all parameters by name, the defaults included."""
        return {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        """Return the regions to label next, ``min(budget, what is left)`` of them.

        Args:
            pool: All regions, with at least the signals and features of ``needs``.
            budget: Number of regions to buy, 0 or more; more than what is left buys what is left.
            rng: The source of every random draw.

        Raises:
            StrategyError: The budget is negative, a signal or the features are missing or not finite, or ``pick``
                returned a wrong number of regions, a labelled one or one twice.
        """
        return validated_selection(self, pool, budget, lambda checked, num_picks: self.pick(checked, num_picks, rng))

    def pick(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        """Return exactly ``budget`` unlabelled regions of a checked pool; this is what a strategy implements.

        Args:
            pool: All regions, with the signals and features of ``needs`` and no others, all finite.
            budget: From 1 to the number of unlabelled regions.
            rng: The source of every random draw.
        """
        raise NotImplementedError(f"{type(self).__name__} must define pick(pool, budget, rng)")


def validated_selection(
    strategy: Strategy, pool: Pool, budget: int, pick: Callable[[Pool, int], Selection]
) -> Selection:
    """Return what ``pick`` gives for the checked pool and the budget cut to what is left, checked in turn."""
    if budget < 0:
        raise StrategyError(f"{strategy.name}: budget must be 0 or more regions, got {budget}")
    _check_needs(strategy.name, pool, strategy.needs)
    num_picks = min(budget, int(np.count_nonzero(~pool.labelled)))
    if num_picks == 0:
        return Selection.of(np.empty(0, np.int64))
    selection = pick(pool.only(strategy.needs), num_picks)
    _check_selection(strategy.name, pool, num_picks, selection)
    return selection


def _check_needs(strategy: str, pool: Pool, needs: Needs) -> None:
    """Refuse a pool without what ``needs`` names, or with a value that is not finite."""
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
    if not needs.features:
        return
    if pool.features is None:
        raise StrategyError(f"{strategy} needs features, the pool has none; pass Pool(features=...) of shape (R, D)")
    _check_rows(strategy, "feature", pool.features)


def _check_rows(strategy: str, entry: str, rows: NDArray[np.float32]) -> None:
    """Refuse an entry that is not finite or so large that its square is not."""
    for start in range(0, len(rows), _BLOCK):
        block = rows[start : start + _BLOCK]
        usable = np.abs(block) < _LARGEST_FEATURE  # False for NaN too
        if not usable.all():
            region, axis = np.argwhere(~usable)[0]
            raise StrategyError(
                f"{strategy}: {entry} {axis} of region {start + region} is {block[region, axis]}, expected a finite "
                f"number below {_LARGEST_FEATURE:g}; look for a diverged network or an empty region"
            )


def _check_selection(strategy: str, pool: Pool, budget: int, selection: Selection) -> None:
    """Hold ``pick`` to its promise."""
    regions = selection.regions
    if len(regions) != budget:
        raise StrategyError(f"{strategy}.pick returned {len(regions)} regions, expected {budget}")
    if regions.min() < 0 or regions.max() >= pool.num_regions:
        wrong = regions[(regions < 0) | (regions >= pool.num_regions)][0]
        raise StrategyError(f"{strategy}.pick returned region {wrong}, expected 0 to {pool.num_regions - 1}")
    if pool.labelled[regions].any():
        region = regions[pool.labelled[regions]][0]
        raise StrategyError(f"{strategy}.pick returned region {region}, which is labelled already")
    if len(np.unique(regions)) != len(regions):
        values, counts = np.unique(regions, return_counts=True)
        raise StrategyError(f"{strategy}.pick returned region {values[counts.argmax()]} twice")
