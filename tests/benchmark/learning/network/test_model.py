"""DeepLabv3+: shapes, seeds, equality with segmentation-models-pytorch, and torch settings."""

import os

import pytest
import torch
from support.learning_fakes import tiny_recipe

from quadrat.benchmark.errors import TrainingError
from quadrat.benchmark.learning.network.model import Encoded, Network, build_decoder, build_encoder
from quadrat.benchmark.learning.runtime import resolve_device, torch_settings


def network(seed: int = 0, **changes: object) -> Network:
    recipe = tiny_recipe(**changes)
    encoder = build_encoder(recipe, None, seed=seed)
    return Network(encoder, build_decoder(recipe, encoder.channels, 3, seed=seed))


@pytest.mark.parametrize(
    ("encoder", "output_stride"),
    [("test_efficientnet", 16), ("test_resnet", 8), ("lcnet_050", 8), ("mobilenetv3_small_050", 16)],
)
def test_logits_have_a_cell_for_every_four_pixels_of_the_padded_image(encoder: str, output_stride: int) -> None:
    model = network(encoder=encoder, output_stride=output_stride).eval()
    image = torch.zeros((1, 50, 70, 3), dtype=torch.uint8)
    padded = model.encoder.prepare(image)
    assert padded.shape == (1, 3, -(-50 // output_stride) * output_stride, -(-70 // output_stride) * output_stride)
    assert model(padded).shape == (1, 3, padded.shape[2] // 4, padded.shape[3] // 4)


def test_weights_depend_on_the_seed_alone_and_leave_the_global_generator_alone() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = network(seed=5).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    second, third = network(seed=5).state_dict(), network(seed=6).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["decoder.classifier.weight"], third["decoder.classifier.weight"])
    assert any(not torch.equal(first[name], third[name]) for name in first if name.startswith("encoder"))


def test_atrous_rates_and_output_stride_reach_the_network() -> None:
    model = network(atrous_rates=(6, 12, 18))
    dilations = {module.dilation[0] for module in model.decoder.modules() if isinstance(module, torch.nn.Conv2d)}
    assert dilations == {1, 6, 12, 18}


def test_padding_is_the_mean_colour() -> None:
    encoder = network().encoder
    padded = encoder.prepare(torch.full((1, 20, 20, 3), 255, dtype=torch.uint8))
    assert (padded[:, :, 20:] == 0).all() and (padded[:, :, :, 20:] == 0).all() and (padded[:, :, :20, :20] > 0).all()
    mean_colour = torch.tensor(encoder.mean_colour, dtype=torch.uint8).expand(1, 16, 16, 3)
    assert encoder.prepare(mean_colour).abs().max() < 0.02


def test_decoder_equals_segmentation_models_pytorch_up_to_the_upsampling() -> None:
    import segmentation_models_pytorch as smp

    recipe = tiny_recipe(encoder="test_resnet", decoder_channels=8)
    encoder = build_encoder(recipe, None, seed=0)
    ours = build_decoder(recipe, encoder.channels, 3, seed=1).eval()
    theirs = smp.DeepLabV3Plus(
        "tu-test_resnet",
        encoder_weights=None,
        decoder_channels=8,
        decoder_atrous_rates=(1, 2, 3),
        classes=3,
        upsampling=1,
    ).eval()
    theirs.decoder.load_state_dict(ours.body.state_dict())
    theirs.decoder.up = torch.nn.Upsample(scale_factor=4, mode="bilinear", align_corners=False)
    generator = torch.Generator().manual_seed(0)
    encoded = Encoded(
        low=torch.randn(1, encoder.channels[0], 16, 20, generator=generator),
        high=torch.randn(1, encoder.channels[1], 4, 5, generator=generator),
    )
    expected = theirs.decoder([None, None, encoded.low, encoded.high])
    torch.testing.assert_close(ours.describe(encoded), expected, atol=1e-5, rtol=1e-5)


def test_unknown_encoder_names_the_closest() -> None:
    with pytest.raises(TrainingError, match=r"unknown encoder 'xception4'.*xception41"):
        build_encoder(tiny_recipe(encoder="xception4"), None, seed=0)


def test_encoder_that_takes_no_output_stride_is_refused() -> None:
    with pytest.raises(TrainingError, match="can't be built with five feature maps at output stride 16"):
        build_encoder(tiny_recipe(encoder="test_vit"), None, seed=0)


def test_unknown_and_absent_devices_are_errors() -> None:
    with pytest.raises(TrainingError, match="unknown device 'gpu0'"):
        resolve_device("gpu0")
    if not torch.cuda.is_available():
        with pytest.raises(TrainingError, match="sees no CUDA device"):
            resolve_device("cuda")


def test_cublas_is_deterministic_unless_the_environment_sets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")  # restored at the end, whatever is set below
    for before, after in ((None, ":4096:8"), (":16:8", ":16:8")):
        monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
        if before is not None:
            monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", before)
        assert resolve_device("cuda:0").type == "cuda"
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == after


def test_torch_settings_are_restored_after_an_error() -> None:
    before = (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled())
    with pytest.raises(KeyError), torch_settings(torch.device("cpu"), 1):
        assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == (1, True)
        raise KeyError
    assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == before
    assert torch.utils.deterministic.fill_uninitialized_memory
