"""Oracle strategies: they select with ground truth, as an upper bound for strategies that cannot.

Axes: R regions, N candidates, C classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from quadrat.strategies.base import Strategy, check_generator, validated_selection
from quadrat.strategies.errors import StrategyError
from quadrat.strategies.pool import Pool, Selection
from quadrat.strategies.ranking import select_largest

__all__ = ["ClassAwareRandom", "OracleError", "OracleStrategy", "Truth"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Truth:
    """Ground truth per region, given by the oracle to an oracle strategy; never part of a Pool."""

    class_shares: NDArray[np.float32] | None = None
    """(R, C) share of each region's pixels that belong to each class; void pixels count for no class."""
    errors: NDArray[np.float32] | None = None
    """(R,) share of each region's non-void pixels that the last model predicts wrongly."""


@dataclass(frozen=True, kw_only=True)
class OracleStrategy(Strategy):
    """A strategy that sees labels; lists and reports mark it as such.

    A subclass names the ground truth it wants in ``asks`` and implements ``_select_with_truth`` in place of
    ``_select``. Inside a trial, the oracle provides that truth.
    """

    sees_labels: ClassVar[bool] = True
    asks: ClassVar[Literal["class_shares", "errors"]]
    """The field of Truth that the strategy reads."""

    def select(self, pool: Pool, budget: int, rng: np.random.Generator, truth: Truth | None = None) -> Selection:
        """Return the regions to label next: ``min(budget, number of unlabelled regions)`` of them.

        Args:
            pool: As for ``Strategy.select``.
            budget: As for ``Strategy.select``.
            rng: Source of all random numbers.
            truth: Ground truth of this pool, with the field that the strategy ``asks`` for.

        Raises:
            StrategyError: As for ``Strategy.select``; or the truth is missing or of another pool.
        """
        check_generator(self.name, rng)
        answer = None if truth is None else getattr(truth, self.asks)
        if truth is None or answer is None:
            raise StrategyError(
                f"{self.name} sees labels: expected truth with {self.asks}, as the oracle gives it inside a trial, got "
                f"none; outside of a trial pass truth=Truth({self.asks}=...)"
            )
        if len(answer) != pool.num_regions:
            raise StrategyError(f"{self.name}: expected {self.asks} of {pool.num_regions} regions, got {len(answer)}")
        return validated_selection(
            self, pool, budget, lambda checked, count: self._select_with_truth(checked, truth, count, rng)
        )

    def _select_with_truth(self, pool: Pool, truth: Truth, budget: int, rng: np.random.Generator) -> Selection:
        """Return exactly ``budget`` unlabelled regions of a validated pool; every oracle strategy implements this."""
        raise NotImplementedError(f"{type(self).__name__} must define _select_with_truth(pool, truth, budget, rng)")


@dataclass(frozen=True, kw_only=True)
class ClassAwareRandom(OracleStrategy):
    """Draws a class uniformly, then a region in proportion to its true share of that class.

    A random baseline that labels rare classes as often as common ones. Only classes with an unselected region are
    drawn; regions without any class are drawn last.
    """

    name: ClassVar[str] = "class-aware-random"
    asks: ClassVar[Literal["class_shares", "errors"]] = "class_shares"

    def _select_with_truth(self, pool: Pool, truth: Truth, budget: int, rng: np.random.Generator) -> Selection:
        """Return ``budget`` draws without replacement."""
        assert truth.class_shares is not None  # checked by select
        candidates = pool.candidates
        queues = _queues(truth.class_shares[candidates], rng)
        is_taken = np.zeros(len(candidates), np.bool_)
        selected: list[int] = []
        while queues and len(selected) < budget:
            number = int(rng.integers(len(queues)))
            position = next((position for position in queues[number] if not is_taken[position]), None)
            if position is None:
                del queues[number]
                continue
            is_taken[position] = True
            selected.append(position)
        rest = rng.permutation(np.flatnonzero(~is_taken))[: budget - len(selected)]
        return Selection.of(candidates[np.array([*selected, *rest.tolist()], np.int64)])


def _queues(share_NC: NDArray[np.float32], rng: np.random.Generator) -> list[Iterator[int]]:
    """Return the candidates of each class, in an order drawn without replacement in proportion to their share.

    An exponential race: the smallest Exp(1) / share comes first. Removing a candidate leaves a race among the rest, so
    one queue per class serves all draws. Classes without a candidate have no queue.
    """
    queues = []
    for share_N in share_NC.T:
        rows = np.flatnonzero(share_N > 0)
        if len(rows):
            queues.append(iter(rows[np.argsort(rng.exponential(size=len(rows)) / share_N[rows])].tolist()))
    return queues


@dataclass(frozen=True, kw_only=True)
class OracleError(OracleStrategy):
    """Selects the regions with the largest share of wrongly predicted pixels."""

    name: ClassVar[str] = "oracle-error"
    asks: ClassVar[Literal["class_shares", "errors"]] = "errors"

    def _select_with_truth(self, pool: Pool, truth: Truth, budget: int, rng: np.random.Generator) -> Selection:
        """Return the ``budget`` largest, ties to the lowest row number; the potential is the share of wrong pixels."""
        assert truth.errors is not None  # checked by select
        return select_largest(pool, truth.errors, budget)
