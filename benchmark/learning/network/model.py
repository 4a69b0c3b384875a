"""DeepLabv3+ in two halves: a timm encoder, and ASPP + decoder + classifier on two of its feature maps.

Axes: B images, C classes, D decoder channels, E encoder channels, H W pixels, h w cells of 4 pixels, u v cells of the
output stride.

Upsampling uses `align_corners=False`: a cell is the square of pixels that it covers. So a network computes the same on
a crop and on a whole image of any size, and a region's features are those of the pixels inside it. The head of
segmentation-models-pytorch aligns corners, which stretches maps by a factor that depends on the size of the input.

[Cai2021]   Cai, Xu, Zhang, Foo. Exploring spatial diversity for region-based active learning. TIP 2021.
[Chen2018]  Chen, Zhu, Papandreou, Schroff, Adam. Encoder-decoder with atrous separable convolution. ECCV 2018.
"""

import difflib
from typing import NamedTuple

import timm
import torch
import torch.nn.functional as F
from segmentation_models_pytorch.decoders.deeplabv3.decoder import DeepLabV3PlusDecoder
from segmentation_models_pytorch.encoders import get_encoder
from torch import Tensor, nn

from quadrat.benchmark.errors import TrainingError
from quadrat.benchmark.learning.network.depthwise import use_depthwise_kernels
from quadrat.benchmark.learning.network.upsampling import TrainableUpsample
from quadrat.benchmark.learning.network.weights import EncoderWeights, fit_to
from quadrat.benchmark.learning.recipe import Recipe

__all__ = ["CELL", "Decoder", "Encoded", "Encoder", "Network", "build_decoder", "build_encoder", "check_encoder"]

# Stride of the decoder's output, pixels: DeepLabv3+ concatenates low-level features at stride 4 [Chen2018, section
# 3.1].
CELL = 4
_DEPTH = 5


class Encoded(NamedTuple):
    """The two feature maps of the encoder that the decoder takes."""

    low: Tensor  # (B, E_low, h, w)
    high: Tensor  # (B, E_high, u, v)


class Encoder(nn.Module):
    """A timm model up to its last feature map, at the recipe's output stride."""

    def __init__(self, name: str, output_stride: int) -> None:
        super().__init__()
        self.features = _timm_features(name, output_stride)
        channels: list[int] = self.features.out_channels  # type: ignore[assignment]  # smp is untyped
        self.channels: tuple[int, int] = (channels[2], channels[-1])
        settings = timm.get_pretrained_cfg(name)
        self.register_buffer("mean", torch.tensor(settings.mean).mul(255.0), persistent=False)
        self.register_buffer("std", torch.tensor(settings.std).mul(255.0), persistent=False)

        self.stride = output_stride

    @property
    def mean_colour(self) -> tuple[int, ...]:
        """The colour that normalisation maps closest to 0, RGB, 0 .. 255."""
        return tuple(round(value) for value in self.get_buffer("mean").tolist())

    def prepare(self, image_BHWx: Tensor) -> Tensor:
        """Return the encoder's input for RGB images, uint8 or float 0 .. 255 (B, H, W, 3).

        Images are normalised, then padded with 0 (the mean colour) at the bottom and the right to a multiple of the
        output stride: (B, 3, H', W'), channels-last.
        """
        normal_BHWx = (image_BHWx.float() - self.get_buffer("mean")) / self.get_buffer("std")
        bottom, right = (-image_BHWx.shape[1]) % self.stride, (-image_BHWx.shape[2]) % self.stride
        if bottom or right:
            normal_BHWx = F.pad(normal_BHWx, (0, 0, 0, right, 0, bottom))
        return normal_BHWx.permute(0, 3, 1, 2)

    def forward(self, input_BCHW: Tensor) -> Encoded:
        """Encode normalised images whose sides are multiples of the output stride."""
        maps = self.features(input_BCHW)
        return Encoded(low=maps[2], high=maps[-1])

    def start_from(self, weights: EncoderWeights) -> None:
        """Overwrite every tensor of the encoder by `weights`."""
        model = self.features.get_submodule("model")
        model.load_state_dict(fit_to(model.state_dict(), weights), strict=True)


class Decoder(nn.Module):
    """ASPP, the decoder that concatenates the features at stride 4, and the last 1x1 convolution."""

    def __init__(self, recipe: Recipe, encoder_channels: tuple[int, int], num_classes: int) -> None:
        super().__init__()
        low, high = encoder_channels
        self.body = DeepLabV3PlusDecoder(
            encoder_channels=[0, 0, low, high],
            encoder_depth=_DEPTH,
            out_channels=recipe.decoder_channels,
            atrous_rates=recipe.atrous_rates,
            output_stride=recipe.output_stride,
            aspp_separable=True,
            aspp_dropout=recipe.dropout,
        )
        self.body.up = TrainableUpsample(recipe.output_stride // CELL)
        branches = self.body.aspp[0].convs
        branches[-1] = _ImagePooling(*branches[-1].children())
        self.dropout = recipe.dropout
        self.classifier = nn.Conv2d(recipe.decoder_channels, num_classes, kernel_size=1)

    def describe(self, encoded: Encoded) -> Tensor:
        """Return the features before the last convolution, (B, D, h, w): the region features of [Cai2021]."""
        features_BDhw: Tensor = self.body([None, None, encoded.low, encoded.high])
        return features_BDhw

    def before_dropout(self, encoded: Encoded) -> Tensor:
        """Return the input of ASPP's dropout layer, (B, D, u, v), in eval mode: what dropout passes have in common."""
        before_BDuv: Tensor = self.body.aspp[0](encoded.high)
        return before_BDuv

    def after_dropout(self, dropped_BDuv: Tensor, encoded: Encoded) -> Tensor:
        """Return the features (B, D, h, w) for the output of ASPP's dropout layer."""
        coarse_BDhw = self.body.up(self.body.aspp[1:](dropped_BDuv))
        features_BDhw: Tensor = self.body.block2(torch.cat([coarse_BDhw, self.body.block1(encoded.low)], dim=1))
        return features_BDhw

    def classify(self, features_BDhw: Tensor) -> Tensor:
        """Return the logits of every cell, (B, C, h, w)."""
        logits_BChw: Tensor = self.classifier(features_BDhw)
        return logits_BChw

    def forward(self, encoded: Encoded) -> Tensor:
        """Return the logits of every cell, (B, C, h, w)."""
        return self.classify(self.describe(encoded))


class Network(nn.Module):
    """Encoder and decoder as one trainable network."""

    def __init__(self, encoder: Encoder, decoder: Decoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder

    def forward(self, input_BCHW: Tensor) -> Tensor:
        """Return the logits of every cell, (B, C, h, w)."""
        logits_BChw: Tensor = self.decoder(self.encoder(input_BCHW))
        return logits_BChw


def build_encoder(recipe: Recipe, weights: EncoderWeights | None, *, seed: int) -> Encoder:
    """Return the recipe's encoder with `weights`, or drawn from `seed` where they are None.

    Raises:
        TrainingError: timm has no such model, it does not support the output stride, or the weights don't fit.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        encoder = Encoder(recipe.encoder, recipe.output_stride)
    if weights is not None:
        encoder.start_from(weights)
    use_depthwise_kernels(encoder)
    return encoder.to(memory_format=torch.channels_last)


def build_decoder(recipe: Recipe, encoder_channels: tuple[int, int], num_classes: int, *, seed: int) -> Decoder:
    """Return ASPP + decoder + classifier with weights drawn from `seed`, without changing global generators."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        decoder = Decoder(recipe, encoder_channels, num_classes)
    use_depthwise_kernels(decoder)
    return decoder.to(memory_format=torch.channels_last)


class _ImagePooling(nn.Sequential):
    """ASPP's image-level branch: the mean over the map, expanded to every cell.

    The original upsamples its single cell bilinearly: the same values, with a costlier gradient.
    """

    def forward(self, map_BExx: Tensor) -> Tensor:
        """Return the branch's output, (B, D, u, v)."""
        mean_BD11: Tensor = super().forward(map_BExx)  # type: ignore[no-untyped-call]
        expanded_BDxx = mean_BD11.expand(-1, -1, *map_BExx.shape[2:])
        # An expanded map has no layout of its own: on CUDA all branches would be joined in another than channels-last,
        # and their gradients taken by slower kernels.
        return expanded_BDxx.contiguous(memory_format=torch.channels_last) if map_BExx.is_cuda else expanded_BDxx


def check_encoder(name: str) -> None:
    """Raise unless timm has a model of that name.

    Raises:
        TrainingError: Unknown name; the message lists the closest ones.
    """
    if not timm.is_model(name):
        close = difflib.get_close_matches(name, timm.list_models(), n=3)
        hint = f" Did you mean {', '.join(close)}?" if close else ""
        raise TrainingError(f"unknown encoder {name!r}: expected the name of a timm model.{hint}")


def _timm_features(name: str, output_stride: int) -> nn.Module:
    check_encoder(name)
    try:
        features: nn.Module = get_encoder(
            f"tu-{name}", in_channels=3, depth=_DEPTH, weights=None, output_stride=output_stride
        )
    except Exception as error:  # each model family rejects an output stride with another exception
        raise TrainingError(
            f"encoder {name!r} can't be built with five feature maps at output stride {output_stride} "
            f"({type(error).__name__}: {error}): take a convolutional timm model such as 'xception41' or 'resnet50'"
        ) from error
    return features
