"""A fit's half-way state on disk: written whole or not at all, and refused by any other fit."""

import io
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from quadrat.benchmark.errors import TrainingError
from quadrat.benchmark.storage.atomic import atomic_write

__all__ = ["CheckpointFile", "FitState", "load_tensors", "read_checkpoint", "save_tensors", "write_checkpoint"]


class CheckpointFile(NamedTuple):
    """Where a fit keeps its half-way state."""

    path: Path
    identity: dict[str, Any]  # what the fit is a function of, JSON-plain: another fit's file is refused
    every_s: float


class FitState(NamedTuple):
    """All that the rest of a fit depends on; crops and dropout are drawn by iteration number, so no generator is."""

    step: int
    network: dict[str, Tensor]
    optimizer: dict[str, Any]
    losses: Tensor


def save_tensors(value: Any, path: Path) -> None:
    """Save with `torch.save` so that `path` holds the old or the new file, complete, whenever the process is killed.

    Raises:
        ResultsError: The disk is full or not writable.
    """
    buffer = io.BytesIO()
    torch.save(value, buffer)
    atomic_write(path, buffer.getvalue())


def load_tensors(path: Path) -> Any:
    """Return what `save_tensors` wrote, on the CPU; nothing but tensors and plain values is unpickled.

    Raises:
        TrainingError: The file is not there or can't be read.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file makes the unpickler raise anything; the cause is chained
        raise TrainingError(f"can't read {path} ({error}). Delete it; it is computed again.") from error


def write_checkpoint(file: CheckpointFile, state: FitState) -> None:
    """Write the state of the fit that `file` is for."""
    save_tensors({"identity": file.identity, **state._asdict()}, file.path)


def read_checkpoint(file: CheckpointFile) -> FitState | None:
    """Return the state that this very fit left; None where there is no file.

    Raises:
        TrainingError: The file can't be read, or is another fit's.
    """
    if not file.path.exists():
        return None
    saved = load_tensors(file.path)
    if not isinstance(saved, dict) or saved.keys() != {"identity", *FitState._fields}:
        raise TrainingError(f"{file.path} is not a fit's checkpoint. Delete it; the fit begins again.")
    found = saved.pop("identity")
    different = sorted(name for name in {*found, *file.identity} if found.get(name) != file.identity.get(name))
    if different:
        name = different[0]
        raise TrainingError(
            f"the checkpoint {file.path} is another fit's: expected {name}={file.identity.get(name)!r}, got "
            f"{found.get(name)!r}. Delete it; the fit begins again."
        )
    return FitState(**saved)
