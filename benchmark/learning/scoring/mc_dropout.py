"""Monte-Carlo dropout: means over several stochastic passes of one network, accumulated as the passes run.

Axes: B images, C classes, H W pixels.

[Gal2016]  Gal, Ghahramani. Dropout as a Bayesian approximation: representing model uncertainty in deep learning. ICML
           2016.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:  # torch is imported by what computes: see signals.py
    from torch import Tensor

__all__ = ["NUM_PASSES", "Passes", "entropy_of", "gather_passes"]

# Our choice, between the 5 and the 20 passes of segmentation papers.
NUM_PASSES = 10


class Passes(NamedTuple):
    """Means over the dropout passes of a batch."""

    prob_BCHW: Tensor
    """Mean of the class probabilities, the predictive distribution of [Gal2016]."""
    entropy_BHW: Tensor
    """Mean of the entropies of the single passes, nats."""
    vote_BCHW: Tensor
    """Share of the passes in which a class is the most probable one."""


def gather_passes(logits: Iterable[Tensor]) -> Passes:
    """Return the means over passes. Memory: running sums and one pass, independent of the number of passes.

    Args:
        logits: The logits (B, C, H, W) of each pass, one after another; at least one.
    """
    import torch

    sums: Passes | None = None
    num_passes = 0
    for logits_BCHW in logits:
        log_prob_BCHW = torch.log_softmax(logits_BCHW, dim=1)
        prob_BCHW = log_prob_BCHW.exp()
        if sums is None:
            sums = Passes(torch.zeros_like(prob_BCHW), torch.zeros_like(prob_BCHW[:, 0]), torch.zeros_like(prob_BCHW))
        sums.prob_BCHW.add_(prob_BCHW)
        sums.entropy_BHW.sub_((prob_BCHW * log_prob_BCHW).sum(dim=1))
        winner_B1HW = logits_BCHW.max(dim=1, keepdim=True).indices  # on a CPU six times faster than argmax
        sums.vote_BCHW.scatter_(1, winner_B1HW, sums.vote_BCHW.gather(1, winner_B1HW) + 1.0)
        num_passes += 1
    assert sums is not None
    return Passes(*(total / num_passes for total in sums))


def entropy_of(share_BCHW: Tensor) -> Tensor:
    """Return -sum s ln s over classes, (B, H, W), with 0 ln 0 = 0."""
    import torch

    entropy_BHW: Tensor = torch.special.entr(share_BCHW).sum(dim=1)
    return entropy_BHW
