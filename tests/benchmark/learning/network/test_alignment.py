"""Offsets of receptive fields against closed forms, and what training makes of them."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from click.testing import CliRunner
from support.learning_fakes import FakeImages, FakeMasks, label, make_grid
from timm.layers import AvgPool2dSame, Conv2dSame
from torch import Tensor, nn

from quadrat.benchmark.config.suite import load_suite
from quadrat.benchmark.data.loaders.scenes import Scenes
from quadrat.benchmark.errors import TrainingError
from quadrat.benchmark.learning.learner import Learner
from quadrat.benchmark.learning.network.alignment import field_offset, network_offsets
from quadrat.benchmark.learning.network.model import Network, build_decoder, build_encoder
from quadrat.benchmark.learning.recipe import Recipe
from quadrat.cluster.cli.main import cli


def even(*layers: nn.Module) -> nn.Sequential:
    """Return the layers with all weights 1: the squared gradient is symmetric about the centre of the field."""
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            nn.init.ones_(layer.weight)
    return nn.Sequential(*layers)


def conv(kernel: int, padding: int, stride: int = 2, channels: int = 1) -> nn.Conv2d:
    return nn.Conv2d(channels, 1, kernel, stride, padding, bias=False)


def same(kernel: int, channels: int = 1) -> nn.Conv2d:
    return Conv2dSame(channels, 1, kernel, stride=2, bias=False)


# Cell o of a layer covers the pixels s o - p to s o - p + k - 1, so the centre of its field is at s o - p + (k - 1) / 2
# and that of its s pixels at s o + (s - 1) / 2: off by (k - s) / 2 - p, times the stride of the layers before it.
CASES: dict[str, tuple[nn.Sequential, float, float]] = {
    "symmetric padding, stride 2": (even(conv(3, 1, channels=3)), -0.5, -0.5),
    "symmetric padding, stride 16": (
        even(conv(7, 3, channels=3), conv(3, 1), conv(5, 2), conv(3, 1)),
        -0.5 - 1 - 2 - 4,
        -0.5 - 1 - 2 - 4,
    ),
    "SAME padding, stride 16": (even(same(3, 3), same(3), same(5), same(3)), 0.5 + 1 + 2 + 4, 0.5 + 1 + 2 + 4),
    "both, stride 8": (even(same(3, 3), conv(3, 1), same(3)), 0.5 - 1 + 2, 0.5 - 1 + 2),
    "an even kernel": (even(conv(4, 1, channels=3), conv(2, 0)), 0.0, 0.0),
    "padded at the bottom and the left": (even(nn.ZeroPad2d((1, 0, 0, 1)), conv(3, 0, channels=3)), 0.5, -0.5),
    "pooling of stride 1 on cells of 4 pixels": (even(conv(4, 0, 4, channels=3), AvgPool2dSame(2, stride=1)), 2.0, 2.0),
}


@pytest.mark.parametrize("name", CASES)
def test_the_offset_of_a_stack_of_layers_is_its_closed_form(name: str) -> None:
    layers, down, right = CASES[name]
    found = field_offset(layers, torch.ones(4, 3, 144, 144), torch.Generator().manual_seed(0))
    assert found == pytest.approx((down, right, 0.0, 0.0), abs=1e-6)


def test_the_error_is_that_of_the_mean_over_inputs() -> None:
    """A network that looks one pixel to the right in half of the inputs: mean 1/2, standard deviation sqrt(1/3)."""

    def features(input_NCHW: Tensor) -> Tensor:
        is_ahead = bool(input_NCHW.detach().mean() > 0)
        return torch.roll(input_NCHW, -1, dims=3) if is_ahead else input_NCHW

    inputs = torch.ones(4, 1, 9, 9) * torch.tensor([1.0, -1.0, 1.0, -1.0]).view(4, 1, 1, 1)
    found = field_offset(features, inputs, torch.Generator().manual_seed(0))
    assert found == pytest.approx((0.0, 0.5, 0.0, (1 / 3) ** 0.5 / 2))


def test_a_dead_network_is_an_error() -> None:
    with pytest.raises(TrainingError, match="no gradient of a feature reaches the input"):
        field_offset(lambda inputs: inputs * 0.0, torch.ones(2, 1, 8, 8), torch.Generator())


def test_encoders_are_measured_at_both_strides_and_behind_the_decoder() -> None:
    """Padded symmetrically, with random weights: -1.5 px at stride 4, -7.5 px at stride 16."""
    recipe = Recipe(encoder="test_efficientnet", weights="none", iterations=1, decoder_channels=8)
    encoder = build_encoder(recipe, None, seed=0)
    network = Network(encoder, build_decoder(recipe, encoder.channels, 2, seed=0))
    found = network_offsets(network, seed=0, num_inputs=8, side=144)
    assert list(found) == ["stride 4", "stride 16", "decoder"]
    for name, expected, tolerance in (("stride 4", -1.5, 0.6), ("stride 16", -7.5, 2.0)):
        assert found[name].down == pytest.approx(expected, abs=tolerance)
        assert found[name].right == pytest.approx(expected, abs=tolerance)


def test_the_command_prints_the_three_maps() -> None:
    settings = ("--set", "learner.encoder=test_efficientnet", "--inputs", "2")
    result = CliRunner().invoke(cli, ["bench", "alignment", "quickstart", *settings])
    assert result.exit_code == 0
    assert [line.partition("  down ")[0].strip() for line in result.output.splitlines()[1:]] == [
        "stride 4",
        "stride 16",
        "decoder",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("encoder_name", ["test_resnet", "test_efficientnet"])
def test_training_puts_predictions_on_the_pixels_of_their_labels(encoder_name: str, tmp_path: Path) -> None:
    """Fields at stride 16 lie 6 px below and 7 px above their cells; cross-entropy is least without displacement."""
    recipe = load_suite("quickstart", [f"learner.encoder={encoder_name}", "learner.iterations=150"]).learner
    scenes = Scenes(num_train=40, num_test=12)
    pairs = {split: [item.generate() for item in scenes.items(split)] for split in ("train", "test")}
    train, test = (FakeImages([sample.image for sample in pairs[split]], split) for split in pairs)
    masks = FakeMasks([sample.mask for sample in pairs["train"]])
    masks.num_classes = len(scenes.classes)
    learner = Learner(
        recipe, train=train, test=test, num_classes=masks.num_classes, device="cpu", threads=1, cache_dir=tmp_path
    )
    fitted = learner.fit(label(masks, make_grid(masks, 16)), seed=0, round=0)
    encoder = build_encoder(recipe, None, seed=0)
    network = Network(encoder, build_decoder(recipe, encoder.channels, masks.num_classes, seed=0)).eval()
    network.load_state_dict(fitted.state)
    displacements = np.arange(-4, 5)
    loss_2D = np.zeros((2, len(displacements)))
    for sample in pairs["test"]:
        with torch.inference_mode():
            logits = network(encoder.prepare(torch.from_numpy(sample.image)[None]))
        logits = F.interpolate(logits, scale_factor=4, mode="bilinear", align_corners=False)[:, :, 4:-4, 4:-4]
        mask = torch.from_numpy(sample.mask.astype(np.int64))[None]
        for axis in (0, 1):
            for column, displacement in enumerate(displacements):
                moved = torch.roll(mask, -int(displacement), dims=axis + 1)[:, 4:-4, 4:-4]
                loss_2D[axis, column] += float(F.cross_entropy(logits, moved, ignore_index=255))
    for losses in loss_2D:
        # The vertex of the parabola through the three lowest.
        best = int(losses.argmin())
        left, middle, right = losses[best - 1 : best + 2]
        vertex = displacements[best] + 0.5 * (left - right) / (left - 2 * middle + right)
        assert abs(vertex) < 0.5
