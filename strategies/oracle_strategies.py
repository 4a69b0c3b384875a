"""References that see labels: how far knowledge of the truth would carry, never what an annotator could do.

Axes: R regions, N candidates, C classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from quadrat.strategies.base import Strategy, validated_selection
from quadrat.strategies.errors import StrategyError
from quadrat.strategies.pool import Pool, Selection
from quadrat.strategies.ranking import take_largest

__all__ = ["ClassAwareRandom", "OracleError", "OracleStrategy", "Truth"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Truth:
    """What the oracle tells a reference about every region; it is never part of a Pool."""

    class_shares: NDArray[np.float32] | None = None
    """(R, C) share of each region's pixels that truly are of each class; void counts for none."""
    errors: NDArray[np.float32] | None = None
    """(R,) share of each region's pixels, void left out, that the last model predicts wrongly."""


@dataclass(frozen=True, kw_only=True)
class OracleStrategy(Strategy):
    """A strategy that sees labels. It is marked as such wherever strategies are listed.

    The loop gives it what the oracle answers to ``asks``; ``pick_knowing`` takes the place of ``pick``.
    """

    sees_labels: ClassVar[bool] = True
    asks: ClassVar[Literal["class_shares", "errors"]]
    """What it wants of the oracle: the name of a field of Truth."""

    def select(self, pool: Pool, budget: int, rng: np.random.Generator, truth: Truth | None = None) -> Selection:
        """Return the regions to label next, ``min(budget, what is left)`` of them.

        Args:
            pool: As for any strategy.
            budget: As for any strategy.
            rng: The source of every random draw.
            truth: What the oracle answered, with what the strategy ``asks`` for.

        Raises:
            StrategyError: As for any strategy, or there is no such truth, or it is not that of this pool.
        """
        answer = None if truth is None else getattr(truth, self.asks)
        if truth is None or answer is None:
            raise StrategyError(
                f"{self.name} sees labels: expected truth with {self.asks}, as the oracle gives it inside a trial, got "
                f"none; outside of a trial pass truth=Truth({self.asks}=...)"
            )
        if len(answer) != pool.num_regions:
            raise StrategyError(f"{self.name}: expected {self.asks} of {pool.num_regions} regions, got {len(answer)}")
        return validated_selection(
            self, pool, budget, lambda checked, num_picks: self.pick_knowing(checked, truth, num_picks, rng)
        )

    def pick_knowing(self, pool: Pool, truth: Truth, budget: int, rng: np.random.Generator) -> Selection:
        """Return exactly ``budget`` unlabelled regions of a checked pool; this is what a reference implements."""
        raise NotImplementedError(f"{type(self).__name__} must define pick_knowing(pool, truth, budget, rng)")


@dataclass(frozen=True, kw_only=True)
class ClassAwareRandom(OracleStrategy):
    """Draws a class, each equally likely, then a region by how much of that class it truly holds; sees labels.

    The random baseline that is adapted to the task: rare classes are bought as often as common ones. A class is drawn
    among those that a region is left for; regions without any class are drawn when nothing else is left.
    """

    name: ClassVar[str] = "class-aware-random"
    asks: ClassVar[Literal["class_shares", "errors"]] = "class_shares"

    def pick_knowing(self, pool: Pool, truth: Truth, budget: int, rng: np.random.Generator) -> Selection:
        """Return ``budget`` draws without replacement."""
        assert truth.class_shares is not None  # select() saw to it
        candidates = pool.candidates
        queues = _queues(truth.class_shares[candidates], rng)
        is_taken = np.zeros(len(candidates), np.bool_)
        picks: list[int] = []
        while queues and len(picks) < budget:
            number = int(rng.integers(len(queues)))
            position = next((position for position in queues[number] if not is_taken[position]), None)
            if position is None:
                del queues[number]
                continue
            is_taken[position] = True
            picks.append(position)
        rest = rng.permutation(np.flatnonzero(~is_taken))[: budget - len(picks)]
        return Selection.of(candidates[np.array([*picks, *rest.tolist()], np.int64)])


def _queues(share_NC: NDArray[np.float32], rng: np.random.Generator) -> list[Iterator[int]]:
    """Return the candidates of each class that has any, in the order of draws by share without replacement.

    An exponential race: the one with the smallest Exp(1) / share comes first. Taking out the winner of another race
    leaves a race among the rest, so the queues can be shared.
    """
    queues = []
    for share_N in share_NC.T:
        rows = np.flatnonzero(share_N > 0)
        if len(rows):
            queues.append(iter(rows[np.argsort(rng.exponential(size=len(rows)) / share_N[rows])].tolist()))
    return queues


@dataclass(frozen=True, kw_only=True)
class OracleError(OracleStrategy):
    """Takes the regions where the last model is wrong most; sees labels, so nobody can do it without buying them."""

    name: ClassVar[str] = "oracle-error"
    asks: ClassVar[Literal["class_shares", "errors"]] = "errors"

    def pick_knowing(self, pool: Pool, truth: Truth, budget: int, rng: np.random.Generator) -> Selection:
        """Return the ``budget`` largest, ties to the lowest row number; the potential is the share of wrong pixels."""
        assert truth.errors is not None  # select() saw to it
        return take_largest(pool, truth.errors, budget)
