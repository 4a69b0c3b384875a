"""Signals: numbers per region computed from the network's output, by registered name.

Axes: T passes, B images, C classes, H W pixels.

A signal comes through the entry-point group `quadrat.signals`, ours like anyone's. It is a `Signal`; the function in it
reads an `Outputs` and gives a map per pixel, which the scoring pass averages over regions. What else a signal may want
becomes a field of these two classes, so that existing plugins stay as they are.

[Cai2021b]     Cai, Xu, Liew, Foo. Revisiting superpixels for active learning in semantic segmentation with realistic
               annotation costs. CVPR 2021.
[Gal2017]      Gal, Islam, Ghahramani. Deep Bayesian active learning with image data. ICML 2017.
[Houlsby2011]  Houlsby, Huszar, Ghahramani, Lengyel. Bayesian active learning for classification and preference
               learning. arXiv:1112.5745, 2011.
[Settles2009]  Settles. Active learning literature survey. University of Wisconsin-Madison, TR 1648, 2009.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from quadrat.benchmark.learning.scoring.mc_dropout import Passes, entropy_of, gather_passes
from quadrat.strategies.registry import Registry

if TYPE_CHECKING:
    from quadrat.benchmark.learning.scoring.predict import Prediction  # here: `quadrat list signals` needs no timm

__all__ = [
    "Outputs",
    "Signal",
    "bald",
    "bvsb",
    "entropy",
    "least_confidence",
    "load_signals",
    "margin",
    "mc_entropy",
    "vote_entropy",
]


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """What the network said about some images; everything derived is computed once, when it is first asked for.

    Attributes:
        logits_BCHW: Logits of every pixel at full resolution, without dropout.
        cells: The decoder's own output at stride 4, padding included.
        run_passes: Runs the passes with dropout and gives the logits (B, C, H, W) of each, one after another.
    """

    logits_BCHW: Tensor
    cells: "Prediction | None" = None
    run_passes: Callable[[], Iterable[Tensor]] | None = None

    @cached_property
    def log_prob_BCHW(self) -> Tensor:
        """Natural logarithms of the class probabilities."""
        return torch.log_softmax(self.logits_BCHW, dim=1)

    @cached_property
    def prob_BCHW(self) -> Tensor:
        """Class probabilities."""
        return self.log_prob_BCHW.exp()

    @cached_property
    def predicted_BHW(self) -> Tensor:
        """The most probable class of every pixel."""
        return self.logits_BCHW.max(dim=1).indices  # on a CPU six times faster than argmax

    @cached_property
    def passes(self) -> Passes:
        """What the passes with dropout say together; no pass is run unless a signal reads this."""
        assert self.run_passes is not None, "these outputs were made without dropout passes"
        return gather_passes(self.run_passes())


@dataclass(frozen=True, kw_only=True)
class Signal:
    """How a signal is computed.

    Attributes:
        per_pixel: Outputs to a float map (B, H, W) whose mean over a region is the signal; larger = more worth a label.
        per_region: In its place, outputs and region size to values (B, rows, columns) of the grid's cells, for what is
            no mean over pixels; the last row and column may be clipped.
        is_pointwise: Whether the map's value at a pixel depends on `logits_BCHW` (and what is derived from them) at
            that pixel alone. On a CPU the map is then made strip by strip, which is faster; `cells` and `passes` are
            not there for it.
        summary: What it is, in a line, for `quadrat list signals`.

    Raises:
        ValueError: Both functions or neither are given, or a pointwise signal has no map.
    """

    per_pixel: Callable[[Outputs], Tensor] | None = None
    per_region: Callable[[Outputs, int], Tensor] | None = None
    is_pointwise: bool = False
    summary: str = ""

    def __post_init__(self) -> None:
        if (self.per_pixel is None) == (self.per_region is None):
            raise ValueError("expected a Signal with either per_pixel or per_region, got both or neither")
        if self.is_pointwise and self.per_pixel is None:
            raise ValueError("expected a Signal that is_pointwise to have per_pixel, got per_region: leave one out")


def load_signals(names: Sequence[str]) -> dict[str, Signal]:
    """Return the registered signals of these names, in this order.

    Raises:
        PluginError: A name is unknown or offered twice, or its plugin is broken or no `Signal`.
    """
    registry = Registry(group="quadrat.signals", kind="signal", check=_check_signal)
    return {name: registry.get(name) for name in names}


def _check_signal(name: str, value: object) -> str | None:
    if not isinstance(value, Signal):
        return f"is {value!r}, expected a quadrat.benchmark.learning.scoring.signals.Signal"
    return None


def _entropy(outputs: Outputs) -> Tensor:
    return -(outputs.prob_BCHW * outputs.log_prob_BCHW).sum(dim=1)


def _two_largest(prob_BCHW: Tensor) -> tuple[Tensor, Tensor]:
    # The two largest by a running comparison: seven times faster than topk over a dozen classes, and right on ties.
    first_BHW, *others_BHW = prob_BCHW.unbind(dim=1)
    second_BHW = torch.zeros_like(first_BHW)
    for prob_BHW in others_BHW:
        second_BHW = torch.maximum(second_BHW, torch.minimum(first_BHW, prob_BHW))
        first_BHW = torch.maximum(first_BHW, prob_BHW)
    return first_BHW, second_BHW


def _margin(outputs: Outputs) -> Tensor:
    first_BHW, second_BHW = _two_largest(outputs.prob_BCHW)
    return 1.0 - (first_BHW - second_BHW)


def _bvsb(outputs: Outputs) -> Tensor:
    first_BHW, second_BHW = _two_largest(outputs.prob_BCHW)
    return second_BHW / first_BHW


def _least_confidence(outputs: Outputs) -> Tensor:
    return 1.0 - outputs.prob_BCHW.amax(dim=1)


def _mc_entropy(outputs: Outputs) -> Tensor:
    return entropy_of(outputs.passes.prob_BCHW)


def _bald(outputs: Outputs) -> Tensor:
    # Never below 0 but for rounding, by Jensen's inequality.
    return (entropy_of(outputs.passes.prob_BCHW) - outputs.passes.entropy_BHW).clamp(min=0.0)


def _vote_entropy(outputs: Outputs) -> Tensor:
    return entropy_of(outputs.passes.vote_BCHW)


# -sum p ln p in nats, 0 .. ln C [Settles2009].
entropy = Signal(per_pixel=_entropy, is_pointwise=True, summary="Entropy of the class probabilities, nats")
# 1 - (p1 - p2) of the two most probable classes, 0 .. 1, so that a small margin is a large signal [Settles2009].
margin = Signal(per_pixel=_margin, is_pointwise=True, summary="1 - (p1 - p2) of the two most probable classes")
# p2 / p1, best versus second best, 0 .. 1 [Cai2021b].
bvsb = Signal(
    per_pixel=_bvsb, is_pointwise=True, summary="p2 / p1 of the two most probable classes, best versus second best"
)
# 1 - p1, 0 .. 1 - 1/C [Settles2009].
least_confidence = Signal(per_pixel=_least_confidence, is_pointwise=True, summary="1 - p1 of the most probable class")
# Entropy of the mean of the passes, H(mean p), 0 .. ln C nats [Gal2017].
mc_entropy = Signal(per_pixel=_mc_entropy, summary="Entropy of the mean over Monte-Carlo dropout passes, nats")
# H(mean p) - mean H(p): what the passes disagree on, 0 .. ln C nats [Houlsby2011, Gal2017].
bald = Signal(per_pixel=_bald, summary="What the Monte-Carlo dropout passes disagree on, nats")
# Entropy of the share of passes that each class wins, 0 .. ln min(T, C) nats [Settles2009].
vote_entropy = Signal(per_pixel=_vote_entropy, summary="Entropy of the votes of the Monte-Carlo dropout passes, nats")
