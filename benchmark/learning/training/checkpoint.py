"""State of a fit on disk, written atomically: checkpoints while it runs, the trained network when it is done."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor

from quadrat.benchmark.errors import TrainingError
from quadrat.benchmark.storage.atomic import atomic_write
from quadrat.benchmark.storage.digest import digest_of

__all__ = [
    "CheckpointError",
    "CheckpointFile",
    "FitState",
    "Fitted",
    "load_tensors",
    "read_before",
    "read_checkpoint",
    "save_tensors",
    "write_before",
    "write_checkpoint",
]

_HEADER: Final = "quadrat checkpoint, XXH3 of the rest: "


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """Result of a fit.

    Attributes:
        state: Trained tensors and buffers by name, on the CPU; without the encoder where it is frozen.
        steps: Iterations.
        loss: Mean training loss in nats over the last tenth of the iterations.
    """

    state: dict[str, Tensor]
    steps: int
    loss: float

    def save(self, path: Path) -> None:
        """Write to `path` atomically.

        Raises:
            ResultsError: The disk is full or not writable.
        """
        save_tensors({"state": self.state, "steps": self.steps, "loss": self.loss}, path)

    @classmethod
    def load(cls, path: Path) -> "Fitted":
        """Read what `save` wrote.

        Raises:
            TrainingError: The file can't be read.
        """
        return cls(**load_tensors(path))


class CheckpointError(TrainingError):
    """A checkpoint is damaged, or belongs to another fit: the fit has to begin again."""


class CheckpointFile(NamedTuple):
    """Where and how often a fit saves its state."""

    path: Path
    identity: dict[str, Any]  # arguments of the fit, JSON-serialisable; a file with another identity is refused
    every_s: float
    before: dict[str, Tensor] | None = None  # saved with each state: the network whose pseudo labels this fit trains on


class FitState(NamedTuple):
    """State from which a fit resumes. No generator state: crops and dropout are seeded by the iteration number."""

    step: int
    network: dict[str, Tensor]
    optimizer: dict[str, Any]
    losses: Tensor


def save_tensors(value: Any, path: Path) -> None:
    """Save with `torch.save`, atomically: a killed process leaves the old file or the complete new one.

    Raises:
        ResultsError: The disk is full or not writable.
    """
    buffer = io.BytesIO()
    torch.save(value, buffer)
    atomic_write(path, buffer.getvalue())


def load_tensors(path: Path) -> Any:
    """Return what `save_tensors` wrote, on the CPU; only tensors and plain values are unpickled.

    Raises:
        TrainingError: The file is missing or can't be read.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file makes the unpickler raise anything; the cause is chained
        raise TrainingError(f"can't read {path} ({error}). Delete it; it is computed again.") from error


def write_checkpoint(file: CheckpointFile, state: FitState) -> None:
    """Write the state of a fit to `file`."""
    _write(file, state._asdict())


def write_before(file: CheckpointFile) -> None:
    """Write `file.before` alone, for a fit that has not begun; it takes the place of the state of the fit before."""
    _write(file, {})


def _write(file: CheckpointFile, state: dict[str, Any]) -> None:
    """Write after a line with the digest: `torch.load` notices few flipped bits."""
    buffer = io.BytesIO()
    kept = {} if file.before is None else {"before": file.before}
    torch.save({"identity": file.identity, **state, **kept}, buffer)
    data = buffer.getvalue()
    atomic_write(file.path, f"{_HEADER}{digest_of(data)}\n".encode() + data)


def read_checkpoint(file: CheckpointFile) -> FitState | None:
    """Return the saved state of the fit with this identity; None where there is no file, or it has not begun.

    Raises:
        CheckpointError: The file is damaged, or belongs to another fit.
    """
    saved = _read(file.path)
    if saved is None:
        return None
    found = saved.pop("identity")
    saved.pop("before", None)
    different = sorted(name for name in {*found, *file.identity} if found.get(name) != file.identity.get(name))
    if different:
        name = different[0]
        raise CheckpointError(
            f"the checkpoint {file.path} is another fit's: expected {name}={file.identity.get(name)!r}, got "
            f"{found.get(name)!r}"
        )
    return FitState(**saved) if saved else None


def read_before(file: CheckpointFile) -> dict[str, Tensor] | None:
    """Return the network that was saved with the state of the fit with this identity; None where that is not there.

    Raises:
        CheckpointError: The file is damaged.
    """
    saved = _read(file.path)
    if saved is None or saved["identity"] != file.identity:
        return None
    before: dict[str, Tensor] | None = saved.get("before")
    return before


def _read(path: Path) -> dict[str, Any] | None:
    """Return what `write_checkpoint` saved; None where there is no file."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CheckpointError(f"the checkpoint {path} can't be read ({error.strerror})") from error
    line, _, data = content.partition(b"\n")
    if line != f"{_HEADER}{digest_of(data)}".encode():
        raise CheckpointError(f"the checkpoint {path} is damaged: it has another content than was written")
    saved: dict[str, Any] = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    return saved
