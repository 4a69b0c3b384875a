"""Profiles: several numbers per region computed from the network's output, by registered name.

Axes: B images, C classes, D decoder channels, H W pixels, h w cells of 4 pixels, K numbers per region.

Profiles are registered under the entry-point group `quadrat.profiles`. A `Profile` wraps a function from `Outputs` to
an iterator of maps, each of which the scoring pass averages over regions before the next is computed. So a profile of
thousands of numbers is never held in memory for every pixel.

[Ash2020]    Ash, Zhang, Krishnamurthy, Langford, Agarwal. Deep batch active learning by diverse, uncertain gradient
             lower bounds. ICLR 2020.
[Hwang2023]  Hwang, Lee, Kim, Oh, Ok, Kwak. Active learning for semantic segmentation with multi-class label query.
             NeurIPS 2023.
[Luth2026]   Lueth, Traub, Kahl, Bungert, Klein, Kraemer, Jaeger, Maier-Hein, Isensee. Finally outshining the random
             baseline: a simple and effective solution for active learning in 3D biomedical imaging. TMLR 2026.
[Xie2022]    Xie, Yuan, Li, Liu, Cheng. Towards fewer annotations: active learning via region impurity and prediction
             uncertainty for domain adaptive semantic segmentation. CVPR 2022.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from quadrat.benchmark.learning.scoring.signals import Outputs, Signal, bvsb, entropy
from quadrat.strategies.registry import registry_of

if TYPE_CHECKING:  # torch is imported by what computes: see signals.py
    from torch import Tensor

__all__ = [
    "PROFILES",
    "Profile",
    "class_bvsb",
    "class_entropy",
    "class_histogram",
    "class_probability",
    "class_soft_entropy",
    "gradient_embedding",
    "load_profiles",
]


@dataclass(frozen=True, kw_only=True)
class Profile:
    """Definition of a profile.

    Attributes:
        maps: Outputs to float maps, (B, H, W, k) or on the decoder's cells (B, h, w, k); their means over a region,
            concatenated, are its profile.
        per: Resolution of the maps: `"pixel"`, or `"cell"` of the decoder.
        summary: One line for `quadrat list profiles`.
    """

    maps: Callable[[Outputs], Iterable[Tensor]]
    per: Literal["pixel", "cell"] = "pixel"
    summary: str = ""


def load_profiles(names: Sequence[str]) -> dict[str, Profile]:
    """Return the registered profiles of these names, in this order.

    Raises:
        PluginError: A name is unknown or registered twice, or its plugin is broken or not a `Profile`.
    """
    return {name: PROFILES.get(name) for name in names}


def _check_profile(name: str, value: object) -> str | None:
    if not isinstance(value, Profile):
        return f"is {value!r}, expected a quadrat.benchmark.learning.scoring.profiles.Profile"
    return None


PROFILES: Final = registry_of("profiles", _check_profile)
"""Profiles by registered name: built-in ones and those of plugins."""


def _class_histogram(outputs: Outputs) -> Iterator[Tensor]:
    for label in range(outputs.logits_BCHW.shape[1]):
        yield (outputs.predicted_BHW == label).float()[..., None]


def _class_probability(outputs: Outputs) -> Iterator[Tensor]:
    for prob_BHW in outputs.prob_BCHW.unbind(dim=1):
        yield prob_BHW[..., None]


def _by_class(signal: Signal) -> Callable[[Outputs], Iterator[Tensor]]:
    per_pixel = signal.per_pixel
    assert per_pixel is not None

    def maps(outputs: Outputs) -> Iterator[Tensor]:
        import torch

        value_BHW = per_pixel(outputs)
        for label in range(outputs.logits_BCHW.shape[1]):
            yield torch.where(outputs.predicted_BHW == label, value_BHW, 0.0)[..., None]

    return maps


def _class_soft_entropy(outputs: Outputs) -> Iterator[Tensor]:
    assert entropy.per_pixel is not None
    entropy_BHW = entropy.per_pixel(outputs)
    for prob_BHW in outputs.prob_BCHW.unbind(dim=1):
        yield (prob_BHW * entropy_BHW)[..., None]


def _gradient_embedding(outputs: Outputs) -> Iterator[Tensor]:
    import torch

    assert outputs.cells is not None, "these outputs were made without the decoder's cells"
    logits_BChw, features_BDhw = outputs.cells.logits_BChw, outputs.cells.features_BDhw
    features_BhwD = features_BDhw.permute(0, 2, 3, 1)
    winner_Bhw = logits_BChw.max(dim=1).indices
    for label, prob_Bhw in enumerate(torch.softmax(logits_BChw, dim=1).unbind(dim=1)):
        yield (prob_Bhw - (winner_Bhw == label).float())[..., None] * features_BhwD


# Share of the region's pixels whose most probable class it is, (R, C) [Xie2022].
class_histogram = Profile(maps=_class_histogram, summary="Share of the region's pixels predicted as each class")
# Mean probability of each class, (R, C); over the pool, the class frequencies that [Hwang2023] estimates.
class_probability = Profile(maps=_class_probability, summary="Mean probability of each class")
# Mean over the region of the entropy of the pixels predicted as each class, (R, C); the sum over classes is the
# entropy.
class_entropy = Profile(maps=_by_class(entropy), summary="Entropy of the region, split by predicted class")
# The same of best versus second best [Hwang2023].
class_bvsb = Profile(maps=_by_class(bvsb), summary="Best versus second best of the region, split by predicted class")
# Mean over the region of each pixel's entropy times the probability of each class, (R, C); the sum over classes is the
# entropy [Luth2026].
class_soft_entropy = Profile(
    maps=_class_soft_entropy, summary="Entropy of the region, split by the probability of each class"
)
# (p - onehot(argmax p)) outer feature of each cell: the gradient of its loss by the last layer's weights, as if the
# most probable class were the label, (R, C D), class after class [Ash2020].
gradient_embedding = Profile(
    maps=_gradient_embedding,
    per="cell",
    summary="Gradient of the last layer as if the prediction were the label, for BADGE",
)
