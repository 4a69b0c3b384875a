"""Signals: one number per region computed from the network's output, by registered name.

Axes: T passes, B images, C classes, H W pixels.

Signals are registered under the entry-point group `quadrat.signals`, built-in ones and those of plugins. A `Signal`
wraps a function from `Outputs` to a map per pixel, which the scoring pass averages over regions.

[Beluch2018]   Beluch, Genewein, Nuernberger, Koehler. The power of ensembles for active learning in image
               classification. CVPR 2018.
[Cai2021b]     Cai, Xu, Liew, Foo. Revisiting superpixels for active learning in semantic segmentation with realistic
               annotation costs. CVPR 2021.
[Gal2017]      Gal, Islam, Ghahramani. Deep Bayesian active learning with image data. ICML 2017.
[Houlsby2011]  Houlsby, Huszar, Ghahramani, Lengyel. Bayesian active learning for classification and preference
               learning. arXiv:1112.5745, 2011.
[Settles2009]  Settles. Active learning literature survey. University of Wisconsin-Madison, TR 1648, 2009.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from quadrat.benchmark.data.clicks import contour_vertices, count_clicks
from quadrat.benchmark.data.shapes.clicks import count_clicks_of_shapes
from quadrat.benchmark.learning.scoring.ensemble import NUM_MEMBERS
from quadrat.benchmark.learning.scoring.mc_dropout import Passes, entropy_of, gather_passes
from quadrat.strategies.registry import registry_of

if TYPE_CHECKING:  # `quadrat list signals` imports this module; torch takes seconds and is imported by what computes
    from torch import Tensor

    from quadrat.benchmark.learning.scoring.predict import Prediction

__all__ = [
    "SIGNALS",
    "Outputs",
    "Signal",
    "bald",
    "bvsb",
    "ensemble_entropy",
    "entropy",
    "least_confidence",
    "load_signals",
    "margin",
    "mc_entropy",
    "predicted_clicks",
    "vote_entropy",
]


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """Network output for a batch of images; derived quantities are computed on first use and cached.

    Attributes:
        logits_BCHW: Logits of every pixel at full resolution, without dropout.
        cells: The decoder's output at stride 4, padding included.
        run_passes: Runs the dropout passes and yields the logits (B, C, H, W) of each.
        run_members: Runs the members of the ensemble and yields the logits (B, C, H, W) of each, `logits_BCHW` first.
    """

    logits_BCHW: Tensor
    cells: Prediction | None = None
    run_passes: Callable[[], Iterable[Tensor]] | None = None
    run_members: Callable[[], Iterable[Tensor]] | None = None

    @cached_property
    def log_prob_BCHW(self) -> Tensor:
        """Natural logarithms of the class probabilities."""
        import torch

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
        """Means over the dropout passes; they run only when a signal reads this."""
        assert self.run_passes is not None, "these outputs were made without dropout passes"
        return gather_passes(self.run_passes())

    @cached_property
    def members(self) -> Passes:
        """Means over the members of the ensemble; they run only when a signal reads this."""
        assert self.run_members is not None, "these outputs were made without an ensemble"
        return gather_passes(self.run_members())


@dataclass(frozen=True, kw_only=True)
class Signal:
    """Definition of a signal: exactly one of `per_pixel` and `per_region`.

    Attributes:
        per_pixel: Outputs to a float map (B, H, W) whose mean over a region is the signal; larger = more informative.
        per_region: Outputs and region size to values (B, rows, columns) of the grid's cells, for a signal that is not a
            mean over pixels; the last row and column may be clipped.
        per_shape: The same for regions of any shape, beside `per_region`: outputs and the region of every pixel, int64
            (B, H, W), counted from 0 over the batch, -1 in none, to values (regions,). Without it the signal is refused
            on such regions.
        is_pointwise: Whether the map at a pixel depends on nothing but `logits_BCHW` (and what is derived from it) at
            that pixel. On a CPU such maps are computed in strips, which is faster; `cells`, `passes` and `members` are
            then unset.
        needs_dropout: Whether it reads `passes`, so that a suite whose recipe has no dropout is refused.
        num_models: Models whose outputs it reads. More than 1: it reads `members`, and so many are trained in each
            round that a strategy selects from; all signals that read them name the same number.
        summary: One line for `quadrat list signals`.

    Raises:
        ValueError: Both functions or neither are given, or a pointwise signal has no map.
    """

    per_pixel: Callable[[Outputs], Tensor] | None = None
    per_region: Callable[[Outputs, int], Tensor] | None = None
    per_shape: Callable[[Outputs, NDArray[np.int64]], Tensor] | None = None
    is_pointwise: bool = False
    needs_dropout: bool = False
    num_models: int = 1
    summary: str = ""

    def __post_init__(self) -> None:
        if (self.per_pixel is None) == (self.per_region is None):
            raise ValueError("expected a Signal with either per_pixel or per_region, got both or neither")
        if self.is_pointwise and self.per_pixel is None:
            raise ValueError("expected a Signal that is_pointwise to have per_pixel, got per_region: leave one out")
        if self.num_models not in (1, NUM_MEMBERS):
            raise ValueError(f"expected a Signal of 1 model or of {NUM_MEMBERS}, got {self.num_models}")


def load_signals(names: Sequence[str]) -> dict[str, Signal]:
    """Return the registered signals of these names, in this order.

    Raises:
        PluginError: A name is unknown or registered twice, or its plugin is broken or not a `Signal`.
    """
    return {name: SIGNALS.get(name) for name in names}


def _check_signal(name: str, value: object) -> str | None:
    if not isinstance(value, Signal):
        return f"is {value!r}, expected a quadrat.benchmark.learning.scoring.signals.Signal"
    return None


SIGNALS: Final = registry_of("signals", _check_signal)
"""Signals by registered name: built-in ones and those of plugins."""


def _entropy(outputs: Outputs) -> Tensor:
    return -(outputs.prob_BCHW * outputs.log_prob_BCHW).sum(dim=1)


def _two_largest(prob_BCHW: Tensor) -> tuple[Tensor, Tensor]:
    import torch

    # A running comparison: seven times faster than topk over a dozen classes, and exact on ties.
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
    # Non-negative by Jensen's inequality, up to rounding.
    return (entropy_of(outputs.passes.prob_BCHW) - outputs.passes.entropy_BHW).clamp(min=0.0)


def _vote_entropy(outputs: Outputs) -> Tensor:
    return entropy_of(outputs.passes.vote_BCHW)


def _ensemble_entropy(outputs: Outputs) -> Tensor:
    return entropy_of(outputs.members.prob_BCHW)


def _predicted_clicks(outputs: Outputs, region_size: int) -> Tensor:
    import torch

    # OpenCV on the CPU, image by image: the oracle's count, with contours in place of polygons.
    masks_BHW = outputs.predicted_BHW.to(torch.uint8).cpu().numpy()
    height, width = masks_BHW.shape[1:]
    clicks = [count_clicks(mask, region_size, contour_vertices(mask)) for mask in masks_BHW]
    values = np.stack(clicks).reshape(len(clicks), -(-height // region_size), -(-width // region_size))
    return torch.from_numpy(values).float()


def _predicted_clicks_of_shapes(outputs: Outputs, shapes_BHW: NDArray[np.int64]) -> Tensor:
    import torch

    masks_BHW = outputs.predicted_BHW.to(torch.uint8).cpu().numpy()
    clicks = []
    for mask, shapes in zip(masks_BHW, shapes_BHW, strict=True):
        first = shapes[shapes >= 0].min()
        clicks.append(count_clicks_of_shapes(mask, np.maximum(shapes - first, -1), contour_vertices(mask)))
    return torch.from_numpy(np.concatenate(clicks)).float()


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
mc_entropy = Signal(
    per_pixel=_mc_entropy, needs_dropout=True, summary="Entropy of the mean over Monte-Carlo dropout passes, nats"
)
# H(mean p) - mean H(p): mutual information of prediction and weights, 0 .. ln C nats [Houlsby2011, Gal2017].
bald = Signal(
    per_pixel=_bald, needs_dropout=True, summary="Mutual information of prediction and Monte-Carlo dropout mask, nats"
)
# Entropy of the share of passes that predict each class, 0 .. ln min(T, C) nats [Settles2009].
vote_entropy = Signal(
    per_pixel=_vote_entropy, needs_dropout=True, summary="Entropy of the votes of the Monte-Carlo dropout passes, nats"
)
# Entropy of the mean of the members' probabilities, H(mean p), 0 .. ln C nats [Beluch2018].
ensemble_entropy = Signal(
    per_pixel=_ensemble_entropy,
    num_models=NUM_MEMBERS,
    summary=f"Entropy of the mean over {NUM_MEMBERS} networks trained from different seeds, nats",
)
# Components + crossings + outline vertices of the predicted label map, at least 1; see benchmark/data/clicks.py.
predicted_clicks = Signal(
    per_region=_predicted_clicks,
    per_shape=_predicted_clicks_of_shapes,
    summary="Clicks that a region would cost if the prediction were the truth",
)
